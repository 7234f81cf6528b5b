//! Who answers for an address on a link: it is asked for by ARP or neighbour discovery, as a router
//! asks, in frames of our own. The host's own stack has no part in it and remembers nothing.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use etherparse::PacketBuilder;
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::{Instant, sleep, timeout_at},
};

use super::{
    error::{LinkError, Operation},
    filter,
    frame::{ETHERNET_HEADER, ETHERTYPE_ARP, ETHERTYPE_IPV6},
    socket::PacketSocket,
};
use crate::mac::MacAddress;

/// Between two questions.
const GAP: Duration = Duration::from_millis(1);
/// Octets of an answer that are read; both kinds are shorter.
const FRAME: usize = 256;

const BROADCAST: [u8; 6] = [0xff; 6];

/// A question of neighbour discovery, and its answer (RFC 4861, 4.3 and 4.4).
const NEIGHBOR_SOLICITATION: u8 = 135;
const NEIGHBOR_ADVERTISEMENT: u8 = 136;
/// Their hop limit: what has passed a router has another.
const HOPS: u8 = 255;
const SOURCE_LINK_ADDRESS: u8 = 1;
const TARGET_LINK_ADDRESS: u8 = 2;

/// Somebody on the link says that an address is theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    /// The address.
    pub address: IpAddr,
    /// The MAC address that frames to it are to go to.
    pub mac: MacAddress,
}

/// Asks on an interface's link for each of these addresses, twice, and collects who answers within
/// `patience` of the last question. What this host itself would answer is not among it.
///
/// `sources` are this host's addresses on the interface, of which the first of a question's family is
/// named as the one who asks. Without one ARP asks as a host does that looks for a free address (RFC
/// 5227); an IPv6 address is then not asked for.
///
/// # Errors
/// No CAP_NET_RAW, no such interface, or it is down.
pub async fn solicit(
    ifindex: u32,
    addresses: &BTreeSet<IpAddr>,
    sources: &[IpAddr],
    patience: Duration,
) -> Result<BTreeSet<Claim>, LinkError> {
    let socket = PacketSocket::open(ifindex, &filter::ADDRESS_ANSWERS)?;
    let own = socket
        .mac()
        .ok_or_else(|| Operation::OpenPacketSocket.failed(std::io::ErrorKind::NotFound.into()))?;
    let interest = Interest::READABLE | Interest::ERROR;
    // SAFETY: a packet socket's file is one from open to drop, and the `AsyncFd` keeps it open.
    let socket = unsafe { AsyncFd::register_with_interest(socket, interest) }
        .map_err(|error| Operation::OpenPacketSocket.failed(error.into()))?;

    let mut claims = BTreeSet::new();
    for _ in 0..2 {
        for &address in addresses {
            let Some(frame) = question(address, sources, own) else {
                continue;
            };
            let sent = socket.get_ref().send(&frame);
            sent.map_err(|error| Operation::Send.failed(error))?;
            sleep(GAP).await;
        }
        collect(&socket, Instant::now() + patience / 2, &mut claims).await?;
    }
    claims.retain(|claim| addresses.contains(&claim.address));
    Ok(claims)
}

async fn collect(
    socket: &AsyncFd<PacketSocket>,
    deadline: Instant,
    claims: &mut BTreeSet<Claim>,
) -> Result<(), LinkError> {
    let mut buffer = [0; FRAME];
    let receive = |socket: &PacketSocket, buffer: &mut [u8]| socket.receive(buffer);
    let failed = |error| Operation::Receive.failed(error);
    loop {
        let wait = socket.async_io(Interest::READABLE, |socket| receive(socket, &mut buffer));
        match timeout_at(deadline, wait).await {
            Ok(length) => {
                let frame = buffer.get(..length.map_err(failed)?).unwrap_or(&buffer);
                claims.extend(claim(frame));
            }
            Err(_) => return Ok(()),
        }
    }
}

