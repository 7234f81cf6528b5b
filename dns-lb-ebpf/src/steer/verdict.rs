//! How a packet ended, and on whose account.

use core::fmt;

use dns_lb_common::{Action, Ending, HAS_LOCAL, NO_BACKEND, NO_SERVICE, Origin, VipSlot};

use crate::frame;

/// How a packet ended, and on whose account: in one register, so that it costs an instruction to
/// say, and nothing to hand over.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Verdict(u64);

// From the lowest octet: ending, nothing, origin, flags; then service and backend, 16 bits each.
const ORIGIN: u32 = 16;
const FLAGS: u32 = 24;
const SERVICE: u32 = 32;
const BACKEND: u32 = 48;

/// Flag: the frame goes on beyond its first buffer.
const SEVERAL_BUFFERS: u64 = 0x40 << FLAGS;
/// Flag: the packet found its service in the second bank.
const BANK: u32 = FLAGS + 7;
/// Flag: the service has a backend on this host.
const LOCAL: u64 = (HAS_LOCAL as u64) << FLAGS;

const _: () = assert!((LOCAL | 1 << BANK) & SEVERAL_BUFFERS == 0 && LOCAL >> BANK == 0);
const _: () = assert!(NO_SERVICE == 0 && NO_BACKEND == 0);

impl Verdict {
    /// As a register holds it.
    #[inline(always)]
    #[must_use]
    pub const fn to_word(self) -> u64 {
        self.0
    }

    /// What [`Self::to_word`] made.
    ///
    /// # Safety
    /// Nothing else made it: not every word holds an ending.
    #[inline(always)]
    #[must_use]
    pub const unsafe fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// The end of a packet that is of no service.
    #[inline(always)]
    #[must_use]
    pub const fn unclaimed(ending: Ending) -> Self {
        Self(ending as u64)
    }

    /// The end of a packet of a service that goes to no backend.
    #[inline(always)]
    pub(super) const fn of_service(ending: Ending, slot: &VipSlot) -> Self {
        Self(ending as u64 | ((slot.bank & 1) as u64) << BANK | (slot.service as u64) << SERVICE)
    }

    /// A packet that is to go to this backend; how it ends is for [`forward`](mod@super::forward) to
    /// say.
    #[inline(always)]
    pub(super) const fn chosen(slot: &VipSlot, backend: u16) -> Self {
        let Self(word) = Self::of_service(Ending::Transmitted, slot);
        Self(word | (backend as u64) << BACKEND)
    }

    /// The same end, on a service's account.
    #[inline(always)]
    pub(super) const fn on_account_of(self, service: u16) -> Self {
        Self(self.0 & !(0xffff << SERVICE) | (service as u64) << SERVICE)
    }

    /// The same verdict, of a service that may have a backend on this host.
    #[inline(always)]
    pub(super) const fn of_local(self, slot: &VipSlot) -> Self {
        Self(self.0 | ((slot.flags & HAS_LOCAL) as u64) << FLAGS)
    }

    /// With what the backend was chosen by, which was the table so far.
    #[inline(always)]
    pub(super) const fn by(self, origin: Origin) -> Self {
        Self(self.0 | (origin as u64) << ORIGIN)
    }

    /// Of a frame that goes on beyond its first buffer, or not.
    #[inline(always)]
    pub(super) const fn in_several_buffers(self, yes: bool) -> Self {
        match yes {
            true => Self(self.0 | SEVERAL_BUFFERS),
            false => self,
        }
    }

    /// The same packet with another end, at which a backend still has it.
    #[inline(always)]
    pub(super) const fn ending_as(self, ending: Ending) -> Self {
        Self(self.0 & !0xff | ending as u64)
    }

    /// The same packet with another end, at which no backend has it.
    #[inline(always)]
    pub(super) const fn instead(self, ending: Ending) -> Self {
        Self(self.0 & (0xffff << SERVICE) | ending as u64)
    }

    /// The same verdict, [forgotten](frame::forgotten).
    #[inline(always)]
    #[must_use]
    pub fn forgotten(self, unknown: usize) -> Self {
        Self(frame::forgotten(self.0 as usize, unknown) as u64)
    }

    /// The way it ended.
    #[inline(always)]
    #[must_use]
    pub const fn ending(self) -> Ending {
        // SAFETY: the lowest octet has been an ending since `unclaimed` or `of_service`: nothing
        // else makes a verdict, nothing but another ending replaces it, and `from_word` asks for it.
        unsafe { core::mem::transmute::<u8, Ending>(self.0 as u8) }
    }

    /// What the backend was chosen by.
    #[inline(always)]
    #[must_use]
    pub const fn origin(self) -> Origin {
        Origin::from_wire((self.0 >> ORIGIN) as u8)
    }

    /// The service, [`NO_SERVICE`] if none claims the packet.
    #[inline(always)]
    #[must_use]
    pub const fn service(self) -> u16 {
        (self.0 >> SERVICE) as u16
    }

    /// The bank that its service was found in, 0 or 1.
    #[inline(always)]
    #[must_use]
    pub const fn bank(self) -> usize {
        (self.0 >> BANK & 1) as usize
    }

    /// The backend that it was steered to, [`NO_BACKEND`] if to none.
    #[inline(always)]
    #[must_use]
    pub const fn backend(self) -> u16 {
        (self.0 >> BACKEND) as u16
    }

    /// Whether the service has a backend on this host.
    #[inline(always)]
    pub(super) const fn has_local(self) -> bool {
        self.0 & LOCAL != 0
    }

    /// Whether the frame goes on beyond its first buffer.
    #[inline(always)]
    #[must_use]
    pub const fn is_in_several_buffers(self) -> bool {
        self.0 & SEVERAL_BUFFERS != 0
    }

    /// Whether a backend has got the packet.
    #[inline(always)]
    #[must_use]
    pub const fn is_steered(self) -> bool {
        let ending = self.ending();
        matches!(ending.action(), Action::Transmit | Action::Redirect)
            || matches!(ending, Ending::Delivered)
    }
}

impl fmt::Debug for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Verdict")
            .field("ending", &self.ending())
            .field("origin", &self.origin())
            .field("service", &self.service())
            .field("backend", &self.backend())
            .finish_non_exhaustive()
    }
}
