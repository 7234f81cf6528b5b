//! One task a backend: when to probe, and the report of every probe.

use std::{
    fmt,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use rand::Rng;
use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::JoinHandle,
    time::{Instant, sleep_until},
};

use super::{
    Ending, Extra, Health, Outcome, Prober, Reach, State, Target, Transition,
    side_checks::SideChecks,
};
use crate::config::HealthCheck;

/// Probes on their way at once, of all backends: even 1,000 silent ones stay below at the default timings.
const MAX_IN_FLIGHT: usize = 1_024;
/// A probe that begins so much after it was due is counted as late. Timers are as coarse as a
/// millisecond.
pub const LATE: Duration = Duration::from_millis(20);
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

/// One probe, or what the kernel has told meanwhile, and what follows from it.
#[derive(Debug)]
pub struct Report {
    /// Who was probed.
    pub backend: BackendKey,
    /// Whose report it is: [`Checker::id`]. One that waited while another checker took over is of no
    /// use.
    pub checker: u64,
    /// When the probe began.
    pub at: SystemTime,
    /// How it ended.
    pub outcome: Outcome,
    /// The verdict after it.
    pub health: Health,
    /// How this probe changed the verdict, if it did.
    pub transition: Option<Transition>,
    /// Passes in a row that bring it up: more than `rise` after it has flapped.
    pub passes_to_rise: u32,
    /// How long after it was due the probe began; zero for what no probe found. Timers are coarse
    /// and wake a task some milliseconds late; more means that this host or the agent was too busy
    /// to probe on time.
    pub late_by: Duration,
    /// Whether this comes of a probe, as opposed to the kernel's word.
    pub probed: bool,
}

/// What the checkers of one agent share.
#[derive(Clone, Debug)]
pub struct Checkers {
    prober: Prober,
    in_flight: Arc<Semaphore>,
    reports: mpsc::Sender<Report>,
    /// How many there have been.
    spawned: Arc<AtomicU64>,
}

/// Probes one backend until it is dropped.
///
/// A probe begins a delay after the one before *began*: `interval`, `fast_interval` while a verdict
/// is pending, or `down_interval` (see [`State::next_delay`]). A probe still waiting then delays the
/// next; what was missed is not made up for, so a stall is never followed by a burst.
///
/// The first probe comes at a random moment within `fast_interval`, and each time that a verdict
/// settles the next comes at a random moment within the following `interval`. From then on the probes keep
/// to that rhythm, whatever comes between. So those of many backends are spread, although all of them
/// start together, and stay spread after a stall.
///
/// A backend that the kernel finds no more on the link is down at once. One that has another MAC address
/// is probed at once, and one that can be asked in another way within `fast_interval`. A fault of this host
/// says nothing about a backend: the verdict stays as it is.
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
    id: u64,
    task: JoinHandle<()>,
    reach: watch::Sender<Arc<Reach>>,
}

impl Checkers {
    /// Checkers that report into `reports`. A full channel delays the next probe, and that probe says
    /// so; a closed one ends them.
    #[must_use]
    pub fn new(reports: mpsc::Sender<Report>) -> Self {
        Self {
            prober: Prober::new(),
            in_flight: Arc::new(Semaphore::new(MAX_IN_FLIGHT)),
            reports,
            spawned: Arc::default(),
        }
    }

    /// Starts to probe `target` with `check`, from the verdict `initial` on.
    ///
    /// # Panics
    /// Outside a tokio runtime with network and time enabled.
    #[must_use]
    pub fn spawn(
        &self,
        target: Target,
        check: Arc<HealthCheck>,
        reach: Reach,
        initial: Health,
    ) -> Checker {
        let backend = target.backend.clone();
        let asked = Arc::clone(&check);
        let source = Arc::new(Source {
            prober: self.prober.clone(),
            target,
        });
        let probe_once = move |reach: Arc<Reach>, extra| {
            let (source, check) = (Arc::clone(&source), Arc::clone(&asked));
            async move {
                let Source { prober, target } = &*source;
                prober.probe(target, &check, &reach, extra).await
            }
        };
        self.spawn_with(backend, check, reach, initial, probe_once)
    }

    /// The same with another way to probe.
    pub(crate) fn spawn_with<F: Future<Output = Outcome> + Send>(
        &self,
        backend: BackendKey,
        check: Arc<HealthCheck>,
        reach: Reach,
        initial: Health,
        probe_once: impl FnMut(Arc<Reach>, Extra) -> F + Send + 'static,
    ) -> Checker {
        let reached = Arc::new(reach);
        let (reach, follows) = watch::channel(Arc::clone(&reached));
        let id = self.spawned.fetch_add(1, Ordering::Relaxed);
        let schedule = Schedule {
            backend,
            checker: id,
            state: State::new(&check, initial),
            reach: follows,
            reached,
            fast_interval: check.fast_interval,
            reports: self.reports.clone(),
        };
        let in_flight = Arc::clone(&self.in_flight);
        let task = tokio::spawn(async move {
            schedule.run(&check, &in_flight, probe_once).await;
        });
        Checker { id, task, reach }
    }
}

/// Who is asked, and by whom.
struct Source {
    prober: Prober,
    target: Target,
}

/// What a backend has said of its zones counts for the others as long as it is probed.
impl Drop for Source {
    fn drop(&mut self) {
        self.prober.forget(&self.target.backend);
    }
}

impl Checker {
    /// What its reports are known by: no other checker of this agent has the same.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Says where the backend is now.
    pub fn reach(&self, reach: Reach) {
        self.reach.send_if_modified(|known| {
            let differs = **known != reach;
            if differs {
                *known = Arc::new(reach);
            }
            differs
        });
    }
}

