//! What IPv4 and IPv6 have in common, so that the family is a parameter everywhere else.

use dns_lb_common::DerivedKey;

use crate::{
    frame::{self, View, Wire},
    icmp::IcmpHeader,
    steer::Steps,
};

/// An IP address.
pub trait Address: Copy + PartialEq {
    /// As VIPs are keyed: IPv4-mapped for IPv4.
    fn mapped(self) -> [u8; 16];

    /// What a flow of this client comes to: see [`crate::hash`].
    fn flow_sum(self, key: &DerivedKey, ports: u32) -> u64;

    /// Whether it is an IPv4 address in IPv6's form (RFC 4291, section 2.5.5.2), which no packet goes
    /// to: not the VIP that is keyed so.
    fn is_mapped(self) -> bool;

    /// Whether no packet may come from it, since an answer would go to many.
    fn is_group(self) -> bool;
}

/// The fixed part of an IP header.
pub trait Network: Wire {
    /// Its addresses.
    type Address: Address;

    /// Its length in octets.
    const LENGTH: usize;

    /// The number of its ICMP.
    const ICMP: u8;

    /// Whether a message of its ICMP is an error about a packet that it quotes.
    fn is_error(icmp: &IcmpHeader) -> bool;

    /// Number of the transport protocol whose header follows, if this one is as short as can be and
    /// the datagram not a fragment; else one that is neither UDP's nor TCP's.
    fn plain_protocol(&self) -> u8;

    /// Sender.
    fn source(&self) -> Self::Address;

    /// Receiver.
    fn destination(&self) -> Self::Address;

    /// Octets of the datagram, this header included, as it says.
    fn datagram_length(&self) -> usize;

    /// Looks through options or extension headers for what the datagram carries. `at` is where this
    /// header begins in the frame.
    fn contents<M: Steps>(&self, maps: &M, frame: View<'_>, at: usize) -> Contents;

    /// Takes a hop off the header. False, and it stays as it is, if none is left.
    fn spend_hop(&mut self) -> bool;
}

/// What a datagram carries, in one register: the kernel takes no structure from a function that it
/// verifies by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contents(u64);

/// What has been found in a datagram.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// The whole of it.
    Whole = 0,
    /// A fragment: its beginning, with the transport header (RFC 791, 3.2; RFC 8200, 4.5).
    FirstFragment = 1,
    /// A fragment: another part.
    LaterFragment = 2,
    /// The header contradicts itself.
    Malformed = 3,
    /// The frame ends, or its first buffer does, before the headers do.
    CutShort = 4,
    /// More extension headers than are looked at.
    TooLong = 5,
}

impl Shape {
    /// The shape that offset and "more fragments" make.
    #[inline(always)]
    #[must_use]
    pub const fn of_fragment(offset: u16, more: bool) -> Self {
        match (offset, more) {
            (0, false) => Self::Whole,
            (0, true) => Self::FirstFragment,
            _ => Self::LaterFragment,
        }
    }
}

/// Headers that are looked behind end well below this offset: nine of 2,048 octets at the most. The
/// verifier wants a bound, with room for what is read there, below 64 Ki.
const MOST_AT: u64 = 0x7fff;

impl Contents {
    /// Contents that are known: the transport protocol (RFC 5237); where its header begins in the
    /// frame, or for a later fragment the data; what tells the fragments of one datagram, host byte
    /// order, 0 if it is whole.
    #[inline(always)]
    #[must_use]
    pub const fn new(shape: Shape, protocol: u8, at: usize, identification: u32) -> Self {
        Self(
            ((identification as u64) << 32)
                | ((at as u64 & MOST_AT) << 16)
                | ((protocol as u64) << 8)
                | shape as u64,
        )
    }

    /// Contents that are not known.
    #[inline(always)]
    #[must_use]
    pub const fn unknown(shape: Shape) -> Self {
        Self::new(shape, 0, 0, 0)
    }

    /// The same contents, [forgotten](frame::forgotten).
    #[inline(always)]
    #[must_use]
    pub fn forgotten(self, unknown: usize) -> Self {
        Self(frame::forgotten(self.0 as usize, unknown) as u64)
    }

    /// As a register holds it.
    #[inline(always)]
    #[must_use]
    pub const fn to_word(self) -> u64 {
        self.0
    }

    /// What [`Self::to_word`] made.
    #[inline(always)]
    #[must_use]
    pub const fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// What has been found.
    #[inline(always)]
    #[must_use]
    pub const fn shape(self) -> Shape {
        match self.0 as u8 {
            0 => Shape::Whole,
            1 => Shape::FirstFragment,
            2 => Shape::LaterFragment,
            4 => Shape::CutShort,
            5 => Shape::TooLong,
            _ => Shape::Malformed,
        }
    }

    /// Number of the transport protocol.
    #[inline(always)]
    #[must_use]
    pub const fn protocol(self) -> u8 {
        (self.0 >> 8) as u8
    }

    /// Where its header begins in the frame, or for a later fragment the data.
    #[inline(always)]
    #[must_use]
    pub const fn at(self) -> usize {
        ((self.0 >> 16) & MOST_AT) as usize
    }

    /// What tells the fragments of one datagram.
    #[inline(always)]
    #[must_use]
    pub const fn identification(self) -> u32 {
        (self.0 >> 32) as u32
    }
}
