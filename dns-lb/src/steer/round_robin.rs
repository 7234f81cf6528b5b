//! The order of weighted round-robin: each backend's turns spread evenly over the table.
//!
//! Earliest deadline first: a backend of weight w wants its k-th turn at time (k + 1/2) / w. For
//! equal weights that is plain rotation; for 5, 1, 1 it is a a a b c a a rather than five a in
//! a row.

use std::{cmp::Ordering, collections::BinaryHeap};

use dns_lb_common::TABLE_SLOTS;

use super::Member;

/// Fills the slots. Weights are from 1.
pub(super) fn fill(slots: &mut [u16; TABLE_SLOTS], members: &[Member]) {
    let mut queue: BinaryHeap<Turn> = (0..)
        .zip(members)
        .map(|(order, member)| Turn {
            halves: 1,
            weight: member.weight.into(),
            order,
            id: member.id,
        })
        .collect();
    for slot in slots {
        let Some(mut turn) = queue.peek_mut() else {
            return;
        };
        *slot = turn.id;
        turn.halves += 2;
    }
}

/// A backend's next turn, due at `halves / 2 / weight`.
struct Turn {
    halves: u64,
    weight: u64,
    order: usize,
    id: u16,
}

impl Ord for Turn {
    /// The greatest is the one that is due first; the order of backends settles a tie.
    fn cmp(&self, other: &Self) -> Ordering {
        // Due times compared without dividing. Both products stay below 2^28.
        (other.halves * self.weight, other.order).cmp(&(self.halves * other.weight, self.order))
    }
}

impl PartialOrd for Turn {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Turn {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Turn {}

#[cfg(test)]
mod tests {
    use dns_lb_common::{HashKey, Policy};

    use super::super::table::{build_table, members};

    fn first(weights: &[u16], count: usize) -> Vec<u16> {
        build_table(Policy::RoundRobin, &HashKey::default(), &members(weights)).slots[..count]
            .to_vec()
    }

    #[test]
    fn equal_weights_rotate() {
        assert_eq!(first(&[1, 1, 1], 6), [1, 2, 3, 1, 2, 3]);
    }

    #[test]
    fn unequal_weights_are_smooth() {
        assert_eq!(first(&[5, 1, 1], 7), [1, 1, 1, 2, 3, 1, 1]);
    }
}
