//! The UDP header (RFC 768).

use crate::frame::{Be16, Wire};

/// IP protocol number of UDP.
pub const UDP: u8 = 17;

/// Ports, length, checksum: eight octets.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct UdpHeader {
    /// Source, then destination: one word, since both are always looked at.
    ports: [u8; 4],
    /// Octets of this header and what follows, 8 at the least.
    pub length: Be16,
    /// Checksum; not verified: the backend does.
    pub checksum: Be16,
}

// SAFETY: arrays of octets only.
unsafe impl Wire for UdpHeader {}

impl UdpHeader {
    /// Length in octets.
    pub const LENGTH: usize = size_of::<Self>();

    /// The receiver's port.
    #[inline(always)]
    #[must_use]
    pub const fn destination_port(&self) -> u16 {
        u32::from_be_bytes(self.ports) as u16
    }

    /// Both ports as one word in the order of memory, for hashing.
    #[inline(always)]
    #[must_use]
    pub const fn ports(&self) -> u32 {
        u32::from_ne_bytes(self.ports)
    }
}
