//! The perfect hash over VIPs: a seed under which each key has a slot of its own.

use std::{
    collections::{BTreeSet, HashSet},
    iter,
};

use dns_lb_common::{VipKey, VipSlot, vip_hash};

use super::{Plan, PlannedService};

/// Seeds tried before giving up. At the slots that [`Capacity`](crate::datapath::Capacity) gives,
/// one in about 3,000 fits: to miss a hundred thousand times has a probability below 10^-14.
const ATTEMPTS: u64 = 100_000;

/// Slots in which every key is where its hash says.
#[derive(Debug)]
pub(super) struct VipIndex {
    pub(super) seed: u64,
    pub(super) slots: Vec<VipSlot>,
}

impl VipIndex {
    /// Places these slots, at most one a key, among `size` (a power of two). `None` if no seed
    /// separates them. `first` is tried first: the seed that served last time mostly serves again.
    pub(super) fn build(entries: &[VipSlot], size: u32, first: u64) -> Option<Self> {
        debug_assert!(size.is_power_of_two());
        let mut taken = BTreeSet::new();
        iter::once(first | 1)
            .chain((1..=ATTEMPTS).map(seed))
            .find_map(|seed| {
                taken.clear();
                let separated = entries
                    .iter()
                    .all(|entry| taken.insert(place(seed, &entry.key, size)));
                separated.then(|| {
                    let mut slots = vec![VipSlot::default(); size as usize];
                    for entry in entries {
                        slots[place(seed, &entry.key, size) as usize] = *entry;
                    }
                    Self { seed, slots }
                })
            })
    }
}

fn place(seed: u64, key: &VipKey, size: u32) -> u32 {
    vip_hash(seed, shift(size), key)
}

/// What [`vip_hash`] is to be told about a table of this size.
pub(super) fn shift(size: u32) -> u32 {
    u64::BITS - size.trailing_zeros()
}

/// The n-th seed to try: odd, as multiply-shift wants it, and with all bits in play (the finaliser
/// of SplitMix64, Steele et al. 2014).
fn seed(attempt: u64) -> u64 {
    let mut word = attempt.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (word ^ (word >> 31)) | 1
}

/// The entries of the VIP hash: each service under its keys, each VIP once for its fragments of a
/// protocol and once as an address, and its other balancers; all for this bank.
pub(super) fn entries(
    plan: &Plan,
    bank: usize,
    table: impl Fn(&PlannedService) -> u32,
) -> Vec<VipSlot> {
    let mut slots = Vec::new();
    let mut others = HashSet::new();
    for service in &plan.services {
        let slot = VipSlot {
            key: VipKey::default(),
            service: service.id,
            policy: service.policy as u8,
            on_no_backend: service.on_no_backend as u8,
            table: table(service),
            flags: service.flags,
            window_shift: service.window_shift,
            bank: bank as u8,
            reserved: 0,
        };
        for &key in &service.keys {
            slots.push(VipSlot { key, ..slot });
            for key in [
                VipKey::fragments(key.address, key.protocol),
                VipKey::address(key.address),
            ] {
                if others.insert(key) {
                    slots.push(VipSlot { key, ..slot });
                }
            }
        }
        for &mac in &service.peers {
            let key = VipKey::peer(mac, service.id);
            if others.insert(key) {
                slots.push(VipSlot { key, ..slot });
            }
        }
    }
    slots
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datapath::{Capacity, Demand};

    fn entries(count: u32) -> Vec<VipSlot> {
        (0..count)
            .map(|number| VipSlot {
                key: VipKey::new(
                    VipKey::map_ipv4((0xc0a8_0000 + number / 2).to_be_bytes()),
                    if number % 2 == 0 { 53 } else { 0 },
                    if number % 2 == 0 { 17 } else { 0 },
                ),
                service: 1,
                ..VipSlot::default()
            })
            .collect()
    }

    #[test]
    fn every_key_is_found_where_its_hash_says() {
        for count in [0, 1, 2, 16, 128, 512, 2048] {
            let demand = Demand {
                services: 1,
                backends: 1,
                vip_keys: count,
                tcp_flows: 1_024,
            };
            let size = Capacity::with_headroom(demand).vip_slots;
            let entries = entries(count);
            let index = VipIndex::build(&entries, size, 0).expect("a seed");
            for entry in &entries {
                assert_eq!(
                    index.slots[place(index.seed, &entry.key, size) as usize],
                    *entry
                );
            }
            let used = index.slots.iter().filter(|slot| slot.service != 0).count();
            assert_eq!(used, entries.len());
        }
    }

    #[test]
    fn too_small_a_table_is_said_not_searched_forever() {
        assert!(VipIndex::build(&entries(65), 64, 0).is_none());
    }
}
