//! What is counted of a packet beside its ending.

use dns_lb_common::{QueryCounters, QueryType, ServiceCounters};

use crate::dns::Asked;

/// What a packet is to those who count, in one octet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind(u8);

impl Kind {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// A TCP segment.
    pub const SEGMENT: Self = Self(0x40);
    /// A TCP segment that opens a connection.
    pub const OPENING: Self = Self(0x41);

    const EDNS: u8 = 0x80;

    /// A query of which nothing else is known.
    pub const QUERY: Self = Self::query(Asked {
        query_type: QueryType::Other,
        edns: false,
    });

    /// A query.
    #[inline(always)]
    #[must_use]
    pub const fn query(asked: Asked) -> Self {
        Self((asked.query_type as u8 + 1) | if asked.edns { Self::EDNS } else { 0 })
    }

    /// The octet.
    #[inline(always)]
    #[must_use]
    pub const fn octet(self) -> u8 {
        self.0
    }

    /// What was once an octet.
    #[inline(always)]
    #[must_use]
    pub(super) const fn of(octet: u8) -> Self {
        Self(octet)
    }

    /// Whether it is TCP.
    #[inline(always)]
    #[must_use]
    pub const fn is_tcp(self) -> bool {
        self.0 & 0x40 != 0
    }

    /// For a query: the place of its counter among those of all [`QueryType`]s.
    #[inline(always)]
    #[must_use]
    pub const fn query_place(self) -> usize {
        (self.0 & 0x3f).wrapping_sub(1) as usize
    }

    /// For a query: whether it carries EDNS.
    #[inline(always)]
    #[must_use]
    pub const fn has_edns(self) -> bool {
        self.0 & Self::EDNS != 0
    }

    /// Counts a packet of this kind.
    #[inline(always)]
    pub fn count(self, counters: &mut ServiceCounters) {
        if self.is_tcp() {
            counters.tcp_packets += 1;
            if self == Self::OPENING {
                counters.tcp_connections += 1;
            }
            return;
        }
        const PLACES: usize = size_of::<QueryCounters>() / 8;
        let place = self.query_place();
        if place < PLACES {
            let first = (&raw mut counters.queries).cast::<u64>();
            // SAFETY: `QueryCounters` is `repr(C)` with `PLACES` u64s.
            let counter = unsafe { first.add(place) };
            // SAFETY: it lies in `counters`, which is borrowed mutably.
            unsafe { *counter += 1 };
        }
        if self.has_edns() {
            counters.queries.edns += 1;
        }
    }
}
