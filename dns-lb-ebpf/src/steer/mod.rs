//! From frame to verdict: the packet contract.
//!
//! What nearly every packet is, UDP behind plain headers, takes the way through this file; it calls
//! no helper and is one piece of code. All else goes through [`unusual`].
//!
//! What is not inlined becomes a BPF subprogram, and its parameters and result become BTF. They must
//! hold no enum with data, `Option` included: the kernel refuses what Rust makes of those.

mod forward;
mod maps;
mod name;
mod stateful;
mod unusual;
mod verdict;

use dns_lb_common::{
    Bank, COUNTS_QUERIES, Control, DerivedKey, Ending, HAS_LOCAL, NO_BACKEND, OnNoBackend, Policy,
    VipKey, VipSlot, vip_hash,
};

use crate::{
    ethernet::{self, EthernetHeader},
    frame::{Frame, View},
    hash,
    ipv4::Ipv4Header,
    ipv6::Ipv6Header,
    network::{Address, Network},
    ports::Ports,
    udp::{UDP, UdpHeader},
};

pub use self::{
    forward::spend_hop,
    maps::{Maps, Steps},
    name::{Query, choose_bounded, read_query, take_turn},
    stateful::{Segment, choose_connection},
    unusual::{Packet, datagram, fragment, transport},
    verdict::{Kind, Verdict},
};

/// Decides what becomes of a frame that came in by interface `ingress`, and rewrites it if it is
/// to go to a backend.
#[inline(always)]
pub fn steer<M: Steps>(maps: &M, frame: &mut Frame<'_>, ingress: u32) -> Verdict {
    let view = frame.view();
    let Some(ethernet) = view.header::<EthernetHeader>(0) else {
        return Verdict::unclaimed(Ending::NotIp);
    };
    let ether_type = ethernet.ether_type.word();
    if !ethernet::may_carry_ip(ether_type) {
        return Verdict::unclaimed(Ending::NotIp);
    }
    let Some(control) = maps.control() else {
        return Verdict::unclaimed(Ending::NotService);
    };
    let verdict = match ether_type {
        ethernet::IPV4 => plain::<Ipv4Header, M>(maps, view, control),
        ethernet::IPV6 => plain::<Ipv6Header, M>(maps, view, control),
        _ => Verdict::UNUSUAL,
    };
    let verdict = match verdict == Verdict::UNUSUAL {
        true => unusual::unusual(maps, view),
        false => verdict,
    };
    let verdict = verdict.forgotten(view.len());
    if verdict.backend() == NO_BACKEND {
        return verdict;
    }
    forward::forward(maps, frame, ingress, control, verdict)
}

/// Chooses a backend if the packet is what nearly every packet is; what is for a VIP otherwise is
/// [`Verdict::UNUSUAL`].
#[inline(always)]
fn plain<N: Network, M: Steps>(maps: &M, frame: View<'_>, control: &Control) -> Verdict {
    const AT: usize = EthernetHeader::LENGTH;
    let Some(ip) = frame.header::<N>(AT) else {
        return Verdict::unclaimed(Ending::NotIp);
    };
    let bank = control.live_bank();
    let vip = ip.destination().mapped();
    let udp = match ip.is_plain_udp() {
        true => frame.header::<UdpHeader>(AT + N::LENGTH),
        false => None,
    };
    let Some(udp) = udp else {
        // What is not for a VIP ends here too.
        return match find_vip(maps, bank, &VipKey::address(vip)) {
            Some(_) => Verdict::UNUSUAL,
            None => Verdict::unclaimed(Ending::NotService),
        };
    };
    let key = VipKey::new(vip, udp.ports.destination(), UDP);
    let Some(slot) = find_vip(maps, bank, &key) else {
        return Verdict::unclaimed(Ending::NotService);
    };

    // Lengths are looked at only in what is for us: what is not, the host judges.
    let length = ip.datagram_length();
    let mut end = AT + length;
    let mut several_buffers = false;
    if end > frame.len() {
        if end > maps.frame_length() {
            return Verdict::of_service(Ending::MalformedIp, slot);
        }
        end = frame.len();
        several_buffers = true;
    }
    let segment = udp.length.get() as usize;
    if segment < UdpHeader::LENGTH || N::LENGTH + segment > length {
        let ending = match length < N::LENGTH {
            true => Ending::MalformedIp,
            false => Ending::MalformedUdp,
        };
        return Verdict::of_service(ending, slot);
    }
    if ip.source().is_group() || ip.source() == ip.destination() {
        return Verdict::of_service(Ending::BadSource, slot);
    }
    if is_already_steered(maps, frame, slot) {
        return Verdict::of_service(Ending::AlreadySteered, slot);
    }
    let payload = Payload {
        at: AT + N::LENGTH + UdpHeader::LENGTH,
        end,
    };
    let sum = || {
        let ports = hashed_ports(slot, udp.ports);
        ip.source().flow_sum(&control.derived_key, ports)
    };
    let verdict = choose(maps, &control.derived_key, frame, slot, payload, sum);
    verdict.in_several_buffers(several_buffers)
}

