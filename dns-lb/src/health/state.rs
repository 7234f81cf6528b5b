//! From single probes to a verdict: thresholds, damping, and which delay comes next.
//!
//! Pure: no I/O, and the clock is the caller's.

use std::time::Duration;

use tokio::time::Instant;

use super::Health;
use crate::config::HealthCheck;

/// Doublings of `rise` at the most: a backend that flaps for ever is asked for 32 times as many
/// passes.
const MOST_DOUBLINGS: u32 = 5;

/// What is known of one backend, and the run of equal results that the last probe belongs to.
///
/// The terms are HAProxy's. A backend goes down after `fall` failures in a row and up after `rise`
/// passes in a row, from [`Health::Unknown`] as from the opposite state: a start is no reason to
/// trust less evidence than later.
///
/// A backend that goes down within `flap_window` of coming up is flapping: each time that it does so
/// again doubles the passes that it takes to come up. The first time that it stays up for longer ends
/// that.
#[derive(Clone, Debug)]
pub struct State {
    health: Health,
    /// How the last probe ended; `None` before the first.
    last: Option<bool>,
    /// Length of the run, in probes.
    run: u32,
    /// When it came up, if it did so by probes.
    up_since: Option<Instant>,
    /// How often in a row it went down within the flap window.
    flaps: u32,
    fall: u32,
    rise: u32,
    flap_window: Duration,
    interval: Duration,
    fast_interval: Duration,
    down_interval: Duration,
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
    /// A backend of which nothing was probed yet. `initial` is [`Health::Unknown`], what an earlier
    /// run of the agent found out, or [`Health::Down`] for one that a running service is given.
    #[must_use]
    pub fn new(check: &HealthCheck, initial: Health) -> Self {
        Self {
            health: initial,
            last: None,
            run: 0,
            up_since: None,
            flaps: 0,
            fall: check.fall,
            rise: check.rise,
            flap_window: check.flap_window,
            interval: check.interval,
            fast_interval: check.fast_interval,
            down_interval: check.down_interval,
        }
    }

    /// Takes in how a probe ended.
    pub fn observe(&mut self, passed: bool, now: Instant) -> Option<Transition> {
        if self.last == Some(passed) {
            self.run = self.run.saturating_add(1);
        } else {
            self.last = Some(passed);
            self.run = 1;
        }
        match passed {
            true if self.run >= self.passes_to_rise() => self.turn(Health::Up, now),
            false if self.run >= self.fall => self.turn(Health::Down, now),
            _ => None,
        }
    }

    /// Takes in what leaves no doubt that the backend is gone: as much as `fall` failures.
    pub fn lose(&mut self, now: Instant) -> Option<Transition> {
        self.last = Some(false);
        self.run = self.fall;
        self.turn(Health::Down, now)
    }

    fn turn(&mut self, to: Health, now: Instant) -> Option<Transition> {
        if self.health == to {
            return None;
        }
        let from = std::mem::replace(&mut self.health, to);
        match to {
            Health::Up => self.up_since = Some(now),
            Health::Down | Health::Unknown => {
                let up_since = self.up_since.take();
                let was_short = up_since.is_some_and(|since| now - since < self.flap_window);
                self.flaps = match was_short {
                    true => MOST_DOUBLINGS.min(self.flaps + 1),
                    false => 0,
                };
            }
        }
        Some(Transition { from, to })
    }

