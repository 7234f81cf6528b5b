//! What is not plain: tags, options, extension headers, fragments, ICMP errors, services with a server
//! on this host, and what is malformed.

use dns_lb_common::{
    Control, Ending, FlowKey, FragmentKey, HAS_LOCAL, NO_BACKEND, NO_SERVICE, Policy, VipKey,
    VipSlot,
};

use super::{
    Aligned, Payload, Segment, Steps, Verdict,
    choose::{by_slot, hashed_ports},
    find_vip,
    stateful::{find_datagram, remember_datagram},
};
use crate::{
    ethernet::{self, EthernetHeader},
    frame::{View, forgotten},
    hash,
    icmp::{ICMP, IcmpHeader},
    ipv4::Ipv4Header,
    ipv6::Ipv6Header,
    network::{Address, Contents, Network, Shape},
    ports::Ports,
    tcp::{TCP, TcpHeader},
    udp::{UDP, UdpHeader},
};

/// Chooses a backend for any frame.
#[inline(always)]
pub(super) fn unusual<M: Steps>(maps: &M, frame: View<'_>) -> Verdict {
    let Some((ether_type, at)) = ethernet::payload(frame) else {
        return Verdict::unclaimed(Ending::NotIp);
    };
    let at = forgotten(at, frame.len());
    match ether_type {
        ethernet::IPV4 => maps.datagram::<Ipv4Header>(frame, at),
        ethernet::IPV6 => maps.datagram::<Ipv6Header>(frame, at),
        _ => Verdict::unclaimed(Ending::NotIp),
    }
}

/// Chooses a backend for the datagram whose IP header is at `at`.
#[inline(always)]
#[must_use]
pub fn datagram<N: Network, M: Steps>(maps: &M, frame: View<'_>, at: usize) -> Verdict {
    let (Some(ip), Some(control)) = (frame.header::<N>(at), maps.control()) else {
        return Verdict::unclaimed(Ending::NotIp);
    };
    if ip.destination().is_mapped() {
        return Verdict::unclaimed(Ending::NotService);
    }
    let vip = ip.destination().mapped();
    let Some(address) = find_vip(maps, control.live_bank(), &VipKey::address(vip))
        .filter(|slot| slot.service != NO_SERVICE)
    else {
        return Verdict::unclaimed(Ending::NotService);
    };
    let contents = ip.contents(maps, frame, at);
    let mut packet = Packet {
        flow: FlowKey {
            client: ip.source().mapped(),
            vip,
            client_port: 0,
            service_port: 0,
        },
        end: (at + ip.datagram_length()) as u32,
        contents,
        family: N::ICMP,
        has_bad_source: ip.source().is_group() || ip.source() == ip.destination(),
        is_quoted: false,
    };
    match (contents.shape(), contents.protocol()) {
        (Shape::Malformed, _) => Verdict::of_service(Ending::MalformedIp, address),
        (Shape::TooLong, _) => Verdict::of_service(Ending::ExtensionHeaders, address),
        (Shape::CutShort, _) => cut_short(maps, frame, Ending::MalformedIp, address),
        (_, UDP | TCP) => maps.transport(frame, &mut packet, address),
        (Shape::Whole, protocol) if protocol == N::ICMP => {
            match quote::<N, M>(maps, frame, contents.at()) {
                (Shape::CutShort, ..) => cut_short(maps, frame, Ending::MalformedIcmp, address),
                (Shape::Whole | Shape::FirstFragment, Some(quoted), contents)
                    if quoted.source() == ip.destination() =>
                {
                    packet.flow.client = quoted.destination().mapped();
                    packet.contents = contents;
                    packet.is_quoted = true;
                    maps.transport(frame, &mut packet, address)
                }
                _ => Verdict::of_service(Ending::Icmp, address),
            }
        }
        _ => Verdict::unclaimed(Ending::NotService),
    }
}

/// The packet that the ICMP error at `at` quotes. Without one the message is none, or the quoted
/// packet neither UDP nor TCP.
#[inline(always)]
fn quote<'a, N: Network, M: Steps>(
    maps: &M,
    frame: View<'a>,
    at: usize,
) -> (Shape, Option<&'a N>, Contents) {
    let nothing = Contents::unknown(Shape::Whole);
    let Some(icmp) = frame.header::<IcmpHeader>(at) else {
        return (Shape::CutShort, None, nothing);
    };
    if !N::is_error(icmp) {
        return (Shape::Whole, None, nothing);
    }
    let at = at + IcmpHeader::LENGTH;
    let Some(ip) = frame.header::<N>(at) else {
        return (Shape::CutShort, None, nothing);
    };
    let contents = ip.contents(maps, frame, at);
    match contents.protocol() {
        UDP | TCP => (contents.shape(), Some(ip), contents),
        _ => (contents.shape(), None, contents),
    }
}

