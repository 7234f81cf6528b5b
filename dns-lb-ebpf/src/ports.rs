//! What UDP and TCP headers have in common: they begin with the ports.

use crate::frame::Wire;

/// The ports that UDP and TCP headers begin with: source, then destination, in network byte order.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports([u8; 4]);

// SAFETY: an array of octets.
unsafe impl Wire for Ports {}

impl Ports {
    /// Those of a fragment that tells none.
    pub const NONE: Self = Self([0; 4]);

    /// The sender's port.
    #[inline(always)]
    #[must_use]
    pub const fn source(self) -> u16 {
        (u32::from_be_bytes(self.0) >> 16) as u16
    }

    /// The receiver's port.
    #[inline(always)]
    #[must_use]
    pub const fn destination(self) -> u16 {
        let [_, _, a, b] = self.0;
        u16::from_be_bytes([a, b])
    }

    /// Those of the packets that go the other way.
    #[inline(always)]
    #[must_use]
    pub const fn reversed(self) -> Self {
        let [a, b, c, d] = self.0;
        Self([c, d, a, b])
    }

    /// Both as one word in the order of memory, for hashing.
    #[inline(always)]
    #[must_use]
    pub const fn word(self) -> u32 {
        u32::from_ne_bytes(self.0)
    }
}