impl Drop for Checker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Schedule {
    backend: BackendKey,
    checker: u64,
    state: State,
    reach: watch::Receiver<Arc<Reach>>,
    /// What `reach` said when it was last looked at.
    reached: Arc<Reach>,
    fast_interval: Duration,
    reports: mpsc::Sender<Report>,
}

/// What the kernel's word comes to.
enum Followed {
    /// Nothing for a probe on its way.
    Same,
    /// The backend is elsewhere, or can be asked again: the next probe is due within this time.
    Moved {
        /// Zero for at once.
        within: Duration,
    },
    /// Nobody listens any more.
    Ended,
}

impl Schedule {
    async fn run<F: Future<Output = Outcome>>(
        mut self,
        check: &HealthCheck,
        in_flight: &Semaphore,
        mut probe_once: impl FnMut(Arc<Reach>, Extra) -> F,
    ) {
        let mut side = SideChecks::new(check);
        let mut due = Instant::now() + random_within(Duration::ZERO, check.fast_interval);
        // What settled probes keep to, whatever comes between: so they stay spread.
        let mut phase = due;
        loop {
            tokio::select! {
                () = sleep_until(due) => {}
                _ = self.reach.changed() => {
                    match self.follow().await {
                        Followed::Same => {}
                        Followed::Moved { within } => due = due.min(soon(within)),
                        Followed::Ended => return,
                    }
                    continue;
                }
            }
            let Ok(permit) = in_flight.acquire().await else {
                return;
            };
            let begun = Instant::now();
            let at = SystemTime::now();
            let reached = Arc::clone(&self.reached);
            let extra = side.next(begun);
            let mut probing = pin!(probe_once(reached, extra));
            let outcome = loop {
                tokio::select! {
                    outcome = &mut probing => break Ok(outcome),
                    _ = self.reach.changed() => {}
                }
                match self.follow().await {
                    Followed::Same => {}
                    Followed::Moved { within } => break Err(within),
                    Followed::Ended => return,
                }
            };
            drop(permit);
            let ended = Instant::now();
            let outcome = match outcome {
                Ok(outcome) => outcome,
                Err(within) => {
                    due = soon(within);
                    continue;
                }
            };

            let outcome = side.learn(extra, outcome);
            let was_pending = self.state.is_pending();
            // What this host lacks now it may have lacked for a while.
            let is_own = !outcome.passed() && self.reached.own_fault.is_some();
            let transition = match is_own || outcome.is_own_fault() {
                true => None,
                false => self.state.observe(outcome.passed(), ended),
            };
            if !self
                .report(at, outcome, transition, Some(begun - due))
                .await
            {
                return;
            }

            let delay = self.state.next_delay();
            let is_pending = self.state.is_pending();
            if was_pending && !is_pending {
                phase = begun + random_within(check.fast_interval.min(delay), delay);
            }
            due = ended.max(match is_pending {
                true => begun + delay,
                false => {
                    // Near enough to a beat it is taken for that one.
                    phase = next_beat(phase, delay, begun + check.fast_interval.min(delay) / 2);
                    phase
                }
            });
        }
    }

    /// Takes in the kernel's word. What it finds no more is lost without a probe.
    async fn follow(&mut self) -> Followed {
        if self.reach.has_changed().is_err() {
            return Followed::Ended;
        }
        let now = Arc::clone(&self.reach.borrow_and_update());
        let was = std::mem::replace(&mut self.reached, now);
        if self.reached.is_lost && !was.is_lost {
            let transition = self.state.lose(Instant::now());
            let why = self.reached.unresolved.clone().unwrap_or_default().into();
            let outcome = Ending::NotFound { why }.into();
            if !self
                .report(SystemTime::now(), outcome, transition, None)
                .await
            {
                return Followed::Ended;
            }
        }
        let mac = |reach: &Reach| reach.link.as_ref().map(|link| link.mac);
        let macs = mac(&was).zip(mac(&self.reached));
        let is_other = macs.is_some_and(|(then, now)| then != now);
        let is_moved = self.reached.link != was.link;
        let is_found = was.is_lost && !self.reached.is_lost;
        let is_mended = was.own_fault.is_some() && self.reached.own_fault.is_none();
        match () {
            // One backend, of which nothing is known there.
            () if is_other => Followed::Moved {
                within: Duration::ZERO,
            },
            // Perhaps all of an interface at once.
            () if is_moved || is_found || is_mended => Followed::Moved {
                within: self.fast_interval,
            },
            () => Followed::Same,
        }
    }

    async fn report(
        &self,
        at: SystemTime,
        outcome: Outcome,
        transition: Option<Transition>,
        late_by: Option<Duration>,
    ) -> bool {
        let report = Report {
            backend: self.backend.clone(),
            checker: self.checker,
            at,
            outcome,
            health: self.state.health(),
            transition,
            passes_to_rise: self.state.passes_to_rise(),
            late_by: late_by.unwrap_or_default(),
            probed: late_by.is_some(),
        };
        self.reports.send(report).await.is_ok()
    }
}

/// A moment within this time from now.
fn soon(within: Duration) -> Instant {
    Instant::now() + random_within(Duration::ZERO, within)
}

/// The first beat of a rhythm, of which `last` is one, that is not before `earliest`.
fn next_beat(last: Instant, rhythm: Duration, earliest: Instant) -> Instant {
    let since = earliest.saturating_duration_since(last);
    let beats = since.as_nanos().div_ceil(rhythm.as_nanos().max(1));
    last + rhythm.saturating_mul(u32::try_from(beats).unwrap_or(u32::MAX))
}

fn random_within(shortest: Duration, longest: Duration) -> Duration {
    rand::rng().random_range(shortest..=longest)
}

#[cfg(test)]
mod tests;