/// A packet for a VIP, or one that a backend sent and an ICMP error quotes, seen from the client's
/// side. It is handed over in memory, eight octets at a time, which the verifier wants aligned.
#[repr(C, align(8))]
pub struct Packet {
    /// Without ports until [`transport`] has read them.
    flow: FlowKey,
    /// Where the datagram ends in the frame; of an ICMP error, the error.
    end: u32,
    contents: Contents,
    /// The number of its family's ICMP.
    family: u8,
    /// Whether no packet may come from where this one comes from.
    has_bad_source: bool,
    /// Whether an ICMP error quotes it. Then its ports are the wrong way round.
    is_quoted: bool,
}

/// Chooses a backend for a UDP datagram or a TCP segment, a fragment of one, or an ICMP error about
/// one; `address` is the entry of the VIP, whatever the port.
#[inline(always)]
#[must_use]
pub fn transport<M: Steps>(
    maps: &M,
    frame: View<'_>,
    packet: &mut Packet,
    address: &VipSlot,
) -> Verdict {
    let Some(control) = maps.control() else {
        return Verdict::of_service(Ending::UnknownBackend, address);
    };
    let contents = packet.contents;
    let (at, protocol) = (contents.at(), contents.protocol());
    let ports = match contents.shape() {
        Shape::LaterFragment => Ports::NONE,
        // What lies behind the error's end is no part of what it quotes.
        _ if packet.is_quoted && at + size_of::<Ports>() > packet.end as usize => {
            return Verdict::of_service(Ending::MalformedIcmp, address);
        }
        _ => match frame.header::<Ports>(at) {
            Some(ports) if packet.is_quoted => ports.reversed(),
            Some(ports) => *ports,
            None => return cut_short(maps, frame, packet.malformed(), address),
        },
    };
    let key = match contents.shape() {
        Shape::LaterFragment => VipKey::fragments(packet.flow.vip, protocol),
        _ => VipKey::new(packet.flow.vip, ports.destination(), protocol),
    };
    let Some(slot) = find_vip(maps, control.bank_of(address), &key) else {
        return match packet.is_quoted {
            true => Verdict::of_service(Ending::Icmp, address),
            false => Verdict::unclaimed(Ending::NotService),
        };
    };
    let end = packet.end as usize;
    let several_buffers = end > frame.len();
    if end < at || several_buffers && end > maps.frame_length() {
        return Verdict::of_service(Ending::MalformedIp, slot);
    }
    let mut opens = false;
    if !packet.is_quoted && contents.shape() != Shape::LaterFragment {
        let length = match protocol {
            TCP => frame.header::<TcpHeader>(at).map(|tcp| {
                opens = tcp.opens();
                (tcp.length(), TcpHeader::LENGTH)
            }),
            _ => frame.header::<UdpHeader>(at).map(|udp| {
                let length = usize::from(udp.length.get());
                (length, UdpHeader::LENGTH)
            }),
        };
        let Some((length, least)) = length else {
            return cut_short(maps, frame, packet.malformed(), slot);
        };
        // The length of UDP is the whole datagram's, of which a fragment is a part.
        let present = match (protocol, contents.shape()) {
            (UDP, Shape::FirstFragment) => least,
            _ => length,
        };
        if length < least || at + present > end {
            return Verdict::of_service(packet.malformed(), slot);
        }
    }
    if packet.has_bad_source {
        return Verdict::of_service(Ending::BadSource, slot);
    }
    let sum = packet.sum(control, hashed_ports(Policy::from_wire(slot.policy), ports));
    if is_already_steered(maps, frame, slot) {
        return Verdict::of_service(Ending::AlreadySteered, slot);
    }
    let contents = contents.forgotten(frame.len());
    let (at, protocol) = (contents.at(), contents.protocol());
    let opens = forgotten(usize::from(opens), frame.len()) != 0;
    let is_fragment = contents.shape() != Shape::Whole && !packet.is_quoted;
    let verdict = match protocol {
        UDP if is_fragment => maps.fragment(packet, slot, NO_BACKEND),
        UDP if !packet.is_quoted => {
            let payload = Payload {
                at: at + UdpHeader::LENGTH,
                end: end.min(frame.len()),
            };
            maps.by_policy(frame, slot, payload, sum)
        }
        _ if is_fragment && ports == Ports::NONE => maps.fragment(packet, slot, NO_BACKEND),
        _ => {
            let verdict = by_flow(maps, packet, slot, ports, sum, opens);
            match is_fragment {
                true => maps.fragment(packet, slot, verdict.backend()),
                false => verdict,
            }
        }
    };
    verdict.in_several_buffers(several_buffers).of_local(slot)
}

