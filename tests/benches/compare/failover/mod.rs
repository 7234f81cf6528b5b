//! What a server's death costs by each arrangement, for clients that change their source port and for
//! those that keep it.

mod death;
mod options;

use std::{
    env, fs,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
};

use anyhow::{Context as _, Result, anyhow};
use dns_lb_tests::{
    Death, Ports,
    comparison::{Arrangement, FailoverRow, Part, Skipped},
    machine::describe,
};

use self::{death::Outcome, options::Options};
use crate::peers;

/// How often a run is tried, if something of the lab fails or it loses packets by itself.
const TRIES: usize = 3;

/// What is measured together, run after run.
#[derive(Clone, Debug)]
pub(crate) struct Combination {
    arrangement: Arrangement,
    death: Death,
    ports: Ports,
}

impl Combination {
    fn row(&self, rate: u32) -> FailoverRow {
        FailoverRow {
            arrangement: self.arrangement,
            death: name_of(self.death),
            fixed_port: self.ports == Ports::Fixed,
            rate,
            runs: Vec::new(),
        }
    }

    fn name(&self) -> String {
        let ports = match self.ports {
            Ports::Fixed => "one port",
            _ => "fresh ports",
        };
        format!("{}, {}, {ports}", self.arrangement, name_of(self.death))
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
    let options = Options::parse(arguments)?;
    let binary = env::var_os("DNS_LB_BINARY").context("set DNS_LB_BINARY to the agent")?;
    let binary = PathBuf::from(binary);
    let (combinations, mut skipped) = plan(&options);
    let bench = Bench {
        binary,
        rate: options.rate,
        // Each run of all, and only then the next: what else the machine does meanwhile meets all alike.
        queue: Mutex::new(
            (0..options.runs * combinations.len())
                .collect::<Vec<_>>()
                .into_iter(),
        ),
        rows: Mutex::new(
            combinations
                .iter()
                .map(|one| one.row(options.rate))
                .collect(),
        ),
        skipped: Mutex::default(),
        combinations,
    };
    bench.measure(options.at_once)?;
    skipped.extend(
        bench
            .skipped
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner),
    );
    let mut rows = bench
        .rows
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
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
    for &arrangement in &options.arrangements {
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

/// What several threads work on.
struct Bench {
    binary: PathBuf,
    rate: u32,
    combinations: Vec<Combination>,
    /// Numbers of runs that are to be done; the remainder by the number of combinations says of what.
    queue: Mutex<std::vec::IntoIter<usize>>,
    /// One for each combination.
    rows: Mutex<Vec<FailoverRow>>,
    /// Runs that came to nothing.
    skipped: Mutex<Vec<Skipped>>,
}

impl Bench {
    fn measure(&self, at_once: usize) -> Result<()> {
        thread::scope(|scope| {
            let threads: Vec<_> = (0..at_once).map(|_| scope.spawn(|| self.work())).collect();
            let mut results = threads.into_iter().map(|thread| {
                let result = thread.join();
                result.map_err(|_| anyhow!("a thread that measures panicked"))?
            });
            results.try_for_each(|result| result)
        })
    }

    /// Does one run after the other until none is left.
    fn work(&self) -> Result<()> {
        loop {
            let Some(number) = lock(&self.queue).next() else {
                return Ok(());
            };
            let place = number % self.combinations.len();
            let combination = &self.combinations[place];
            if let Err(error) = self.run(place) {
                // The other threads end with their runs.
                lock(&self.queue).by_ref().for_each(drop);
                return Err(error.context(combination.name()));
            }
        }
    }

    /// Does a run, again if it fails.
    fn run(&self, place: usize) -> Result<()> {
        let combination = &self.combinations[place];
        let name = combination.name();
        let mut lost_by_lab = 0;
        for tried in 1..=TRIES {
            match death::run(combination, &self.binary, self.rate) {
                Ok(Outcome::Measured(run)) => {
                    eprintln!(
                        "{name}: {} lost, the last after {:.0} ms{}",
                        run.lost,
                        run.until_last_loss_ms,
                        if run.still_losing { ", and no end" } else { "" }
                    );
                    lock(&self.rows)[place].runs.push(run);
                    return Ok(());
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
        lock(&self.skipped).push(skipped);
        Ok(())
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is shared is in order after each statement, so a panic elsewhere does not spoil it.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
