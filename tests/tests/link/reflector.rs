//! A server that answers to the frame that a query came in.

use std::{
    io, mem,
    net::{Ipv4Addr, UdpSocket},
    sync::atomic::{AtomicBool, Ordering},
};

use dns_lb_tests::dns;
use nix::net::if_::if_nametoindex;
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};

use crate::prober::SILENCE;

/// A packet socket on this host's `eth0`, for a server that goes by frames.
fn packet_socket() -> io::Result<Socket> {
    let protocol = (libc::ETH_P_IP as u16).to_be();
    let socket = Socket::new(
        Domain::PACKET,
        Type::RAW,
        Some(Protocol::from(i32::from(protocol))),
    )?;
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: `sockaddr_ll` is an address of a socket.
    let link: &mut libc::sockaddr_ll = unsafe { storage.view_as() };
    link.sll_family = libc::AF_PACKET as u16;
    link.sll_protocol = protocol;
    link.sll_ifindex = if_nametoindex("eth0")?.cast_signed();
    let length = mem::size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the storage has an address of this length in it.
    let address = unsafe { SockAddr::new(storage, length) };
    socket.bind(&address)?;
    socket.set_read_timeout(Some(SILENCE))?;
    Ok(socket)
}

/// Sends each query back to the MAC address that it came from, by no neighbour table.
pub(crate) fn reflect(done: &AtomicBool) {
    const HEADERS: usize = 14 + 20 + 8;
    // What the kernel would refuse.
    let _silent = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, dns::PORT)).unwrap();
    let socket = packet_socket().unwrap();
    let mut buffer = [0; 2048];
    while !done.load(Ordering::Relaxed) {
        let Ok(length) = io::Read::read(&mut &socket, &mut buffer) else {
            continue;
        };
        let frame = &mut buffer[..length];
        if length < HEADERS || frame[23] != 17 || frame[36..38] != dns::PORT.to_be_bytes() {
            continue;
        }
        // MAC addresses, IP addresses, ports. No checksum changes by it.
        for (place, octets) in [(0, 6), (26, 4), (34, 2)] {
            let (one, other) = frame[place..][..2 * octets].split_at_mut(octets);
            one.swap_with_slice(other);
        }
        io::Write::write_all(&mut &socket, frame).unwrap();
    }
}
