//! The Ethernet header (IEEE 802.3, clause 3.2).

use core::mem::offset_of;

use crate::frame::{Be16, Wire};
use dns_lb_common::Backend;

/// EtherType of IPv4.
pub const IPV4: u16 = 0x0800;

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
