//! Durations counted by how long they were: what a histogram is drawn from.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

/// Upper bounds of the buckets in microseconds: from an answer out of a cache on the same link to one
/// that a client has given up waiting for.
pub const BOUNDS_US: [u64; 13] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000,
];

/// Durations, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Durations {
    /// All of them.
    pub count: u64,
    /// Their sum in microseconds.
    pub sum_us: u64,
    /// By an upper bound in microseconds, how many were at most that long, and longer than the next
    /// lower bound: 100, 250, 500 and so on to 1,000,000. Bounds with none are absent, and what was
    /// longer than a second is in `count` alone.
    pub buckets: BTreeMap<u64, u64>,
}

impl Durations {
    /// Counts one more.
    pub fn count(&mut self, duration: Duration) {
        self.count += 1;
        self.sum_us = self.sum_us.saturating_add(micros(duration));
        // A nanosecond beyond a bound is beyond it.
        let is_within = |&bound: &u64| duration <= Duration::from_micros(bound);
        if let Some(bound) = BOUNDS_US.into_iter().find(is_within) {
            *self.buckets.entry(bound).or_default() += 1;
        }
    }

    /// Every bound with its count, those with none among them.
    pub fn all_buckets(&self) -> impl Iterator<Item = (u64, u64)> {
        let count = |bound| self.buckets.get(&bound).copied().unwrap_or(0);
        BOUNDS_US
            .into_iter()
            .map(move |bound| (bound, count(bound)))
    }
}

/// A duration as the documents state it, in microseconds.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let mut durations = Durations::default();
        for nanos in [0, 100_000, 100_001, 250_000, 1_000_000_000, 1_000_000_001] {
            durations.count(Duration::from_nanos(nanos));
        }
        assert_eq!(durations.count, 6);
        assert_eq!(durations.sum_us, 100 + 100 + 250 + 1_000_000 + 1_000_000);
        let counted = BTreeMap::from([(100, 2), (250, 2), (1_000_000, 1)]);
        assert_eq!(durations.buckets, counted);
        let all: Vec<_> = durations.all_buckets().collect();
        assert_eq!(all.len(), BOUNDS_US.len());
        assert_eq!(all[..3], [(100, 2), (250, 2), (500, 0)]);
        let text = serde_json::to_string(&durations).unwrap();
        assert_eq!(serde_json::from_str::<Durations>(&text).unwrap(), durations);
    }

    #[test]
    fn the_sum_does_not_wrap() {
        let mut durations = Durations::default();
        durations.count(Duration::MAX);
        durations.count(Duration::MAX);
        assert_eq!(durations.sum_us, u64::MAX);
    }
}
