//! The one entry of the `control` map: which bank is live, and how to read it.

use crate::{VipSlot, layout};

/// 128 bits of secret that key the flow hash. Balancers that share it build and index identical
/// steering tables, so that any of them gives a packet to the same backend.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HashKey {
    /// Two 64-bit words, host byte order.
    pub words: [u64; 2],
}
layout!(HashKey, size = 16, align = 8);

/// What the program multiplies by: derived from the [`HashKey`] by the agent, so that nothing is
/// derived for each packet.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DerivedKey {
    /// Two 64-bit words for the hash of a question's name; the second is odd.
    pub name: [u64; 2],
    /// Words that are added to those of a flow, host byte order.
    pub flow: [u32; 8],
}
layout!(DerivedKey, size = 48, align = 8);

/// Where one bank of the configuration lies, and how its VIPs are hashed.
///
/// VIP slots, backends and the steering tables that they name exist twice. The agent writes the
/// bank that is not [`Control::active`], flips that word, and waits for every packet that may have
/// read the old one (`membarrier(2)`) before it writes again: a packet sees one whole
/// configuration, never a mixture.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bank {
    /// Seed under which [`vip_hash`](crate::vip_hash) gives each VIP of this bank its own slot.
    pub vip_seed: u64,
    /// First slot of this bank in the `vips` map.
    pub vip_base: u32,
    /// 64 less the binary logarithm of the number of slots.
    pub vip_shift: u32,
    /// First entry of this bank in the `backends` map.
    pub backend_base: u32,
    /// Unused, zero.
    pub reserved: u32,
}
layout!(Bank, size = 24, align = 8);

/// The entry of the `control` map.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// [`ABI_VERSION`](crate::ABI_VERSION) of the writer; 0 until the first configuration is in.
    /// Stays the first word in every version, so that any version can read it.
    pub abi_version: u32,
    /// The live bank, 0 or 1. Only its lowest octet ever changes, so no reader sees it torn.
    pub active: u32,
    /// How many times the agent has flipped `active`.
    pub generation: u64,
    /// The secret that `derived_key` comes from. The program does not read it.
    pub hash_key: HashKey,
    /// Key of the hashes.
    pub derived_key: DerivedKey,
    /// The two banks.
    pub banks: [Bank; 2],
}
layout!(Control, size = 128, align = 8);

impl Control {
    /// The bank that packets are steered by.
    #[inline(always)]
    #[must_use]
    pub const fn live_bank(&self) -> &Bank {
        // Computed, not chosen: a branch here doubles what the verifier goes through.
        &self.banks[(self.active & 1) as usize]
    }

    /// The bank that a slot is of. For a packet that has found its slot, this one and no other says
    /// which backends there are: `active` may be another one by now.
    #[inline(always)]
    #[must_use]
    pub const fn bank_of(&self, slot: &VipSlot) -> &Bank {
        &self.banks[(slot.bank & 1) as usize]
    }
}
