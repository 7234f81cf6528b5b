//! What was measured, beside what was to be reached.

use std::fmt::Write as _;

use dns_lb_tests::{
    Scale,
    machine::{Quartiles, describe, met},
};
use serde_json::{Value, json};

use super::Effort;

/// Percent of one core.
const MOST_CPU: f64 = 10.0;
/// Megabytes.
const MOST_RESIDENT: f64 = 60.0;
/// Milliseconds after it was due that a probe may begin.
const LATEST: f64 = 50.0;
/// Milliseconds until packets go by new tables.
const MOST_TABLE: f64 = 20.0;

/// The agent with a farm of this size.
pub(crate) struct Row {
    pub(crate) scale: Scale,
    pub(crate) cpu_percent: f64,
    pub(crate) resident_mb: f64,
    /// The most since it was started.
    pub(crate) most_resident_mb: f64,
    /// One each time, until packets went by the tables.
    pub(crate) table_ms: Vec<f64>,
    /// The latest probe since it was started.
    pub(crate) latest_ms: f64,
    /// Probes that were more than 20 ms late, since it was started and while it was measured.
    pub(crate) late: u64,
    pub(crate) late_meanwhile: u64,
    pub(crate) probes_per_second: f64,
}

pub(crate) struct Report {
    pub(crate) rows: Vec<Row>,
    pub(crate) effort: Effort,
}

/// What is to be kept low.
struct Figure {
    name: &'static str,
    value: f64,
    unit: &'static str,
    /// With [`Scale::LIMITED`] servers; fewer have none.
    most: Option<f64>,
}

impl Figure {
    fn is_met(&self) -> Option<bool> {
        self.most.map(|most| self.value <= most)
    }
}

impl Row {
    fn figures(&self) -> [Figure; 5] {
        let table = Quartiles::of(&self.table_ms).median;
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
            ("tables built", table, "ms, median", MOST_TABLE),
        ]
        .map(|(name, value, unit, most)| Figure {
            name,
            value,
            unit,
            most: (self.scale.servers == Scale::LIMITED).then_some(most),
        })
    }
}

impl Report {
    pub(crate) fn text(&self) -> String {
        let Effort { time, builds, .. } = self.effort;
        let mut text = format!(
            "{}\neach backend probed through its VIP every 500 ms, for {} s; then {builds} changes of a weight\n\
             a backend is a server of a service: of 100 services with 10 servers each has one, \
             and each server is of 10\n",
            describe().join("\n"),
            time.as_secs()
        );
        for row in &self.rows {
            let Scale { servers, services } = row.scale;
            let _ = writeln!(
                text,
                "\nservers {servers}, services {services}, backends {}: {:.0} probes a second, \
                 {} more than 20 ms late, {} since the start",
                row.scale.backends(),
                row.probes_per_second,
                row.late_meanwhile,
                row.late
            );
            for figure in row.figures() {
                let Figure {
                    name, value, unit, ..
                } = figure;
                let _ = write!(text, "  {name:<18}{value:>7.1} {unit:<12}");
                if let Some((most, is_met)) = figure.most.zip(figure.is_met()) {
                    let _ = write!(text, "  {}: {most}", met(is_met));
                }
                text.truncate(text.trim_end().len());
                text.push('\n');
            }
        }
        text
    }

    pub(crate) fn json(&self) -> String {
        let rows = self.rows.iter().map(|row| {
            let figures = row.figures().map(|figure| {
                json!({
                    "name": figure.name,
                    "value": figure.value,
                    "unit": figure.unit,
                    "most": figure.most,
                    "met": figure.is_met(),
                })
            });
            json!({
                "servers": row.scale.servers,
                "services": row.scale.services,
                "backends": row.scale.backends(),
                "probes_per_second": row.probes_per_second,
                "cpu_percent": row.cpu_percent,
                "resident_mb": row.resident_mb,
                "most_resident_mb": row.most_resident_mb,
                "latest_probe_ms": row.latest_ms,
                "late": row.late_meanwhile,
                "late_since_start": row.late,
                "table_ms": row.table_ms,
                "figures": figures,
            })
        });
        let document = json!({
            "machine": describe(),
            "seconds": self.effort.time.as_secs_f64(),
            "rows": rows.collect::<Vec<Value>>(),
        });
        format!("{document:#}\n")
    }
}
