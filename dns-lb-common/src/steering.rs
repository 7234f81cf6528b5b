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
    /// On this host: give the frame to its stack as it is.
    Local = 2,
}

/// One entry of the `backends` map: one cache line.
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
    /// An [`Egress`].
    pub egress: u8,
    /// Whether connections that are pinned to this backend stay on it: 1 unless it is down.
    pub keeps_flows: u8,
    /// Key of the egress interface in the devmap.
    pub devmap_key: u16,
    /// Differs whenever the id changes hands, so that a pinned connection is not taken for the
    /// newcomer's.
    pub incarnation: u32,
    /// Most queries by name that this backend takes in a window of a CPU (see
    /// [`VipSlot::window_shift`](crate::VipSlot)); not looked at where there is no window.
    pub window_limit: u32,
    /// The service, by id, that this backend belongs to.
    pub service: u16,
    /// Weight as configured. Not read by the program.
    pub weight: u16,
    /// Health when last written: 0 unknown, 1 up, 2 down. Not read by the program.
    pub health: u8,
    /// Whether connections may begin here: 1 if the table names it. A connection that is opened anew
    /// does not go by what is remembered of an older one with the same ports if not.
    pub takes_flows: u8,
    /// Unused, zero.
    pub reserved: [u8; 6],
    /// Address, network byte order, IPv4-mapped for IPv4. The program does not read it: it tells
    /// readers of the map, and the agent that adopts it, which backend this is.
    pub address: [u8; 16],
    /// Unused, zero.
    pub padding: u64,
}
layout!(Backend, size = 64, align = 8);
