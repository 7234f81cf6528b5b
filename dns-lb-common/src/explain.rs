//! How `dns-lb explain` asks: with a frame that has metadata in front of it.

use crate::layout;

/// The metadata of a frame that is to be explained (`data_meta` of `struct xdp_md`), as
/// `BPF_PROG_TEST_RUN` hands it to the program; no frame from a wire has it. Such a frame is
/// treated like any other, except that nothing is counted or remembered, and that the program
/// writes here what it decided.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Explanation {
    /// [`Explanation::MAGIC`]. Without it the metadata are somebody else's.
    pub magic: u32,
    /// The [`Ending`](crate::Ending), by its number.
    pub ending: u8,
    /// The [`Origin`] of the choice, by its number.
    pub origin: u8,
    /// The service, by id; 0 if none.
    pub service: u16,
    /// The backend, by id; 0 if none.
    pub backend: u16,
    /// Unused, zero.
    pub reserved: u16,
}
layout!(Explanation, size = 12, align = 4);

impl Explanation {
    /// "DNSL" in ASCII, host byte order.
    pub const MAGIC: u32 = 0x444e_534c;
}

/// What a backend was chosen by.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The steering table, or nothing was chosen.
    Table = 0,
    /// The connection's entry in `tcp_flows`.
    Established = 1,
    /// The connection's entry in `tcp_pending`.
    Pending = 2,
    /// The datagram's entry in `fragments`.
    Fragments = 3,
}

impl Origin {
    /// What the stored octet says.
    #[must_use]
    pub const fn from_wire(octet: u8) -> Self {
        match octet {
            1 => Self::Established,
            2 => Self::Pending,
            3 => Self::Fragments,
            _ => Self::Table,
        }
    }
}
