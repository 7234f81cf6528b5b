//! The sockets of probes: the one that frames are sent and received on, and those that hold ports.

use std::{
    io::{self, Read, Write},
    mem,
    net::{IpAddr, SocketAddr, SocketAddrV6},
    os::fd::{AsRawFd, RawFd},
};

use libc::{sock_filter, sockaddr_ll, socklen_t};
use socket2::{Domain, SockAddr, SockAddrStorage, SockFilter, Socket, Type};

use super::{
    error::{LinkError, Operation},
    filter,
};
use crate::mac::MacAddress;

/// Every protocol, in the byte order that `sockaddr_ll` has it in.
const EVERY_PROTOCOL: u16 = (libc::ETH_P_ALL as u16).to_be();

/// Octets of what may wait to be read: some thousand replies. Linux counts several times the length
/// of a short frame, and gives 208 KiB by default, which 256 replies fill.
const RECEIVE_BUFFER: libc::c_int = 4 << 20;

/// A socket that sends and receives whole frames on one interface (packet(7)).
pub(super) struct PacketSocket(Socket);

impl PacketSocket {
    /// Opens a socket that receives what the filter passes, but nothing that this host sends.
    ///
    /// # Errors
    /// No CAP_NET_RAW, or no such interface.
    pub(super) fn open(ifindex: u32, program: &[sock_filter]) -> Result<Self, LinkError> {
        let failed = |error| Operation::OpenPacketSocket.failed(error);
        // With protocol 0 it receives nothing until it is bound, when the filter is there already.
        let kind = Type::RAW.nonblocking();
        let socket = Self(Socket::new(Domain::PACKET, kind, None).map_err(failed)?);
        socket.filter(program)?;
        let on: libc::c_int = 1;
        socket
            .set_option(libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, &on)
            .map_err(failed)?;
        // Beyond the system's limit (net.core.rmem_max) with CAP_NET_ADMIN, else up to it.
        socket
            .set_option(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &RECEIVE_BUFFER)
            .or_else(|_| socket.set_option(libc::SOL_SOCKET, libc::SO_RCVBUF, &RECEIVE_BUFFER))
            .map_err(failed)?;
        socket.bind(ifindex).map_err(failed)?;
        Ok(socket)
    }

    fn bind(&self, ifindex: u32) -> io::Result<()> {
        let mut storage = SockAddrStorage::zeroed();
        // SAFETY: `sockaddr_ll` is an address of a socket, which the storage has room for, and is
        // valid when all zero.
        let link: &mut sockaddr_ll = unsafe { storage.view_as() };
        link.sll_family = libc::AF_PACKET as u16;
        link.sll_protocol = EVERY_PROTOCOL;
        link.sll_ifindex = ifindex.cast_signed();
        // SAFETY: the storage is a `sockaddr_ll` of its own length and family.
        let address = unsafe { SockAddr::new(storage, mem::size_of::<sockaddr_ll>() as socklen_t) };
        self.0.bind(&address)
    }

    /// Replaces the filter, at one instant.
    ///
    /// # Errors
    /// The program is too long.
    pub(super) fn filter(&self, program: &[sock_filter]) -> Result<(), LinkError> {
        attach(&self.0, program).map_err(|error| Operation::Filter.failed(error))
    }

    /// Also receives frames to this MAC address, as long as the socket is open.
    ///
    /// # Errors
    /// The interface is gone or cannot.
    pub(super) fn join(&self, ifindex: u32, mac: MacAddress) -> Result<(), LinkError> {
        let mut address = [0; 8];
        address[..6].copy_from_slice(&mac.0);
        let request = libc::packet_mreq {
            mr_ifindex: ifindex.cast_signed(),
            mr_type: libc::PACKET_MR_UNICAST as u16,
            mr_alen: 6,
            mr_address: address,
        };
        self.set_option(libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &request)
            .map_err(|error| Operation::ReceiveForeign.failed(error))
    }

