//! The frames of probes: how queries are written and what is read from what comes back.
//!
//! Takes any octets. Checksums of what comes are not looked at: virtual interfaces leave them
//! unfinished, and DNS replies have an id and a question to be known by.

use std::net::{IpAddr, SocketAddr};

use etherparse::{IpNumber, LaxIpSlice, PacketBuilder};

use super::{Way, error::LinkError};
use crate::mac::MacAddress;

/// Octets of an Ethernet header.
pub(super) const ETHERNET_HEADER: usize = 14;
pub(super) const ETHERTYPE_IPV4: u16 = 0x0800;
pub(super) const ETHERTYPE_ARP: u16 = 0x0806;
pub(super) const ETHERTYPE_IPV6: u16 = 0x86dd;

/// Time to live and hop limit of what is sent, as Linux has it.
const HOPS: u8 = 64;

/// Octets of the headers of a UDP datagram at most: Ethernet, IPv6, UDP.
const HEADERS: usize = ETHERNET_HEADER + 40 + 8;

/// An Ethernet header in octets.
pub(super) fn ethernet_header(way: &Way) -> [u8; ETHERNET_HEADER] {
    let ethertype = match way.vip {
        SocketAddr::V4(_) => ETHERTYPE_IPV4,
        SocketAddr::V6(_) => ETHERTYPE_IPV6,
    };
    let mut header = [0; ETHERNET_HEADER];
    header[..6].copy_from_slice(&way.destination_mac.0);
    header[6..12].copy_from_slice(&way.source_mac.0);
    header[12..].copy_from_slice(&ethertype.to_be_bytes());
    header
}

/// A query's frame, and the checksum of its UDP header.
pub(super) struct Query {
    pub(super) frame: Vec<u8>,
    pub(super) checksum: u16,
}

/// Writes a query into a frame, with all checksums.
///
/// # Errors
/// The addresses are of two families, or the query is longer than a datagram may be.
pub(super) fn udp_query(way: &Way, port: u16, query: &[u8]) -> Result<Query, LinkError> {
    let ethernet = PacketBuilder::ethernet2(way.source_mac.0, way.destination_mac.0);
    let ip = match (way.source, way.vip.ip()) {
        (IpAddr::V4(source), IpAddr::V4(vip)) => ethernet.ipv4(source.octets(), vip.octets(), HOPS),
        (IpAddr::V6(source), IpAddr::V6(vip)) => ethernet.ipv6(source.octets(), vip.octets(), HOPS),
        _ => return Err(LinkError::invalid("source and VIP are of two families")),
    };
    let mut frame = Vec::with_capacity(HEADERS + query.len());
    ip.udp(port, way.vip.port())
        .write(&mut frame, query)
        .map_err(|error| LinkError::invalid(error.to_string()))?;
    let checksum = read_u16(&frame, frame.len() - query.len() - 2).unwrap_or_default();
    Ok(Query { frame, checksum })
}

/// A frame that was received.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Received<'a> {
    pub(super) link: Link,
    /// Who sent the packet in it.
    pub(super) remote: IpAddr,
    /// Whom the packet is for.
    pub(super) local: IpAddr,
    pub(super) content: Content<'a>,
}

/// From whom to whom a frame went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) source_mac: MacAddress,
    pub(super) destination_mac: MacAddress,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content<'a> {
    /// A datagram. What is missing of it is left out of the payload.
    Udp { ports: Ports, payload: &'a [u8] },
    /// A segment, in its IP packet.
    Tcp { ports: Ports, packet: &'a [u8] },
    /// An ICMP or ICMPv6 message that a packet has not arrived, and what is quoted of the packet.
    Icmp {
        error: IcmpError,
        quotation: Quotation<'a>,
    },
}

/// The ports of a datagram or segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ports {
    pub(super) source: u16,
    pub(super) destination: u16,
}

/// Why a packet has not arrived (RFC 792, RFC 4443).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IcmpError {
    /// The ICMP type: 3 or 11; the ICMPv6 type: 1 or 3.
    pub(super) kind: u8,
    pub(super) code: u8,
    /// Whether that is for want of a socket on the port.
    pub(super) port_unreachable: bool,
}

