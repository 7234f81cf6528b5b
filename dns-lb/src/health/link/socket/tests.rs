use std::{
    io::ErrorKind,
    net::{Ipv4Addr, Ipv6Addr, TcpStream, UdpSocket},
    time::Duration,
};

use super::*;

/// An error of ICMP or a reset would be there at once, on the loopback.
const SILENCE: Duration = Duration::from_millis(200);

const LOOPBACKS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
];

/// What comes back for a datagram.
fn send_to(address: IpAddr, port: u16) -> ErrorKind {
    let socket = UdpSocket::bind((address, 0)).unwrap();
    socket.connect((address, port)).unwrap();
    socket.set_read_timeout(Some(SILENCE)).unwrap();
    socket.send(b"query").unwrap();
    socket.recv(&mut [0; 16]).unwrap_err().kind()
}

#[test]
fn a_held_port_takes_nothing_and_refuses_nothing() {
    for address in LOOPBACKS {
        let held = HeldPort::take(Transport::Udp, address, 0).unwrap();
        let port = held.number;
        assert_eq!(send_to(address, port), ErrorKind::WouldBlock);
        drop(held);
        assert_eq!(send_to(address, port), ErrorKind::ConnectionRefused);

        let held = HeldPort::take(Transport::Tcp, address, 0).unwrap();
        let server = (address, held.number).into();
        let connect = || TcpStream::connect_timeout(&server, SILENCE).map_err(|error| error.kind());
        assert_eq!(connect().unwrap_err(), ErrorKind::TimedOut);
        drop(held);
        assert_eq!(connect().unwrap_err(), ErrorKind::ConnectionRefused);
    }
}

#[test]
fn ports_are_held_only_of_addresses_that_this_host_has() {
    let elsewhere = Ipv4Addr::new(192, 0, 2, 99).into();
    for transport in [Transport::Udp, Transport::Tcp] {
        let error = HeldPort::take(transport, elsewhere, 0).unwrap_err();
        assert_eq!(error.operation, Operation::HoldPort);
        assert_eq!(error.error.kind(), ErrorKind::AddrNotAvailable);
    }
}

#[test]
fn the_kernel_takes_the_filter_also_with_many_ports() {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
    for count in [0, 1, 64, 1000] {
        let ports: Vec<u16> = (1..=count).collect();
        attach(&socket, &filter::program(&ports, &ports[..ports.len() / 2])).unwrap();
    }
    let too_long = vec![filter::NOTHING[0]; 1 << 16];
    assert!(attach(&socket, &too_long).is_err());
}
