//! Choosing by the name that a query asks for.

use dns_lb_common::{DerivedKey, Ending, NO_BACKEND, NO_SERVICE, VipSlot};

use super::{Kind, Payload, Steps, Verdict, choose::by_slot};
use crate::{
    dns,
    frame::{View, forgotten},
    hash,
};

/// Backends that are tried for a name before its first one takes the query beyond its limit. If a
/// fifth of the room is left, as under a factor of 1.25, all are full for one query in 1,300.
const MOST_ATTEMPTS: u64 = 32;
/// Backends that [`take_turns`] tries: attempts in rows of so many, for the verifier, which goes
/// through each.
const ATTEMPTS_AT_A_TIME: u64 = 8;

/// What a query asks, in one register: the hash of the name above, its [`Kind`] in the lowest
/// octet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query(u64);

impl Query {
    /// Not a plain query.
    pub const NONE: Self = Self(0);
    /// One that has to be [looked at](read_long_query) for longer.
    pub(super) const LONG: Self = Self(0x100);

    /// The plain query with a name of so many octets.
    #[inline(always)]
    fn of(
        key: &DerivedKey,
        message: View<'_>,
        payload: Payload,
        name_length: usize,
        counts: bool,
    ) -> Self {
        let length = payload.end - payload.at;
        let kind = match counts {
            true => match dns::asked(message, length, name_length) {
                Some(asked) => forgotten(Kind::query(asked).octet().into(), length),
                None => return Self::NONE,
            },
            false => Kind::QUERY.octet().into(),
        };
        match dns::name_hash(key, message, name_length) {
            Some(name) => Self((name & !0xff) | kind as u64),
            None => Self::NONE,
        }
    }

    /// As a register holds it.
    #[inline(always)]
    #[must_use]
    pub const fn to_word(self) -> u64 {
        self.0
    }

    /// What [`Self::to_word`] made.
    #[inline(always)]
    #[must_use]
    pub const fn from_word(word: u64) -> Self {
        Self(word)
    }

    #[inline(always)]
    pub(super) const fn is_plain(self) -> bool {
        self.0 as u8 != 0
    }

    #[inline(always)]
    pub(super) const fn kind(self) -> Kind {
        Kind::of(self.0 as u8)
    }

    /// The hash of the name.
    #[inline(always)]
    #[must_use]
    pub const fn name(self) -> u64 {
        self.0 & !0xff
    }
}

/// Reads the query that is the payload of a datagram, unless its name is [long](dns::Name::Long). Only
/// if it `counts`, its [`Kind`] says what it asks for beside the name.
#[inline(always)]
#[must_use]
pub fn read_query(key: &DerivedKey, frame: View<'_>, payload: Payload, counts: bool) -> Query {
    let message = frame.skip(payload.at);
    match dns::name(message, payload.end - payload.at) {
        dns::Name::None => Query::NONE,
        dns::Name::Short(length) => Query::of(key, message, payload, length, counts),
        dns::Name::Long => Query::LONG,
    }
}

/// As [`read_query`], for a query whose name is long.
#[inline(always)]
#[must_use]
pub fn read_long_query<M: Steps>(
    maps: &M,
    key: &DerivedKey,
    frame: View<'_>,
    payload: Payload,
    counts: bool,
) -> Query {
    let labels = |done| maps.labels(frame, payload.at, done);
    match dns::long_name(payload.end - payload.at, labels) {
        None => Query::NONE,
        Some(length) => Query::of(key, frame.skip(payload.at), payload, length, counts),
    }
}

/// Chooses the backend of a name, or of those that come after it for this name the first that is
/// not at its limit in this window (bounded loads: Mirrokni et al., SODA 2018).
#[inline(always)]
#[must_use]
pub fn choose_bounded<M: Steps>(maps: &M, slot: &VipSlot, query: Query) -> Verdict {
    let window = maps.advance_cursor(slot.service) >> (slot.window_shift & 63);
    for first in (0..MOST_ATTEMPTS).step_by(ATTEMPTS_AT_A_TIME as usize) {
        let verdict = maps.take_turns(slot, query, window, first);
        if verdict.service() != NO_SERVICE {
            return verdict;
        }
    }
    by_slot(maps, slot, hash::slot(query.name()))
}

/// Makes some of the attempts at a name, beginning with this one; as [`take_turn`].
#[inline(always)]
#[must_use]
pub fn take_turns<M: Steps>(
    maps: &M,
    slot: &VipSlot,
    query: Query,
    window: u64,
    first: u64,
) -> Verdict {
    for attempt in 0..ATTEMPTS_AT_A_TIME {
        let verdict = maps.take_turn(slot, query, window, first.wrapping_add(attempt));
        if verdict.service() != NO_SERVICE {
            return verdict;
        }
    }
    Verdict::unclaimed(Ending::NotService)
}

/// Chooses the backend that the table has for an attempt at a name, of which the first is 0, unless it
/// is at its limit: then the verdict is of no service.
#[inline(always)]
#[must_use]
pub fn take_turn<M: Steps>(
    maps: &M,
    slot: &VipSlot,
    query: Query,
    window: u64,
    attempt: u64,
) -> Verdict {
    let Some(control) = maps.control() else {
        return Verdict::of_service(Ending::UnknownBackend, slot);
    };
    let name = hash::name_attempt(&control.derived_key, query.name(), attempt);
    let verdict = by_slot(maps, slot, hash::slot(name));
    if verdict.backend() == NO_BACKEND {
        return verdict;
    }
    let base = control.bank_of(slot).backend_base;
    match maps.backend(base.wrapping_add(u32::from(verdict.backend()))) {
        None => verdict.instead(Ending::UnknownBackend),
        Some(backend) if maps.has_turn(verdict.backend(), window, backend.window_limit) => verdict,
        Some(_) => Verdict::unclaimed(Ending::NotService),
    }
}
