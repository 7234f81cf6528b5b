//! What the program counts. Each CPU has its own copy of every entry, so plain additions suffice:
//! XDP runs with bottom halves off, and nothing else writes there.

pub use crate::ending::EndingCounters;
use crate::{layout, query::QueryCounters};

/// One entry of the `service_counters` map, a copy a CPU. Entry 0 counts the packets of no service.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceCounters {
    /// Octets of the frames that were steered, Ethernet header included, without FCS.
    pub bytes: u64,
    /// Packets for which a turn was taken on this CPU. For `round-robin` the next slot of the
    /// steering table, modulo its size; for `qname` with a bounded load it tells the window. Here
    /// rather than in a map of its own to save a look-up a packet.
    pub cursor: u64,
    /// Packets by ending.
    pub endings: EndingCounters,
    /// TCP segments that a backend was chosen for, those of new connections included.
    pub tcp_packets: u64,
    /// Segments among them that open a connection (SYN without ACK), repetitions included.
    pub tcp_connections: u64,
    /// Queries over UDP that a backend was chosen for by what they ask, if the service counts them.
    pub queries: QueryCounters,
    /// Unused, zero: the verifier is content with a mask for the place of an ending if so many
    /// octets follow.
    pub padding: [u64; 4],
}
layout!(
    ServiceCounters,
    size = 64 + size_of::<EndingCounters>() + size_of::<QueryCounters>(),
    align = 8
);

/// One entry of the `backend_counters` map, a copy a CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackendCounters {
    /// Packets steered to this backend.
    pub packets: u64,
    /// Octets of those frames, Ethernet header included, without FCS.
    pub bytes: u64,
    /// The window that `window_packets` belongs to (see [`VipSlot::window_shift`](crate::VipSlot)).
    pub window: u64,
    /// Queries that this backend has had by name in that window.
    pub window_packets: u64,
}
layout!(BackendCounters, size = 32, align = 8);
