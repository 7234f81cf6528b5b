//! The order of Maglev (Eisenbud et al., NSDI 2016, section 3.4) for policies that hash: shares
//! follow the weights, and a backend that leaves moves few slots besides its own.
//!
//! The paper wants a prime table size so that every skip visits every slot. Here the size is a
//! power of two, which the program can index by a shift, and skips are odd, which does the same.

use std::hash::Hasher as _;

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
    let mut turns: Vec<Turn> = members
        .iter()
        .map(|member| Turn::new(key, member))
        .collect();
    let mut empty = slots.len();
    loop {
        for turn in &mut turns {
            // In each round a backend earns its weight and pays the heaviest one's for a slot.
            turn.credit += turn.weight;
            if turn.credit < heaviest {
                continue;
            }
            turn.credit -= heaviest;
            let slot = turn.next_empty(slots);
            slots[slot] = turn.id;
            empty -= 1;
            if empty == 0 {
                return;
            }
        }
    }
}

/// A backend's way through the table: its own permutation of the slots.
struct Turn {
    id: u16,
    weight: u32,
    credit: u32,
    position: usize,
    skip: usize,
}

impl Turn {
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
            skip: ((hash >> 32) as usize % TABLE_SLOTS) | 1,
        }
    }

    /// The next slot of its permutation that nobody holds. There is one: the caller stops when the
    /// table is full.
    fn next_empty(&mut self, slots: &[u16; TABLE_SLOTS]) -> usize {
        loop {
            let slot = self.position;
            self.position = (slot + self.skip) % TABLE_SLOTS;
            if slots[slot] == NO_BACKEND {
                return slot;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use dns_lb_common::Policy;

    use super::super::table::{build_table, members};
    use super::*;

    const KEY: HashKey = HashKey { words: [7, 11] };

    #[test]
    fn a_backend_that_leaves_moves_little_else() {
        for count in [2, 3, 10, 100] {
            let all = members(&vec![1; count]);
            let before = build_table(Policy::Hash, &KEY, &all);
            for gone in [0, count / 2, count - 1] {
                let mut rest = all.clone();
                let gone = rest.remove(gone).id;
                let after = build_table(Policy::Hash, &KEY, &rest);
                let moved = before
                    .slots
                    .iter()
                    .zip(&after.slots)
                    .filter(|(old, new)| old != new)
                    .count();
                // Its own slots, 1/N of the table, and what settling them elsewhere displaces.
                let bound = TABLE_SLOTS as f64 * 1.7 / count as f64;
                assert!(
                    moved as f64 <= bound,
                    "{moved} slots moved, at most {bound} of {count}"
                );
                assert!(after.slots.iter().all(|&id| id != gone));
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
