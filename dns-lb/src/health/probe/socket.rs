//! Queries by the kernel's own sockets, UDP and TCP.
//!
//! Knows addresses; of DNS, only the length before a message over TCP. What a reply says is for the
//! caller to judge.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::AsRawFd,
    time::Duration,
};

use libc::{
    EACCES, ECONNREFUSED, EHOSTDOWN, EHOSTUNREACH, ENETUNREACH, ENONET, ENOPROTOOPT, EPROTO,
    ETIMEDOUT,
};
use tokio::{
    io::Interest,
    net::{TcpSocket, TcpStream, UdpSocket},
    time::{Instant, timeout_at},
};

use super::{outcome::Operation, reply::Ignored};

/// Octets of the largest reply by UDP that is read whole: as many as an OPT record may offer here.
const DATAGRAM_OCTETS: usize = 4_096;
/// Octets that are read from a TCP connection at once.
const CHUNK_OCTETS: usize = 4_096;

/// From where to where.
#[derive(Clone, Copy, Debug)]
pub(super) struct SocketWay {
    /// The address to ask from; `None`: the kernel chooses.
    pub(super) source: Option<IpAddr>,
    /// The address to ask.
    pub(super) server: SocketAddr,
    /// Whether this host is known to have a way to it, so that if the network is said to be out of
    /// reach, it is not for want of a route here.
    pub(super) has_route: bool,
}

/// What came of a query.
#[derive(Debug)]
pub(super) enum Arrival<T> {
    /// A reply that was taken.
    Reply { reply: T, rtt: Duration },
    /// Nobody listens.
    Refused { rtt: Duration },
    /// The query did not get there.
    Unreachable { error: io::Error, rtt: Duration },
    /// The server ended the connection before it replied.
    Closed {
        ignored: Option<Ignored>,
        rtt: Duration,
    },
    /// No reply in time that the judge took.
    Nothing { ignored: Option<Ignored> },
}

/// What could not be done on this side, and why.
pub(super) type Fault = (Operation, io::Error);

/// Sends a query by UDP, once, and hands to `judge` what comes back until it takes a reply or the
/// deadline has passed.
///
/// The socket is fresh, so that the kernel gives it a random port. It is connected, so that the
/// kernel delivers only what comes from the server's address and port, and reports what ICMP says.
pub(super) async fn exchange_udp<T>(
    way: SocketWay,
    query: &[u8],
    deadline: Instant,
    mut judge: impl FnMut(&[u8]) -> Result<T, Ignored>,
) -> Result<Arrival<T>, Fault> {
    let socket = UdpSocket::bind(way.local())
        .await
        .map_err(|error| (Operation::OpenSocket, error))?;
    report_errors(&socket, way.server);
    socket
        .connect(way.server)
        .await
        .map_err(|error| (Operation::Connect, error))?;

    let sent_at = Instant::now();
    let mut ignored = None;
    if let Err(error) = socket.send(query).await {
        return told(Operation::Send, error, sent_at);
    }
    loop {
        // The kernel wakes those who wait to read for a datagram only, not for an error.
        let interest = Interest::READABLE | Interest::ERROR;
        let ready = match timeout_at(deadline, socket.ready(interest)).await {
            Err(_) => return Ok(Arrival::Nothing { ignored }),
            Ok(Err(error)) => return Err((Operation::Receive, error)),
            Ok(Ok(ready)) => ready,
        };
        // One at a time: for both together, tokio tries nothing and stays ready.
        let interest = match ready.is_readable() {
            true => Interest::READABLE,
            false => Interest::ERROR,
        };
        let mut buffer = [0; DATAGRAM_OCTETS];
        let received = socket.try_io(interest, || receive(&socket, &mut buffer));
        let rtt = sent_at.elapsed();
        match received {
            Ok(length) => match judge(&buffer[..length]) {
                Ok(reply) => return Ok(Arrival::Reply { reply, rtt }),
                Err(why) => ignored = Some(why),
            },
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return told(Operation::Receive, error, sent_at),
        }
    }
}

/// A datagram, or what ICMP says.
fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<usize> {
    let (start, size) = (buffer.as_mut_ptr().cast(), buffer.len());
    // SAFETY: the kernel writes at most `size` octets, and the buffer has as many.
    let length = unsafe { libc::recv(socket.as_raw_fd(), start, size, libc::MSG_DONTWAIT) };
    usize::try_from(length).map_err(|_| io::Error::last_os_error())
}

/// Sends a query by TCP, on a connection of its own (RFC 7766), and hands to `judge` the messages
/// that come back until it takes one as the reply or the deadline has passed.
///
/// The connection is reset in the end, so that it does not linger here for a minute.
pub(super) async fn exchange_tcp<T>(
    way: SocketWay,
    query: &[u8],
    deadline: Instant,
    judge: impl FnMut(&[u8]) -> Result<T, Ignored>,
) -> Result<Arrival<T>, Fault> {
    let begun_at = Instant::now();
    let mut conversation = Conversation {
        begun_at,
        judge,
        ignored: None,
    };
    let talking = conversation.hold(way, query);
    match timeout_at(deadline, talking).await {
        Ok(arrival) => arrival,
        Err(_) => Ok(Arrival::Nothing {
            ignored: conversation.ignored,
        }),
    }
}

struct Conversation<J> {
    begun_at: Instant,
    judge: J,
    ignored: Option<Ignored>,
}

