//! What was measured, beside what was to be reached.

use std::{fmt::Write as _, time::Duration};

use dns_lb_tests::{
    Death, Failover,
    machine::{describe, met},
};
use serde_json::{Value, json};

use super::{RATE, SERVERS, Timing};

/// A death at some timing.
pub(crate) struct Row {
    death: Death,
    timing: Timing,
    /// One each time.
    pub(crate) runs: Vec<Failover>,
}

/// Smallest, median and largest.
struct Spread {
    smallest: f64,
    median: f64,
    largest: f64,
}

impl Row {
    pub(crate) const fn new(death: Death, timing: Timing) -> Self {
        Self {
            death,
            timing,
            runs: Vec::new(),
        }
    }

    pub(crate) fn name(&self) -> String {
        match self.timing {
            Timing::Default => self.death.to_string(),
            Timing::Fast => format!("{}, fast", self.death),
        }
    }

    /// Within what time of the death the last query may be lost, in the median; twice that at the
    /// most. Who answers to the wrong MAC address is only found out by every eighth probe.
    fn limit(&self) -> Option<Duration> {
        let milliseconds = match (self.death, self.timing) {
            (Death::WrongMac, _) => return None,
            (_, Timing::Fast) => 150,
            (Death::Killed, Timing::Default) => 400,
            (_, Timing::Default) => 900,
        };
        Some(Duration::from_millis(milliseconds))
    }

    fn spread(&self, figure: impl Fn(&Failover) -> f64) -> Spread {
        let mut sorted: Vec<f64> = self.runs.iter().map(figure).collect();
        sorted.sort_by(f64::total_cmp);
        Spread {
            smallest: sorted[0],
            median: sorted[sorted.len() / 2],
            largest: sorted[sorted.len() - 1],
        }
    }

    fn milliseconds(&self) -> Spread {
        self.spread(|run| run.until_last_loss.as_secs_f64() * 1e3)
    }

    fn is_met(&self) -> Option<bool> {
        let limit = self.limit()?.as_secs_f64() * 1e3;
        let Spread {
            median, largest, ..
        } = self.milliseconds();
        Some(median <= limit && largest <= 2.0 * limit)
    }

    /// Queries lost that no death accounts for.
    fn lost_otherwise(&self) -> usize {
        let lost = |run: &Failover| run.lost_before + run.lost_on_return;
        self.runs.iter().map(lost).sum()
    }
}

pub(crate) struct Report {
    pub(crate) rows: Vec<Row>,
}

impl Report {
    pub(crate) fn text(&self) -> String {
        let mut text = format!(
            "{}\n{RATE} queries a second over {} servers, of which one dies: {} runs, \
             median [smallest–largest]\n\n",
            describe().join("\n"),
            SERVERS.len(),
            self.rows.first().map_or(0, |row| row.runs.len())
        );
        for row in &self.rows {
            let time = row.milliseconds();
            let lost = row.spread(|run| run.lost as f64);
            let _ = write!(
                text,
                "{:<24} last loss after {:>5.0} ms [{:.0}–{:.0}]  lost {:>5.0} [{:.0}–{:.0}]",
                row.name(),
                time.median,
                time.smallest,
                time.largest,
                lost.median,
                lost.smallest,
                lost.largest
            );
            if let (Some(is_met), Some(limit)) = (row.is_met(), row.limit()) {
                let _ = write!(text, "  {}: {} ms", met(is_met), limit.as_millis());
            }
            let otherwise = row.lost_otherwise();
            let _ = writeln!(
                text,
                "  {}: none lost on return ({otherwise})",
                met(otherwise == 0)
            );
        }
        text
    }

    pub(crate) fn json(&self) -> String {
        let rows = self.rows.iter().map(|row| {
            let milliseconds = |run: &Failover| run.until_last_loss.as_secs_f64() * 1e3;
            json!({
                "name": row.name(),
                "until_last_loss_ms": row.milliseconds().median,
                "samples_ms": row.runs.iter().map(milliseconds).collect::<Vec<_>>(),
                "lost": row.runs.iter().map(|run| run.lost).collect::<Vec<_>>(),
                "lost_otherwise": row.lost_otherwise(),
                "words": row.runs.last().map(|run| &run.words),
                "target": row.is_met().zip(row.limit()).map(|(is_met, limit)| json!({
                    "median_ms": u64::try_from(limit.as_millis()).unwrap_or(u64::MAX),
                    "met": is_met,
                })),
            })
        });
        let document = json!({
            "machine": describe(),
            "queries_per_second": RATE,
            "rows": rows.collect::<Vec<Value>>(),
        });
        format!("{document:#}\n")
    }
}
