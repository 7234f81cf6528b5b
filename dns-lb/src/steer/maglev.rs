//! Tables for policies that hash, in the manner of Maglev (Eisenbud et al., NSDI 2016, section 3.4):
//! shares follow the weights, and a backend that leaves moves few slots besides its own.
//!
//! As in the paper each backend has a permutation of the slots, in which order it wants them. There,
//! each backend in turn takes the next slot of its own that is free: whoever finds one freed by a
//! backend that left gives another one up for it, and so on; of 1,000 backends one that leaves
//! moves seven times its share. Here all go through their permutations at the same pace, a slot is
//! its first caller's, and whoever has a full share stops. So a slot that is freed goes to whoever
//! calls for it next, and makes nobody give another one up but who is full already.
//!
//! The paper wants a prime table size so that every skip visits every slot. Here the size is a
//! power of two, which the program can index by a shift, and skips are odd, which does the same.

use std::{cmp::Reverse, hash::Hasher as _};

use dns_lb_common::{HashKey, NO_BACKEND, TABLE_SLOTS};
use siphasher::sip::SipHasher13;

use super::Member;

/// Fills the slots. `members` are in an order that every balancer agrees on, weights from 1.
pub(super) fn fill(slots: &mut [u16; TABLE_SLOTS], key: &HashKey, members: &[Member]) {
    let heaviest = members
        .iter()
        .map(|member| u32::from(member.weight))
        .max()
        .unwrap_or(1);
    let mut callers: Vec<Caller> = members
        .iter()
        .map(|member| Caller::new(key, member))
        .collect();
    share_out(&mut callers);
    // Each caller goes through all slots before it comes round, and the shares make up the table: so
    // this ends.
    let mut free = slots.len();
    while free > 0 {
        callers.retain_mut(|caller| {
            // In each round a backend earns its weight and pays the heaviest one's for a call.
            caller.credit += caller.weight;
            if caller.credit >= heaviest {
                caller.credit -= heaviest;
                free -= usize::from(caller.call(slots));
            }
            caller.share > 0
        });
    }
}

/// Up to so many backends a share is exact to a slot. From there on full shares are so many that
/// backends would push each other through the table when one leaves.
const EXACT: u64 = 100;
/// Backends more than [`EXACT`] for which a share may grow by its own size.
const LOOSE: u64 = 4_500;

/// Gives each its share of the slots, by weight, rounded so that the shares make up the table; to
/// more than [`EXACT`] backends somewhat more, which they will not all get.
///
/// The rounding is by lot, which each draws by itself: so when one leaves, the shares of the others
/// grow by what they gain, and no share of theirs changes for another reason.
fn share_out(callers: &mut [Caller]) {
    let weights: u64 = callers.iter().map(|caller| u64::from(caller.weight)).sum();
    let mut rests = Vec::with_capacity(callers.len());
    let mut left = TABLE_SLOTS as i64;
    for (place, caller) in callers.iter_mut().enumerate() {
        // In units of 2^-32 slots.
        let ideal = ((TABLE_SLOTS as u64 * u64::from(caller.weight)) << 32) / weights;
        let drawn = ideal + u64::from(caller.lot);
        caller.share = (drawn >> 32) as u32;
        left -= i64::from(caller.share);
        rests.push((drawn as u32, place));
    }
    if left >= 0 {
        rests.sort_by_key(|&(rest, place)| Reverse((rest, place)));
        for &(_, place) in rests.iter().take(left as usize) {
            callers[place].share += 1;
        }
    } else {
        rests.sort_unstable();
        let owing = rests.iter().filter(|&&(_, place)| callers[place].share > 0);
        let owing: Vec<usize> = owing.map(|&(_, place)| place).collect();
        for place in owing.into_iter().take(left.unsigned_abs() as usize) {
            callers[place].share -= 1;
        }
    }
    let loose = (callers.len() as u64).saturating_sub(EXACT);
    if loose > 0 {
        for caller in callers {
            let more = ((u64::from(caller.share) * loose) << 32) / LOOSE;
            caller.share += ((more + u64::from(caller.lot)) >> 32) as u32;
        }
    }
}

