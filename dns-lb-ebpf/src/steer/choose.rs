//! Choosing a backend by the service's policy.

use dns_lb_common::{COUNTS_QUERIES, DerivedKey, Ending, NO_BACKEND, OnNoBackend, Policy, VipSlot};

use super::{Maps, Query, Steps, Verdict};
use crate::{frame::View, hash, ports::Ports};

/// Where the payload of a UDP datagram lies in the frame, as far as the frame's first buffer goes.
#[derive(Clone, Copy, Debug)]
pub struct Payload {
    /// Offset of its first octet.
    pub at: usize,
    /// Offset behind its last.
    pub end: usize,
}

/// The ports as far as the choice by hash depends on them, for
/// [`Address::flow_sum`](crate::network::Address::flow_sum).
#[inline(always)]
pub(super) const fn hashed_ports(policy: Policy, ports: Ports) -> u32 {
    match policy {
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
    let backend = maps.control().and_then(|control| {
        let way = slot.way() & !VipSlot::LOCAL;
        choose(
            maps,
            &control.derived_key,
            frame,
            slot,
            way,
            payload,
            |_| sum,
        )
    });
    verdict(slot, backend)
}

/// Chooses by what has to be known of the datagram, the [way](VipSlot::way). `sum` is the flow sum
/// under a policy. The backend's id, [`NO_BACKEND`] if the table has nobody; `None` if there is no
/// such table.
#[inline(always)]
pub(super) fn choose<M: Steps>(
    maps: &M,
    key: &DerivedKey,
    frame: View<'_>,
    slot: &VipSlot,
    way: u16,
    payload: Payload,
    sum: impl Fn(Policy) -> u64,
) -> Option<u16> {
    let table_slot = match way {
        VipSlot::HASH => hash::slot(sum(Policy::Hash)),
        VipSlot::SOURCE => hash::slot(sum(Policy::Source)),
        VipSlot::ROUND_ROBIN => maps.advance_cursor(slot.service) as u16,
        VipSlot::QNAME if slot.window_shift == 0 => match maps.query(key, frame, payload, false) {
            query if query.is_plain() => hash::slot(query.name()),
            _ => hash::slot(sum(Policy::Qname)),
        },
        way if way & VipSlot::LOCAL != 0 => return None,
        _ => {
            let counts = slot.flags & COUNTS_QUERIES != 0;
            let query = maps.query(key, frame, payload, counts);
            return choose_by_query(maps, slot, query, sum);
        }
    };
    look_up(maps, slot, table_slot)
}

/// As [`choose`], where the query has had to be read.
#[inline(always)]
fn choose_by_query<M: Steps>(
    maps: &M,
    slot: &VipSlot,
    query: Query,
    sum: impl Fn(Policy) -> u64,
) -> Option<u16> {
    let policy = Policy::from_wire(slot.policy);
    let table_slot = match policy {
        Policy::Qname if query.is_plain() => hash::slot(query.name()),
        Policy::RoundRobin => maps.advance_cursor(slot.service) as u16,
        Policy::Hash | Policy::Source | Policy::Qname => hash::slot(sum(policy)),
    };
    let backend = match policy == Policy::Qname && query.is_plain() && slot.window_shift != 0 {
        true => match maps.bounded(slot, query) {
            verdict if verdict.ending() as u8 == Ending::UnknownBackend as u8 => None,
            verdict => Some(verdict.backend()),
        },
        false => look_up(maps, slot, table_slot),
    }?;
    if backend != NO_BACKEND && slot.flags & COUNTS_QUERIES != 0 {
        maps.count_kind(slot.service, query.kind());
    }
    Some(backend)
}

/// The backend that the service's table names for a slot, as [`choose`].
#[inline(always)]
fn look_up<M: Maps>(maps: &M, slot: &VipSlot, table_slot: u16) -> Option<u16> {
    let table = maps.table(slot.table)?;
    Some(table.slots[usize::from(table_slot)])
}

/// Takes the backend that the service's table names for a slot.
#[inline(always)]
pub(super) fn by_slot<M: Maps>(maps: &M, slot: &VipSlot, table_slot: u16) -> Verdict {
    verdict(slot, look_up(maps, slot, table_slot))
}

/// What comes of the choice.
#[inline(always)]
fn verdict(slot: &VipSlot, backend: Option<u16>) -> Verdict {
    match backend {
        None => Verdict::of_service(Ending::UnknownBackend, slot),
        Some(NO_BACKEND) => without_backend(slot),
        Some(backend) => Verdict::chosen(slot, backend),
    }
}

/// What becomes of a packet that the service has no backend for.
#[inline(always)]
pub(super) fn without_backend(slot: &VipSlot) -> Verdict {
    let ending = match slot.on_no_backend == OnNoBackend::Drop as u8 {
        true => Ending::NoBackendDropped,
        false => Ending::NoBackendPassed,
    };
    Verdict::of_service(ending, slot)
}