impl<J> Conversation<J> {
    async fn hold<T>(&mut self, way: SocketWay, query: &[u8]) -> Result<Arrival<T>, Fault>
    where
        J: FnMut(&[u8]) -> Result<T, Ignored>,
    {
        let opened = match way.server {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        };
        let bound = opened.and_then(|socket| {
            socket.set_zero_linger()?;
            if way.source.is_some() {
                socket.bind(way.local())?;
            }
            Ok(socket)
        });
        let socket = bound.map_err(|error| (Operation::OpenSocket, error))?;
        let stream = match socket.connect(way.server).await {
            Ok(stream) => stream,
            // What a router says cannot be told from a route's lack here by the error alone.
            Err(error) if error.raw_os_error() == Some(ENETUNREACH) && !way.has_route => {
                return Err((Operation::Connect, error));
            }
            Err(error) => return told(Operation::Connect, error, self.begun_at),
        };
        let sent = match u16::try_from(query.len()) {
            Ok(length) => send(&stream, &[&length.to_be_bytes(), query].concat()).await,
            Err(error) => return Err((Operation::Encode, io::Error::other(error))),
        };
        // A server that is in haste may have ended the connection already.
        match sent.and(self.receive(&stream).await) {
            Ok(Some(reply)) => Ok(Arrival::Reply {
                reply,
                rtt: self.begun_at.elapsed(),
            }),
            Ok(None) => Ok(self.closed()),
            Err(error) if is_end(&error) => Ok(self.closed()),
            Err(error) => told(Operation::Receive, error, self.begun_at),
        }
    }

    /// The reply; `None`: the connection ended before.
    async fn receive<T>(&mut self, stream: &TcpStream) -> io::Result<Option<T>>
    where
        J: FnMut(&[u8]) -> Result<T, Ignored>,
    {
        // Never more than a whole message, its length, and a chunk.
        let mut received = Vec::new();
        loop {
            stream.readable().await?;
            let mut chunk = [0; CHUNK_OCTETS];
            match stream.try_read(&mut chunk) {
                Ok(0) => return Ok(None),
                Ok(length) => received.extend_from_slice(&chunk[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error),
            }
            while let Some(end) = message_end(&received) {
                match (self.judge)(&received[2..end]) {
                    Ok(reply) => return Ok(Some(reply)),
                    Err(why) => self.ignored = Some(why),
                }
                received.drain(..end);
            }
        }
    }

    fn closed<T>(&self) -> Arrival<T> {
        Arrival::Closed {
            ignored: self.ignored,
            rtt: self.begun_at.elapsed(),
        }
    }
}

/// Where the first message ends, if it is there whole: behind its length of two octets (RFC 1035,
/// 4.2.2) and as many more.
fn message_end(received: &[u8]) -> Option<usize> {
    let length = received.first_chunk().copied().map(u16::from_be_bytes)?;
    let end = 2 + usize::from(length);
    (received.len() >= end).then_some(end)
}

async fn send(stream: &TcpStream, mut octets: &[u8]) -> io::Result<()> {
    while !octets.is_empty() {
        stream.writable().await?;
        match stream.try_write(octets) {
            Ok(length) => octets = &octets[length..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn is_end(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}

/// What an error of the kernel's tells: of the server or its network, or of this side.
///
/// What ICMP and ICMPv6 say, of a connection's first segment too, comes as the kernel translates it
/// (`icmp_err_convert` in `net/ipv4/icmp.c`, `icmpv6_err_convert` in `net/ipv6/icmp.c`). EPERM is none
/// of that: a packet filter of this host's refuses.
fn told<T>(operation: Operation, error: io::Error, sent_at: Instant) -> Result<Arrival<T>, Fault> {
    let rtt = sent_at.elapsed();
    match error.raw_os_error() {
        Some(ECONNREFUSED) => Ok(Arrival::Refused { rtt }),
        Some(
            EACCES | EHOSTDOWN | EHOSTUNREACH | ENETUNREACH | ENONET | ENOPROTOOPT | EPROTO
            | ETIMEDOUT,
        ) => Ok(Arrival::Unreachable { error, rtt }),
        _ => Err((operation, error)),
    }
}

/// Has the kernel report all that ICMP says of a datagram. By default it keeps to itself that a host
/// is unreachable, which only makes a probe wait in vain: where it refuses, nothing else is lost.
fn report_errors(socket: &UdpSocket, server: SocketAddr) {
    let (level, option) = match server {
        SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_RECVERR),
        SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_RECVERR),
    };
    let on: libc::c_int = 1;
    // SAFETY: the kernel reads the one integer whose size it is told.
    let _ = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
}

impl SocketWay {
    /// The source with any port, of the server's family.
    fn local(&self) -> SocketAddr {
        let any = match self.server {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        (self.source.unwrap_or(any), 0).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_network_says_is_told_from_what_this_host_refuses() {
        let told = |operation, errno| {
            let error = io::Error::from_raw_os_error(errno);
            told::<()>(operation, error, Instant::now())
        };
        for operation in [Operation::Connect, Operation::Send, Operation::Receive] {
            for errno in [
                EACCES,
                EHOSTDOWN,
                EHOSTUNREACH,
                ENETUNREACH,
                ENONET,
                ENOPROTOOPT,
                EPROTO,
                ETIMEDOUT,
            ] {
                let told = told(operation, errno);
                let is_unreachable = matches!(told, Ok(Arrival::Unreachable { .. }));
                assert!(is_unreachable, "{operation} {errno}: {told:?}");
            }
            let refused = told(operation, ECONNREFUSED);
            assert!(matches!(refused, Ok(Arrival::Refused { .. })));
            for errno in [
                libc::EPERM,
                libc::EMFILE,
                libc::ENOBUFS,
                libc::EADDRNOTAVAIL,
            ] {
                let told = told(operation, errno);
                assert!(told.is_err(), "{operation} {errno}: {told:?}");
            }
        }
    }
}
