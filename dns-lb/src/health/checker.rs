//! One task a backend: when to probe, and the report of every probe.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rand::Rng;
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep_until},
};

use super::{Extra, Health, Outcome, Prober, Reach, State, Target, Transition};
use crate::config::{HealthCheck, ProbePath};

/// Which backend a report is about: by names, since those outlive a reload.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackendKey {
    /// Name of the service.
    pub service: Arc<str>,
    /// Name of the backend within it.
    pub backend: Arc<str>,
}

impl fmt::Display for BackendKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.service, self.backend)
    }
}

/// One probe, and what follows from it.
#[derive(Debug)]
pub struct Report {
    /// Who was probed.
    pub backend: BackendKey,
    /// When the probe began.
    pub at: SystemTime,
    /// How it ended.
    pub outcome: Outcome,
    /// The verdict after it.
    pub health: Health,
    /// How this probe changed the verdict, if it did.
    pub transition: Option<Transition>,
    /// How long after it was due the probe began. Timers are coarse and wake a task some
    /// milliseconds late; more means that this host or the agent was too busy to probe on time.
    pub late_by: Duration,
}

/// Probes one backend until it is dropped.
///
/// A probe begins a delay after the one before *began*: `interval`, or `fast_interval` while a
/// verdict is pending (see [`State::next_delay`]). A probe still waiting then delays the next; what
/// was missed is not made up for, so a stall is never followed by a burst.
///
/// The first probe comes at a random moment within `fast_interval`, and each time that a verdict
/// settles the next comes at a random moment within the following `interval`. So the probes of many
/// backends spread out, although all of them start together.
///
/// # How long detection takes
///
/// With the default timings (`interval` 250 ms, `fast_interval` 50 ms, `timeout` 250 ms, `fall` 2),
/// from a server's death to the verdict:
///
/// | | port refused at once | silence |
/// |---|---|---|
/// | the first probe after death begins, at the latest | 250 ms | 250 ms |
/// | it fails | 250 ms | 500 ms |
/// | the second begins: 50 ms after the first began, or when that ends | 300 ms | 500 ms |
/// | it fails, and the verdict is down | 300 ms | 750 ms |
///
/// A query that the server took in but did not answer before it died fails earlier than these, by
/// its own time-out. A start costs at most `fast_interval` × `rise` and `rise` round trips until
/// a good server is up: 150 ms.
#[derive(Debug)]
pub struct Checker {
    task: JoinHandle<()>,
}

impl Checker {
    /// Starts to probe `target` with `check` and to report into `reports`; `initial` is
    /// [`Health::Unknown`], or what an earlier run of the agent found out. A full channel delays the
    /// next probe, and that probe says so; a closed one ends the task.
    ///
    /// # Panics
    /// Outside a tokio runtime with network and time enabled.
    #[must_use]
    pub fn spawn(
        target: Target,
        initial: Health,
        check: HealthCheck,
        reports: mpsc::Sender<Report>,
    ) -> Self {
        let backend = target.backend.clone();
        // Nobody says yet where the backend is.
        let path = ProbePath::Real;
        let check = Arc::new(HealthCheck { path, ..check });
        let asked = Arc::clone(&check);
        let shared = Arc::new((Prober::new(), target, Reach::default()));
        let task = tokio::spawn(async move {
            let probe_once = || {
                let (asked, shared) = (Arc::clone(&asked), Arc::clone(&shared));
                async move {
                    let (prober, target, reach) = &*shared;
                    prober.probe(target, &asked, reach, Extra::default()).await
                }
            };
            run(backend, initial, &check, reports, probe_once).await;
        });
        Self { task }
    }
}

impl Drop for Checker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run<P, F>(
    backend: BackendKey,
    initial: Health,
    check: &HealthCheck,
    reports: mpsc::Sender<Report>,
    mut probe_once: P,
) where
    P: FnMut() -> F,
    F: Future<Output = Outcome>,
{
    let mut state = State::new(check, initial);
    let mut due = Instant::now() + random_within(Duration::ZERO, check.fast_interval);
    loop {
        sleep_until(due).await;
        let begun = Instant::now();
        let at = SystemTime::now();
        let outcome = probe_once().await;
        let ended = Instant::now();

        let was_pending = state.is_pending();
        let transition = state.observe(outcome.passed());
        let report = Report {
            backend: backend.clone(),
            at,
            outcome,
            health: state.health(),
            transition,
            late_by: begun - due,
        };
        if reports.send(report).await.is_err() {
            return;
        }

        let delay = state.next_delay();
        let settles = was_pending && !state.is_pending();
        let delay = if settles {
            random_within(check.fast_interval, delay)
        } else {
            delay
        };
        due = ended.max(begun + delay);
    }
}

fn random_within(shortest: Duration, longest: Duration) -> Duration {
    rand::rng().random_range(shortest..=longest)
}

#[cfg(test)]
mod tests;
