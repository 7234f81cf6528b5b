//! Virtual service addresses: the key, its slot in the perfect hash, and what the slot says.

use crate::layout;

/// Service id 0: packets that no service claims are counted under it.
pub const NO_SERVICE: u16 = 0;

/// What identifies a service on the wire. Both families share the form of RFC 4291, 2.5.5.2: an
/// IPv4 address stands in its IPv4-mapped IPv6 notation.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct VipKey {
    /// Address, network byte order, IPv4-mapped for IPv4.
    pub address: [u8; 16],
    /// Port, host byte order; 0 in the entry that stands for the address itself.
    pub port: u16,
    /// IP protocol number (6 TCP, 17 UDP); 0 in the entry that stands for the address itself.
    pub protocol: u8,
    /// Unused, zero.
    pub reserved: u8,
}
layout!(VipKey, size = 20, align = 2);

impl VipKey {
    /// The key of a service, or with port and protocol 0 that of a VIP as an address.
    #[inline(always)]
    #[must_use]
    pub const fn new(address: [u8; 16], port: u16, protocol: u8) -> Self {
        Self {
            address,
            port,
            protocol,
            reserved: 0,
        }
    }

    /// The IPv4-mapped form of an IPv4 address given in network byte order.
    ///
    /// Put together from words, and [taken apart](Self::address_words) into words: an octet at a
    /// time becomes sixteen loads and shifts in BPF.
    #[inline(always)]
    #[must_use]
    pub const fn map_ipv4(address: [u8; 4]) -> [u8; 16] {
        let words = [0, 0, 0xffff_u32.to_be(), u32::from_ne_bytes(address)];
        // SAFETY: four words are sixteen octets, and any octets are valid.
        unsafe { core::mem::transmute::<[u32; 4], [u8; 16]>(words) }
    }

    /// Address halves as native words, for hashing and comparing.
    #[inline(always)]
    const fn address_words(&self) -> [u64; 2] {
        // SAFETY: sixteen octets are two words, and any words are valid.
        unsafe { core::mem::transmute::<[u8; 16], [u64; 2]>(self.address) }
    }

    /// Equality a word at a time: derived equality of arrays becomes a call of `memcmp`, which
    /// loops octet by octet in BPF.
    #[inline(always)]
    #[must_use]
    pub const fn matches(&self, other: &Self) -> bool {
        let [high, low] = self.address_words();
        let [other_high, other_low] = other.address_words();
        high == other_high
            && low == other_low
            && self.port == other.port
            && self.protocol == other.protocol
    }
}

/// The perfect hash over VIPs: user space searches a `seed` under which every VIP's low bits differ
/// (see [`Bank::vip_seed`](crate::Bank)); the program computes it once a packet.
///
/// Multiply-shift with a random odd multiplier, which is universal: distinct keys collide under one
/// seed with about the probability of chance. `shift` keeps the upper bits, which every bit of the
/// key reaches: 64 less the binary logarithm of the number of slots. It resists nothing and need
/// not: an outsider cannot choose which VIPs exist.
#[inline(always)]
#[must_use]
pub const fn vip_hash(seed: u64, shift: u32, key: &VipKey) -> u32 {
    let [high, low] = key.address_words();
    let service = ((key.port as u64) << 16) | key.protocol as u64;
    let mixed = (high ^ service).wrapping_mul(seed) ^ low;
    mixed.wrapping_mul(seed).wrapping_shr(shift) as u32
}

/// How the steering table is indexed. Stored as `u8`; unknown values act as `Hash`.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Keyed hash of the addresses and ports: a flow stays on its backend.
    Hash = 0,
    /// A per-CPU cursor walks the table: successive packets go to successive backends.
    RoundRobin = 1,
}

/// What becomes of a packet for which the table holds no backend. Stored as `u8`.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnNoBackend {
    /// Give it to the host's own stack.
    Pass = 0,
    /// Drop it.
    Drop = 1,
}

/// One slot of the `vips` map. A slot that is not in use is all zero: its `table` may be read, but
/// its key matches no packet, since a packet never has both port and protocol 0 here.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VipSlot {
    /// The whole key, compared in full: the hash only says where to look.
    pub key: VipKey,
    /// Service id, from 1; index of its counters.
    pub service: u16,
    /// A [`Policy`].
    pub policy: u8,
    /// An [`OnNoBackend`].
    pub on_no_backend: u8,
    /// Index of the service's live steering table in the `tables` map.
    pub table: u32,
    /// Unused, zero; makes the slot half a cache line.
    pub reserved: u32,
}
layout!(VipSlot, size = 32, align = 4);
