//! What became of a load's queries.

use std::{
    collections::BTreeMap,
    ops::Range,
    time::{Duration, Instant},
};

/// Lost queries that were sent within this time of each other are one window of loss.
const WINDOW_GAP: Duration = Duration::from_millis(250);

/// A query that has waited so long without an answer is counted as overdue in a [`Tally`].
const OVERDUE: Duration = Duration::from_millis(250);

/// All queries of a load, in the order in which they were sent.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub(super) queries: Vec<Query>,
    identities: Vec<String>,
}

/// A query.
#[derive(Clone, Copy, Debug)]
pub struct Query {
    /// When it was sent.
    pub sent: Instant,
    /// Its answer; none if it was lost.
    pub answer: Option<Answer>,
}

/// An answer.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// How long it took.
    pub after: Duration,
    /// Who gave it, in the order of first answers; [`Report::identities`] has the names.
    pub by: usize,
}

/// A time in which queries were lost, though not necessarily all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LossWindow {
    /// When the first lost query was sent.
    pub first: Instant,
    /// When the last lost query was sent.
    pub last: Instant,
    /// How many were lost.
    pub lost: usize,
}

impl LossWindow {
    /// From the first to the last lost query.
    #[must_use]
    pub fn duration(&self) -> Duration {
        self.last - self.first
    }
}

/// Counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Queries sent.
    pub sent: usize,
    /// Of these, answered.
    pub answered: usize,
    /// Of these, unanswered for more than 250 ms by now.
    pub overdue: usize,
    /// Answers by identity.
    pub by: BTreeMap<String, usize>,
}

impl Report {
    /// The queries.
    #[must_use]
    pub fn queries(&self) -> &[Query] {
        &self.queries
    }

    /// Who answered.
    #[must_use]
    pub fn identities(&self) -> &[String] {
        &self.identities
    }

    /// Number of queries sent.
    #[must_use]
    pub fn sent(&self) -> usize {
        self.queries.len()
    }

    /// Number of queries answered.
    #[must_use]
    pub fn answered(&self) -> usize {
        self.queries
            .iter()
            .filter(|query| query.answer.is_some())
            .count()
    }

    /// Number of queries lost.
    #[must_use]
    pub fn lost(&self) -> usize {
        self.sent() - self.answered()
    }

    /// When the lost queries were sent.
    pub fn losses(&self) -> impl Iterator<Item = Instant> {
        self.queries
            .iter()
            .filter(|query| query.answer.is_none())
            .map(|query| query.sent)
    }

    /// Number of queries lost that were sent outside a time.
    #[must_use]
    pub fn lost_outside(&self, time: Range<Instant>) -> usize {
        self.losses().filter(|sent| !time.contains(sent)).count()
    }

    /// The times in which queries were lost. Gaps of up to 250 ms without loss are part of them.
    #[must_use]
    pub fn loss_windows(&self) -> Vec<LossWindow> {
        let mut windows: Vec<LossWindow> = Vec::new();
        for sent in self.losses() {
            match windows.last_mut() {
                Some(window) if sent - window.last <= WINDOW_GAP => {
                    window.last = sent;
                    window.lost += 1;
                }
                _ => windows.push(LossWindow {
                    first: sent,
                    last: sent,
                    lost: 1,
                }),
            }
        }
        windows
    }

    /// The part of the report on queries sent in a time.
    #[must_use]
    pub fn between(&self, time: Range<Instant>) -> Self {
        let place = |moment| self.queries.partition_point(|query| query.sent < moment);
        let (first, end) = (place(time.start), place(time.end));
        Self {
            queries: self.queries[first..end.max(first)].to_vec(),
            identities: self.identities.clone(),
        }
    }

    /// The part of the queries that were answered, from 0 to 1, of each step of this length from a moment
    /// on; 1 where none was sent. The last step may be a shorter one.
    #[must_use]
    pub fn timeline(&self, from: Instant, step: Duration) -> Vec<f64> {
        let mut timeline = Vec::new();
        let mut start = from;
        let last = self.queries.last().map(|query| query.sent);
        while last.is_some_and(|last| last >= start) {
            let part = self.between(start..start + step);
            timeline.push(match part.sent() {
                0 => 1.0,
                sent => part.answered() as f64 / sent as f64,
            });
            start += step;
        }
        timeline
    }

