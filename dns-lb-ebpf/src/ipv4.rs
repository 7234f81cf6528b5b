//! The IPv4 header (RFC 791, section 3.1).

use crate::frame::{Be16, Wire};
use dns_lb_common::VipKey;

/// The fixed part of the header: 20 octets. Options may follow.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Ipv4Header {
    version_ihl: u8,
    /// DSCP and ECN (RFC 2474, RFC 3168).
    pub traffic_class: u8,
    /// Octets of the datagram, this header included.
    pub total_length: Be16,
    /// Tells the fragments of one datagram.
    pub identification: Be16,
    fragment: Be16,
    /// Hops left.
    pub time_to_live: u8,
    /// Number of the protocol above (RFC 5237).
    pub protocol: u8,
    /// Checksum of the header. Not verified: the backend does.
    pub checksum: Be16,
    /// Sender.
    pub source: [u8; 4],
    /// Receiver.
    pub destination: [u8; 4],
}

// SAFETY: octets and arrays of octets only.
unsafe impl Wire for Ipv4Header {}

impl Ipv4Header {
    /// Length without options, in octets: the least that a header can have.
    pub const MIN_LENGTH: usize = size_of::<Self>();

    /// Length with options, in octets, 20 to 60; `None` when version or IHL is impossible.
    #[inline(always)]
    #[must_use]
    pub const fn length(&self) -> Option<usize> {
        let length = (self.version_ihl & 0x0f) as usize * 4;
        if self.version_ihl >> 4 == 4 && length >= Self::MIN_LENGTH {
            Some(length)
        } else {
            None
        }
    }

    /// Whether this is a part of a datagram: an offset, or more to come.
    #[inline(always)]
    #[must_use]
    pub const fn is_fragment(&self) -> bool {
        const MORE_FRAGMENTS_OR_OFFSET: u16 = 0x3fff;
        self.fragment.get() & MORE_FRAGMENTS_OR_OFFSET != 0
    }

    /// The destination as VIPs are keyed.
    #[inline(always)]
    #[must_use]
    pub const fn vip(&self) -> [u8; 16] {
        VipKey::map_ipv4(self.destination)
    }

    /// What the flow hash takes in: everything that tells this flow from another.
    #[inline(always)]
    #[must_use]
    pub const fn flow_words(&self, ports: u32) -> [u64; 2] {
        [
            ((ports as u64) << 32) | u32::from_ne_bytes(self.source) as u64,
            u32::from_ne_bytes(self.destination) as u64,
        ]
    }
}
