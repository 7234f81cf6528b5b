//! What was measured, beside what was to be reached.

use std::{fmt::Write as _, time::Duration};

use dns_lb_tests::{
    ha::{Absence, Fault, Takeover},
    machine::{describe, met},
};
use serde_json::{Value, json};

use super::{Case, RATE, SERVERS};

/// Most that `dns-lb ready` may take, in the median.
const READY_LIMIT: Duration = Duration::from_millis(20);

/// Something that happened several times.
pub(crate) struct Row {
    case: Case,
    /// One each time.
    pub(crate) runs: Vec<Takeover>,
}

/// Median and largest.
struct Spread {
    median: f64,
    largest: f64,
}

impl Row {
    pub(crate) const fn new(case: Case) -> Self {
        Self {
            case,
            runs: Vec::new(),
        }
    }

    pub(crate) fn name(&self) -> String {
        match self.case {
            Case::Pair(fault) => format!("VRRP: {fault}"),
            Case::Smallest(fault) => format!("VRRP, servers too: {fault}"),
            Case::Fan(absence) => format!("BGP: {absence}"),
        }
    }

    /// Within what time of it the last query may be lost, always.
    const fn limit(&self) -> Duration {
        match self.case {
            Case::Pair(Fault::Power) | Case::Smallest(_) => Duration::from_secs(1),
            // The agent looks once a second, and keepalived asks it once a second.
            Case::Pair(Fault::Detached) => Duration::from_secs(3),
            Case::Fan(Absence::Power) => Duration::from_millis(500),
            Case::Pair(_) | Case::Fan(_) => Duration::ZERO,
        }
    }

    fn spread(&self, figure: impl Fn(&Takeover) -> f64) -> Spread {
        let mut sorted: Vec<f64> = self.runs.iter().map(figure).collect();
        sorted.sort_by(f64::total_cmp);
        Spread {
            median: sorted[sorted.len() / 2],
            largest: sorted[sorted.len() - 1],
        }
    }

    fn is_met(&self) -> bool {
        let mut runs = self.runs.iter();
        runs.all(|run| {
            run.until_last_loss <= self.limit() && (run.lost == 0 || !self.limit().is_zero())
        })
    }

    /// Queries lost before and on the return.
    fn lost_otherwise(&self) -> usize {
        let lost = |run: &Takeover| run.lost_before + run.lost_on_return;
        self.runs.iter().map(lost).sum()
    }
}

pub(crate) struct Report {
    pub(crate) rows: Vec<Row>,
    /// How long `dns-lb ready` took, from the shortest time to the longest.
    pub(crate) ready: Vec<Duration>,
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

impl Report {
    fn ready_median(&self) -> Duration {
        self.ready[self.ready.len() / 2]
    }

    pub(crate) fn text(&self) -> String {
        let mut text = format!(
            "{}\n{RATE} queries a second over {} servers, while one balancer goes and comes back: {} \
             runs, median [largest]\n\n",
            describe().join("\n"),
            SERVERS.len(),
            self.rows.first().map_or(0, |row| row.runs.len())
        );
        for row in &self.rows {
            let moved = row.spread(|run| milliseconds(run.until_moved));
            let last = row.spread(|run| milliseconds(run.until_last_loss));
            let lost = row.spread(|run| run.lost as f64);
            let otherwise = row.lost_otherwise();
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{:<32} moved after {:>5.0} ms [{:.0}]  last loss after {:>5.0} ms [{:.0}]  \
                 lost {:>5.0} [{:.0}]  {}: {} ms  {}: none lost on return ({otherwise})",
                row.name(),
                moved.median,
                moved.largest,
                last.median,
                last.largest,
                lost.median,
                lost.largest,
                met(row.is_met()),
                row.limit().as_millis(),
                met(otherwise == 0)
            );
        }
        let _ = writeln!(
            text,
            "\ndns-lb ready: {:.1} ms [{:.1}] of {} times  {}: {} ms in the median",
            milliseconds(self.ready_median()),
            self.ready.last().copied().map_or(0.0, milliseconds),
            self.ready.len(),
            met(self.ready_median() < READY_LIMIT),
            READY_LIMIT.as_millis()
        );
        text
    }

    pub(crate) fn json(&self) -> String {
        let rows = self.rows.iter().map(|row| {
            let samples = |figure: &dyn Fn(&Takeover) -> f64| -> Vec<f64> {
                row.runs.iter().map(figure).collect()
            };
            json!({
                "name": row.name(),
                "until_moved_ms": samples(&|run| milliseconds(run.until_moved)),
                "until_last_loss_ms": samples(&|run| milliseconds(run.until_last_loss)),
                "lost": row.runs.iter().map(|run| run.lost).collect::<Vec<_>>(),
                "lost_otherwise": row.lost_otherwise(),
                "target": { "largest_ms": milliseconds(row.limit()), "met": row.is_met() },
            })
        });
        let document = json!({
            "machine": describe(),
            "queries_per_second": RATE,
            "rows": rows.collect::<Vec<Value>>(),
            "ready_ms": self.ready.iter().copied().map(milliseconds).collect::<Vec<_>>(),
        });
        format!("{document:#}\n")
    }
}
