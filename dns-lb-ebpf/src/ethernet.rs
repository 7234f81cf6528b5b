//! The Ethernet header (IEEE 802.3, clause 3.2) and VLAN tags (IEEE 802.1Q, clause 9).

use core::mem::offset_of;

use crate::frame::{Be16, View, Wire};
use dns_lb_common::Backend;

/// EtherType of IPv4, as the two octets lie in memory, like the other three here.
pub const IPV4: u16 = Be16::new(0x0800).word();
/// EtherType of IPv6.
pub const IPV6: u16 = Be16::new(0x86dd).word();
/// EtherType of a customer's VLAN tag (802.1Q).
pub const VLAN: u16 = Be16::new(0x8100).word();
/// EtherType of a provider's VLAN tag (802.1ad).
pub const PROVIDER_VLAN: u16 = Be16::new(0x88a8).word();

/// VLAN tags that are looked behind.
const MOST_TAGS: usize = 2;

/// Destination, source, EtherType: 14 octets.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct EthernetHeader {
    /// MAC address of the receiver.
    pub destination: [u8; 6],
    /// MAC address of the sender.
    pub source: [u8; 6],
    /// What follows: an EtherType from 0x0600, below that a length.
    pub ether_type: Be16,
}

// SAFETY: arrays of octets only.
unsafe impl Wire for EthernetHeader {}

/// What follows the EtherType of a tag: 4 octets.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct VlanTag {
    /// Priority, drop eligibility, VLAN identifier.
    pub control: Be16,
    /// What follows.
    pub ether_type: Be16,
}

// SAFETY: arrays of octets only.
unsafe impl Wire for VlanTag {}

impl EthernetHeader {
    /// Length in octets.
    pub const LENGTH: usize = size_of::<Self>();

    /// Addresses the frame to a backend, from the interface that it leaves by.
    ///
    /// Both addresses in two words: a copy of `[u8; 6]` becomes a call of a looping `memmove` in
    /// BPF, 24 ns.
    #[inline(always)]
    pub fn readdress(&mut self, backend: &Backend) {
        #[repr(C, packed)]
        struct Words(u64, u32);
        const { assert!(offset_of!(Backend, destination_mac) == 0) };
        const { assert!(offset_of!(Backend, source_mac) == 6) };
        let from = (&raw const *backend).cast::<Words>();
        let to = (&raw mut *self).cast::<Words>();
        // SAFETY: destination and source lie side by side at the start of a backend, 12 octets;
        // packed words want no alignment.
        let Words(head, tail) = unsafe { from.read() };
        // SAFETY: as above, at the start of a header that is borrowed mutably.
        unsafe { to.write(Words(head, tail)) };
    }
}

/// What the frame carries behind its tags, and where that begins. `None` if the frame ends before
/// it says. With more tags than are looked behind, the EtherType is that of the next tag.
#[inline(always)]
#[must_use]
pub fn payload(frame: View<'_>) -> Option<(u16, usize)> {
    let mut ether_type = frame.header::<EthernetHeader>(0)?.ether_type.word();
    let mut at = EthernetHeader::LENGTH;
    for _ in 0..MOST_TAGS {
        if ether_type != VLAN && ether_type != PROVIDER_VLAN {
            break;
        }
        ether_type = frame.header::<VlanTag>(at)?.ether_type.word();
        at += size_of::<VlanTag>();
    }
    Some((ether_type, at))
}
