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
    let Some(control) = maps.control() else {
        return Verdict::of_service(Ending::UnknownBackend, slot);
    };
    let policy = Policy::from_wire(slot.policy);
    let counts = slot.flags & COUNTS_QUERIES != 0;
    let query = match counts || policy == Policy::Qname {
        true => read(maps, &control.derived_key, frame, payload, counts),
        false => Query::NONE,
    };
    let verdict = match policy {
        Policy::Qname if query.is_plain() && slot.window_shift != 0 => maps.bounded(slot, query),
        Policy::Qname if query.is_plain() => by_slot(maps, slot, hash::slot(query.name())),
        Policy::RoundRobin => by_slot(maps, slot, maps.advance_cursor(slot.service) as u16),
        Policy::Hash | Policy::Source | Policy::Qname => by_slot(maps, slot, hash::slot(sum)),
    };
    if counts && verdict.backend() != NO_BACKEND {
        maps.count_kind(slot.service, query.kind());
    }
    verdict
}

/// Reads a query, however long its name.
#[inline(always)]
fn read<M: Steps>(
    maps: &M,
    key: &DerivedKey,
    frame: View<'_>,
    payload: Payload,
    counts: bool,
) -> Query {
    match maps.query(key, frame, payload, counts) {
        Query::LONG => maps.long_query(key, frame, payload, counts),
        query => query,
    }
}

/// The backend that the service's table names for a slot, [`NO_BACKEND`] if nobody. `None` if there is
/// no such table.
#[inline(always)]
pub(super) fn look_up<M: Maps>(maps: &M, slot: &VipSlot, table_slot: u16) -> Option<u16> {
    let table = maps.table(slot.table)?;
    Some(table.slots[usize::from(table_slot)])
}

/// Takes the backend that the service's table names for a slot.
#[inline(always)]
pub(super) fn by_slot<M: Maps>(maps: &M, slot: &VipSlot, table_slot: u16) -> Verdict {
    match look_up(maps, slot, table_slot) {
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
