//! A query over a connection of its own, by a small TCP stack in this process (smoltcp): the
//! kernel's can neither choose a MAC address nor have the VIP as its peer where it owns it.

use std::{collections::VecDeque, fmt, mem, sync::Arc, time::Duration};

use smoltcp::{
    iface::{Config, Interface, SocketHandle, SocketSet},
    phy::{Checksum, Device, DeviceCapabilities, Medium, RxToken, TxToken},
    socket::tcp::{self, Socket, SocketBuffer, State},
    time::Instant as StackInstant,
    wire::{HardwareAddress, IpAddress, IpCidr},
};
use tokio::time::{Instant, timeout_at};

use super::{
    Arrival, Way,
    error::LinkError,
    fault,
    frame::{ETHERNET_HEADER, Link, ethernet_header},
    mailbox::Heard,
    overhear::{Overheard, overhear},
    tap::{Reservation, Tap},
};
use crate::health::Ignored;

/// Octets of the longest packet that the server is asked for or sent: what every link of IPv6
/// carries (RFC 8200, section 5).
const MTU: usize = 1280;

/// Octets that the server may send before it waits for us.
const WINDOW: usize = 16 << 10;

/// Does what [`LinkProber::exchange_tcp`] says.
///
/// [`LinkProber::exchange_tcp`]: super::LinkProber::exchange_tcp
pub(super) async fn exchange<T>(
    tap: &Arc<Tap>,
    way: &Way,
    query: &[u8],
    deadline: Instant,
    mut judge: impl FnMut(&[u8]) -> Result<T, Ignored>,
) -> Result<Arrival<T>, LinkError> {
    let mut connection = Connection::open(tap, way, query)?;
    let mut link = None;
    let mut ignored = None;
    let mut is_established = false;
    let mut last_heard = connection.opened_at;
    loop {
        connection.transmit()?;
        let rtt = last_heard.saturating_duration_since(connection.opened_at);

        let stack = &mut connection.stack;
        is_established |= !matches!(stack.socket().state(), State::SynSent | State::Closed);
        while let Some(message) = stack.replies.next() {
            match (judge(&message), link) {
                (
                    Ok(reply),
                    Some(Link {
                        source_mac,
                        destination_mac,
                    }),
                ) => {
                    return Ok(Arrival::Reply {
                        reply,
                        source: way.vip,
                        source_mac,
                        destination_mac,
                        rtt,
                    });
                }
                (Ok(_), None) => {}
                (Err(why), _) => ignored = Some(why),
            }
        }
        if stack.is_ended() {
            return Ok(match is_established {
                false => Arrival::Refused { rtt },
                true => Arrival::Closed { ignored, rtt },
            });
        }

        let now = Instant::now();
        if now >= deadline {
            return Ok(Arrival::Nothing { ignored });
        }
        let until = connection
            .next_due(now)
            .map_or(deadline, |due| due.min(deadline));
        let Ok(event) = timeout_at(until, connection.probe.next()).await else {
            continue;
        };
        last_heard = event.at;
        match event.heard {
            Heard::Segment {
                link: of_segment,
                packet,
            } => {
                link = Some(of_segment);
                connection.stack.wire.incoming = Some(packet);
            }
            Heard::Icmp { source, error } if !is_established => {
                let rtt = event.at.saturating_duration_since(connection.opened_at);
                return Ok(Arrival::of_icmp(source, error, rtt));
            }
            // Of an established connection it is but a hint (RFC 5461).
            Heard::Icmp { .. } | Heard::Datagram { .. } => {}
            Heard::Fault(errno) => return Err(fault(errno)),
        }
    }
}

/// A connection, which is reset when dropped.
struct Connection {
    probe: Reservation,
    opened_at: Instant,
    stack: Stack,
}

impl Connection {
    fn open(tap: &Arc<Tap>, way: &Way, query: &[u8]) -> Result<Self, LinkError> {
        let probe = tap.reserve_connection(way)?;
        let stack = Stack::open(way, probe.port(), query, rand::random())?;
        Ok(Self {
            probe,
            opened_at: Instant::now(),
            stack,
        })
    }

