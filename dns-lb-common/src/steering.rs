//! From hash slot to backend, and from backend to the frame's new addresses.

use crate::layout;

/// Slots of a steering table. 65,536 slots of two octets are 128 KiB: at 100 backends each owns
/// about 655 slots, so that the smallest step of a share is 0.15 %.
pub const TABLE_SLOTS: usize = 65_536;

/// Backend id 0: the table holds nobody for this slot.
pub const NO_BACKEND: u16 = 0;

/// One entry of the `tables` map: hash slot to backend id. One value, since the kernel rounds the
/// values of an array up to eight octets: a `u16` an entry would take four times the cache.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SteeringTable {
    /// Backend ids; [`NO_BACKEND`] in every slot when the service has no usable backend.
    pub slots: [u16; TABLE_SLOTS],
}
layout!(SteeringTable, size = 2 * TABLE_SLOTS, align = 2);

/// How a backend is reached. Stored as `u8`; 0 is an entry that is not in use.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Egress {
    /// Not in use: a packet steered here ends as [`UnknownBackend`](crate::Ending::UnknownBackend).
    None = 0,
    /// On the link: rewrite the addresses and send the frame out.
    Forward = 1,
}

/// One entry of the `backends` map.
///
/// The two addresses stand in the order of the Ethernet header, so that rewriting a frame is one
/// copy of twelve octets.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backend {
    /// MAC address of the backend: the frame's new destination.
    pub destination_mac: [u8; 6],
    /// MAC address of the egress interface: the frame's new source.
    pub source_mac: [u8; 6],
    /// Index of the egress interface. Equal to the ingress interface: `XDP_TX`; else redirect.
    pub ifindex: u32,
    /// Address, network byte order, IPv4-mapped for IPv4. The program does not read it: it tells
    /// readers of the map, and the agent that adopts it, which backend this is.
    pub address: [u8; 16],
    /// An [`Egress`].
    pub egress: u8,
    /// Health when last written: 0 unknown, 1 up, 2 down. Not read by the program.
    pub health: u8,
    /// Key of the egress interface in the devmap.
    pub devmap_key: u16,
    /// The service, by id, that this backend belongs to. Not read by the program.
    pub service: u16,
    /// Weight as configured. Not read by the program.
    pub weight: u16,
}
layout!(Backend, size = 40, align = 4);
