//! From single probes to a verdict: thresholds, and which delay comes next.
//!
//! Pure: no clock, no I/O.

use std::time::Duration;

use super::Health;
use crate::config::HealthCheck;

/// What is known of one backend, and the run of equal results that the last probe belongs to.
///
/// The terms are HAProxy's. A backend goes down after `fall` failures in a row and up after `rise`
/// passes in a row, from [`Health::Unknown`] as from the opposite state: a start is no reason to
/// trust less evidence than later.
#[derive(Clone, Debug)]
pub struct State {
    health: Health,
    /// How the last probe ended; `None` before the first.
    last: Option<bool>,
    /// Length of the run, in probes.
    run: u32,
    fall: u32,
    rise: u32,
    interval: Duration,
    fast_interval: Duration,
}

/// A change of verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The verdict until now.
    pub from: Health,
    /// The verdict from now on; differs from `from`.
    pub to: Health,
}

impl State {
    /// A backend of which nothing was probed yet. `initial` is [`Health::Unknown`], or what an
    /// earlier run of the agent found out.
    #[must_use]
    pub fn new(check: &HealthCheck, initial: Health) -> Self {
        Self {
            health: initial,
            last: None,
            run: 0,
            fall: check.fall,
            rise: check.rise,
            interval: check.interval,
            fast_interval: check.fast_interval,
        }
    }

    /// Takes in how a probe ended.
    pub fn observe(&mut self, passed: bool) -> Option<Transition> {
        if self.last == Some(passed) {
            self.run = self.run.saturating_add(1);
        } else {
            self.last = Some(passed);
            self.run = 1;
        }

        let (to, wanted) = if passed {
            (Health::Up, self.rise)
        } else {
            (Health::Down, self.fall)
        };
        if self.health == to || self.run < wanted {
            return None;
        }
        let from = std::mem::replace(&mut self.health, to);
        Some(Transition { from, to })
    }

    /// The verdict.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health
    }

    /// Whether a verdict is pending: there is none yet, or the last probe contradicts it.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        match self.health {
            Health::Unknown => true,
            Health::Up => self.last == Some(false),
            Health::Down => self.last == Some(true),
        }
    }

    /// From the start of the last probe to the start of the next: `fast_interval` while a verdict
    /// is pending, else `interval`.
    #[must_use]
    pub fn next_delay(&self) -> Duration {
        if self.is_pending() {
            self.fast_interval
        } else {
            self.interval
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::health::testing::check;

    fn state(fall: u32, rise: u32, initial: Health) -> State {
        let check = HealthCheck {
            fall,
            rise,
            ..check()
        };
        State::new(&check, initial)
    }

    #[test]
    fn a_cold_start_wants_as_much_evidence_as_any_other() {
        let mut starting = state(2, 3, Health::Unknown);
        assert_eq!(starting.observe(true), None);
        assert_eq!(starting.observe(true), None);
        assert_eq!(
            starting.observe(true),
            Some(Transition {
                from: Health::Unknown,
                to: Health::Up
            })
        );

        let mut starting = state(2, 3, Health::Unknown);
        assert_eq!(starting.observe(false), None);
        assert_eq!(
            starting.observe(false),
            Some(Transition {
                from: Health::Unknown,
                to: Health::Down
            })
        );
    }

    #[test]
    fn an_adopted_verdict_holds_until_contradicted_often_enough() {
        let mut adopted = state(2, 3, Health::Up);
        assert!(!adopted.is_pending());
        assert_eq!(adopted.observe(false), None);
        assert_eq!(adopted.health(), Health::Up);
        assert_eq!(adopted.observe(false).unwrap().to, Health::Down);
    }

    #[test]
    fn probes_are_fast_only_while_a_verdict_is_pending() {
        let HealthCheck {
            interval,
            fast_interval,
            ..
        } = check();
        let mut state = state(2, 3, Health::Unknown);
        let mut delays = vec![state.next_delay()];
        for passed in [true, true, true, false, true, false, false, false, true] {
            state.observe(passed);
            delays.push(state.next_delay());
        }
        let fast = [
            true, true, true, false, true, false, true, false, false, true,
        ];
        let expected = fast.map(|fast| if fast { fast_interval } else { interval });
        assert_eq!(delays, expected);
    }

    fn health() -> impl Strategy<Value = Health> {
        prop_oneof![Just(Health::Unknown), Just(Health::Up), Just(Health::Down)]
    }

    proptest! {
        /// The definition, written down a second time over the whole history: the verdict is that
        /// of the last run that was long enough.
        #[test]
        fn the_verdict_is_that_of_the_last_run_that_was_long_enough(
            fall in 1u32..6,
            rise in 1u32..6,
            initial in health(),
            results in vec(any::<bool>(), 0..200),
        ) {
            let mut state = state(fall, rise, initial);
            let mut expected = initial;
            for seen in 1..=results.len() {
                let passed = results[seen - 1];
                let run = results[..seen].iter().rev().take_while(|&&r| r == passed).count();
                let before = expected;
                if passed && run >= rise as usize {
                    expected = Health::Up;
                } else if !passed && run >= fall as usize {
                    expected = Health::Down;
                }

                let transition = state.observe(passed);
                prop_assert_eq!(state.health(), expected);
                prop_assert_eq!(
                    transition,
                    (before != expected).then_some(Transition { from: before, to: expected })
                );
            }
        }

        /// However the results fall, two changes are at least the smaller threshold apart.
        #[test]
        fn never_flaps_faster_than_its_thresholds(
            fall in 1u32..6,
            rise in 1u32..6,
            results in vec(any::<bool>(), 0..200),
        ) {
            let mut state = state(fall, rise, Health::Unknown);
            let mut last_change = None;
            for (at, passed) in results.into_iter().enumerate() {
                if let Some(Transition { to, .. }) = state.observe(passed) {
                    let threshold = if to == Health::Up { rise } else { fall };
                    if let Some(last) = last_change {
                        prop_assert!(at - last >= threshold as usize);
                    }
                    prop_assert!(!state.is_pending());
                    last_change = Some(at);
                }
            }
        }
    }
}
