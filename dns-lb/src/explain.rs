//! The packet that somebody asks about: one query, as a router would hand it over.

use std::net::{IpAddr, SocketAddr};

use etherparse::{IpHeaders, PacketBuilder, PacketBuilderStep};
use hickory_proto::{
    op::{Message, MessageType, OpCode, Query},
    rr::{Name, RecordType},
};

use crate::config::Protocol;

/// A query in its packet.
#[derive(Clone, Debug)]
pub struct Packet {
    /// The client.
    pub from: SocketAddr,
    /// The service; of the client's family.
    pub to: SocketAddr,
    /// Over UDP the query itself, over TCP the SYN that opens the connection.
    pub protocol: Protocol,
    /// What the query asks for.
    pub name: Name,
    /// And of which type.
    pub record_type: RecordType,
}

/// Addresses of two hosts that there are not. The program looks only whether the sender is another
/// balancer, which this one is not.
const ROUTER: [u8; 6] = [0x02, 0, 0, 0, 0, 0xfe];
const HERE: [u8; 6] = [0x02, 0, 0, 0, 0, 0x01];

/// The two addresses are of different families.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{from} and {to} are not of one family: both must be IPv4, or both IPv6")]
pub struct FamiliesDiffer {
    from: IpAddr,
    to: IpAddr,
}

impl Packet {
    /// The frame, without FCS.
    ///
    /// # Errors
    ///
    /// If the addresses are of different families.
    ///
    /// # Panics
    ///
    /// Never: a name that exists makes a message that fits.
    pub fn frame(&self) -> Result<Vec<u8>, FamiliesDiffer> {
        const HOPS: u8 = 63;
        let ethernet = PacketBuilder::ethernet2(ROUTER, HERE);
        let ip: PacketBuilderStep<IpHeaders> = match (self.from.ip(), self.to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => ethernet.ipv4(from.octets(), to.octets(), HOPS),
            (IpAddr::V6(from), IpAddr::V6(to)) => ethernet.ipv6(from.octets(), to.octets(), HOPS),
            (from, to) => return Err(FamiliesDiffer { from, to }),
        };
        let (from, to) = (self.from.port(), self.to.port());
        let mut frame = Vec::new();
        let written = match self.protocol {
            Protocol::Udp => ip.udp(from, to).write(&mut frame, &self.message()),
            Protocol::Tcp => ip.tcp(from, to, 1, 65_535).syn().write(&mut frame, &[]),
        };
        written.expect("a vector takes what fits a packet");
        Ok(frame)
    }

    fn message(&self) -> Vec<u8> {
        let mut message = Message::new(0x1234, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(self.name.clone(), self.record_type));
        message.to_vec().expect("one question fits a message")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(from: &str, to: &str, protocol: Protocol) -> Packet {
        Packet {
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
            protocol,
            name: "www.example.com.".parse().unwrap(),
            record_type: RecordType::AAAA,
        }
    }

    #[test]
    fn frames_are_as_long_as_their_parts() {
        let v4 = ("192.0.2.1:4242", "192.0.2.2:53");
        let v6 = ("[2001:db8::1]:4242", "[2001:db8::2]:53");
        for ((from, to), ip) in [(v4, 20), (v6, 40)] {
            let udp = packet(from, to, Protocol::Udp).frame().unwrap();
            assert_eq!(udp.len(), 14 + ip + 8 + 12 + 17 + 4);
            let tcp = packet(from, to, Protocol::Tcp).frame().unwrap();
            assert_eq!(tcp.len(), 14 + ip + 20);
        }
    }

    #[test]
    fn families_do_not_mix() {
        let mixed = packet("192.0.2.1:4242", "[2001:db8::2]:53", Protocol::Udp);
        let error = mixed.frame().unwrap_err().to_string();
        assert!(error.contains("both IPv6"), "{error}");
    }
}
