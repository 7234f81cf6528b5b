//! The IPv6 header and its extension headers (RFC 8200, sections 3 and 4).

use dns_lb_common::DerivedKey;

use crate::{
    frame::{Be16, View, Wire},
    hash,
    icmp::{ICMPV6, IcmpHeader},
    network::{Address, Contents, Network, Shape},
    steer::Steps,
    udp::UDP,
};

/// The fixed header: 40 octets. Extension headers may follow.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Ipv6Header {
    /// Version, traffic class, flow label.
    version_class_flow: [u8; 4],
    /// Octets after this header.
    pub payload_length: Be16,
    next_header: u8,
    hop_limit: u8,
    source: [u8; 16],
    destination: [u8; 16],
}

// SAFETY: octets and arrays of octets only.
unsafe impl Wire for Ipv6Header {}

/// Extension headers that are looked behind: as many as RFC 8504, section 5.3, has hosts accept by
/// default.
pub const MOST_EXTENSIONS: usize = 8;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;

/// The first eight octets of an extension header; of a fragment header (RFC 8200, 4.5), all.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct ExtensionHeader {
    next_header: u8,
    /// Units of eight octets after the first; not in a fragment header.
    length: u8,
    /// In a fragment header: offset in units of eight octets, two bits reserved, "more fragments".
    offset_more: Be16,
    /// In a fragment header: tells the fragments of one datagram.
    identification: [u8; 4],
}

// SAFETY: octets and arrays of octets only.
unsafe impl Wire for ExtensionHeader {}

impl Network for Ipv6Header {
    type Address = [u8; 16];

    const LENGTH: usize = size_of::<Self>();

    const ICMP: u8 = ICMPV6;

    #[inline(always)]
    fn is_error(icmp: &IcmpHeader) -> bool {
        icmp.is_error_v6()
    }

    #[inline(always)]
    fn plain_protocol(&self) -> u8 {
        match self.version_class_flow[0] >> 4 {
            6 => self.next_header,
            _ => HOP_BY_HOP,
        }
    }

    #[inline(always)]
    fn source(&self) -> [u8; 16] {
        self.source
    }

    #[inline(always)]
    fn destination(&self) -> [u8; 16] {
        self.destination
    }

    #[inline(always)]
    fn datagram_length(&self) -> usize {
        Self::LENGTH + self.payload_length.get() as usize
    }

    #[inline(always)]
    fn contents<M: Steps>(&self, maps: &M, frame: View<'_>, at: usize) -> Contents {
        if self.version_class_flow[0] >> 4 != 6 {
            return Contents::unknown(Shape::Malformed);
        }
        maps.behind_extensions(frame, at + Self::LENGTH, self.next_header)
    }

    #[inline(always)]
    fn spend_hop(&mut self) -> bool {
        if self.hop_limit <= 1 {
            return false;
        }
        self.hop_limit -= 1;
        true
    }
}

/// Looks behind extension headers, the first of which begins at `at` if `protocol` is the number of
/// one.
#[inline(always)]
#[must_use]
pub fn behind_extensions<M: Steps>(maps: &M, frame: View<'_>, at: usize, protocol: u8) -> Contents {
    let mut contents = Contents::new(Shape::Whole, protocol, at, 0);
    for _ in 0..MOST_EXTENSIONS {
        if !is_extended(contents) {
            return contents;
        }
        contents = maps.behind_extension(frame, contents);
    }
    match is_extended(contents) {
        true => Contents::unknown(Shape::TooLong),
        false => contents,
    }
}

/// Whether what begins there is an extension header that is looked behind.
#[inline(always)]
fn is_extended(contents: Contents) -> bool {
    matches!(contents.shape(), Shape::Whole | Shape::FirstFragment)
        && is_extension(contents.protocol())
}

/// Whether the number is of an extension header that is looked behind.
#[inline(always)]
const fn is_extension(protocol: u8) -> bool {
    matches!(
        protocol,
        HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION_OPTIONS
    )
}

/// Looks behind the extension header that these contents are.
#[inline(always)]
#[must_use]
pub fn behind_extension(frame: View<'_>, contents: Contents) -> Contents {
    let at = contents.at();
    let Some(extension) = frame.header::<ExtensionHeader>(at) else {
        return Contents::unknown(Shape::CutShort);
    };
    let (shape, protocol) = (contents.shape(), extension.next_header);
    let identification = contents.identification();
    if contents.protocol() != FRAGMENT {
        let at = at + (usize::from(extension.length) + 1) * 8;
        return Contents::new(shape, protocol, at, identification);
    }
    let at = at + size_of::<ExtensionHeader>();
    let offset_more = extension.offset_more.get();
    let own = u32::from_be_bytes(extension.identification);
    match (
        Shape::of_fragment(offset_more >> 3, offset_more & 1 != 0),
        protocol,
    ) {
        // One that is first and last (RFC 6946) changes nothing.
        (Shape::Whole, _) => Contents::new(shape, protocol, at, identification),
        // What is in fragments begins with an extension header, which only the first has: this one is
        // taken for one of UDP's, as nearly all are.
        (Shape::LaterFragment, next) if is_extension(next) => {
            Contents::new(Shape::LaterFragment, UDP, at, own)
        }
        (shape, _) => Contents::new(shape, protocol, at, own),
    }
}

impl Address for [u8; 16] {
    #[inline(always)]
    fn mapped(self) -> [u8; 16] {
        self
    }

    #[inline(always)]
    fn flow_sum(self, key: &DerivedKey, ports: u32) -> u64 {
        hash::flow_sum_of_words(key, words(self), ports)
    }

    #[inline(always)]
    fn is_mapped(self) -> bool {
        let [a, b, c, _] = words(self);
        a | b == 0 && c == 0xffff_u32.to_be()
    }

    #[inline(always)]
    fn is_group(self) -> bool {
        // ff00::/8 (RFC 4291, section 2.7).
        self[0] == 0xff
    }
}

/// An address as four words in the order of memory.
#[inline(always)]
const fn words(address: [u8; 16]) -> [u32; 4] {
    // SAFETY: sixteen octets are four words, and any words are valid.
    unsafe { core::mem::transmute::<[u8; 16], [u32; 4]>(address) }
}