    /// Lets the stack take in what has come, and sends what it has to say.
    fn transmit(&mut self) -> Result<(), LinkError> {
        let now = self.stack_time(Instant::now());
        self.stack.poll(now);
        while let Some(frame) = self.stack.wire.outgoing.pop_front() {
            self.probe.tap().send(&frame)?;
        }
        Ok(())
    }

    /// When the stack has something to do even if nothing comes.
    fn next_due(&mut self, now: Instant) -> Option<Instant> {
        let stack_now = self.stack_time(now);
        let stack = &mut self.stack;
        let delay = stack.interface.poll_delay(stack_now, &stack.sockets)?;
        Some(now + Duration::from_micros(delay.total_micros()))
    }

    fn stack_time(&self, at: Instant) -> StackInstant {
        let since = at.saturating_duration_since(self.opened_at);
        StackInstant::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.stack.socket().abort();
        // If the reset cannot be sent, the server has to find out by itself.
        let _ = self.transmit();
    }
}

/// The stack of one connection, what it is to say and what it has heard. Time is what it is told,
/// from 0.
struct Stack {
    /// With its length before it, until there is somebody to send it to.
    query: Vec<u8>,
    replies: Messages,
    wire: Wire,
    interface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
}

impl Stack {
    /// The sequence numbers come of `seed`.
    fn open(way: &Way, port: u16, query: &[u8], seed: u64) -> Result<Self, LinkError> {
        let unusable = |error: &dyn fmt::Display| LinkError::invalid(error.to_string());
        let Ok(length) = u16::try_from(query.len()) else {
            return Err(LinkError::invalid(
                "a message over TCP has at most 65535 octets",
            ));
        };
        let query = [&length.to_be_bytes(), query].concat();
        let mut wire = Wire::new(way);
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = seed;
        let mut interface = Interface::new(config, &mut wire, StackInstant::ZERO);
        let source = IpAddress::from(way.source);
        interface.update_ip_addrs(|addresses| {
            // There is room for one at least.
            let _ = addresses.push(IpCidr::new(
                source,
                if way.source.is_ipv4() { 32 } else { 128 },
            ));
        });
        // All that leaves goes to the one MAC address; but without a route nothing does.
        let routes = interface.routes_mut();
        match IpAddress::from(way.vip.ip()) {
            IpAddress::Ipv4(vip) => routes.add_default_ipv4_route(vip).map(drop),
            IpAddress::Ipv6(vip) => routes.add_default_ipv6_route(vip).map(drop),
        }
        .map_err(|error| unusable(&error))?;

        let buffer = |octets| SocketBuffer::new(vec![0; octets]);
        let mut socket = Socket::new(buffer(WINDOW), buffer(query.len()));
        // Nothing is gained by waiting: there is one thing to say.
        socket.set_ack_delay(None);
        socket.set_nagle_enabled(false);
        socket
            .connect(interface.context(), way.vip, (way.source, port))
            .map_err(|error| unusable(&error))?;
        let mut sockets = SocketSet::new(Vec::with_capacity(1));
        let handle = sockets.add(socket);
        Ok(Self {
            query,
            replies: Messages::default(),
            wire,
            interface,
            sockets,
            handle,
        })
    }

    fn socket(&mut self) -> &mut Socket<'static> {
        self.sockets.get_mut(self.handle)
    }

    /// Takes in what has come, says what is to be said, and lays out what is to leave.
    fn poll(&mut self, now: StackInstant) {
        self.interface.poll(now, &mut self.wire, &mut self.sockets);
        let socket = self.sockets.get_mut::<Socket<'_>>(self.handle);
        if !self.query.is_empty() && socket.can_send() {
            // The buffer was made for it, so it takes it whole.
            let _ = socket.send_slice(&mem::take(&mut self.query));
            self.interface.poll(now, &mut self.wire, &mut self.sockets);
        }
        self.replies.receive(self.sockets.get_mut(self.handle));
    }

    /// Whether no more can be heard.
    fn is_ended(&mut self) -> bool {
        let socket = self.socket();
        !socket.may_recv() && !matches!(socket.state(), State::SynSent)
    }
}

