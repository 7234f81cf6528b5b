//! Reading packets with etherparse, and the question with hickory-proto.

use dns_lb_common::QueryType;
use etherparse::{
    Ethernet2HeaderSlice, IpNumber, Ipv4HeaderSlice, Ipv6FragmentHeaderSlice, Ipv6HeaderSlice,
    Ipv6RawExtHeaderSlice, SingleVlanHeaderSlice, TcpHeaderSlice, UdpHeaderSlice,
};
use hickory_proto::{
    op::{Header, MessageType, OpCode, Query},
    serialize::binary::{BinDecodable as _, BinDecoder, BinEncodable as _},
};

pub(super) const UDP: u8 = IpNumber::UDP.0;
pub(super) const TCP: u8 = IpNumber::TCP.0;
const ICMP: u8 = IpNumber::ICMP.0;
pub(super) const ICMPV6: u8 = IpNumber::IPV6_ICMP.0;

/// Extension headers that are looked behind.
const MOST_EXTENSIONS: usize = 8;

/// An IP packet in a frame.
pub(super) struct Arrived<'a> {
    /// Offset of the IP header.
    pub(super) at: usize,
    pub(super) network: Network,
    packet: &'a [u8],
}

/// What an IP header and what follows it say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Network {
    /// IPv4-mapped for IPv4, like the destination.
    pub(super) source: [u8; 16],
    pub(super) destination: [u8; 16],
    pub(super) protocol: u8,
    pub(super) shape: Shape,
    pub(super) identification: u32,
    /// Octets up to the transport header.
    pub(super) length: usize,
    /// Octets of the datagram, as it says.
    pub(super) total_length: usize,
    /// The number of its family's ICMP.
    pub(super) icmp: u8,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Shape {
    Whole,
    First,
    Later,
    Malformed,
    CutShort,
    TooLong,
}

pub(super) enum Carried {
    Udp,
    Tcp { opens: bool },
}

/// Finds the IP packet behind at most two tags.
pub(super) fn arrived(frame: &[u8]) -> Option<Arrived<'_>> {
    let (at, icmp) = ip_at(frame)?;
    let packet = &frame[at..];
    Some(Arrived {
        at,
        network: network(packet, icmp)?,
        packet,
    })
}

/// Where the IP header begins, and the number of its family's ICMP.
fn ip_at(frame: &[u8]) -> Option<(usize, u8)> {
    let mut ether_type = Ethernet2HeaderSlice::from_slice(frame).ok()?.ether_type().0;
    let mut at = 14;
    for _ in 0..2 {
        if matches!(ether_type, 0x8100 | 0x88a8) {
            let tag = SingleVlanHeaderSlice::from_slice(&frame[at..]).ok()?;
            ether_type = tag.ether_type().0;
            at += 4;
        }
    }
    match ether_type {
        0x0800 => Some((at, ICMP)),
        0x86dd => Some((at, ICMPV6)),
        _ => None,
    }
}

/// Reads an IP header; `None` if its fixed part is not there.
pub(super) fn network(packet: &[u8], icmp: u8) -> Option<Network> {
    match icmp {
        ICMP => ipv4(packet),
        _ => ipv6(packet),
    }
}

fn ipv4(packet: &[u8]) -> Option<Network> {
    let fixed: &[u8; 20] = packet.first_chunk()?;
    let mapped = |octets: &[u8]| {
        let octets: [u8; 4] = octets.try_into().unwrap();
        std::net::Ipv4Addr::from(octets).to_ipv6_mapped().octets()
    };
    // With zeros behind, so that options beyond the frame's end are no fault of the header itself.
    let mut padded = packet.to_vec();
    padded.resize(packet.len() + 60, 0);
    let mut network = Network {
        source: mapped(&fixed[12..16]),
        destination: mapped(&fixed[16..20]),
        protocol: 0,
        shape: Shape::Malformed,
        identification: 0,
        length: 0,
        total_length: 0,
        icmp: ICMP,
    };
    let Ok(header) = Ipv4HeaderSlice::from_slice(&padded) else {
        return Some(network);
    };
    network.protocol = header.protocol().0;
    network.identification = header.identification().into();
    network.length = header.slice().len();
    network.total_length = header.total_len().into();
    network.shape = shape(header.fragments_offset().value(), header.more_fragments());
    Some(network)
}