/// The start of a packet that we may have sent, as an ICMP error quotes it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Quotation<'a> {
    pub(super) local: IpAddr,
    pub(super) vip: IpAddr,
    pub(super) protocol: IpNumber,
    pub(super) ports: Ports,
    /// From the ports on. IPv4 demands no more than 8 octets (RFC 792).
    pub(super) octets: &'a [u8],
}

impl Quotation<'_> {
    /// The checksum of the UDP header.
    pub(super) fn udp_checksum(&self) -> Option<u16> {
        read_u16(self.octets, 6)
    }

    /// The id of the DNS message behind the UDP header, if so much is quoted.
    pub(super) fn dns_id(&self) -> Option<u16> {
        read_u16(self.octets, 8)
    }
}

/// Reads a frame. There is none in what is of no use to a probe.
pub(super) fn read(frame: &[u8]) -> Option<Received<'_>> {
    let (header, packet) = frame.split_first_chunk::<ETHERNET_HEADER>()?;
    let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, ..] = *header;
    let link = Link {
        source_mac: MacAddress([s0, s1, s2, s3, s4, s5]),
        destination_mac: MacAddress([d0, d1, d2, d3, d4, d5]),
    };
    let ip = Ip::read(packet)?;
    let content = match ip.protocol {
        IpNumber::UDP => Content::Udp {
            ports: ports(ip.payload)?,
            payload: udp_payload(ip.payload)?,
        },
        IpNumber::TCP => Content::Tcp {
            ports: ports(ip.payload)?,
            packet,
        },
        IpNumber::ICMP | IpNumber::IPV6_ICMP => {
            // Type, code, checksum and four octets that differ; then the quotation.
            let (&[kind, code, ..], quoted) = ip.payload.split_first_chunk::<8>()?;
            let error = IcmpError::read(ip.protocol, kind, code)?;
            let packet = Ip::read(quoted)?;
            Content::Icmp {
                error,
                quotation: Quotation {
                    local: packet.source,
                    vip: packet.destination,
                    protocol: packet.protocol,
                    ports: ports(packet.payload)?,
                    octets: packet.payload,
                },
            }
        }
        _ => return None,
    };
    Some(Received {
        link,
        remote: ip.source,
        local: ip.destination,
        content,
    })
}

/// What matters of an IP packet, which may be cut short.
struct Ip<'a> {
    source: IpAddr,
    destination: IpAddr,
    protocol: IpNumber,
    payload: &'a [u8],
}

impl<'a> Ip<'a> {
    fn read(octets: &'a [u8]) -> Option<Self> {
        let (ip, _) = LaxIpSlice::from_slice(octets).ok()?;
        let payload = ip.payload();
        (!payload.fragmented).then_some(Self {
            source: ip.source_addr(),
            destination: ip.destination_addr(),
            protocol: payload.ip_number,
            payload: payload.payload,
        })
    }
}

impl IcmpError {
    /// None for messages that do not say that a packet is lost. One that is too big is: but then
    /// its sender has to send it anew, smaller.
    fn read(protocol: IpNumber, kind: u8, code: u8) -> Option<Self> {
        const FRAGMENTATION_NEEDED: u8 = 4;
        let port_unreachable = match (protocol, kind, code) {
            (IpNumber::ICMP, 3, FRAGMENTATION_NEEDED) => return None,
            (IpNumber::ICMP, 3, 3) | (IpNumber::IPV6_ICMP, 1, 4) => true,
            (IpNumber::ICMP, 3 | 11, _) | (IpNumber::IPV6_ICMP, 1 | 3, _) => false,
            _ => return None,
        };
        Some(Self {
            kind,
            code,
            port_unreachable,
        })
    }
}

/// The first four octets of a UDP or TCP header.
fn ports(header: &[u8]) -> Option<Ports> {
    Some(Ports {
        source: read_u16(header, 0)?,
        destination: read_u16(header, 2)?,
    })
}

/// What the length in a UDP header says, or what there is of it.
fn udp_payload(datagram: &[u8]) -> Option<&[u8]> {
    let length = usize::from(read_u16(datagram, 4)?);
    datagram.get(8..length.min(datagram.len()))
}

/// A number in network byte order.
fn read_u16(octets: &[u8], place: usize) -> Option<u16> {
    let octets = octets.get(place..)?.first_chunk()?;
    Some(u16::from_be_bytes(*octets))
}

#[cfg(test)]
mod tests;
