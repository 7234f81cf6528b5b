//! Work that is done in several labs at the same time: most of it is waiting.

use std::thread;

use anyhow::{Result, anyhow};

/// Does all jobs at the same time, a thread each, and returns what they came to in their order.
pub(crate) fn together<Job: Send, Done: Send>(
    jobs: Vec<Job>,
    work: impl Fn(Job) -> Done + Sync,
) -> Result<Vec<Done>> {
    let work = &work;
    thread::scope(|scope| {
        let threads: Vec<_> = jobs
            .into_iter()
            .map(|job| scope.spawn(move || work(job)))
            .collect();
        let done = threads.into_iter().map(|thread| {
            let done = thread.join();
            done.map_err(|_| anyhow!("a thread that measures panicked"))
        });
        done.collect()
    })
}