    /// The verdict.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health
    }

    /// Passes in a row that bring it up, from where it stands now.
    #[must_use]
    pub fn passes_to_rise(&self) -> u32 {
        self.rise << self.flaps
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
    /// is pending, else `interval`, or `down_interval` of one that is down.
    #[must_use]
    pub fn next_delay(&self) -> Duration {
        match self.health {
            _ if self.is_pending() => self.fast_interval,
            Health::Down => self.down_interval,
            Health::Unknown | Health::Up => self.interval,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::health::testing::check;

    const MILLISECOND: Duration = Duration::from_millis(1);

    fn state(fall: u32, rise: u32, initial: Health) -> State {
        let check = HealthCheck {
            fall,
            rise,
            ..check()
        };
        State::new(&check, initial)
    }

    fn transition(from: Health, to: Health) -> Option<Transition> {
        Some(Transition { from, to })
    }

    #[test]
    fn a_cold_start_wants_as_much_evidence_as_any_other() {
        let now = Instant::now();
        let mut starting = state(2, 3, Health::Unknown);
        assert_eq!(starting.observe(true, now), None);
        assert_eq!(starting.observe(true, now), None);
        let up = transition(Health::Unknown, Health::Up);
        assert_eq!(starting.observe(true, now), up);

        let mut starting = state(2, 3, Health::Unknown);
        assert_eq!(starting.observe(false, now), None);
        let down = transition(Health::Unknown, Health::Down);
        assert_eq!(starting.observe(false, now), down);
    }

    #[test]
    fn an_adopted_verdict_holds_until_contradicted_often_enough() {
        let now = Instant::now();
        let mut adopted = state(2, 3, Health::Up);
        assert!(!adopted.is_pending());
        assert_eq!(adopted.observe(false, now), None);
        assert_eq!(adopted.health(), Health::Up);
        assert_eq!(adopted.observe(false, now).unwrap().to, Health::Down);
    }

    #[test]
    fn what_is_lost_is_down_at_once_and_comes_up_by_probes() {
        let now = Instant::now();
        let mut lost = state(3, 2, Health::Up);
        assert_eq!(lost.lose(now), transition(Health::Up, Health::Down));
        assert_eq!(lost.lose(now), None);
        assert_eq!(lost.observe(true, now), None);
        let up = transition(Health::Down, Health::Up);
        assert_eq!(lost.observe(true, now), up);
    }

    #[test]
    fn probes_are_fast_only_while_a_verdict_is_pending() {
        let check = HealthCheck {
            down_interval: Duration::from_secs(1),
            ..check()
        };
        let now = Instant::now();
        let mut state = State::new(&check, Health::Unknown);
        let mut delays = vec![state.next_delay()];
        for passed in [true, true, true, false, true, false, false, false, true] {
            state.observe(passed, now);
            delays.push(state.next_delay());
        }
        let HealthCheck {
            interval,
            fast_interval,
            down_interval,
            ..
        } = check;
        let expected = [
            fast_interval,
            fast_interval,
            fast_interval,
            interval,
            fast_interval,
            interval,
            fast_interval,
            down_interval,
            down_interval,
            fast_interval,
        ];
        assert_eq!(delays, expected);
    }

    #[test]
    fn who_flaps_has_to_pass_more_often_until_it_stays_up() {
        let mut now = Instant::now();
        let mut state = state(1, 3, Health::Unknown);
        let mut passes = Vec::new();
        let mut come_up = |state: &mut State, now: Instant| {
            let count = (1..).find(|_| state.observe(true, now).is_some()).unwrap();
            passes.push(count);
        };
        for _ in 0..8 {
            come_up(&mut state, now);
            now += check().flap_window - MILLISECOND;
            assert!(state.observe(false, now).is_some());
        }
        come_up(&mut state, now);
        now += check().flap_window;
        assert!(state.observe(false, now).is_some());
        come_up(&mut state, now);
        assert_eq!(passes, [3, 6, 12, 24, 48, 96, 96, 96, 96, 3]);
    }

    fn health() -> impl Strategy<Value = Health> {
        prop_oneof![Just(Health::Unknown), Just(Health::Up), Just(Health::Down)]
    }

    proptest! {
        /// The definition, written down a second time over the whole history: without damping the
        /// verdict is that of the last run that was long enough.
        #[test]
        fn the_verdict_is_that_of_the_last_run_that_was_long_enough(
            fall in 1u32..6,
            rise in 1u32..6,
            initial in health(),
            results in vec(any::<bool>(), 0..200),
        ) {
            let check = HealthCheck { fall, rise, flap_window: Duration::ZERO, ..check() };
            let mut state = State::new(&check, initial);
            let now = Instant::now();
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

                let transition = state.observe(passed, now);
                prop_assert_eq!(state.health(), expected);
                prop_assert_eq!(
                    transition,
                    (before != expected).then_some(Transition { from: before, to: expected })
                );
            }
        }

        /// However the results fall, and whenever: two changes are at least the smaller threshold
        /// apart, damping only delays coming up, by 32 times at the most, and nothing else.
        #[test]
        fn never_flaps_faster_than_its_thresholds(
            fall in 1u32..6,
            rise in 1u32..6,
            results in vec((any::<bool>(), 0u64..100_000), 0..300),
        ) {
            let mut state = state(fall, rise, Health::Unknown);
            let mut now = Instant::now();
            let mut last_change = None;
            let (mut passes, mut failures) = (0, 0);
            for (at, (passed, after)) in results.into_iter().enumerate() {
                now += Duration::from_millis(after);
                (passes, failures) = if passed { (passes + 1, 0) } else { (0, failures + 1) };
                if let Some(Transition { from, to }) = state.observe(passed, now) {
                    prop_assert_ne!(from, to);
                    let threshold = if to == Health::Up { rise } else { fall };
                    if let Some(last) = last_change {
                        prop_assert!(at - last >= threshold as usize);
                    }
                    prop_assert!(!state.is_pending());
                    last_change = Some(at);
                }
                prop_assert!(failures < fall || state.health() == Health::Down);
                prop_assert!(passes < 32 * rise || state.health() == Health::Up);
            }
        }
    }
}