fn shape(offset: u16, more: bool) -> Shape {
    match (offset, more) {
        (0, false) => Shape::Whole,
        (0, true) => Shape::First,
        _ => Shape::Later,
    }
}

fn ipv6(packet: &[u8]) -> Option<Network> {
    let fixed: &[u8; 40] = packet.first_chunk()?;
    let mut network = Network {
        source: fixed[8..24].try_into().unwrap(),
        destination: fixed[24..40].try_into().unwrap(),
        protocol: 0,
        shape: Shape::Malformed,
        identification: 0,
        length: 40,
        total_length: 0,
        icmp: ICMPV6,
    };
    let Ok(header) = Ipv6HeaderSlice::from_slice(packet) else {
        return Some(network);
    };
    network.total_length = 40 + usize::from(header.payload_length());
    network.shape = Shape::Whole;
    let mut next = header.next_header();
    for passed in 0..=MOST_EXTENSIONS {
        let behind = packet.get(network.length..).unwrap_or_default();
        match next {
            IpNumber::IPV6_HEADER_HOP_BY_HOP
            | IpNumber::IPV6_ROUTE_HEADER
            | IpNumber::IPV6_DESTINATION_OPTIONS
            | IpNumber::IPV6_FRAGMENTATION_HEADER
                if passed == MOST_EXTENSIONS =>
            {
                break;
            }
            IpNumber::IPV6_HEADER_HOP_BY_HOP
            | IpNumber::IPV6_ROUTE_HEADER
            | IpNumber::IPV6_DESTINATION_OPTIONS => {
                // With zeros behind: an extension header may end beyond the frame, if its first
                // eight octets are there.
                let mut padded = behind.to_vec();
                padded.resize(behind.len() + 2_048, 0);
                let Ok(extension) = Ipv6RawExtHeaderSlice::from_slice(&padded) else {
                    unreachable!("long enough for any");
                };
                if behind.len() < 8 {
                    network.shape = Shape::CutShort;
                    return Some(network);
                }
                next = extension.next_header();
                network.length += extension.slice().len();
            }
            IpNumber::IPV6_FRAGMENTATION_HEADER => {
                let Ok(fragment) = Ipv6FragmentHeaderSlice::from_slice(behind) else {
                    network.shape = Shape::CutShort;
                    return Some(network);
                };
                next = fragment.next_header();
                network.length += 8;
                let shape = shape(
                    fragment.fragment_offset().value(),
                    fragment.more_fragments(),
                );
                if shape != Shape::Whole {
                    network.shape = shape;
                    network.identification = fragment.identification();
                }
                if shape == Shape::Later {
                    // Whose first fragment tells more than this one is taken for UDP.
                    network.protocol = match next {
                        IpNumber::IPV6_HEADER_HOP_BY_HOP
                        | IpNumber::IPV6_ROUTE_HEADER
                        | IpNumber::IPV6_DESTINATION_OPTIONS
                        | IpNumber::IPV6_FRAGMENTATION_HEADER => UDP,
                        _ => next.0,
                    };
                    return Some(network);
                }
            }
            _ => {
                network.protocol = next.0;
                return Some(network);
            }
        }
    }
    network.shape = Shape::TooLong;
    Some(network)
}