    /// The interface's MAC address; none if the interface is gone.
    pub(super) fn mac(&self) -> Option<MacAddress> {
        let address = self.0.local_addr().ok()?;
        if address.family() != libc::AF_PACKET as u16 {
            return None;
        }
        // SAFETY: the storage behind the pointer is that of any address of a socket, which is
        // larger than a `sockaddr_ll` and was zeroed; the kernel has put an address of this
        // family into it.
        let link = unsafe { address.as_ptr().cast::<sockaddr_ll>().read_unaligned() };
        // The kernel unbinds the socket of an interface that is unregistered
        // (`packet_notifier` in net/packet/af_packet.c).
        let [a, b, c, d, e, g, ..] = link.sll_addr;
        (link.sll_ifindex > 0).then_some(MacAddress([a, b, c, d, e, g]))
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// The interface is down or gone, or its queue is full.
    pub(super) fn send(&self, frame: &[u8]) -> io::Result<()> {
        (&self.0).write(frame).map(drop)
    }

    /// Receives a frame.
    ///
    /// # Errors
    /// None is there (`WouldBlock`), or the interface has gone down.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        (&self.0).read(buffer)
    }

    fn set_option<T>(&self, level: libc::c_int, name: libc::c_int, value: &T) -> io::Result<()> {
        // SAFETY: the kernel reads as many octets of the value as it is told it has; the options set
        // here take plain values and no addresses.
        let result = unsafe {
            libc::setsockopt(
                self.0.as_raw_fd(),
                level,
                name,
                (&raw const *value).cast(),
                mem::size_of::<T>() as socklen_t,
            )
        };
        match result {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl AsRawFd for PacketSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// What is carried to a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Udp,
    Tcp,
}

/// A port of an address of this host that no other program gets, and whose packets the kernel
/// drops without a word, as long as this lives.
///
/// The reply to a probe is for an address of this host, so that the kernel looks for its socket
/// once the packet socket has seen it. Without one it would tell the VIP that the port is closed.
#[derive(Debug)]
pub(super) struct HeldPort {
    pub(super) number: u16,
    _socket: Socket,
}

impl HeldPort {
    /// Takes a port that is free; the kernel chooses at random.
    ///
    /// # Errors
    /// Not an address of this host, or no port or file is left.
    pub(super) fn take(
        transport: Transport,
        address: IpAddr,
        ifindex: u32,
    ) -> Result<Self, LinkError> {
        Self::open(transport, address, ifindex).map_err(|error| Operation::HoldPort.failed(error))
    }

    fn open(transport: Transport, address: IpAddr, ifindex: u32) -> io::Result<Self> {
        let local = match address {
            // The scope is that of an address that is only valid on its link (RFC 4007).
            IpAddr::V6(ip) if ip.is_unicast_link_local() => {
                SocketAddrV6::new(ip, 0, 0, ifindex).into()
            }
            _ => SocketAddr::new(address, 0),
        };
        let kind = match transport {
            Transport::Udp => Type::DGRAM,
            Transport::Tcp => Type::STREAM,
        };
        let socket = Socket::new(Domain::for_address(local), kind, None)?;
        attach(&socket, &filter::NOTHING)?;
        // The kernel makes it the least that it allows.
        socket.set_recv_buffer_size(0)?;
        socket.bind(&local.into())?;
        if transport == Transport::Tcp {
            // To a listener the kernel hands a SYN-ACK, which the filter then drops (`tcp_v4_rcv`
            // in net/ipv4/tcp_ipv4.c); to a bound socket that does not listen it does not.
            socket.listen(0)?;
        }
        let bound = socket.local_addr()?.as_socket();
        Ok(Self {
            number: bound.map_or(0, |bound| bound.port()),
            _socket: socket,
        })
    }
}

/// Attaches a filter, in place of the one before.
pub(super) fn attach(socket: &Socket, program: &[sock_filter]) -> io::Result<()> {
    let program: Vec<_> = program
        .iter()
        .map(|step| SockFilter::new(step.code, step.jt, step.jf, step.k))
        .collect();
    // Its length is written in 16 bits, which a longer one would wrap round.
    if u16::try_from(program.len()).is_err() {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    socket.attach_filter(&program)
}

#[cfg(test)]
mod tests;
