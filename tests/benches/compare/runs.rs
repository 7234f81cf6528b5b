//! Runs in a lab of their own each: of every combination so many, again if nothing came of one, and the
//! record of all.

use std::{env, fmt::Display, fs, path::PathBuf};

use anyhow::{Context as _, Result};
use dns_lb_tests::{
    comparison::{Part, Skipped},
    machine::describe,
};
use serde::Serialize;

use crate::{options::Options, queue::work_off};

/// How often a run is tried, if something of the lab fails or it loses packets by itself.
pub(crate) const TRIES: usize = 3;

/// How a run ended.
pub(crate) enum Outcome<Run> {
    Measured(Run),
    /// The lab itself has lost so many packets. What was measured means nothing.
    LabLost(u64),
}

/// The agent that is to be measured.
pub(crate) fn binary() -> Result<PathBuf> {
    let binary = env::var_os("DNS_LB_BINARY").context("set DNS_LB_BINARY to the agent")?;
    Ok(binary.into())
}

/// Does all runs, and returns those of each combination in order, and those that came to nothing.
pub(crate) fn measure<Combination: Display + Sync, Run: Send>(
    combinations: &[Combination],
    options: &Options,
    run: impl Fn(&Combination) -> Result<Outcome<Run>> + Sync,
    in_words: impl Fn(&Run) -> String + Sync,
) -> Result<(Vec<Vec<Run>>, Vec<Skipped>)> {
    // Each run of all, and only then the next: what else the machine does meanwhile meets all alike.
    let jobs: Vec<&Combination> = (0..options.runs).flat_map(|_| combinations).collect();
    let done = work_off(&jobs, options.at_once, |combination| {
        let done = attempt(combination, || run(combination))?;
        if let Ok(run) = &done {
            eprintln!("{combination}: {}", in_words(run));
        }
        Ok(done)
    })?;
    let mut runs: Vec<Vec<Run>> = combinations.iter().map(|_| Vec::new()).collect();
    let mut skipped = Vec::new();
    for (number, done) in done.into_iter().enumerate() {
        match done {
            Ok(run) => runs[number % combinations.len()].push(run),
            Err(nothing) => skipped.push(nothing),
        }
    }
    Ok((runs, skipped))
}

/// Does a run, again if it fails; says what came of it, or why nothing did.
fn attempt<Run>(
    name: &impl Display,
    run: impl Fn() -> Result<Outcome<Run>>,
) -> Result<Result<Run, Skipped>> {
    let mut lost_by_lab = 0;
    for tried in 1..=TRIES {
        match run() {
            Ok(Outcome::Measured(run)) => return Ok(Ok(run)),
            Ok(Outcome::LabLost(lost)) => {
                eprintln!("{name}: again, since the lab itself has lost {lost} packets");
                lost_by_lab = lost;
            }
            Err(error) if tried == TRIES => return Err(error.context(name.to_string())),
            Err(error) => eprintln!("{name}: again, since it failed: {error:#}"),
        }
    }
    Ok(Err(give_up(name, lost_by_lab)))
}

/// Says of a run that nothing came of it, since the lab has lost packets each time, in the end so many.
pub(crate) fn give_up(name: &impl Display, lost_by_lab: u64) -> Skipped {
    let skipped = Skipped {
        what: format!("{name}: a run"),
        why: format!(
            "the machine is too busy: the lab has lost packets in each of {TRIES} runs, \
             {lost_by_lab} in the last"
        ),
    };
    eprintln!("SKIPPED: {}: {}", skipped.what, skipped.why);
    skipped
}

/// Writes the record where the options say.
pub(crate) fn write<Row: Serialize>(
    options: &Options,
    rows: Vec<Row>,
    skipped: Vec<Skipped>,
) -> Result<()> {
    let part = Part {
        machine: describe(),
        quick: options.quick,
        skipped,
        rows,
    };
    let text = serde_json::to_string_pretty(&part)? + "\n";
    match &options.output {
        Some(file) => fs::write(file, text).with_context(|| format!("writing {}", file.display())),
        None => {
            print!("{text}");
            Ok(())
        }
    }
}