/// A backend on its way through the table: its own permutation of the slots.
struct Caller {
    id: u16,
    weight: u32,
    credit: u32,
    position: usize,
    skip: usize,
    /// What rounds its share, in units of 2^-32 slots.
    lot: u32,
    /// Slots that it is still to have.
    share: u32,
}

impl Caller {
    fn new(key: &HashKey, member: &Member) -> Self {
        let [first, second] = key.words;
        // SipHash, and by its own name: unlike the standard library's hasher it is the same in
        // every version, which balancers of different versions rely on.
        let mut hasher = SipHasher13::new_with_keys(first, second);
        hasher.write(&member.address);
        let hash = hasher.finish();
        Self {
            id: member.id,
            weight: member.weight.into(),
            credit: 0,
            position: hash as usize % TABLE_SLOTS,
            skip: ((hash >> 16) as usize % TABLE_SLOTS) | 1,
            lot: (hash >> 32) as u32,
            share: 0,
        }
    }

    /// Takes the next slot of its permutation, if nobody holds it; true then.
    fn call(&mut self, slots: &mut [u16; TABLE_SLOTS]) -> bool {
        let slot = &mut slots[self.position];
        self.position = (self.position + self.skip) % TABLE_SLOTS;
        let free = *slot == NO_BACKEND;
        if free {
            *slot = self.id;
            self.share -= 1;
        }
        free
    }
}

#[cfg(test)]
mod tests {
    use dns_lb_common::Policy;

    use super::super::table::{build_table, members, slots_of};
    use super::*;

    const KEY: HashKey = HashKey { words: [7, 11] };

    #[test]
    fn a_backend_that_leaves_moves_at_most_half_as_much_again() {
        for count in [1, 2, 3, 5, 10, 30, 99, 100, 101, 200, 400, 700, 1_000] {
            let all = members(&vec![1; count]);
            let before = build_table(Policy::Hash, &KEY, &all);
            for gone in [0, count / 3, count / 2, count - 1] {
                let mut rest = all.clone();
                let gone = rest.remove(gone).id;
                let after = build_table(Policy::Hash, &KEY, &rest);
                let moved = before
                    .slots
                    .iter()
                    .zip(&after.slots)
                    .filter(|(old, new)| old != new)
                    .count();
                let bound = TABLE_SLOTS as f64 * 1.5 / count as f64;
                assert!(
                    moved as f64 <= bound,
                    "{moved} slots moved, at most {bound} of {count}"
                );
                assert!(after.slots.iter().all(|&id| id != gone));
            }
        }
    }

    #[test]
    fn shares_are_exact_to_a_hundred_backends_and_near_beyond() {
        for (count, most) in [
            (2, 0.001),
            (10, 0.001),
            (100, 0.01),
            (300, 0.07),
            (1_000, 0.25),
        ] {
            let members = members(&vec![1; count]);
            let table = build_table(Policy::Hash, &KEY, &members);
            let ideal = TABLE_SLOTS as f64 / count as f64;
            for slots in slots_of(&table, &members) {
                assert!(slots as f64 <= ideal * (1.0 + most), "{slots} of {count}");
                let least = if count > 100 { 0.35 } else { most };
                assert!(slots as f64 >= ideal * (1.0 - least), "{slots} of {count}");
            }
        }
    }

    #[test]
    fn another_key_gives_another_table() {
        let members = members(&[1; 5]);
        let other = HashKey { words: [7, 12] };
        let differing = build_table(Policy::Hash, &KEY, &members)
            .slots
            .iter()
            .zip(&build_table(Policy::Hash, &other, &members).slots)
            .filter(|(one, other)| one != other)
            .count();
        assert!(differing > TABLE_SLOTS / 2, "only {differing} slots differ");
    }
}