/// The frame that asks for an address; `None`: there is no address to ask from.
fn question(address: IpAddr, sources: &[IpAddr], own: MacAddress) -> Option<Vec<u8>> {
    match address {
        IpAddr::V4(address) => {
            let source = sources.iter().find_map(|source| match source {
                IpAddr::V4(source) => Some(*source),
                IpAddr::V6(_) => None,
            });
            Some(arp_request(
                address,
                source.unwrap_or(Ipv4Addr::UNSPECIFIED),
                own,
            ))
        }
        IpAddr::V6(address) => {
            let source = sources.iter().find_map(|source| match source {
                IpAddr::V4(_) => None,
                IpAddr::V6(source) => Some(*source),
            });
            neighbor_solicitation(address, source?, own)
        }
    }
}

/// RFC 826: an Ethernet header, two types and two lengths, who asks, and whom for.
fn arp_request(address: Ipv4Addr, source: Ipv4Addr, own: MacAddress) -> Vec<u8> {
    let mut frame = Vec::with_capacity(ETHERNET_HEADER + 28);
    frame.extend(BROADCAST);
    frame.extend(own.0);
    frame.extend(ETHERTYPE_ARP.to_be_bytes());
    // Ethernet, IPv4, their lengths, a request.
    frame.extend([0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(own.0);
    frame.extend(source.octets());
    frame.extend([0; 6]);
    frame.extend(address.octets());
    frame
}

/// RFC 4861, 4.3, to the solicited-node address (RFC 4291, 2.7.1).
fn neighbor_solicitation(address: Ipv6Addr, source: Ipv6Addr, own: MacAddress) -> Option<Vec<u8>> {
    let [.., x, y, z] = address.octets();
    let group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, x, y, z];
    let mut payload = address.octets().to_vec();
    payload.extend([SOURCE_LINK_ADDRESS, 1]);
    payload.extend(own.0);
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(own.0, [0x33, 0x33, 0xff, x, y, z])
        .ipv6(source.octets(), group, HOPS)
        .icmpv6_raw(NEIGHBOR_SOLICITATION, 0, [0; 4])
        .write(&mut frame, &payload)
        .ok()?;
    Some(frame)
}

/// What a frame says of who has an address.
fn claim(frame: &[u8]) -> Option<Claim> {
    let (header, packet) = frame.split_first_chunk::<ETHERNET_HEADER>()?;
    let sender = mac(&header[6..])?;
    let (address, mac) = match u16::from_be_bytes([header[12], header[13]]) {
        ETHERTYPE_ARP => arp_reply(packet)?,
        ETHERTYPE_IPV6 => neighbor_advertisement(packet, sender)?,
        _ => return None,
    };
    mac.is_unicast().then_some(Claim { address, mac })
}

fn arp_reply(packet: &[u8]) -> Option<(IpAddr, MacAddress)> {
    let rest = packet.strip_prefix(&[0, 1, 8, 0, 6, 4, 0, 2])?;
    let address: [u8; 4] = *rest.get(6..)?.first_chunk()?;
    Some((Ipv4Addr::from(address).into(), mac(rest)?))
}

/// Extension headers are not read: RFC 4861 knows none before these messages that matters.
fn neighbor_advertisement(packet: &[u8], sender: MacAddress) -> Option<(IpAddr, MacAddress)> {
    let (header, message) = packet.split_first_chunk::<40>()?;
    let is_icmp = header[6] == libc::IPPROTO_ICMPV6 as u8;
    // Type, code, checksum, flags, target.
    let (fixed, mut options) = message.split_first_chunk::<24>()?;
    if !is_icmp || header[7] != HOPS || fixed[..2] != [NEIGHBOR_ADVERTISEMENT, 0] {
        return None;
    }
    let address: [u8; 16] = *fixed[8..].first_chunk()?;
    let mut owner = sender;
    // Each option says how long it is, in units of 8 octets.
    while let [kind, length, ..] = *options
        && length > 0
    {
        let (option, rest) = options.split_at_checked(usize::from(length) * 8)?;
        if kind == TARGET_LINK_ADDRESS {
            owner = mac(&option[2..])?;
        }
        options = rest;
    }
    Some((Ipv6Addr::from(address).into(), owner))
}

fn mac(octets: &[u8]) -> Option<MacAddress> {
    octets.first_chunk().copied().map(MacAddress)
}

#[cfg(test)]
mod tests;
