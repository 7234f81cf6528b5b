//! The way of what nearly every packet is: UDP or TCP behind headers as short as can be, in one
//! buffer, with nothing wrong about it, and a backend there to have it.
//!
//! Whatever is not so goes [another way](mod@super::unusual), where it is found out what it is. So
//! every check here has the same end, and what passes them all has passed few.

use dns_lb_common::{
    Backend, Control, Ending, FlowKey, HAS_LOCAL, NO_BACKEND, Policy, VipKey, VipSlot,
};

use super::{
    Aligned, Payload, Segment, Steps, Verdict,
    choose::{hashed_ports, look_up},
    find_vip,
};
use crate::{
    ethernet::{self, EthernetHeader},
    frame::{View, Wire},
    hash,
    ipv4::Ipv4Header,
    ipv6::Ipv6Header,
    network::{Address, Network},
    tcp::{TCP, TcpHeader},
    udp::{UDP, UdpHeader},
};

/// What has been found of a packet.
pub(super) enum Plain<'m> {
    /// It may be anything.
    Unusual,
    /// It is of no service.
    Ended(Ending),
    /// It is of a service that has no backend for it.
    NoBackend(&'m VipSlot),
    /// It is for a backend: the service's entry, the backend's id and entry.
    Chosen(&'m VipSlot, u16, &'m Backend),
}

/// The headers that all plain packets of a family begin with: one check for all of them.
#[repr(C)]
#[derive(Clone, Copy)]
struct Headers<N> {
    ethernet: EthernetHeader,
    ip: N,
    /// Of TCP, its begin.
    udp: UdpHeader,
}

// SAFETY: headers, which are octets and arrays of octets only.
unsafe impl<N: Network> Wire for Headers<N> {}

/// Chooses a backend if the packet is plain.
#[inline(always)]
pub(super) fn plain<'m, M: Steps>(maps: &'m M, frame: View<'_>) -> Plain<'m> {
    let Some(headers) = frame.header::<Headers<Ipv4Header>>(0) else {
        return Plain::Unusual;
    };
    match headers.ethernet.ether_type.word() {
        ethernet::IPV4 => packet(maps, frame, headers),
        ethernet::IPV6 => match frame.header::<Headers<Ipv6Header>>(0) {
            Some(headers) => packet(maps, frame, headers),
            None => Plain::Unusual,
        },
        ethernet::VLAN | ethernet::PROVIDER_VLAN => Plain::Unusual,
        _ => Plain::Ended(Ending::NotIp),
    }
}

#[inline(always)]
fn packet<'m, N: Network, M: Steps>(
    maps: &'m M,
    frame: View<'_>,
    Headers { ip, udp, .. }: &Headers<N>,
) -> Plain<'m> {
    let Some(control) = maps.control() else {
        return Plain::Unusual;
    };
    let protocol = ip.plain_protocol();
    if protocol != UDP && protocol != TCP {
        return Plain::Unusual;
    }
    let key = VipKey::new(ip.destination().mapped(), udp.ports.destination(), protocol);
    let bank = control.live_bank();
    let Some(slot) = find_vip(maps, bank, &key) else {
        return Plain::Ended(Ending::NotService);
    };
    if EthernetHeader::LENGTH + ip.datagram_length() > frame.len()
        || ip.source().is_group()
        || ip.source() == ip.destination()
        || ip.destination().is_mapped()
    {
        return Plain::Unusual;
    }
    let id = match slot.key.protocol {
        TCP => segment(maps, control, frame, slot, ip),
        _ => datagram(maps, control, frame, slot, ip, udp),
    };
    match id {
        None => Plain::Unusual,
        Some(NO_BACKEND) => Plain::NoBackend(slot),
        Some(id) => match maps.backend(bank.backend_base.wrapping_add(u32::from(id))) {
            None => Plain::Unusual,
            Some(backend) => Plain::Chosen(slot, id, backend),
        },
    }
}

/// Chooses for a UDP datagram.
#[inline(always)]
fn datagram<N: Network, M: Steps>(
    maps: &M,
    control: &Control,
    frame: View<'_>,
    slot: &VipSlot,
    ip: &N,
    udp: &UdpHeader,
) -> Option<u16> {
    let length = usize::from(udp.length.get());
    if length < UdpHeader::LENGTH || N::LENGTH + length > ip.datagram_length() {
        return None;
    }
    let payload = Payload {
        at: size_of::<Headers<N>>(),
        end: EthernetHeader::LENGTH + ip.datagram_length(),
    };
    let key = &control.derived_key;
    let sum = |policy| ip.source().flow_sum(key, hashed_ports(policy, udp.ports));
    let table_slot = match slot.way() {
        VipSlot::HASH => hash::slot(sum(Policy::Hash)),
        VipSlot::SOURCE => hash::slot(sum(Policy::Source)),
        VipSlot::ROUND_ROBIN => maps.advance_cursor(slot.service) as u16,
        VipSlot::QNAME if slot.window_shift == 0 => match maps.query(key, frame, payload, false) {
            query if query.is_plain() => hash::slot(query.name()),
            _ => return by_policy(maps, frame, slot, payload, sum(Policy::Qname)),
        },
        way if way & VipSlot::LOCAL != 0 => return None,
        _ => {
            let sum = sum(Policy::from_wire(slot.policy));
            return by_policy(maps, frame, slot, payload, sum);
        }
    };
    look_up(maps, slot, table_slot)
}

/// Chooses for a UDP datagram that more has to be known of.
#[inline(always)]
fn by_policy<M: Steps>(
    maps: &M,
    frame: View<'_>,
    slot: &VipSlot,
    payload: Payload,
    sum: u64,
) -> Option<u16> {
    chosen(maps.by_policy(frame, slot, payload, sum))
}

/// The backend that a step has chosen, [`NO_BACKEND`] if the table has nobody.
#[inline(always)]
fn chosen(verdict: Verdict) -> Option<u16> {
    match verdict.ending() as u8 == Ending::UnknownBackend as u8 {
        true => None,
        false => Some(verdict.backend()),
    }
}

/// Chooses for a TCP segment.
#[inline(always)]
fn segment<N: Network, M: Steps>(
    maps: &M,
    control: &Control,
    frame: View<'_>,
    slot: &VipSlot,
    ip: &N,
) -> Option<u16> {
    let tcp = frame.header::<TcpHeader>(EthernetHeader::LENGTH + N::LENGTH)?;
    if tcp.length() < TcpHeader::LENGTH
        || N::LENGTH + tcp.length() > ip.datagram_length()
        || slot.flags & HAS_LOCAL != 0
    {
        return None;
    }
    let Aligned(flow) = &Aligned(FlowKey {
        client: ip.source().mapped(),
        vip: ip.destination().mapped(),
        client_port: tcp.ports.source(),
        service_port: tcp.ports.destination(),
    });
    let ports = hashed_ports(Policy::from_wire(slot.policy), tcp.ports);
    let segment = Segment {
        table_slot: hash::slot(ip.source().flow_sum(&control.derived_key, ports)),
        opens: tcp.opens(),
        counts: true,
    };
    chosen(maps.connection(flow, slot, segment))
}
