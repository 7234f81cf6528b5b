//! The textbook scenario: a mail relay that looks two names up for each mail, and a server that dies and
//! comes back.
//!
//! The relay sends as fast as it can, so that what is seen is what the arrangement lets through. The
//! 20 ms that it takes for a mail besides are the limit of none: the textbook needs one mail in 3.6 s.

mod death;
mod options;

use std::{
    collections::VecDeque,
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use dns_lb_tests::{
    Death,
    comparison::{Arrangement, MAILS_NEEDED_PER_HOUR, MailPhase, MailRow, MailRun, Part, Skipped},
    machine::{describe, met},
};

use self::{
    death::{Outcome, Stage},
    options::{Options, Phases},
};
use crate::{peers, together::together};

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

/// A run that is to be done.
#[derive(Clone, Copy)]
struct Job {
    /// The place of its combination, and of its row.
    place: usize,
    /// How often it has been tried.
    tried: usize,
}

/// Measures what the arguments ask for, and writes the record.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let options = Options::parse(arguments)?;
    let binary = env::var_os("DNS_LB_BINARY").context("set DNS_LB_BINARY to the agent")?;
    let binary = PathBuf::from(binary);
    let (combinations, skipped) = plan(&options);
    let rows = combinations.iter().map(|combination| MailRow {
        arrangement: combination.arrangement,
        death: combination.death_name.to_owned(),
        runs: Vec::new(),
    });
    let mut part = Part {
        machine: describe(),
        quick: options.quick,
        skipped,
        rows: rows.collect(),
    };
    // Each run of all, and only then the next: what else the machine does meanwhile meets all alike.
    let mut waiting: VecDeque<Job> = (0..options.runs)
        .flat_map(|_| (0..combinations.len()).map(|place| Job { place, tried: 0 }))
        .collect();
    while !waiting.is_empty() {
        let count = options.at_once.min(waiting.len());
        let jobs: Vec<Job> = waiting.drain(..count).collect();
        let outcomes = measure(&jobs, &combinations, &binary, options.phases)?;
        for (job, outcome) in jobs.into_iter().zip(outcomes) {
            let name = combinations[job.place].name();
            match sort(&name, job, outcome).with_context(|| name.clone())? {
                Verdict::Done(run) => part.rows[job.place].runs.push(run),
                Verdict::Again(job) => waiting.push_back(job),
                Verdict::Never(skipped) => part.skipped.push(skipped),
            }
        }
    }
    part.rows.retain(|row| !row.runs.is_empty());
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

/// Does some runs at the same time. They begin when all of their labs are ready: making a lab takes the
/// processor, which relays would feel.
fn measure(
    jobs: &[Job],
    combinations: &[Combination],
    binary: &Path,
    phases: Phases,
) -> Result<Vec<Result<Outcome>>> {
    let wanted = jobs.iter().map(|job| combinations[job.place]).collect();
    let stages = together(wanted, |combination| Stage::set(combination, binary))?;
    together(stages, |stage| stage?.measure(phases))
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

/// What becomes of a job.
enum Verdict {
    Done(MailRun),
    Again(Job),
    Never(Skipped),
}

/// Says what came of a job. It is done again if it failed or the lab lost packets by itself, [`TRIES`]
/// times at most.
fn sort(name: &str, job: Job, outcome: Result<Outcome>) -> Result<Verdict> {
    let job = Job {
        tried: job.tried + 1,
        ..job
    };
    match outcome {
        Ok(Outcome::Measured(run)) => {
            eprintln!("{name}: {}", in_words(&run));
            Ok(Verdict::Done(run))
        }
        Ok(Outcome::LabLost(lost)) if job.tried == TRIES => {
            let skipped = Skipped {
                what: format!("{name}: a run"),
                why: format!(
                    "the machine is too busy: the lab has lost packets in each of {TRIES} runs, \
                     {lost} in the last"
                ),
            };
            eprintln!("SKIPPED: {}: {}", skipped.what, skipped.why);
            Ok(Verdict::Never(skipped))
        }
        Ok(Outcome::LabLost(lost)) => {
            eprintln!("{name}: again, since the lab itself has lost {lost} packets");
            Ok(Verdict::Again(job))
        }
        Err(error) if job.tried == TRIES => Err(error),
        Err(error) => {
            eprintln!("{name}: again, since it failed: {error:#}");
            Ok(Verdict::Again(job))
        }
    }
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
