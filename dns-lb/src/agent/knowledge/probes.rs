//! The probes of a backend: how many there were of each kind, and the last ones.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::{
    api::status::{self, Durations, LastProbe, micros},
    health::{LATE, Outcome, Report},
};

/// Probes that are kept of a backend: at the default interval, the last 16 seconds'.
const KEPT: usize = 64;

/// Probes of a backend since the agent has had it.
#[derive(Clone, Debug, Default)]
pub(super) struct Probes {
    total: u64,
    failed: u64,
    /// Those that say nothing, for a fault of this host.
    own_faults: u64,
    late: u64,
    latest: Duration,
    /// By [`Outcome::cause`].
    causes: BTreeMap<&'static str, u64>,
    /// Of those that had a reply.
    rtt: Durations,
    /// The last ones, the oldest first.
    last: VecDeque<Probe>,
}

/// A probe that has ended. There are many of them, so it is small.
#[derive(Clone, Debug)]
struct Probe {
    at: SystemTime,
    /// Probes that end alike share the text.
    outcome: Arc<str>,
    cause: &'static str,
    rtt: Option<Duration>,
    is_own_fault: bool,
}

impl Probes {
    pub(super) fn count(&mut self, report: &Report) {
        let outcome = &report.outcome;
        self.total += 1;
        self.own_faults += u64::from(outcome.is_own_fault());
        self.failed += u64::from(!outcome.passed() && !outcome.is_own_fault());
        self.late += u64::from(report.late_by > LATE);
        self.latest = self.latest.max(report.late_by);
        *self.causes.entry(outcome.cause()).or_default() += 1;
        if let Some(rtt) = outcome.rtt() {
            self.rtt.count(rtt);
        }
        self.keep(report.at, outcome);
    }

    fn keep(&mut self, at: SystemTime, outcome: &Outcome) {
        let text = outcome.to_string();
        let before = self.last.back().map(|probe| &probe.outcome);
        let same = before.filter(|before| ***before == *text);
        let probe = Probe {
            at,
            outcome: same.map_or_else(|| text.as_str().into(), Arc::clone),
            cause: outcome.cause(),
            rtt: outcome.rtt(),
            is_own_fault: outcome.is_own_fault(),
        };
        if self.last.len() == KEPT {
            self.last.pop_front();
        }
        self.last.push_back(probe);
    }

    /// The last ones, the newest first.
    pub(super) fn newest(&self) -> impl Iterator<Item = LastProbe> {
        self.last.iter().rev().map(Probe::described)
    }

    /// What is wrong with this host, if the last probe found that.
    pub(super) fn own_fault(&self) -> Option<String> {
        let last = self.last.back().filter(|probe| probe.is_own_fault)?;
        Some(last.outcome.to_string())
    }

    /// What there was of each kind.
    pub(super) fn counted(&self) -> status::Probes {
        status::Probes {
            total: self.total,
            failed: self.failed,
            own_faults: self.own_faults,
            late: self.late,
            latest_us: micros(self.latest),
            causes: self
                .causes
                .iter()
                .map(|(&cause, &count)| (cause.to_owned(), count))
                .collect(),
            rtt: self.rtt.clone(),
        }
    }
}

impl Probe {
    fn described(&self) -> LastProbe {
        LastProbe {
            at: self.at.into(),
            outcome: self.outcome.to_string(),
            cause: self.cause.to_owned(),
            rtt_us: self.rtt.map(micros),
        }
    }
}
