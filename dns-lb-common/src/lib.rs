//! The contract between the XDP program and the agent: names and layouts of the BPF maps, the ways
//! a packet can end, and the perfect hash that both sides compute.
//!
//! Data only. Nothing here reads a packet, calls the kernel or knows about DNS. Every layout is
//! fixed-width, free of hidden padding and asserted at compile time, because `bpftool map dump`,
//! the program and the agent all read the same octets. A change of any layout here raises
//! [`ABI_VERSION`], and [`map::since`] of the maps that it concerns.
#![no_std]

mod control;
mod counters;
mod ending;
mod explain;
mod flow;
mod query;
mod steering;
mod vip;

pub use control::{Bank, Control, DerivedKey, HashKey};
pub use counters::{BackendCounters, EndingCounters, ServiceCounters};
pub use ending::{Action, Ending};
pub use explain::{Explanation, Origin};
pub use flow::{FlowKey, FragmentKey, Pinned};
pub use query::{QueryCounters, QueryType};
pub use steering::{Backend, Egress, NO_BACKEND, SteeringTable, TABLE_SLOTS};
pub use vip::{
    COUNTS_QUERIES, HAS_LOCAL, NO_SERVICE, OnNoBackend, Policy, VipKey, VipSlot, vip_hash,
};

/// Version of everything in this crate. The agent keeps what it can of older pins, and refuses
/// newer ones.
pub const ABI_VERSION: u32 = 4;

/// Names of the maps, as the program declares them and as they are pinned.
pub mod map {
    /// One [`Control`](crate::Control): the word that the agent flips, the hash key, the banks.
    pub const CONTROL: &str = "control";
    /// [`VipSlot`](crate::VipSlot)s: two banks of a perfect hash over address, port and protocol.
    pub const VIPS: &str = "vips";
    /// [`SteeringTable`](crate::SteeringTable)s, named by index from the VIP slots.
    pub const TABLES: &str = "tables";
    /// [`Backend`](crate::Backend)s: two banks, indexed by backend id.
    pub const BACKENDS: &str = "backends";
    /// Per-CPU [`ServiceCounters`](crate::ServiceCounters), indexed by service id.
    pub const SERVICE_COUNTERS: &str = "service_counters";
    /// Per-CPU [`BackendCounters`](crate::BackendCounters), indexed by backend id.
    pub const BACKEND_COUNTERS: &str = "backend_counters";
    /// Established TCP connections: [`FlowKey`](crate::FlowKey) to [`Pinned`](crate::Pinned), least
    /// recently used out first.
    pub const TCP_FLOWS: &str = "tcp_flows";
    /// TCP connections of which one packet has been seen so far, likewise. A flood of SYNs turns
    /// over this map and leaves [`TCP_FLOWS`] alone.
    pub const TCP_PENDING: &str = "tcp_pending";
    /// Datagrams that come in fragments: [`FragmentKey`](crate::FragmentKey) to
    /// [`Pinned`](crate::Pinned), least recently used out first.
    pub const FRAGMENTS: &str = "fragments";
    /// The devmap for `XDP_REDIRECT`, keyed by [`Backend::devmap_key`](crate::Backend). The kernel
    /// takes no BTF for devmaps (`map_check_no_btf` in `kernel/bpf/devmap.c`), so it is not pinned:
    /// the agent finds it through the program.
    pub const EGRESS: &str = "egress";

    /// The maps that are pinned.
    pub const PINNED: [&str; 9] = [
        VIPS,
        TABLES,
        BACKENDS,
        SERVICE_COUNTERS,
        BACKEND_COUNTERS,
        TCP_FLOWS,
        TCP_PENDING,
        FRAGMENTS,
        CONTROL,
    ];

    /// The version that last changed the layout of a map, or what its octets mean to the program. A
    /// map that was made by this version or a later one serves on; of a name that is not
    /// [pinned](PINNED) none does.
    #[must_use]
    pub fn since(name: &str) -> u32 {
        match name {
            TABLES => 1,
            // 2 brought the derived key, queries and connections in the counters, and the maps that
            // remember.
            CONTROL | SERVICE_COUNTERS | BACKEND_COUNTERS | TCP_FLOWS | TCP_PENDING | FRAGMENTS => {
                2
            }
            // 4 brought `bank` and `takes_flows`.
            VIPS | BACKENDS => 4,
            _ => u32::MAX,
        }
    }

    /// The first version from whose map an agent of this one can tell who had which id, which
    /// table and which incarnation, though the program may need a newer layout. The maps that are
    /// filled by id are kept only if this is known.
    #[must_use]
    pub fn legible_since(name: &str) -> u32 {
        match name {
            // 3 moved the service's id; 4 gave octets a meaning that were unused.
            VIPS => 3,
            BACKENDS => 2,
            name => since(name),
        }
    }
}

/// Asserts at compile time that a shared layout has this size and alignment, in octets.
macro_rules! layout {
    ($type:ty, size = $size:expr, align = $align:expr) => {
        const _: () = assert!(size_of::<$type>() == $size && align_of::<$type>() == $align);

        // SAFETY: `repr(C)`, fixed-width integers only, no padding (the size above is the sum of
        // the fields), so every bit pattern is a value and no octet is uninitialised.
        #[cfg(feature = "user")]
        unsafe impl aya::Pod for $type {}
    };
}
pub(crate) use layout;

#[cfg(test)]
mod tests {
    use super::{ABI_VERSION, map};

    #[test]
    fn a_version_is_told_by_what_it_changed() {
        let latest = map::PINNED.iter().map(|name| map::since(name)).max();
        assert_eq!(latest, Some(ABI_VERSION));
        for name in map::PINNED {
            assert!(
                (1..=map::since(name)).contains(&map::legible_since(name)),
                "{name}"
            );
        }
    }
}
