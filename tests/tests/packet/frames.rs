//! Frames, octet by octet: what a builder that only makes good packets cannot say.

use std::net::IpAddr;

use crate::fixture::{BALANCER_MAC, ROUTER_MAC};

pub(crate) const UDP: u8 = 17;
pub(crate) const TCP: u8 = 6;
pub(crate) const SYN: u8 = 0x02;
pub(crate) const ACK: u8 = 0x10;

/// What stands between the fixed IP header and what it carries, and how the datagram was cut.
#[derive(Clone, Debug, Default)]
pub(crate) struct Extra {
    /// IPv4: options, a multiple of four octets.
    pub(crate) options: Vec<u8>,
    /// IPv6: extension headers in their order, by number, each without its first two octets.
    pub(crate) extensions: Vec<(u8, Vec<u8>)>,
    /// Identification, offset in units of eight octets, whether more follow. In IPv6 the fragment
    /// header comes last.
    pub(crate) fragment: Option<(u32, u16, bool)>,
}

/// An IP datagram.
pub(crate) fn datagram(
    from: IpAddr,
    to: IpAddr,
    protocol: u8,
    extra: &Extra,
    body: &[u8],
) -> Vec<u8> {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let (id, offset, more) = extra.fragment.unwrap_or((0, 0, false));
            let header = 20 + extra.options.len();
            let mut octets = vec![0x40 | (header / 4) as u8, 0];
            octets.extend(((header + body.len()) as u16).to_be_bytes());
            octets.extend((id as u16).to_be_bytes());
            octets.extend((offset | if more { 0x2000 } else { 0 }).to_be_bytes());
            octets.extend([63, protocol, 0, 0]);
            octets.extend(from.octets());
            octets.extend(to.octets());
            octets.extend(&extra.options);
            let sum = checksum(&octets);
            octets[10..12].copy_from_slice(&sum.to_be_bytes());
            octets.extend(body);
            octets
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let mut extensions = extra.extensions.clone();
            if let Some((id, offset, more)) = extra.fragment {
                let mut header = ((offset << 3) | u16::from(more)).to_be_bytes().to_vec();
                header.extend(id.to_be_bytes());
                extensions.push((44, header));
            }
            let mut behind = Vec::new();
            let mut numbers: Vec<u8> = extensions.iter().map(|&(number, _)| number).collect();
            numbers.push(protocol);
            for (place, (_, rest)) in extensions.iter().enumerate() {
                behind.push(numbers[place + 1]);
                let is_fragment = numbers[place] == 44;
                behind.push(if is_fragment {
                    0
                } else {
                    (rest.len() / 8) as u8
                });
                behind.extend(rest);
            }
            behind.extend(body);
            let mut octets = vec![0x60, 0, 0, 0];
            octets.extend((behind.len() as u16).to_be_bytes());
            octets.extend([numbers[0], 63]);
            octets.extend(from.octets());
            octets.extend(to.octets());
            octets.extend(behind);
            octets
        }
        _ => unreachable!("both addresses are of one family"),
    }
}

/// The Internet checksum (RFC 1071), over a header whose own checksum is zero.
pub(crate) fn checksum(octets: &[u8]) -> u16 {
    let words = octets
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// A frame from the router with this many VLAN tags; the outer of two is a provider's.
pub(crate) fn frame(tags: usize, datagram: &[u8]) -> Vec<u8> {
    let ether_type: u16 = match datagram.first().map(|octet| octet >> 4) {
        // 7 is no version, and so stands for IPv6 that says a wrong one.
        Some(6 | 7) => 0x86dd,
        _ => 0x0800,
    };
    let mut octets = Vec::from(BALANCER_MAC);
    octets.extend(ROUTER_MAC);
    for left in (1..=tags).rev() {
        let tag: u16 = if left == 2 { 0x88a8 } else { 0x8100 };
        octets.extend(tag.to_be_bytes());
        octets.extend((100 + left as u16).to_be_bytes());
    }
    octets.extend(ether_type.to_be_bytes());
    octets.extend(datagram);
    octets
}

/// A UDP header and its payload.
pub(crate) fn udp(from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
    let mut octets = from.to_be_bytes().to_vec();
    octets.extend(to.to_be_bytes());
    octets.extend((8 + payload.len() as u16).to_be_bytes());
    octets.extend([0, 0]);
    octets.extend(payload);
    octets
}

/// A TCP header without options, and its payload.
pub(crate) fn tcp(from: u16, to: u16, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut octets = from.to_be_bytes().to_vec();
    octets.extend(to.to_be_bytes());
    octets.extend([0, 0, 0, 1, 0, 0, 0, 2, 0x50, flags, 4, 0, 0, 0, 0, 0]);
    octets.extend(payload);
    octets
}

/// An ICMP or ICMPv6 message: type and code, an empty checksum, four octets of the rest, a body.
pub(crate) fn icmp(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut octets = vec![kind, 0, 0, 0, 0, 0, 0, 0];
    octets.extend(body);
    octets
}

/// A name in the form of the wire, from its labels.
pub(crate) fn name(labels: &[&[u8]]) -> Vec<u8> {
    let mut octets = Vec::new();
    for label in labels {
        octets.push(label.len() as u8);
        octets.extend(*label);
    }
    octets.push(0);
    octets
}

/// A query with recursion desired for this name and type, and with an OPT record or not.
pub(crate) fn question(name: &[u8], number: u16, edns: bool) -> Vec<u8> {
    let mut octets = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(edns)];
    octets.extend(name);
    octets.extend(number.to_be_bytes());
    octets.extend([0, 1]);
    if edns {
        octets.extend([0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0]);
    }
    octets
}

/// The query for `www.example.com. A`.
pub(crate) fn example() -> Vec<u8> {
    question(&name(&[b"www", b"example", b"com"]), 1, false)
}
