//! What was measured, beside what was to be reached.

use std::fmt::Write as _;

use dns_lb_tests::{
    Scale,
    machine::{Quartiles, describe, met},
};
use serde_json::{Value, json};

use super::{farms::FLOWS, wire::Rates};

/// Nanoseconds above the bare program that steering may cost.
const MOST_ABOVE_BARE: f64 = 15.0;
/// Verified instructions that leave room for what comes later.
const MOST_VERIFIED: u32 = 10_000;
/// Milliseconds for the tables of 1,000 backends.
const MOST_TABLE_MS: f64 = 20.0;

/// Part of the floor's frames a second that are to go through ours.
const LEAST_OF_FLOOR: f64 = 0.9;

/// What a figure is to be.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    None,
    /// At most 1.5 times the floor, and [`MOST_ABOVE_BARE`].
    Steered,
    /// At most so many times the floor.
    TimesFloor(f64),
    /// Within 5 % of the plain hash.
    NearHash,
    /// At most 10 ns more than the same with one flow.
    NearOneFlow,
}

/// A row of the table.
pub(crate) struct Row {
    name: String,
    target: Target,
    /// Nanoseconds a packet, one a round.
    pub(crate) samples: Vec<f64>,
}

impl Row {
    pub(crate) fn new(name: &str, target: Target) -> Self {
        Self {
            name: name.to_owned(),
            target,
            samples: Vec::new(),
        }
    }
}

/// A farm of some size.
pub(crate) struct Farm {
    pub(crate) scale: Scale,
    /// How many of its services many flows go to.
    pub(crate) services_asked: u16,
    /// Nanoseconds a packet, one a round: of one flow to the first service.
    pub(crate) one_flow_ns: Vec<f64>,
    /// Of [`FLOWS`] flows, behind the front.
    pub(crate) many_flows_ns: Vec<f64>,
    /// Milliseconds from a change of one backend to tables that are live, one each time.
    pub(crate) table_ms: Vec<f64>,
}

pub(crate) struct Report {
    pub(crate) rows: Vec<Row>,
    pub(crate) verified_instructions: Option<u32>,
    pub(crate) table_ms: Vec<f64>,
    pub(crate) farms: Vec<Farm>,
    pub(crate) live: Rates,
    pub(crate) rounds: usize,
    pub(crate) repeat: u32,
}

impl Report {
    fn samples(&self, name: &str) -> &[f64] {
        let row = self.rows.iter().find(|row| row.name == name);
        &row.expect("a row of that name").samples
    }

    /// The median over the rounds of what `f` makes of some samples and a row's, each in one round: the
    /// clock wanders by a third from one round to the next, and less within one.
    fn beside(&self, samples: &[f64], other: &str, f: impl Fn(f64, f64) -> f64) -> f64 {
        let pairs = samples.iter().zip(self.samples(other));
        let made: Vec<f64> = pairs.map(|(&own, &other)| f(own, other)).collect();
        Quartiles::of(&made).median
    }

    fn times(&self, row: &Row, other: &str) -> f64 {
        self.beside(&row.samples, other, |own, other| own / other)
    }

    fn above(&self, row: &Row, other: &str) -> f64 {
        self.beside(&row.samples, other, |own, other| own - other)
    }

    /// Nanoseconds above the floor, of one flow and of many.
    fn above_floor(&self, farm: &Farm) -> [f64; 2] {
        let above = |samples: &[f64], floor| self.beside(samples, floor, |own, floor| own - floor);
        [
            above(&farm.one_flow_ns, "floor"),
            above(&farm.many_flows_ns, "floor behind the front, 65,536 flows"),
        ]
    }

    /// The median over the rounds of the part of the floor's live frames that ours takes as long for.
    fn part_of_floor(&self) -> f64 {
        let rounds = self.live.ours.iter().zip(&self.live.floor);
        let parts: Vec<f64> = rounds.map(|(ours, floor)| ours / floor).collect();
        Quartiles::of(&parts).median
    }

    /// Whether a row is what it is to be, and what that is.
    fn verdict(&self, row: &Row) -> Option<(bool, String)> {
        Some(match row.target {
            Target::None => return None,
            Target::Steered => (
                self.times(row, "floor") <= 1.5 && self.above(row, "bare") <= MOST_ABOVE_BARE,
                format!("1.5 × floor, bare + {MOST_ABOVE_BARE} ns"),
            ),
            Target::TimesFloor(times) => (
                self.times(row, "floor") <= times,
                format!("{times} × floor"),
            ),
            Target::NearHash => (
                self.times(row, "IPv4/UDP hash") <= 1.05,
                "hash + 5 %".to_owned(),
            ),
            Target::NearOneFlow => (
                self.above(row, "hash behind the front, 1 flow") <= 10.0,
                "one flow + 10 ns".to_owned(),
            ),
        })
    }

