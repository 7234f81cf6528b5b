//! From frame to verdict: the packet contract, row by row.

use dns_lb_common::{
    Action, Backend, Bank, Control, Egress, Ending, NO_BACKEND, NO_SERVICE, OnNoBackend, Policy,
    SteeringTable, VipKey, VipSlot, vip_hash,
};

use crate::{
    ethernet::{self, EthernetHeader},
    frame::Frame,
    hash::flow_slot,
    ipv4::Ipv4Header,
    udp::{UDP, UdpHeader},
};

/// The maps, as the program sees them. In the kernel each look-up is a few inlined instructions.
pub trait Maps {
    /// The entry of `control`.
    fn control(&self) -> Option<&Control>;
    /// An entry of `vips`.
    fn vip(&self, index: u32) -> Option<&VipSlot>;
    /// An entry of `tables`.
    fn table(&self, index: u32) -> Option<&SteeringTable>;
    /// An entry of `backends`.
    fn backend(&self, index: u32) -> Option<&Backend>;
    /// The round-robin cursor of a service on this CPU; the next call gets the number after it.
    fn advance_cursor(&self, service: u16) -> u64;
    /// Asks the kernel to send the frame out of another interface; false if the devmap has none.
    fn redirect(&self, devmap_key: u16) -> bool;
}

/// How a packet ended, and on whose account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The way it ended.
    pub ending: Ending,
    /// The service, [`NO_SERVICE`] if none claims the packet.
    pub service: u16,
    /// The backend that it was steered to, [`NO_BACKEND`] if to none.
    pub backend: u16,
}

impl Verdict {
    #[inline(always)]
    const fn unclaimed(ending: Ending) -> Self {
        Self {
            ending,
            service: NO_SERVICE,
            backend: NO_BACKEND,
        }
    }

    #[inline(always)]
    const fn of_service(ending: Ending, slot: &VipSlot) -> Self {
        Self {
            ending,
            service: slot.service,
            backend: NO_BACKEND,
        }
    }
}

/// Decides what becomes of a frame that came in by interface `ingress`, and rewrites it if it is
/// to go to a backend.
#[inline(always)]
pub fn steer<M: Maps>(maps: &M, frame: &mut Frame<'_>, ingress: u32) -> Verdict {
    let Some(ethernet) = frame.header::<EthernetHeader>(0) else {
        return Verdict::unclaimed(Ending::NotIpv4);
    };
    if ethernet.ether_type.get() != ethernet::IPV4 {
        return Verdict::unclaimed(Ending::NotIpv4);
    }
    let Some(ip) = frame.header::<Ipv4Header>(EthernetHeader::LENGTH) else {
        // Too short to say for whom it was.
        return Verdict::unclaimed(Ending::NotService);
    };
    let Some(control) = maps.control().filter(|control| control.abi_version != 0) else {
        return Verdict::unclaimed(Ending::Unconfigured);
    };
    let bank = control.live_bank();

    let Some(ip_length) = ip.length() else {
        return malformed(maps, bank, ip, Ending::MalformedIpv4);
    };
    if ip.protocol != UDP {
        return Verdict::unclaimed(Ending::NotService);
    }
    if ip.is_fragment() {
        return Verdict::unclaimed(Ending::Fragment);
    }
    let Some(udp) = frame.header::<UdpHeader>(EthernetHeader::LENGTH + ip_length) else {
        return malformed(maps, bank, ip, Ending::MalformedUdp);
    };
    let Some(slot) = find_vip(
        maps,
        bank,
        &VipKey::new(ip.vip(), udp.destination_port(), UDP),
    ) else {
        return Verdict::unclaimed(Ending::NotService);
    };

    // Lengths are looked at only in what is for us: what is not, the host judges.
    let datagram = ip.total_length.get() as usize;
    if datagram < ip_length || EthernetHeader::LENGTH + datagram > frame.len() {
        return Verdict::of_service(Ending::MalformedIpv4, slot);
    }
    let segment = udp.length.get() as usize;
    if segment < UdpHeader::LENGTH || ip_length + segment > datagram {
        return Verdict::of_service(Ending::MalformedUdp, slot);
    }

    let table_slot = match slot.policy {
        policy if policy == Policy::RoundRobin as u8 => maps.advance_cursor(slot.service) as u16,
        _ => flow_slot(&control.hash_key, ip.flow_words(udp.ports())),
    };
    forward(maps, bank, frame, ingress, slot, table_slot)
}

/// Looks a key up: hash, one slot, whole key compared.
#[inline(always)]
fn find_vip<'m, M: Maps>(maps: &'m M, bank: &Bank, key: &VipKey) -> Option<&'m VipSlot> {
    let index = bank
        .vip_base
        .wrapping_add(vip_hash(bank.vip_seed, bank.vip_shift, key));
    maps.vip(index).filter(|slot| slot.key.matches(key))
}

/// A malformed packet is dropped if it is for a VIP, and none of our business otherwise. Its port
/// may be unknown, so this looks the address up as such.
#[inline(always)]
fn malformed<M: Maps>(maps: &M, bank: &Bank, ip: &Ipv4Header, ending: Ending) -> Verdict {
    match find_vip(maps, bank, &VipKey::new(ip.vip(), 0, 0)) {
        Some(slot) => Verdict::of_service(ending, slot),
        None => Verdict::unclaimed(Ending::NotService),
    }
}

/// Takes the backend that the table names for this slot, and rewrites the frame for it.
#[inline(always)]
fn forward<M: Maps>(
    maps: &M,
    bank: &Bank,
    frame: &mut Frame<'_>,
    ingress: u32,
    slot: &VipSlot,
    table_slot: u16,
) -> Verdict {
    let Some(table) = maps.table(slot.table) else {
        return Verdict::of_service(Ending::UnknownBackend, slot);
    };
    let id = table.slots[table_slot as usize];
    if id == NO_BACKEND {
        let ending = if slot.on_no_backend == OnNoBackend::Drop as u8 {
            Ending::NoBackendDropped
        } else {
            Ending::NoBackendPassed
        };
        return Verdict::of_service(ending, slot);
    }
    let backend = maps.backend(bank.backend_base.wrapping_add(u32::from(id)));
    let Some(backend) = backend.filter(|backend| backend.egress == Egress::Forward as u8) else {
        return Verdict::of_service(Ending::UnknownBackend, slot);
    };
    let ending = if backend.ifindex == ingress {
        Ending::Transmitted
    } else if maps.redirect(backend.devmap_key) {
        Ending::Redirected
    } else {
        return Verdict::of_service(Ending::UnknownBackend, slot);
    };
    // The frame was long enough for this header above; the verifier wants to see it again.
    let Some(ethernet) = frame.header_mut::<EthernetHeader>(0) else {
        return Verdict::of_service(Ending::UnknownBackend, slot);
    };
    ethernet.readdress(backend);
    Verdict {
        ending,
        service: slot.service,
        backend: id,
    }
}

/// Whether a packet that ended so has been sent to a backend.
#[inline(always)]
#[must_use]
pub const fn is_steered(ending: Ending) -> bool {
    matches!(ending.action(), Action::Transmit | Action::Redirect)
}
