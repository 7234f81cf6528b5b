//! ICMP (RFC 792) and ICMPv6 (RFC 4443): errors, which quote the packet that they are about.

use crate::frame::Wire;

/// IP protocol number of ICMP.
pub const ICMP: u8 = 1;
/// IP protocol number of ICMPv6.
pub const ICMPV6: u8 = 58;

/// Type, code, checksum and four octets that depend on the type: eight octets. The quoted packet
/// follows.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct IcmpHeader {
    kind: u8,
    code: u8,
    checksum: [u8; 2],
    rest: [u8; 4],
}

// SAFETY: octets and arrays of octets only.
unsafe impl Wire for IcmpHeader {}

impl IcmpHeader {
    /// Length in octets.
    pub const LENGTH: usize = size_of::<Self>();

    /// Whether this is an ICMP error that tells the sender of the quoted packet something to act
    /// on: destination unreachable, time exceeded, parameter problem.
    #[inline(always)]
    #[must_use]
    pub const fn is_error(&self) -> bool {
        matches!(self.kind, 3 | 11 | 12)
    }

    /// Whether this is an ICMPv6 error: destination unreachable, packet too big, time exceeded,
    /// parameter problem.
    #[inline(always)]
    #[must_use]
    pub const fn is_error_v6(&self) -> bool {
        matches!(self.kind, 1..=4)
    }
}
