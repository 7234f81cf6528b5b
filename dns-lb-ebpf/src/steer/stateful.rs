//! What is remembered: TCP connections, and the datagrams that come in fragments.
//!
//! A connection is pinned in two steps. Its first packet only makes an entry among those of which
//! one packet has been seen; a second one that is not a SYN moves it to the established ones. So a
//! flood of SYNs, or of other single segments, from however many addresses turns over the first map
//! and leaves the second alone.

use dns_lb_common::{
    Egress, Ending, FlowKey, FragmentKey, NO_BACKEND, NO_SERVICE, Origin, Pinned, VipSlot,
};

use super::{Aligned, Kind, Steps, Verdict, choose::by_slot};

/// A TCP segment, as far as the choice depends on it beside its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The slot of the steering table that the connection belongs to.
    pub table_slot: u16,
    /// Whether it opens the connection.
    pub opens: bool,
    /// Whether the connection is remembered, and the segment counted, for it.
    pub counts: bool,
}

impl Segment {
    const OPENS: u64 = 1 << 16;
    const COUNTS: u64 = 1 << 17;

    /// As a register holds it.
    #[inline(always)]
    #[must_use]
    pub const fn to_word(self) -> u64 {
        self.table_slot as u64
            | if self.opens { Self::OPENS } else { 0 }
            | if self.counts { Self::COUNTS } else { 0 }
    }

    /// What [`Self::to_word`] made.
    #[inline(always)]
    #[must_use]
    pub const fn from_word(word: u64) -> Self {
        Self {
            table_slot: word as u16,
            opens: word & Self::OPENS != 0,
            counts: word & Self::COUNTS != 0,
        }
    }
}

/// Chooses the backend of a TCP segment.
#[inline(always)]
#[must_use]
pub fn choose_connection<M: Steps>(
    maps: &M,
    key: &FlowKey,
    slot: &VipSlot,
    segment: Segment,
) -> Verdict {
    let verdict = find_connection(maps, key, slot, segment);
    if segment.counts && verdict.backend() != NO_BACKEND {
        let kind = match segment.opens {
            true => Kind::OPENING,
            false => Kind::SEGMENT,
        };
        maps.count_kind(slot.service, kind);
    }
    verdict
}

#[inline(always)]
fn find_connection<M: Steps>(maps: &M, key: &FlowKey, slot: &VipSlot, segment: Segment) -> Verdict {
    // Linux 6.1 takes a key from a function's own stack, not from its caller's.
    let Aligned(key) = &Aligned(*key);
    let established = maps.established(key);
    let is_ours = established.service == slot.service;
    if is_ours && holds(maps, slot, established, segment.opens) {
        return Verdict::chosen(slot, established.backend).by(Origin::Established);
    }
    let pinned = maps.pending(key);
    if pinned.service == slot.service && holds(maps, slot, pinned, segment.opens) {
        if segment.counts && !segment.opens {
            maps.establish(key, pinned);
        }
        return Verdict::chosen(slot, pinned.backend).by(Origin::Pending);
    }
    let verdict = by_slot(maps, slot, segment.table_slot);
    if segment.counts
        && let Some(pinned) = pin(maps, slot, verdict)
    {
        maps.await_more(key, pinned);
        // What is remembered of an older connection with the same ports would come first.
        if is_ours {
            maps.establish(key, pinned);
        }
    }
    verdict
}

/// The backend that a fragment's datagram has already; none if it is no longer there. The service is
/// the one that the datagram was found to be for.
#[inline(always)]
pub(super) fn find_datagram<M: Steps>(maps: &M, key: &FragmentKey, slot: &VipSlot) -> Verdict {
    let pinned = maps.fragments(key);
    if pinned.service == NO_SERVICE || !holds(maps, slot, pinned, false) {
        return Verdict::unclaimed(Ending::NotService);
    }
    let verdict = Verdict::chosen(slot, pinned.backend).by(Origin::Fragments);
    verdict.on_account_of(pinned.service)
}

/// Remembers whose a datagram is.
#[inline(always)]
pub(super) fn remember_datagram<M: Steps>(
    maps: &M,
    key: &FragmentKey,
    slot: &VipSlot,
    verdict: Verdict,
) {
    if let Some(pinned) = pin(maps, slot, verdict) {
        maps.collect(key, pinned);
    }
}

/// Whether what was remembered still says something: the id has not changed hands, and the backend
/// is not down; for a segment that opens a connection, it takes new ones.
#[inline(always)]
fn holds<M: Steps>(maps: &M, slot: &VipSlot, pinned: Pinned, opens: bool) -> bool {
    let backend = maps.control().and_then(|control| {
        let base = control.bank_of(slot).backend_base;
        maps.backend(base.wrapping_add(u32::from(pinned.backend)))
    });
    backend.is_some_and(|backend| {
        backend.incarnation == pinned.incarnation
            && backend.service == pinned.service
            && backend.keeps_flows != 0
            && (!opens || backend.takes_flows != 0)
            && backend.egress != Egress::None as u8
    })
}

/// What is to be remembered of a choice.
#[inline(always)]
fn pin<M: Steps>(maps: &M, slot: &VipSlot, verdict: Verdict) -> Option<Pinned> {
    if verdict.backend() == NO_BACKEND {
        return None;
    }
    let base = maps.control()?.bank_of(slot).backend_base;
    let backend = maps.backend(base.wrapping_add(u32::from(verdict.backend())))?;
    Some(Pinned {
        backend: verdict.backend(),
        service: verdict.service(),
        incarnation: backend.incarnation,
    })
}
