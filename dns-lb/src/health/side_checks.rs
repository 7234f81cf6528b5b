//! What a probe looks for beside its verdict, and when. Pure.

use std::time::Duration;

use tokio::time::Instant;

use super::{Ending, Extra, Outcome};
use crate::config::HealthCheck;

/// Every so many probes it is looked whether answers go to clients, and not back to the MAC address
/// that the query came from.
const RETURN_CHECK_EVERY: u32 = 8;
/// The same where nothing was heard: a switch may drop frames from a MAC address that it does not know.
const RETURN_CHECK_EVERY_IF_SILENT: u32 = 240;
/// How often a server is asked who it is.
const IDENTITY_EVERY: Duration = Duration::from_secs(60);

/// What is looked for beside the verdict, and when.
pub(super) struct SideChecks {
    checks_return: bool,
    probes: u32,
    diagnose: bool,
    trusts_stand_in: bool,
    /// Whether the last look at where answers go was met by silence, which costs a whole timeout.
    is_silent: bool,
    /// Answers have been seen to go astray, and not yet to arrive again.
    is_astray: bool,
    identity_due: Option<Instant>,
}

impl SideChecks {
    pub(super) fn new(check: &HealthCheck) -> Self {
        Self {
            checks_return: check.check_return,
            probes: 0,
            diagnose: false,
            trusts_stand_in: false,
            is_silent: false,
            is_astray: false,
            identity_due: None,
        }
    }

    /// For the next probe.
    pub(super) fn next(&mut self, now: Instant) -> Extra {
        let every = match self.is_silent {
            true => RETURN_CHECK_EVERY_IF_SILENT,
            false => RETURN_CHECK_EVERY,
        };
        let is_turn = self.is_astray || self.probes.is_multiple_of(every);
        let ask_identity = self.identity_due.is_none_or(|due| due <= now);
        if ask_identity {
            self.identity_due = Some(now + IDENTITY_EVERY);
        }
        self.probes = self.probes.wrapping_add(1);
        Extra {
            diagnose: self.diagnose,
            trusts_stand_in: self.trusts_stand_in,
            check_return: self.checks_return && is_turn,
            ask_identity,
        }
    }

    /// Takes in how the probe of this extra ended. What answers in vain passes no more until its answers
    /// have been seen to arrive: silence proves nothing.
    pub(super) fn learn(&mut self, extra: Extra, outcome: Outcome) -> Outcome {
        self.diagnose = outcome.suggests_diagnosis();
        self.trusts_stand_in |= outcome.passed() && outcome.stood_in();
        match outcome.return_path() {
            Some(arrives) => (self.is_astray, self.is_silent) = (!arrives, false),
            None => self.is_silent |= extra.check_return && outcome.passed(),
        }
        if !outcome.passed() {
            // Who comes up may be another.
            self.identity_due = None;
            return outcome;
        }
        match (self.is_astray, outcome.rtt()) {
            (true, Some(rtt)) => Ending::WrongMac { rtt }.into(),
            _ => outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::ResponseCode;

    use super::*;
    use crate::health::testing::check;

    fn pass() -> Outcome {
        Ending::Passed {
            code: ResponseCode::NoError,
            rtt: Duration::from_millis(1),
        }
        .into()
    }

    fn silence() -> Outcome {
        Ending::TimedOut {
            vip: None,
            ignored: None,
        }
        .into()
    }

    /// A pass, of a probe that found out whether answers arrive.
    fn pass_with(return_path: Option<bool>) -> Outcome {
        pass().returning(return_path)
    }

    #[test]
    fn what_is_looked_for_beside_follows_from_what_was_seen() {
        let now = Instant::now();
        let look = |return_path: Option<bool>| {
            let mut side = SideChecks::new(&check());
            let extras: Vec<Extra> = (0..241)
                .map(|_| {
                    let extra = side.next(now);
                    let seen = return_path.filter(|_| extra.check_return);
                    assert!(side.learn(extra, pass_with(seen)).passed());
                    extra
                })
                .collect();
            let checked = extras.iter().filter(|extra| extra.check_return).count();
            (extras, side, checked)
        };
        let (extras, mut side, checked) = look(Some(true));
        assert_eq!(checked, 31);
        assert_eq!(extras.iter().filter(|extra| extra.ask_identity).count(), 1);
        assert!(side.next(now + IDENTITY_EVERY).ask_identity);
        let extra = side.next(now + IDENTITY_EVERY);
        assert!(!extra.ask_identity);
        side.learn(extra, silence());
        let extra = side.next(now + IDENTITY_EVERY);
        assert!(extra.ask_identity, "it may be another");

        let (_, _, checked) = look(None);
        assert_eq!(checked, 2, "silence costs a timeout each time");
    }

    #[test]
    fn answers_that_go_astray_fail_until_they_are_seen_to_arrive() {
        let now = Instant::now();
        let mut side = SideChecks::new(&check());
        let mut causes = Vec::new();
        for seen in [Some(true), Some(false), None, None, Some(true), None] {
            let extra = side.next(now);
            causes.push(side.learn(extra, pass_with(seen)).cause());
        }
        let expected = [
            "passed",
            "wrong_mac",
            "wrong_mac",
            "wrong_mac",
            "passed",
            "passed",
        ];
        assert_eq!(causes, expected);
    }
}