/// Whether another balancer has sent the frame here for a backend on this host.
#[inline(always)]
fn is_already_steered<M: Steps>(maps: &M, frame: View<'_>, slot: &VipSlot) -> bool {
    slot.flags & HAS_LOCAL != 0 && maps.is_from_peer(frame, slot)
}

/// Whether the frame's sender is another balancer of the service.
#[inline(always)]
#[must_use]
pub fn is_from_peer<M: Steps>(maps: &M, frame: View<'_>, slot: &VipSlot) -> bool {
    let (Some(ethernet), Some(control)) = (frame.header::<EthernetHeader>(0), maps.control())
    else {
        return false;
    };
    let key = VipKey::peer(ethernet.source, slot.service);
    find_vip(maps, control.bank_of(slot), &key).is_some()
}

/// The end of a packet whose headers go beyond the first buffer: if the frame does too, it is not
/// the packet's fault.
#[inline(always)]
fn cut_short<M: Steps>(maps: &M, frame: View<'_>, ending: Ending, slot: &VipSlot) -> Verdict {
    match maps.frame_length() > frame.len() {
        true => Verdict::of_service(Ending::NotLinear, slot),
        false => Verdict::of_service(ending, slot),
    }
}

/// Chooses for a TCP segment, or for what an ICMP error quotes. Where a service does not go by flow,
/// nobody can tell whose the quoted UDP datagram is.
#[inline(always)]
fn by_flow<M: Steps>(
    maps: &M,
    packet: &mut Packet,
    slot: &VipSlot,
    ports: Ports,
    sum: u64,
    opens: bool,
) -> Verdict {
    let table_slot = hash::slot(sum);
    if packet.contents.protocol() != TCP {
        return by_slot(maps, slot, table_slot);
    }
    packet.flow.client_port = ports.source();
    packet.flow.service_port = ports.destination();
    let segment = Segment {
        table_slot,
        opens,
        counts: !packet.is_quoted,
    };
    maps.connection(&packet.flow, slot, segment)
}

/// Chooses for a fragment: whoever has the datagram already, or one who has it from now on, which is
/// `chosen` if that is a backend. Otherwise it goes by what tells the datagram, and so do all its
/// other fragments, also on another balancer.
#[inline(always)]
#[must_use]
pub fn fragment<M: Steps>(maps: &M, packet: &Packet, slot: &VipSlot, chosen: u16) -> Verdict {
    let Some(control) = maps.control() else {
        return Verdict::of_service(Ending::UnknownBackend, slot);
    };
    let contents = packet.contents;
    let protocol = match packet.family {
        ICMP => contents.protocol(),
        _ => 0,
    };
    let Aligned(key) = &Aligned(FragmentKey {
        source: packet.flow.client,
        destination: packet.flow.vip,
        identification: contents.identification(),
        protocol: forgotten(protocol.into(), contents.to_word() as usize) as u32,
    });
    let mut verdict = Verdict::chosen(slot, chosen);
    if chosen == NO_BACKEND {
        let known = find_datagram(maps, key, slot);
        if known.backend() != NO_BACKEND {
            return known;
        }
        let identification = match Policy::from_wire(slot.policy) {
            Policy::Source => 0,
            _ => contents.identification(),
        };
        verdict = by_slot(maps, slot, hash::slot(packet.sum(control, identification)));
    }
    remember_datagram(maps, key, slot, verdict);
    verdict
}

impl Packet {
    /// How it ends if its transport header is not what it says.
    #[inline(always)]
    const fn malformed(&self) -> Ending {
        match self.contents.protocol() {
            _ if self.is_quoted => Ending::MalformedIcmp,
            TCP => Ending::MalformedTcp,
            _ => Ending::MalformedUdp,
        }
    }

    /// What the client and a word of ports, or what stands for them, come to.
    #[inline(always)]
    fn sum(&self, control: &Control, ports: u32) -> u64 {
        let key = &control.derived_key;
        match self.family {
            ICMP => {
                let [.., a, b, c, d] = self.flow.client;
                [a, b, c, d].flow_sum(key, ports)
            }
            _ => self.flow.client.flow_sum(key, ports),
        }
    }
}
