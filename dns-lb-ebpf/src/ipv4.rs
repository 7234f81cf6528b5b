//! The IPv4 header (RFC 791, section 3.1).

use dns_lb_common::{DerivedKey, VipKey};

use crate::{
    frame::{Be16, View, Wire},
    hash,
    icmp::{ICMP, IcmpHeader},
    network::{Address, Contents, Network, Shape},
    steer::Steps,
    tcp::TCP,
    udp::UDP,
};

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
    /// Flags and fragment offset, hops left, protocol: one word, since they are looked at together.
    fragment_hops_protocol: [u8; 4],
    /// Checksum of the header. Not verified: the backend does.
    pub checksum: Be16,
    source: [u8; 4],
    destination: [u8; 4],
}

// SAFETY: octets and arrays of octets only.
unsafe impl Wire for Ipv4Header {}

/// "More fragments" and the offset: what tells a fragment.
const FRAGMENT: u16 = 0x3fff;
const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET: u16 = 0x1fff;

impl Ipv4Header {
    /// Length with options, in octets, 20 to 60; `None` when version or IHL is impossible.
    #[inline(always)]
    #[must_use]
    pub const fn length(&self) -> Option<usize> {
        let length = (self.version_ihl & 0x0f) as usize * 4;
        if self.version_ihl >> 4 == 4 && length >= Self::LENGTH {
            Some(length)
        } else {
            None
        }
    }

    #[inline(always)]
    const fn fragment(&self) -> u16 {
        let [high, low, ..] = self.fragment_hops_protocol;
        u16::from_be_bytes([high, low])
    }
}

impl Network for Ipv4Header {
    type Address = [u8; 4];

    const LENGTH: usize = size_of::<Self>();

    const ICMP: u8 = ICMP;

    #[inline(always)]
    fn is_error(icmp: &IcmpHeader) -> bool {
        icmp.is_error()
    }

    #[inline(always)]
    fn plain_protocol(&self) -> u8 {
        let [high, low] = FRAGMENT.to_be_bytes();
        let looked_at = u32::from_ne_bytes([high, low, 0, 0xff]);
        let word = u32::from_ne_bytes(self.fragment_hops_protocol) & looked_at;
        const PLAIN_UDP: u32 = u32::from_ne_bytes([0, 0, 0, UDP]);
        const PLAIN_TCP: u32 = u32::from_ne_bytes([0, 0, 0, TCP]);
        match word {
            PLAIN_UDP if self.version_ihl == 0x45 => UDP,
            PLAIN_TCP if self.version_ihl == 0x45 => TCP,
            _ => 0,
        }
    }

    #[inline(always)]
    fn source(&self) -> [u8; 4] {
        self.source
    }

    #[inline(always)]
    fn destination(&self) -> [u8; 4] {
        self.destination
    }

    #[inline(always)]
    fn datagram_length(&self) -> usize {
        self.total_length.get() as usize
    }

    #[inline(always)]
    fn contents<M: Steps>(&self, maps: &M, frame: View<'_>, at: usize) -> Contents {
        maps.behind_options(frame, at)
    }

    #[inline(always)]
    fn spend_hop(&mut self) -> bool {
        let [_, _, hops, _] = &mut self.fragment_hops_protocol;
        if *hops <= 1 {
            return false;
        }
        *hops -= 1;
        // The word of hops and protocol lost 0x0100, so the checksum gains it, with the carry added
        // at the low end; as the kernel does (`ip_decrease_ttl` in `include/net/ip.h`), 0xffff
        // becomes 0 (RFC 1624, section 3).
        let sum = u32::from(self.checksum.get()) + 0x0100;
        self.checksum = Be16::new((sum + u32::from(sum >= 0xffff)) as u16);
        true
    }
}

/// Looks behind the header that begins at `at`, and its options.
#[inline(always)]
#[must_use]
pub fn behind_options(frame: View<'_>, at: usize) -> Contents {
    let Some(ip) = frame.header::<Ipv4Header>(at) else {
        return Contents::unknown(Shape::CutShort);
    };
    let Some(length) = ip.length() else {
        return Contents::unknown(Shape::Malformed);
    };
    let fragment = ip.fragment();
    let shape = Shape::of_fragment(fragment & OFFSET, fragment & MORE_FRAGMENTS != 0);
    let identification = match shape {
        Shape::Whole => 0,
        _ => ip.identification.get().into(),
    };
    let [_, _, _, protocol] = ip.fragment_hops_protocol;
    Contents::new(shape, protocol, at + length, identification)
}

impl Address for [u8; 4] {
    #[inline(always)]
    fn mapped(self) -> [u8; 16] {
        VipKey::map_ipv4(self)
    }

    #[inline(always)]
    fn flow_sum(self, key: &DerivedKey, ports: u32) -> u64 {
        hash::flow_sum_of_word(key, u32::from_ne_bytes(self), ports)
    }

    #[inline(always)]
    fn is_mapped(self) -> bool {
        false
    }

    #[inline(always)]
    fn is_group(self) -> bool {
        // 224.0.0.0/4 (RFC 5771) and 255.255.255.255 (RFC 919); nearly all that is below either has
        // been asked once.
        self[0] >= 0xe0 && (self[0] < 0xf0 || self == [255; 4])
    }
}
