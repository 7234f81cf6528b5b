//! Jobs that are done in turn, some at a time: most of a run in a lab is waiting.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use anyhow::{Result, anyhow};

/// Does each job, at most so many at a time, and returns what they came to in their order. After an
/// error no further one is begun.
pub(crate) fn work_off<Job: Sync, Done: Send>(
    jobs: &[Job],
    at_once: usize,
    work: impl Fn(&Job) -> Result<Done> + Sync,
) -> Result<Vec<Done>> {
    let next = AtomicUsize::new(0);
    let work_on = || {
        let mut done = Vec::new();
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = jobs.get(place) else {
                return Ok(done);
            };
            match work(job) {
                Ok(result) => done.push((place, result)),
                Err(error) => {
                    next.store(jobs.len(), Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
    };
    let mut all = Vec::with_capacity(jobs.len());
    thread::scope(|scope| {
        let workers: Vec<_> = (0..at_once).map(|_| scope.spawn(work_on)).collect();
        workers.into_iter().try_for_each(|worker| {
            let done = worker.join();
            all.extend(done.map_err(|_| anyhow!("a thread that measures panicked"))??);
            Ok::<_, anyhow::Error>(())
        })
    })?;
    all.sort_by_key(|&(place, _)| place);
    Ok(all.into_iter().map(|(_, result)| result).collect())
}
