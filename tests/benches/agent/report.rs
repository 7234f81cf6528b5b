//! What was measured, beside what was to be reached.

use std::{fmt::Write as _, time::Duration};

use dns_lb_tests::machine::{describe, met};
use serde_json::{Value, json};

use super::BACKENDS;

/// Percent of one core.
const MOST_CPU: f64 = 10.0;
/// Megabytes.
const MOST_RESIDENT: f64 = 60.0;
/// Milliseconds after it was due that a probe may begin.
const LATEST: f64 = 50.0;

/// The agent with its backends in so many services.
pub(crate) struct Row {
    pub(crate) services: u16,
    pub(crate) cpu_percent: f64,
    pub(crate) resident_mb: f64,
    /// The most since it was started.
    pub(crate) most_resident_mb: f64,
    /// The latest probe since it was started.
    pub(crate) latest_ms: f64,
    /// Probes that were more than 20 ms late, since it was started and while it was measured.
    pub(crate) late: u64,
    pub(crate) late_meanwhile: u64,
    pub(crate) probes_per_second: f64,
}

pub(crate) struct Report {
    pub(crate) rows: Vec<Row>,
    pub(crate) time: Duration,
}

impl Row {
    /// Name, value, unit and limit of what is to be kept low.
    fn figures(&self) -> [(&'static str, f64, &'static str, f64); 4] {
        [
            ("CPU", self.cpu_percent, "% of a core", MOST_CPU),
            ("resident", self.resident_mb, "MB", MOST_RESIDENT),
            (
                "resident at most",
                self.most_resident_mb,
                "MB",
                MOST_RESIDENT,
            ),
            ("latest probe", self.latest_ms, "ms late", LATEST),
        ]
    }
}

impl Report {
    pub(crate) fn text(&self) -> String {
        let mut text = format!(
            "{}\n{BACKENDS} backends, each probed through the VIP every 500 ms, for {} s\n",
            describe().join("\n"),
            self.time.as_secs()
        );
        for row in &self.rows {
            let _ = writeln!(
                text,
                "\n{} services: {:.0} probes a second, {} more than 20 ms late, {} since the start",
                row.services, row.probes_per_second, row.late_meanwhile, row.late
            );
            for (name, value, unit, most) in row.figures() {
                let is_met = met(value <= most);
                let _ = writeln!(
                    text,
                    "  {name:<18}{value:>7.1} {unit:<12}  {is_met}: {most}"
                );
            }
        }
        text
    }

    pub(crate) fn json(&self) -> String {
        let rows = self.rows.iter().map(|row| {
            let figures = row.figures().map(|(name, value, unit, most)| {
                json!({"name": name, "value": value, "unit": unit, "most": most, "met": value <= most})
            });
            json!({
                "services": row.services,
                "probes_per_second": row.probes_per_second,
                "late": row.late_meanwhile,
                "late_since_start": row.late,
                "figures": figures,
            })
        });
        let document = json!({
            "machine": describe(),
            "backends": BACKENDS,
            "seconds": self.time.as_secs_f64(),
            "rows": rows.collect::<Vec<Value>>(),
        });
        format!("{document:#}\n")
    }
}
