//! A steering table from the backends that share it.

use dns_lb_common::{HashKey, NO_BACKEND, Policy, SteeringTable, TABLE_SLOTS};

use super::{Member, maglev, round_robin};

/// Fills a table. The order of `members` does not matter: two balancers with the same key and the
/// same backends build the same table (under ids of their own). Members have weights from 1; with
/// none, every slot is [`NO_BACKEND`].
#[must_use]
pub fn build_table(policy: Policy, key: &HashKey, members: &[Member]) -> Box<SteeringTable> {
    let mut members: Vec<Member> = members
        .iter()
        .filter(|member| member.weight > 0)
        .copied()
        .collect();
    members.sort_by_key(|member| member.address);
    let mut table = Box::new(SteeringTable {
        slots: [NO_BACKEND; TABLE_SLOTS],
    });
    if !members.is_empty() {
        match policy {
            Policy::Hash | Policy::Source | Policy::Qname => {
                maglev::fill(&mut table.slots, key, &members);
            }
            Policy::RoundRobin => round_robin::fill(&mut table.slots, &members),
        }
    }
    table
}

/// How many slots each of these backends has, in their order.
#[cfg(test)]
pub(super) fn slots_of(table: &SteeringTable, members: &[Member]) -> Vec<usize> {
    members
        .iter()
        .map(|member| table.slots.iter().filter(|&&id| id == member.id).count())
        .collect()
}

#[cfg(test)]
pub(super) fn members(weights: &[u16]) -> Vec<Member> {
    (1..)
        .zip(weights)
        .map(|(id, &weight)| {
            let [high, low] = u16::to_be_bytes(id);
            Member {
                id,
                address: dns_lb_common::VipKey::map_ipv4([10, 0, high, low]),
                weight,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: HashKey = HashKey {
        words: [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3211],
    };
    const POLICIES: [Policy; 2] = [Policy::Hash, Policy::RoundRobin];

    #[test]
    fn shares_follow_weights() {
        for policy in POLICIES {
            for weights in [&[1, 1][..], &[1, 3], &[5, 1, 1], &[1000, 1, 500], &[1; 100]] {
                let members = members(weights);
                let table = build_table(policy, &KEY, &members);
                let total: f64 = weights.iter().copied().map(f64::from).sum();
                for (slots, &weight) in slots_of(&table, &members).into_iter().zip(weights) {
                    let ideal = f64::from(weight) / total * TABLE_SLOTS as f64;
                    let error = (slots as f64 - ideal).abs();
                    assert!(
                        error <= 2.0,
                        "{policy:?} {weights:?}: {slots} slots, ideal {ideal}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_order_of_backends_does_not_matter() {
        for policy in POLICIES {
            let members = members(&[1, 2, 3, 4, 5]);
            let reversed: Vec<_> = members.iter().rev().copied().collect();
            assert_eq!(
                build_table(policy, &KEY, &members).slots,
                build_table(policy, &KEY, &reversed).slots,
            );
        }
    }

    #[test]
    fn no_backend_fills_no_slot() {
        for policy in POLICIES {
            for members in [members(&[]), members(&[0, 0])] {
                let table = build_table(policy, &KEY, &members);
                assert!(table.slots.iter().all(|&id| id == NO_BACKEND));
            }
        }
    }

    #[test]
    fn a_backend_of_weight_zero_gets_nothing() {
        for policy in POLICIES {
            let members = members(&[1, 0, 1]);
            let table = build_table(policy, &KEY, &members);
            assert_eq!(slots_of(&table, &members)[1], 0);
        }
    }

    #[test]
    fn a_thousand_backends_all_take_turns() {
        let members = members(&[1; 1000]);
        let table = build_table(Policy::RoundRobin, &KEY, &members);
        for slots in slots_of(&table, &members) {
            assert!((65..=66).contains(&slots), "{slots}");
        }
    }
}
