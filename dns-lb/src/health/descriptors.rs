//! The files that this process may have open, and whose turn it is to open one.
//!
//! Each query by a socket of its own is an open file. Without a bound, many silent servers would use up
//! what the process may open, and then nobody could be asked.

use std::{io, sync::Arc};

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, timeout_at},
};

/// Files that queries have open at once at most.
const MOST: u64 = 4_096;
/// They get one in so many of those that the process may open, if that is less. The rest is for ports
/// that are held for late replies, and for the agent.
const PART: u64 = 4;

/// Allows this process as many open files as the system lets it have (the hard limit of
/// `RLIMIT_NOFILE`), and gives that number. By default it is 1,024, for the sake of programs that use
/// select(2), which nothing here does.
///
/// # Errors
/// The kernel refuses, which is not known to happen.
pub fn raise_limit() -> io::Result<u64> {
    let mut limit = limit()?;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the kernel reads the structure, which lives on.
    let result = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    match result {
        0 => Ok(limit.rlim_cur),
        _ => Err(io::Error::last_os_error()),
    }
}

fn limit() -> io::Result<libc::rlimit> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the kernel writes the structure, which lives on and is nobody else's.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    match result {
        0 => Ok(limit),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Things of which there are only so many. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Turns(Arc<Semaphore>);

/// One of them, until dropped.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    _permit: SemaphorePermit<'a>,
    /// When to give up: as long after the turn has come as it would have been without a wait. What is
    /// asked late must not answer sooner.
    pub(super) deadline: Instant,
}

impl Turns {
    /// So many.
    pub(super) fn new(most: usize) -> Self {
        Self(Arc::new(Semaphore::new(most)))
    }

    /// As many open files as queries may have by the limit of this moment.
    pub(super) fn descriptors() -> Self {
        let allowed = limit().map_or(0, |limit| limit.rlim_cur);
        let most = (allowed / PART).clamp(1, MOST);
        Self::new(usize::try_from(most).unwrap_or(1))
    }

    /// Waits for a turn, first come, first served; `None`: none has come until the deadline.
    pub(super) async fn wait(&self, deadline: Instant) -> Option<Turn<'_>> {
        if let Ok(permit) = self.0.try_acquire() {
            let _permit = permit;
            return Some(Turn { _permit, deadline });
        }
        let begun = Instant::now();
        let _permit = timeout_at(deadline, self.0.acquire()).await.ok()?.ok()?;
        let deadline = deadline + begun.elapsed();
        Some(Turn { _permit, deadline })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::sleep;

    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_turn_loses_no_time_by_it() {
        let turns = Turns::new(1);
        let deadline = Instant::now() + 50 * MILLISECOND;
        let first = turns.wait(deadline).await.unwrap();
        assert_eq!(first.deadline, deadline);
        assert!(turns.wait(deadline).await.is_none());
        assert!(Instant::now() >= deadline);

        let deadline = Instant::now() + 50 * MILLISECOND;
        let release = async {
            sleep(20 * MILLISECOND).await;
            drop(first);
        };
        let (second, ()) = tokio::join!(turns.wait(deadline), release);
        assert!(second.unwrap().deadline >= deadline + 20 * MILLISECOND);
    }

    #[test]
    fn a_process_may_open_as_many_files_as_it_is_let() {
        let mut lower = limit().unwrap();
        lower.rlim_cur = lower.rlim_max - 1;
        // SAFETY: the kernel reads the structure, which lives on.
        let result = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const lower) };
        assert_eq!(result, 0);
        let raised = raise_limit().unwrap();
        let limit = limit().unwrap();
        assert_eq!((limit.rlim_cur, limit.rlim_max), (raised, raised));
        let turns = Turns::descriptors().0.available_permits() as u64;
        assert_eq!(turns, (raised / 4).clamp(1, 4_096));
    }
}