/// Where the payload of a UDP datagram lies in the frame, as far as the frame's first buffer goes.
#[derive(Clone, Copy, Debug)]
pub struct Payload {
    /// Offset of its first octet.
    pub at: usize,
    /// Offset behind its last.
    pub end: usize,
}

/// The ports as far as the choice by hash depends on them, for [`Address::flow_sum`].
#[inline(always)]
fn hashed_ports(slot: &VipSlot, ports: Ports) -> u32 {
    match Policy::from_wire(slot.policy) {
        Policy::Source => 0,
        Policy::Hash | Policy::RoundRobin | Policy::Qname => ports.word(),
    }
}

/// Chooses the backend for a UDP datagram that is no fragment, by the service's policy, of which
/// `sum` is the flow sum.
#[inline(always)]
#[must_use]
pub fn by_policy<M: Steps>(
    maps: &M,
    frame: View<'_>,
    slot: &VipSlot,
    payload: Payload,
    sum: u64,
) -> Verdict {
    let Some(control) = maps.control() else {
        return Verdict::of_service(Ending::UnknownBackend, slot);
    };
    choose(maps, &control.derived_key, frame, slot, payload, || sum)
}

#[inline(always)]
fn choose<M: Steps>(
    maps: &M,
    key: &DerivedKey,
    frame: View<'_>,
    slot: &VipSlot,
    payload: Payload,
    sum: impl Fn() -> u64,
) -> Verdict {
    let policy = Policy::from_wire(slot.policy);
    if policy != Policy::Qname && slot.flags & COUNTS_QUERIES == 0 {
        let table_slot = match policy {
            Policy::RoundRobin => maps.advance_cursor(slot.service) as u16,
            _ => hash::slot(sum()),
        };
        return by_slot(maps, slot, table_slot);
    }
    let query = maps.query(key, frame, payload);
    let table_slot = match policy {
        Policy::RoundRobin => maps.advance_cursor(slot.service) as u16,
        Policy::Qname if query.is_plain() => hash::slot(query.name()),
        Policy::Hash | Policy::Source | Policy::Qname => hash::slot(sum()),
    };
    let verdict = match policy == Policy::Qname && query.is_plain() && slot.window_shift != 0 {
        true => maps.bounded(slot, query),
        false => by_slot(maps, slot, table_slot),
    };
    match slot.flags & COUNTS_QUERIES {
        0 => verdict,
        _ if verdict.backend() == NO_BACKEND => verdict,
        _ => verdict.of_kind(query.kind()),
    }
}

/// Takes the backend that the service's table names for a slot.
#[inline(always)]
fn by_slot<M: Maps>(maps: &M, slot: &VipSlot, table_slot: u16) -> Verdict {
    let Some(table) = maps.table(slot.table) else {
        return Verdict::of_service(Ending::UnknownBackend, slot);
    };
    match table.slots[usize::from(table_slot)] {
        NO_BACKEND if slot.on_no_backend == OnNoBackend::Drop as u8 => {
            Verdict::of_service(Ending::NoBackendDropped, slot)
        }
        NO_BACKEND => Verdict::of_service(Ending::NoBackendPassed, slot),
        backend => Verdict::chosen(slot, backend),
    }
}

/// Looks a key up: hash, one slot, whole key compared.
#[inline(always)]
fn find_vip<'m, M: Maps>(maps: &'m M, bank: &Bank, key: &VipKey) -> Option<&'m VipSlot> {
    let index = bank
        .vip_base
        .wrapping_add(vip_hash(bank.vip_seed, bank.vip_shift, key));
    maps.vip(index).filter(|slot| slot.key.matches(key))
}

/// Whether another balancer has sent the frame here for a backend on this host.
#[inline(always)]
fn is_already_steered<M: Steps>(maps: &M, frame: View<'_>, slot: &VipSlot) -> bool {
    slot.flags & HAS_LOCAL != 0 && maps.is_from_peer(frame)
}

/// Whether the frame's sender is another balancer.
#[inline(always)]
#[must_use]
pub fn is_from_peer<M: Steps>(maps: &M, frame: View<'_>) -> bool {
    let (Some(ethernet), Some(control)) = (frame.header::<EthernetHeader>(0), maps.control())
    else {
        return false;
    };
    find_vip(maps, control.live_bank(), &VipKey::peer(ethernet.source)).is_some()
}
