//! What the program counts. Each CPU has its own copy of every entry, so plain additions suffice:
//! XDP runs with bottom halves off, and nothing else writes there.

pub use crate::ending::EndingCounters;
use crate::layout;

/// One entry of the `service_counters` map, a copy a CPU. Entry 0 counts the packets of no service.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceCounters {
    /// Octets of the frames that were steered, Ethernet header included, without FCS.
    pub bytes: u64,
    /// Where round-robin stands on this CPU: the next slot of the steering table, modulo its size.
    /// Here rather than in a map of its own to save a look-up a packet.
    pub cursor: u64,
    /// Packets by ending.
    pub endings: EndingCounters,
}
layout!(
    ServiceCounters,
    size = 16 + size_of::<EndingCounters>(),
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
}
layout!(BackendCounters, size = 16, align = 8);