    /// Answers by identity.
    #[must_use]
    pub fn by_identity(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for answer in self.queries.iter().filter_map(|query| query.answer) {
            *counts
                .entry(self.identities[answer.by].clone())
                .or_default() += 1;
        }
        counts
    }

    /// The time within which this part of the answers came, from 0 to 1: 0.5 is the median.
    /// `None` without answers.
    #[must_use]
    pub fn latency(&self, part: f64) -> Option<Duration> {
        let answers = self.queries.iter().filter_map(|query| query.answer);
        let mut times: Vec<_> = answers.map(|answer| answer.after).collect();
        times.sort_unstable();
        let last = times.len().checked_sub(1)?;
        times
            .get((part.clamp(0.0, 1.0) * last as f64).round() as usize)
            .copied()
    }

    /// Counts, as of now.
    #[must_use]
    pub fn tally(&self) -> Tally {
        Tally {
            sent: self.sent(),
            answered: self.answered(),
            overdue: self
                .losses()
                .filter(|sent| sent.elapsed() > OVERDUE)
                .count(),
            by: self.by_identity(),
        }
    }

    /// The number of an identity.
    pub(super) fn identity(&mut self, name: &str) -> usize {
        let known = self.identities.iter().position(|known| known == name);
        known.unwrap_or_else(|| {
            self.identities.push(name.to_owned());
            self.identities.len() - 1
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A report on queries sent a millisecond apart; each number is when the answer came after,
    /// in milliseconds.
    fn report(answers: &[Option<u64>]) -> (Instant, Report) {
        let start = Instant::now();
        let mut report = Report::default();
        let by = report.identity("dns1");
        for (sent, after) in (0..).zip(answers) {
            report.queries.push(Query {
                sent: start + Duration::from_millis(sent),
                answer: after.map(|after| Answer {
                    after: Duration::from_millis(after),
                    by,
                }),
            });
        }
        (start, report)
    }

    #[test]
    fn losses_close_together_are_one_window() {
        let mut answers = vec![Some(1); 1000];
        for lost in [100, 102, 350, 700] {
            answers[lost] = None;
        }
        let (start, report) = report(&answers);
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(
            report.loss_windows(),
            [
                LossWindow {
                    first: at(100),
                    last: at(350),
                    lost: 3
                },
                LossWindow {
                    first: at(700),
                    last: at(700),
                    lost: 1
                },
            ]
        );
        assert_eq!(report.lost(), 4);
        assert_eq!(report.lost_outside(at(102)..at(700)), 2);
        assert_eq!(report.between(at(351)..at(701)).lost(), 1);
    }

    #[test]
    fn a_timeline_has_a_part_for_each_step() {
        let (start, mut report) = report(&[Some(1), Some(1), None, Some(1), None, None, Some(1)]);
        let at = |ms| start + Duration::from_millis(ms);
        let step = Duration::from_millis(2);
        assert_eq!(report.timeline(start, step), [1.0, 0.5, 0.0, 1.0]);
        assert_eq!(report.timeline(at(2), step), [0.5, 0.0, 1.0]);
        assert!(report.timeline(at(7), step).is_empty());
        report.queries.drain(2..4);
        assert_eq!(report.timeline(start, step), [1.0, 1.0, 0.0, 1.0]);
    }

    #[test]
    fn latency_is_that_of_the_answers() {
        let (_, mixed) = report(&[Some(3), None, Some(1), Some(2)]);
        assert_eq!(mixed.latency(0.5), Some(Duration::from_millis(2)));
        assert_eq!(mixed.latency(1.0), Some(Duration::from_millis(3)));
        let (_, silent) = report(&[None]);
        assert_eq!(silent.latency(0.5), None);
    }
}
