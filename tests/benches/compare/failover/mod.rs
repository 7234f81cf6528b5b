//! What a server's death costs by each arrangement, for clients that change their source port and for
//! those that keep it.

mod death;

use std::fmt;

use anyhow::Result;
use dns_lb_tests::{
    Death, Ports,
    comparison::{Arrangement, FailoverRow, FailoverRun, Skipped},
};

use crate::{options::Options, peers, runs};

/// Queries a second.
const RATE: u32 = 500;

/// What is measured together, run after run.
pub(crate) struct Combination {
    arrangement: Arrangement,
    death: Death,
    ports: Ports,
}

impl fmt::Display for Combination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ports = match self.ports {
            Ports::Fixed => "one port",
            _ => "fresh ports",
        };
        let death = name_of(self.death);
        write!(f, "{}, {death}, {ports}", self.arrangement)
    }
}

/// What the record calls a death.
fn name_of(death: Death) -> String {
    match death {
        Death::Dropped => "blackholed".to_owned(),
        other => other.to_string(),
    }
}

/// Measures what the arguments ask for, and writes the record.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    // Most of a run is waiting, so that there can be some at a time.
    let options = Options::parse(arguments, 5, 4)?;
    let binary = runs::binary()?;
    let (combinations, mut skipped) = plan(&options);
    let (runs, mut failed) = runs::measure(
        &combinations,
        &options,
        |combination| death::run(combination, &binary),
        in_words,
    )?;
    skipped.append(&mut failed);
    let rows = combinations.iter().zip(runs);
    let rows = rows.map(|(combination, runs)| FailoverRow {
        arrangement: combination.arrangement,
        death: name_of(combination.death),
        fixed_port: combination.ports == Ports::Fixed,
        rate: RATE,
        runs,
    });
    let rows = rows.filter(|row| !row.runs.is_empty()).collect();
    runs::write(&options, rows, skipped)
}

/// What is to be measured, and what of it is not.
fn plan(options: &Options) -> (Vec<Combination>, Vec<Skipped>) {
    let mut skipped = Vec::new();
    let deaths: &[Death] = if options.quick {
        skipped.push(Skipped {
            what: "hung servers, and all runs but one".to_owned(),
            why: "--quick".to_owned(),
        });
        &[Death::Killed, Death::Dropped]
    } else {
        &[Death::Killed, Death::Hung, Death::Dropped]
    };
    let mut combinations = Vec::new();
    for arrangement in options.arrangements.iter().copied().filter(has_vip) {
        if let Some(missing) = peers::missing(arrangement) {
            skipped.push(missing);
            continue;
        }
        for &death in deaths {
            combinations.extend([Ports::Fresh, Ports::Fixed].map(|ports| Combination {
                arrangement,
                death,
                ports,
            }));
        }
    }
    (combinations, skipped)
}

/// The load generator asks one address. What a stub resolver does with several is for the mail relay to
/// measure.
const fn has_vip(arrangement: &Arrangement) -> bool {
    !matches!(
        arrangement,
        Arrangement::NameserverLines | Arrangement::NameserverLinesTuned
    )
}

fn in_words(run: &FailoverRun) -> String {
    let end = if run.still_losing { ", and no end" } else { "" };
    format!(
        "{} lost, the last after {:.0} ms{end}",
        run.lost, run.until_last_loss_ms
    )
}
