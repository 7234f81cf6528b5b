//! How much of its weight a backend gets after it has come up. Pure.

use std::time::Duration;

/// Steps from a tenth of the weight to all of it. Each makes new tables.
const STEPS: u32 = 10;

/// How warm a backend is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Warmth {
    /// Part of the weight that it gets, in percent, 10 to 100.
    pub percent: u8,
    /// After which time it gets more; `None` when it has all.
    pub next: Option<Duration>,
}

impl Warmth {
    /// All of the weight.
    pub const FULL: Self = Self {
        percent: 100,
        next: None,
    };

    /// Of a backend that came up so long ago, if it takes `slow_start` to its full weight.
    #[must_use]
    pub fn after(up_for: Duration, slow_start: Duration) -> Self {
        if up_for >= slow_start {
            return Self::FULL;
        }
        // Not zero, since `up_for` is below it.
        let step_length = slow_start / STEPS;
        let step = (1..STEPS)
            .find(|&step| up_for < step_length * step)
            .unwrap_or(STEPS);
        Self {
            percent: (step * 100 / STEPS) as u8,
            next: match step {
                STEPS => Some(slow_start - up_for),
                _ => Some(step_length * step - up_for),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_weight_grows_by_tenths() {
        let slow_start = Duration::from_secs(20);
        let after = |seconds| Warmth::after(Duration::from_secs(seconds), slow_start).percent;
        assert_eq!(
            [0, 1, 2, 3, 10, 18, 19, 20].map(after),
            [10, 10, 20, 20, 60, 100, 100, 100]
        );
        assert_eq!(Warmth::after(Duration::ZERO, Duration::ZERO), Warmth::FULL);
    }

    proptest! {
        /// Whoever looks each time that `next` says sees every step, and the end.
        #[test]
        fn the_end_is_reached_step_by_step(slow_start in 0u64..10_000_000_000) {
            let slow_start = Duration::from_nanos(slow_start);
            let (mut at, mut last) = (Duration::ZERO, 0);
            for _ in 0..=STEPS {
                let warmth = Warmth::after(at, slow_start);
                prop_assert!(warmth.percent >= last && warmth.percent >= 10);
                last = warmth.percent;
                match warmth.next {
                    Some(next) => {
                        prop_assert!(next > Duration::ZERO);
                        at += next;
                    }
                    None => break,
                }
            }
            prop_assert_eq!(Warmth::after(at, slow_start), Warmth::FULL);
            prop_assert!(at <= slow_start);
        }
    }
}