impl<'a> Arrived<'a> {
    /// What is in the frame behind the headers up to transport.
    pub(super) fn behind(&self, network: &Network) -> &'a [u8] {
        self.packet.get(network.length..).unwrap_or_default()
    }

    /// Whether the datagram is no longer than the frame and no shorter than its headers.
    pub(super) fn is_as_long_as_it_says(&self, network: &Network) -> bool {
        (network.length..=self.packet.len()).contains(&network.total_length)
    }

    /// What the datagram carries, if its transport header is sound.
    pub(super) fn carried(&self) -> Option<Carried> {
        let network = &self.network;
        let room = network.total_length - network.length;
        if network.protocol == TCP {
            let mut padded = self.behind(network).to_vec();
            if padded.len() < 20 {
                return None;
            }
            padded.resize(padded.len() + 40, 0);
            let header = TcpHeaderSlice::from_slice(&padded).ok()?;
            let opens = header.syn() && !header.ack();
            return (header.slice().len() <= room).then_some(Carried::Tcp { opens });
        }
        let header = UdpHeaderSlice::from_slice(self.behind(network)).ok()?;
        let length = usize::from(header.length());
        let present = match network.shape {
            Shape::First => 8,
            _ => length,
        };
        (length >= 8 && present <= room).then_some(Carried::Udp)
    }

    /// The payload of a UDP datagram, as far as the IP datagram goes.
    pub(super) fn message(&self) -> &'a [u8] {
        &self.packet[self.network.length + 8..self.network.total_length]
    }

    /// Whether an ICMP message is an error that quotes a packet, and what follows its header.
    pub(super) fn icmp(&self) -> Option<(bool, &'a [u8])> {
        let message = self.behind(&self.network);
        let header: &[u8; 8] = message.first_chunk()?;
        let is_error = match self.network.icmp {
            ICMP => matches!(header[0], 3 | 11 | 12),
            _ => matches!(header[0], 1..=4),
        };
        Some((is_error, &message[8..]))
    }
}

/// The ports that UDP and TCP begin with.
pub(super) fn ports(segment: &[u8]) -> Option<(u16, u16)> {
    let [a, b, c, d] = *segment.first_chunk()?;
    Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
}

/// Whether an address is a group's or everybody's.
pub(super) fn is_group(address: &[u8; 16]) -> bool {
    match std::net::Ipv6Addr::from(*address).to_ipv4_mapped() {
        Some(v4) => v4.is_multicast() || v4.is_broadcast(),
        None => address[0] == 0xff,
    }
}

/// A plain query's question.
pub(super) struct Question {
    /// As on the wire, without the root label.
    pub(super) name: Vec<u8>,
    pub(super) query_type: QueryType,
    pub(super) edns: bool,
}

/// The question of a plain query: one question, no record but additional ones, no compression.
pub(super) fn question(message: &[u8]) -> Option<Question> {
    let mut decoder = BinDecoder::new(message);
    let header = Header::read(&mut decoder).ok()?;
    let counts = &header.counts;
    if header.metadata.message_type != MessageType::Query
        || header.metadata.op_code != OpCode::Query
        || (counts.queries, counts.answers, counts.authorities) != (1, 0, 0)
    {
        return None;
    }
    let query = Query::read(&mut decoder).ok()?;
    let name = query.name().to_bytes().ok()?;
    // A compressed name has fewer octets in the message than by itself.
    if decoder.index() != 12 + name.len() + 4 {
        return None;
    }
    Some(Question {
        query_type: QueryType::of(query.query_type().into()),
        edns: counts.additionals != 0 && message[decoder.index()..].starts_with(&[0, 0, 41]),
        name: name[..name.len() - 1].to_vec(),
    })
}

/// Takes a hop off the packet in a frame, as a router would; false if none is left.
pub(super) fn spend_hop(frame: &mut [u8]) -> bool {
    let (at, icmp) = ip_at(frame).expect("a packet that was steered");
    let packet = &mut frame[at..];
    let hops = if icmp == ICMP { 8 } else { 7 };
    if packet[hops] <= 1 {
        return false;
    }
    packet[hops] -= 1;
    if icmp == ICMP {
        // RFC 1624, equation 3, for the word that has lost 0x0100.
        let sum = u32::from(!u16::from_be_bytes([packet[10], packet[11]])) + 0xfeff;
        let folded = !((sum & 0xffff) + (sum >> 16)) as u16;
        packet[10..12].copy_from_slice(&folded.to_be_bytes());
    }
    true
}