/// The messages that a probe by TCP, on this way from this port, would read of what a server sends
/// to it, without a link. `server` gets the frames that the probe has sent since it last was asked, and
/// gives the one that comes next and the time until then; with `None` the probe gives up. Pure; takes any
/// octets for a frame. Sequence numbers come of `seed`.
///
/// # Errors
/// A query that no probe can send: the addresses are of two families, or it is longer than 65,535
/// octets.
pub fn converse(
    way: &Way,
    port: u16,
    query: &[u8],
    seed: u64,
    mut server: impl FnMut(Vec<Vec<u8>>) -> Option<(Duration, Vec<u8>)>,
) -> Result<Vec<Vec<u8>>, LinkError> {
    let mut stack = Stack::open(way, port, query, seed)?;
    let mut messages = Vec::new();
    let mut now = StackInstant::ZERO;
    loop {
        stack.poll(now);
        while let Some(message) = stack.replies.next() {
            messages.push(message);
        }
        if stack.is_ended() {
            break;
        }
        let sent = stack.wire.outgoing.drain(..).collect();
        let Some((delay, frame)) = server(sent) else {
            break;
        };
        now += delay.into();
        if let Some(Overheard::Segment { packet }) = overhear(way, port, None, &frame)? {
            stack.wire.incoming = Some(packet);
        }
    }
    stack.socket().abort();
    stack.poll(now);
    Ok(messages)
}

/// What the stack takes for its network.
struct Wire {
    header: [u8; ETHERNET_HEADER],
    /// An IP packet that has come.
    incoming: Option<Vec<u8>>,
    /// Frames that are to leave.
    outgoing: VecDeque<Vec<u8>>,
}

impl Wire {
    fn new(way: &Way) -> Self {
        Self {
            header: ethernet_header(way),
            incoming: None,
            outgoing: VecDeque::new(),
        }
    }
}

impl Device for Wire {
    type RxToken<'a> = Packet;
    type TxToken<'a> = &'a mut Self;

    fn receive(&mut self, _: StackInstant) -> Option<(Packet, &mut Self)> {
        let packet = self.incoming.take()?;
        Some((Packet(packet), self))
    }

    fn transmit(&mut self, _: StackInstant) -> Option<&mut Self> {
        Some(self)
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = MTU;
        capabilities.checksum.ipv4 = Checksum::Tx;
        capabilities.checksum.tcp = Checksum::Tx;
        capabilities
    }
}

/// An IP packet on its way into the stack.
struct Packet(Vec<u8>);

impl RxToken for Packet {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

impl TxToken for &mut Wire {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, write: F) -> R {
        let mut frame = vec![0; ETHERNET_HEADER + length];
        let (header, packet) = frame.split_at_mut(ETHERNET_HEADER);
        header.copy_from_slice(&self.header);
        let written = write(packet);
        self.outgoing.push_back(frame);
        written
    }
}

/// The messages of a connection, each with its length in two octets before it (RFC 1035, 4.2.2).
#[derive(Debug, Default)]
struct Messages {
    octets: Vec<u8>,
}

impl Messages {
    /// Takes what the socket has received.
    fn receive(&mut self, socket: &mut tcp::Socket<'_>) {
        while socket.can_recv() {
            let received = socket.recv(|octets| {
                self.octets.extend_from_slice(octets);
                (octets.len(), octets.len())
            });
            if !received.is_ok_and(|octets| octets > 0) {
                break;
            }
        }
    }

    /// The oldest message, if it is there whole.
    fn next(&mut self) -> Option<Vec<u8>> {
        let length = u16::from_be_bytes(*self.octets.first_chunk()?);
        let end = 2 + usize::from(length);
        let message = self.octets.get(2..end)?.to_vec();
        self.octets.drain(..end);
        Some(message)
    }
}

#[cfg(test)]
mod tests;