    pub(crate) fn text(&self) -> String {
        let mut text = format!(
            "{}\nns a packet: median [quartiles] of {} rounds of {} runs, programs in turn\n\n",
            describe().join("\n"),
            self.rounds,
            self.repeat
        );
        for row in &self.rows {
            let Quartiles {
                lower,
                median,
                upper,
            } = Quartiles::of(&row.samples);
            let _ = write!(
                text,
                "{:<50} {median:>5.0} [{lower:.0}–{upper:.0}]  bare {:+.0}  {:.2} × floor",
                row.name,
                self.above(row, "bare"),
                self.times(row, "floor")
            );
            if let Some((is_met, words)) = self.verdict(row) {
                let _ = write!(text, "  {}: {words}", met(is_met));
            }
            text.push('\n');
        }
        let tables = Quartiles::of(&self.table_ms);
        let _ = write!(
            text,
            "\ntables of 1,000 backends, built and live: {:.1} ms [{:.1}–{:.1}]  {}: {MOST_TABLE_MS} ms\n",
            tables.median,
            tables.lower,
            tables.upper,
            met(tables.median <= MOST_TABLE_MS)
        );
        self.write_farms(&mut text);
        let [floor, ours] = [&self.live.floor, &self.live.ours].map(|rates| Quartiles::of(rates));
        let _ = writeln!(
            text,
            "live frames through a veth pair and back on one core, millions a second: \
             floor {:.2} [{:.2}–{:.2}], hash {:.2} [{:.2}–{:.2}], {:.1} % of the floor  {}: {:.0} %",
            floor.median / 1e6,
            floor.lower / 1e6,
            floor.upper / 1e6,
            ours.median / 1e6,
            ours.lower / 1e6,
            ours.upper / 1e6,
            self.part_of_floor() * 1e2,
            met(self.part_of_floor() >= LEAST_OF_FLOOR),
            LEAST_OF_FLOOR * 1e2
        );
        if let Some(verified) = self.verified_instructions {
            let _ = writeln!(
                text,
                "instructions that the verifier went through: {verified}  {}: {MOST_VERIFIED}",
                met(verified <= MOST_VERIFIED)
            );
        }
        text
    }

    fn write_farms(&self, text: &mut String) {
        let _ = writeln!(
            text,
            "\nfarms: ns a packet of one flow to one service; of 65,536 flows to all services, 64 at most, \
             behind the front; ms until the tables of a change are live"
        );
        for farm in &self.farms {
            let Scale { servers, services } = farm.scale;
            let _ = write!(
                text,
                "servers {servers:>5}, services {services:>3}, backends {:>5}: ",
                farm.scale.backends()
            );
            let above = self.above_floor(farm);
            for (samples, above) in [&farm.one_flow_ns, &farm.many_flows_ns]
                .into_iter()
                .zip(above)
            {
                let Quartiles {
                    lower,
                    median,
                    upper,
                } = Quartiles::of(samples);
                let _ = write!(
                    text,
                    "{median:>5.0} [{lower:.0}–{upper:.0}] floor {above:+.0}  "
                );
            }
            let Quartiles {
                lower,
                median,
                upper,
            } = Quartiles::of(&farm.table_ms);
            let _ = writeln!(text, "{median:>6.1} ms [{lower:.1}–{upper:.1}]");
        }
        text.push('\n');
    }

    pub(crate) fn json(&self) -> String {
        let rows = self.rows.iter().map(|row| {
            let Quartiles {
                lower,
                median,
                upper,
            } = Quartiles::of(&row.samples);
            json!({
                "name": row.name,
                "median_ns": median,
                "quartiles_ns": [lower, upper],
                "above_bare_ns": self.above(row, "bare"),
                "times_floor": self.times(row, "floor"),
                "target": self.verdict(row).map(|(is_met, words)| json!({"is": words, "met": is_met})),
                "samples_ns": row.samples,
            })
        });
        let farms = self.farms.iter().map(|farm| {
            let [one_flow, many_flows] = self.above_floor(farm);
            json!({
                "servers": farm.scale.servers,
                "services": farm.scale.services,
                "backends": farm.scale.backends(),
                "one_flow": {"samples_ns": farm.one_flow_ns, "above_floor_ns": one_flow},
                "many_flows": {
                    "flows": FLOWS,
                    "services": farm.services_asked,
                    "samples_ns": farm.many_flows_ns,
                    "above_floor_ns": many_flows,
                },
                "table_ms": farm.table_ms,
            })
        });
        let document = json!({
            "machine": describe(),
            "rounds": self.rounds,
            "repeat": self.repeat,
            "rows": rows.collect::<Vec<Value>>(),
            "table_ms": self.table_ms,
            "farms": farms.collect::<Vec<Value>>(),
            "live_frames_per_second": {
                "floor": self.live.floor,
                "hash": self.live.ours,
                "part_of_floor": self.part_of_floor(),
            },
            "verified_instructions": self.verified_instructions,
        });
        format!("{document:#}\n")
    }
}
