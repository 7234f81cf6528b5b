//! Virtual service addresses: the key, its slot in the perfect hash, and what the slot says.

use core::mem::offset_of;

use crate::layout;

/// Service id 0: packets that no service claims are counted under it.
pub const NO_SERVICE: u16 = 0;

/// The protocol number in the keys of other balancers: reserved by IANA, no IP packet has it.
const PEER: u8 = 255;

/// What identifies a service on the wire. Both families share the form of RFC 4291, 2.5.5.2: an
/// IPv4 address stands in its IPv4-mapped IPv6 notation.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct VipKey {
    /// Address, network byte order, IPv4-mapped for IPv4.
    pub address: [u8; 16],
    /// Port, host byte order; 0 in entries that stand for no port; a service's id in those of other
    /// balancers.
    pub port: u16,
    /// IP protocol number (6 TCP, 17 UDP); 0 in the entry that stands for the address itself.
    pub protocol: u8,
    /// 1 in the entry that stands for a VIP's fragments of this protocol; else 0.
    pub fragments: u8,
}
layout!(VipKey, size = 20, align = 2);

impl VipKey {
    /// The key of a service.
    #[inline(always)]
    #[must_use]
    pub const fn new(address: [u8; 16], port: u16, protocol: u8) -> Self {
        Self {
            address,
            port,
            protocol,
            fragments: 0,
        }
    }

    /// The key of a VIP as an address, whatever the port and protocol.
    #[inline(always)]
    #[must_use]
    pub const fn address(address: [u8; 16]) -> Self {
        Self::new(address, 0, 0)
    }

    /// The key of the service that takes a VIP's fragments of this protocol, since only the first
    /// of a datagram's tells a port. Not what a packet to port 0 is looked up by.
    #[inline(always)]
    #[must_use]
    pub const fn fragments(address: [u8; 16], protocol: u8) -> Self {
        Self {
            fragments: 1,
            ..Self::new(address, 0, protocol)
        }
    }

    /// The key under which another balancer of a service is known, by the MAC address that it sends
    /// from.
    #[inline(always)]
    #[must_use]
    pub const fn peer(mac: [u8; 6], service: u16) -> Self {
        let [a, b, c, d, e, f] = mac;
        let address = [a, b, c, d, e, f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        Self::new(address, service, PEER)
    }

    /// Whether a service answers to this key, as opposed to those that a VIP, its fragments and
    /// other balancers are found by.
    #[must_use]
    pub const fn names_service(&self) -> bool {
        self.port != 0 && self.protocol != PEER
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

    /// Port and protocol as one word in the order of memory, for hashing and comparing.
    #[inline(always)]
    const fn service_word(&self) -> u32 {
        // SAFETY: twenty octets without padding are five words, and any words are valid.
        let [.., word] = unsafe { core::mem::transmute::<Self, [u32; 5]>(*self) };
        word
    }

    /// Equality a word at a time: derived equality of arrays becomes a call of `memcmp`, which
    /// loops octet by octet in BPF.
    #[inline(always)]
    #[must_use]
    pub const fn matches(&self, other: &Self) -> bool {
        let [high, low] = self.address_words();
        let [other_high, other_low] = other.address_words();
        high == other_high && low == other_low && self.service_word() == other.service_word()
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
    let mixed = (high ^ key.service_word() as u64).wrapping_mul(seed) ^ low;
    mixed.wrapping_mul(seed).wrapping_shr(shift) as u32
}

/// How the steering table is indexed. Stored as `u8`; unknown values act as `Hash`.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Keyed hash of the client's address and the ports: a flow stays on its backend.
    Hash = 0,
    /// A per-CPU cursor walks the table: successive packets go to successive backends.
    RoundRobin = 1,
    /// Keyed hash of the client's address: a client stays on its backend.
    Source = 2,
    /// Keyed hash of the lower-cased name that a query asks for: a name stays on its backend. What
    /// is not a plain query goes as with `Hash`.
    Qname = 3,
}

impl Policy {
    /// What the stored octet says.
    #[inline(always)]
    #[must_use]
    pub const fn from_wire(octet: u8) -> Self {
        match octet {
            1 => Self::RoundRobin,
            2 => Self::Source,
            3 => Self::Qname,
            _ => Self::Hash,
        }
    }
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

/// Bit of [`VipSlot::flags`]: queries over UDP are counted by type.
pub const COUNTS_QUERIES: u8 = 1;
/// Bit of [`VipSlot::flags`]: a backend of this service is on this host. A frame from another
/// balancer is then for it, and frames that are sent on lose a hop.
pub const HAS_LOCAL: u8 = 2;

/// One slot of the `vips` map. A slot that is not in use is all zero: its `table` may be read, but
/// its key matches no packet, since no VIP is the unspecified address.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VipSlot {
    /// The whole key, compared in full: the hash only says where to look.
    pub key: VipKey,
    /// Index of the service's live steering table in the `tables` map.
    pub table: u32,
    /// Service id, from 1; index of its counters.
    pub service: u16,
    /// A [`Policy`].
    pub policy: u8,
    /// [`COUNTS_QUERIES`] and [`HAS_LOCAL`].
    pub flags: u8,
    /// An [`OnNoBackend`].
    pub on_no_backend: u8,
    /// For `qname` with a bounded load: the binary logarithm of the number of queries a CPU takes
    /// in a window, within which each backend has a [limit](crate::Backend::window_limit). 0: not
    /// bounded.
    pub window_shift: u8,
    /// The bank that this slot is of, 0 or 1: what is looked up for a packet after its slot is looked
    /// up there, though another bank go live meanwhile.
    pub bank: u8,
    /// Unused, zero; makes the slot half a cache line.
    pub reserved: u8,
}
layout!(VipSlot, size = 32, align = 4);

impl VipSlot {
    /// The [way](Self::way) of a service with [`Policy::Hash`] and no flags.
    pub const HASH: u16 = Self::way_of(Policy::Hash);
    /// Likewise with [`Policy::RoundRobin`].
    pub const ROUND_ROBIN: u16 = Self::way_of(Policy::RoundRobin);
    /// Likewise with [`Policy::Source`].
    pub const SOURCE: u16 = Self::way_of(Policy::Source);
    /// Likewise with [`Policy::Qname`].
    pub const QNAME: u16 = Self::way_of(Policy::Qname);
    /// What a way has in it if the service has a backend on this host.
    pub const LOCAL: u16 = u16::from_ne_bytes([0, HAS_LOCAL]);

    const fn way_of(policy: Policy) -> u16 {
        u16::from_ne_bytes([policy as u8, 0])
    }

    /// What has to be known of a datagram to choose for it: policy and flags as one word in the order of
    /// memory, so that a comparison tells one case from all others.
    #[inline(always)]
    #[must_use]
    pub const fn way(&self) -> u16 {
        const { assert!(offset_of!(Self, flags) == offset_of!(Self, policy) + 1) };
        const { assert!(offset_of!(Self, policy) % 2 == 0) };
        // SAFETY: two octets that lie side by side in a structure of alignment four, aligned to two.
        unsafe { (&raw const self.policy).cast::<u16>().read() }
    }
}
