//! The textbook scenario: a mail relay that looks two names up for each mail, and a server that dies and
//! comes back.
//!
//! The relay sends as fast as it can, so that what is seen is what the arrangement lets through. The
//! 20 ms that it takes for a mail besides are the limit of none: the textbook needs one mail in 3.6 s.

mod death;
mod options;

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use dns_lb_tests::{
    Death,
    comparison::{Arrangement, MAILS_NEEDED_PER_HOUR, MailPhase, MailRow, MailRun, Part, Skipped},
    machine::{describe, met},
};

use self::{death::Outcome, options::Options};
use crate::{peers, queue::work_off};

/// How often a run is tried, if something of the lab fails or it loses packets by itself.
const TRIES: usize = 3;

/// The deaths, and what the record calls them.
const DEATHS: [(Death, &str); 2] = [(Death::Killed, "killed"), (Death::Dropped, "blackholed")];

/// What a row is of.
#[derive(Clone, Copy)]
struct Combination {
    arrangement: Arrangement,
    death: Death,
    /// The death in the record's words.
    death_name: &'static str,
}

impl Combination {
    fn name(&self) -> String {
        format!("{}, {}", self.arrangement, self.death_name)
    }
}

/// Measures what the arguments ask for, and writes the record.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let options = Options::parse(arguments)?;
    let binary = env::var_os("DNS_LB_BINARY").context("set DNS_LB_BINARY to the agent")?;
    let binary = PathBuf::from(binary);
    let (combinations, mut skipped) = plan(&options);
    // Each run of all, and only then the next: what else the machine does meanwhile meets all alike.
    let jobs: Vec<Combination> = (0..options.runs)
        .flat_map(|_| combinations.iter().copied())
        .collect();
    let runs = work_off(&jobs, options.at_once, |combination| {
        try_to_run(combination, &binary, &options).with_context(|| combination.name())
    })?;
    let mut rows: Vec<MailRow> = combinations
        .iter()
        .map(|combination| MailRow {
            arrangement: combination.arrangement,
            death: combination.death_name.to_owned(),
            runs: Vec::new(),
        })
        .collect();
    for (number, run) in runs.into_iter().enumerate() {
        match run {
            Ok(run) => rows[number % combinations.len()].runs.push(run),
            Err(run) => skipped.push(run),
        }
    }
    rows.retain(|row| !row.runs.is_empty());
    let part = Part {
        machine: describe(),
        quick: options.quick,
        skipped,
        rows,
    };
    let mut text = serde_json::to_string_pretty(&part)?;
    text.push('\n');
    match &options.output {
        Some(file) => fs::write(file, text).with_context(|| format!("writing {}", file.display())),
        None => {
            print!("{text}");
            Ok(())
        }
    }
}

/// What is to be measured, and what of it is not.
fn plan(options: &Options) -> (Vec<Combination>, Vec<Skipped>) {
    let mut skipped = Vec::new();
    if options.quick {
        skipped.push(Skipped {
            what: "all runs but one, of which the death lasts a mail of 10 s".to_owned(),
            why: "--quick".to_owned(),
        });
    }
    let mut combinations = Vec::new();
    for &arrangement in &options.arrangements {
        if let Some(missing) = peers::missing(arrangement) {
            skipped.push(missing);
            continue;
        }
        combinations.extend(DEATHS.map(|(death, death_name)| Combination {
            arrangement,
            death,
            death_name,
        }));
    }
    (combinations, skipped)
}

/// Does a run, again if it fails; says what came of it, or why nothing did.
fn try_to_run(
    combination: &Combination,
    binary: &Path,
    options: &Options,
) -> Result<Result<MailRun, Skipped>> {
    let name = combination.name();
    let mut lost_by_lab = 0;
    for tried in 1..=TRIES {
        match death::run(combination, binary, options.phases) {
            Ok(Outcome::Measured(run)) => {
                eprintln!("{name}: {}", in_words(&run));
                return Ok(Ok(run));
            }
            Ok(Outcome::LabLost(lost)) => {
                eprintln!("{name}: again, since the lab itself has lost {lost} packets");
                lost_by_lab = lost;
            }
            Err(error) if tried == TRIES => return Err(error),
            Err(error) => eprintln!("{name}: again, since it failed: {error:#}"),
        }
    }
    let skipped = Skipped {
        what: format!("{name}: a run"),
        why: format!(
            "the machine is too busy: the lab has lost packets in each of {TRIES} runs, \
             {lost_by_lab} in the last"
        ),
    };
    eprintln!("SKIPPED: {}: {}", skipped.what, skipped.why);
    Ok(Err(skipped))
}

fn in_words(run: &MailRun) -> String {
    let phases = [&run.before, &run.during, &run.after];
    let [before, during, after] = phases.map(MailPhase::mails_per_hour);
    format!(
        "{before:.0} mails an hour, {during:.0} while the server is dead ({}: {MAILS_NEEDED_PER_HOUR}), \
         then {after:.0}; {} put off; the longest look-up took {:.0} ms",
        met(during >= MAILS_NEEDED_PER_HOUR),
        phases.map(|phase| phase.deferred).iter().sum::<usize>(),
        phases
            .map(|phase| phase.longest_lookup_ms)
            .into_iter()
            .fold(0.0, f64::max),
    )
}
