//! From frame to verdict: the packet contract.
//!
//! What nearly every packet is takes the way through [`plain`](mod@plain), which calls no helper but for
//! TCP. All else goes through [`unusual`](mod@unusual).
//!
//! What is not inlined becomes a BPF subprogram, and its parameters and result become BTF. They must
//! hold no enum with data, `Option` included: the kernel refuses what Rust makes of those.

mod choose;
mod forward;
mod kind;
mod maps;
mod name;
mod plain;
mod stateful;
mod unusual;
mod verdict;

use dns_lb_common::{Action, Bank, Ending, NO_BACKEND, VipKey, VipSlot, vip_hash};

use self::{
    choose::without_backend,
    forward::forward,
    plain::{Plain, plain},
    unusual::unusual,
};
use crate::{ethernet::EthernetHeader, frame::Frame};

pub use self::{
    choose::{Payload, by_policy},
    forward::spend_hop,
    kind::Kind,
    maps::{Maps, Steps},
    name::{Query, choose_bounded, read_long_query, read_query, take_turn, take_turns},
    stateful::{Segment, choose_connection},
    unusual::{Packet, datagram, fragment, is_from_peer, transport},
    verdict::Verdict,
};

/// Decides what becomes of a frame, and rewrites it if it is to go to a backend.
#[inline(always)]
pub fn steer<M: Steps>(maps: &M, frame: &mut Frame<'_>) -> Action {
    let plain = match maps.explains() {
        true => Plain::Unusual,
        false => plain(maps, frame.view()),
    };
    // Each end is counted by itself: what is known of it there costs nothing to find out.
    match plain {
        Plain::Ended(ending) => end(maps, frame, Verdict::unclaimed(ending)),
        Plain::NoBackend(slot) => end(maps, frame, without_backend(slot)),
        Plain::Chosen(slot, id, backend) if backend.ifindex == maps.ingress() => {
            // SAFETY: the header is one of those that were found in a plain packet.
            let ethernet = unsafe { frame.known_header_mut::<EthernetHeader>(0) };
            ethernet.readdress(backend);
            end(maps, frame, Verdict::chosen(slot, id))
        }
        Plain::Chosen(slot, id, backend) => {
            let verdict = forward(maps, frame, backend, Verdict::chosen(slot, id));
            end(maps, frame, verdict.forgotten(frame.view().len()))
        }
        Plain::Unusual => maps.unusual(frame),
    }
}

#[inline(always)]
fn end<M: Maps>(maps: &M, frame: &Frame<'_>, verdict: Verdict) -> Action {
    maps.count(verdict, frame.view().len());
    verdict.ending().action()
}

/// As [`steer`], for any frame.
#[inline(always)]
pub fn steer_unusual<M: Steps>(maps: &M, frame: &mut Frame<'_>) -> Action {
    let mut verdict = unusual(maps, frame.view()).forgotten(frame.view().len());
    if verdict.backend() != NO_BACKEND {
        let backend = maps.control().and_then(|control| {
            let base = control.banks[verdict.bank()].backend_base;
            maps.backend(base.wrapping_add(u32::from(verdict.backend())))
        });
        verdict = match backend {
            Some(backend) => forward(maps, frame, backend, verdict),
            None => verdict.instead(Ending::UnknownBackend),
        }
        .forgotten(frame.view().len());
    }
    match maps.explains() {
        true => maps.explain(verdict),
        false => maps.count(verdict, frame.view().len()),
    }
    verdict.ending().action()
}

/// Looks a key up: hash, one slot, whole key compared.
#[inline(always)]
fn find_vip<'m, M: Maps>(maps: &'m M, bank: &Bank, key: &VipKey) -> Option<&'m VipSlot> {
    let index = bank
        .vip_base
        .wrapping_add(vip_hash(bank.vip_seed, bank.vip_shift, key));
    maps.vip(index).filter(|slot| slot.key.matches(key))
}

/// Something on the stack that is written eight octets at a time: the verifier wants them aligned
/// there.
#[repr(align(8))]
struct Aligned<T>(T);
