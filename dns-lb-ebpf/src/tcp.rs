//! The TCP header (RFC 9293, section 3.1).

use crate::{
    frame::{Be16, Wire},
    ports::Ports,
};

/// IP protocol number of TCP.
pub const TCP: u8 = 6;

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// The fixed part: 20 octets. Options may follow.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct TcpHeader {
    /// Source, then destination.
    pub ports: Ports,
    sequence: [u8; 4],
    acknowledgement: [u8; 4],
    data_offset: u8,
    flags: u8,
    window: Be16,
    checksum: Be16,
    urgent: Be16,
}

// SAFETY: octets and arrays of octets only.
unsafe impl Wire for TcpHeader {}

impl TcpHeader {
    /// Length without options, in octets.
    pub const LENGTH: usize = size_of::<Self>();

    /// Length with options, in octets, as it says: 0 to 60.
    #[inline(always)]
    #[must_use]
    pub const fn length(&self) -> usize {
        (self.data_offset >> 4) as usize * 4
    }

    /// Whether it opens a connection: SYN without ACK.
    #[inline(always)]
    #[must_use]
    pub const fn opens(&self) -> bool {
        self.flags & (SYN | ACK) == SYN
    }
}
