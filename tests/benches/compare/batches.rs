//! Runs that begin at the same time, when all of their labs are ready: making a lab takes the processor,
//! and whoever is measured meanwhile would feel it.

use std::{collections::VecDeque, fmt::Display, thread};

use anyhow::{Result, anyhow};
use dns_lb_tests::comparison::Skipped;

use crate::{
    options::Options,
    runs::{Outcome, TRIES, give_up},
};

/// A run that is to be done.
#[derive(Clone, Copy)]
struct Job {
    /// The place of its combination.
    place: usize,
    /// How often it has been tried.
    tried: usize,
}

/// Does all runs, as many at a time as the options say, and returns those of each combination in order,
/// and those that came to nothing. `set` makes what `run` then measures.
pub(crate) fn measure<Combination: Display + Sync, Stage: Send, Run: Send>(
    combinations: &[Combination],
    options: &Options,
    set: impl Fn(&Combination) -> Result<Stage> + Sync,
    run: impl Fn(Stage) -> Result<Outcome<Run>> + Sync,
    in_words: impl Fn(&Run) -> String,
) -> Result<(Vec<Vec<Run>>, Vec<Skipped>)> {
    let mut runs: Vec<Vec<Run>> = combinations.iter().map(|_| Vec::new()).collect();
    let mut skipped = Vec::new();
    // Each run of all, and only then the next: what else the machine does meanwhile meets all alike.
    let mut waiting: VecDeque<Job> = (0..options.runs)
        .flat_map(|_| (0..combinations.len()).map(|place| Job { place, tried: 0 }))
        .collect();
    while !waiting.is_empty() {
        let count = options.at_once.min(waiting.len());
        let jobs: Vec<Job> = waiting.drain(..count).collect();
        let stages = together(jobs.iter(), |job| set(&combinations[job.place]))?;
        let outcomes = together(stages.into_iter(), |stage| run(stage?))?;
        for (Job { place, tried }, outcome) in jobs.into_iter().zip(outcomes) {
            let name = &combinations[place];
            let tried = tried + 1;
            match outcome {
                Ok(Outcome::Measured(run)) => {
                    eprintln!("{name}: {}", in_words(&run));
                    runs[place].push(run);
                    continue;
                }
                Ok(Outcome::LabLost(lost)) if tried == TRIES => {
                    skipped.push(give_up(name, lost));
                    continue;
                }
                Ok(Outcome::LabLost(lost)) => {
                    eprintln!("{name}: again, since the lab itself has lost {lost} packets");
                }
                Err(error) if tried == TRIES => return Err(error.context(name.to_string())),
                Err(error) => eprintln!("{name}: again, since it failed: {error:#}"),
            }
            waiting.push_back(Job { place, tried });
        }
    }
    Ok((runs, skipped))
}

/// Does all jobs at the same time, a thread each, and returns what they came to in their order.
fn together<Job: Send, Done: Send>(
    jobs: impl Iterator<Item = Job>,
    work: impl Fn(Job) -> Done + Sync,
) -> Result<Vec<Done>> {
    let work = &work;
    thread::scope(|scope| {
        let threads: Vec<_> = jobs.map(|job| scope.spawn(move || work(job))).collect();
        let done = threads.into_iter().map(|thread| {
            let done = thread.join();
            done.map_err(|_| anyhow!("a thread that measures panicked"))
        });
        done.collect()
    })
}
