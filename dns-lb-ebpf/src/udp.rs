//! The UDP header (RFC 768).

use crate::{
    frame::{Be16, Wire},
    ports::Ports,
};

/// IP protocol number of UDP.
pub const UDP: u8 = 17;

/// Ports, length, checksum: eight octets.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct UdpHeader {
    /// Source, then destination.
    pub ports: Ports,
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
}
