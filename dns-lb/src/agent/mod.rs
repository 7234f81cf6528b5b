//! The agent: ties configuration, probes, neighbours and the data plane together.
//!
//! One loop owns what is known. It turns each change into a plan and hands the plan to the
//! [`applier`], which owns the maps. The loop itself never blocks, so that probes stay on time.

mod applier;
mod control;
mod follow;
mod keeper;
mod knowledge;
mod rates;
mod reach;
mod readiness;
mod reload;
mod service_manager;
mod signals;
#[cfg(test)]
mod simulation;
mod start;
mod status;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use dns_lb_common::HashKey;
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, sleep_until},
};
use tracing::{debug, error, info, warn};

pub(crate) use self::reach::sources;
use self::{
    applier::Applier,
    keeper::Keeper,
    knowledge::Knowledge,
    rates::Rates,
    reach::Peers,
    readiness::Announcing,
    service_manager::ServiceManager,
    signals::{Signals, Told},
};
use crate::{
    admin::Ledger,
    api::{
        Timestamp,
        admin::{self, AdminCommand, AdminSource},
        server::{self, StatusRequest, StatusSource},
        status::Tables,
    },
    config::{Config, HealthCheck},
    datapath::{Attachment, Counters, Datapath, DatapathError},
    health::{BackendKey, Checker, Checkers, Report, Target},
    neighbor::{self, Neighbors},
    steer::{self, Applied, Assignment, Plan, load_or_create_hash_key, plan},
};

/// How long to wait before maps that could not be written are tried again.
const RETRY: Duration = Duration::from_secs(1);

/// What `dns-lb run` was told beside the configuration.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the configuration was read from, and is read again.
    pub config_file: PathBuf,
    /// Where maps, program and links are pinned.
    pub pin_dir: PathBuf,
    /// Whether to detach and remove the pins when stopping, instead of leaving traffic flowing.
    pub detach_on_exit: bool,
}

/// Runs until SIGTERM or SIGINT. SIGHUP has the configuration read again.
///
/// # Errors
///
/// If something that steering depends on cannot be had at the start: the address of the HTTP
/// server, the admin socket, the hash key, the data plane, netlink. Then nothing is attached that was
/// not before.
pub async fn run(config: Config, options: Options) -> anyhow::Result<()> {
    // First all that may fail without a trace.
    let mut signals = Signals::new()?;
    let listener = TcpListener::bind(config.api.listen)
        .await
        .map_err(|reason| cannot_listen(config.api.listen, &reason))?;
    let hash_key = load_or_create_hash_key(&config.hash_key_file)?;
    let neighbors = neighbor::start(start::wanted(&config)).await?;

    let (statuses, status_requests) = StatusSource::new();
    let (orders, commands) = AdminSource::new();
    let asked = Asked {
        status_requests,
        commands,
    };
    let detach = options.detach_on_exit;
    let (mut running, socket) = Running::start(config, options, hash_key, neighbors, asked).await?;
    let (stop_servers, stopped) = watch::channel(());
    let until_stopped = || {
        let mut stopped = stopped.clone();
        async move {
            // An error means that the sender is gone, which is what is waited for.
            while stopped.changed().await.is_ok() {}
        }
    };
    let server = server::serve(listener, statuses.clone(), until_stopped());
    let admin = admin::serve(socket, statuses, orders, until_stopped());
    let servers = tokio::spawn(async { tokio::join!(server, admin) });
    running.manager.ready();

    let signal = running.until_signal(&mut signals, detach).await?;
    info!(signal, "stopping");
    running.manager.stopping();
    drop(stop_servers);
    let served = servers.await.context("a server failed");
    running.stop(detach).await?;
    served.map(drop)
}

/// Why there is no HTTP server, and what to do about it.
fn cannot_listen(address: SocketAddr, reason: &io::Error) -> anyhow::Error {
    let remedy = match reason.kind() {
        io::ErrorKind::AddrInUse => {
            "; another agent or program listens there: stop it, or set api.listen"
        }
        io::ErrorKind::AddrNotAvailable => "; no interface has this address: set api.listen",
        io::ErrorKind::PermissionDenied => "; a port below 1024 needs root: set api.listen",
        _ => "",
    };
    anyhow!("cannot listen on {address} for the HTTP status: {reason}{remedy}")
}

/// What the servers have for the loop.
struct Asked {
    status_requests: mpsc::Receiver<StatusRequest>,
    commands: mpsc::Receiver<AdminCommand>,
}

/// A backend that is probed, and how.
struct Check {
    target: Target,
    check: Arc<HealthCheck>,
    checker: Checker,
}

/// The first of the moments that there are.
fn earliest(moments: [Option<Instant>; 2]) -> Option<Instant> {
    moments.into_iter().flatten().min()
}

/// Waits for a moment; without one, for ever.
async fn moment(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// What the maps should say, given all that is known.
fn decide(
    config: &Config,
    assignment: &Assignment,
    knowledge: &Knowledge,
    ledger: &Ledger,
) -> Plan {
    plan(config, assignment, |service, backend| {
        let state = knowledge.state(service, backend);
        let service = &config.services[service];
        let backend = &service.backends[backend];
        steer::Knowledge {
            admin: ledger.admin(&service.name, &backend.name),
            weight: ledger.weight(&service.name, &backend.name, backend.weight),
            warmth: state.warmth(service.slow_start).percent,
            health: state.health,
            is_proven: state.is_proven,
            location: state.location,
        }
    })
}

/// The agent at work.
struct Running {
    config: Config,
    config_file: PathBuf,
    hash_key: HashKey,
    assignment: Assignment,
    knowledge: Knowledge,
    datapath: Datapath,
    attachments: Vec<Attachment>,
    /// Interfaces that somebody has taken the program off.
    detached: BTreeSet<u32>,
    program_id: u32,
    counters: Counters,
    started_at: Timestamp,
    applier: Applier,
    applied: Applied,
    tables: Tables,
    rates: Rates,
    announcing: Announcing,
    /// Which services steer to all backends since none is usable.
    failed_open: Vec<bool>,
    /// Whether more is known than the last plan goes by.
    is_stale: bool,
    /// When to hand the plan over again, after a failure.
    retry_at: Option<Instant>,
    neighbors: watch::Receiver<Arc<Neighbors>>,
    watcher: neighbor::Handle,
    reports: mpsc::Receiver<Report>,
    asked: Asked,
    checkers: Checkers,
    /// Who is probed; dropped, and so stopped, with this.
    checks: BTreeMap<BackendKey, Check>,
    /// Where the backends of each service are, as the checkers have been told.
    peers: Vec<Peers>,
    /// What operators have set, and where it is kept.
    ledger: Ledger,
    keeper: Keeper,
    /// When a backend that is warming up is to have more of its weight.
    warming_due: Option<Instant>,
    kernel_log: Option<JoinHandle<()>>,
    manager: ServiceManager,
}

impl Running {
    /// The loop. Returns the name of the signal that ends it.
    ///
    /// # Errors
    ///
    /// If the maps can no longer be written or neighbours no longer be found: an agent that goes on
    /// without would only seem to work.
    async fn until_signal(
        &mut self,
        signals: &mut Signals,
        detach: bool,
    ) -> anyhow::Result<&'static str> {
        // By which signal, and when, once there is only the withdrawal of VIPs to be waited for.
        let mut stopping: Option<(&'static str, Instant)> = None;
        loop {
            if let Some((signal, at)) = stopping
                && Instant::now() >= at
            {
                return Ok(signal);
            }
            // What changes while the maps are being written goes into the next plan.
            if self.is_stale && !self.applier.is_busy() {
                self.replan();
            }
            let replan_due = earliest([self.retry_at, self.warming_due]);
            let stopping_at = stopping.map(|(_, at)| at);
            let announce_due = earliest([self.announcing.due, stopping_at]);
            tokio::select! {
                told = signals.recv() => match told {
                    Told::Stop(signal) => match self.withdraw(detach) {
                        // Who asks twice does not want to wait.
                        Some(until) if stopping.is_none() => stopping = Some((signal, until)),
                        _ => return Ok(signal),
                    },
                    Told::Reload => {
                        self.reload_by_signal().await;
                        self.announce();
                    }
                },
                Some(report) = self.reports.recv() => {
                    self.is_stale |= self.record(report);
                    // Those that wait already: one plan for all of them.
                    while let Ok(report) = self.reports.try_recv() {
                        self.is_stale |= self.record(report);
                    }
                    if self.is_stale {
                        self.announce();
                    }
                }
                changed = self.neighbors.changed() => {
                    changed.context("the task that watches neighbours has died")?;
                    let neighbors = Arc::clone(&self.neighbors.borrow_and_update());
                    self.follow_interfaces(&neighbors);
                    let is_elsewhere = self.knowledge.locate(&neighbors);
                    self.follow_neighbors();
                    self.is_stale |= is_elsewhere;
                    self.announce();
                }
                written = self.applier.result() => {
                    let written = written.context("the thread that writes the maps has died")?;
                    // What went wrong has been logged, and is tried again.
                    let _ = self.take_in(written.result);
                    self.announce();
                }
                Some(request) = self.asked.status_requests.recv() => self.answer(request),
                () = self.rates.due() => {
                    self.read_rates();
                    self.look_for_the_program();
                    self.announce();
                }
                Some(command) = self.asked.commands.recv() => {
                    self.serve(command).await;
                    self.announce();
                }
                () = self.manager.due() => self.tell_manager(),
                () = moment(announce_due) => self.announce(),
                () = moment(replan_due) => {
                    (self.retry_at, self.warming_due) = (None, None);
                    self.is_stale = true;
                }
            }
        }
    }

    /// Gives a document. An asker that has gone away needs no answer.
    fn answer(&self, request: StatusRequest) {
        match request {
            StatusRequest::Status(reply) => match status::status(self) {
                Ok(status) => drop(reply.send(status)),
                Err(error) => error!(%error, "no status"),
            },
            StatusRequest::History(reply) => drop(reply.send(rates::history(self))),
            StatusRequest::Backend {
                service,
                backend,
                reply,
            } => drop(reply.send(rates::backend_history(self, &service, &backend))),
        }
    }

    fn read_rates(&mut self) {
        let (config, assignment) = (&self.config, &self.assignment);
        let read = self
            .rates
            .read(config, assignment, &self.knowledge, &self.counters);
        if let Err(error) = read {
            // Whoever asks for the status is told so at a level that is seen.
            debug!(%error, "no rates");
        }
    }

    /// Takes a report in, unless its checker is no longer the backend's. True: the verdict changed.
    fn record(&mut self, report: Report) -> bool {
        let check = self.checks.get(&report.backend);
        let is_current = check.is_some_and(|check| check.checker.id() == report.checker);
        is_current && self.knowledge.record(report)
    }

    /// Takes in what became of a plan. One that could not be written is tried again.
    fn take_in(&mut self, result: Result<Applied, DatapathError>) -> Result<(), DatapathError> {
        match result {
            Ok(applied) => {
                self.tables.count(&applied);
                self.applied = applied;
                Ok(())
            }
            Err(error) => {
                error!(%error, "the maps could not be written: steering goes on as before, and it is tried again");
                self.tables.failed += 1;
                self.retry_at = Some(Instant::now() + RETRY);
                Err(error)
            }
        }
    }

    /// Decides anew and hands the plan to the applier. A plan like the last one costs nothing. Gives
    /// the order's number.
    fn replan(&mut self) -> u64 {
        self.is_stale = false;
        self.retry_at = None;
        self.warming_due = self.next_warming();
        let plan = decide(
            &self.config,
            &self.assignment,
            &self.knowledge,
            &self.ledger,
        );
        let services = self.config.services.iter().zip(&plan.services);
        for ((service, planned), before) in services.zip(&mut self.failed_open) {
            if planned.failed_open && !*before {
                warn!(
                    service = service.name,
                    "too few backends are up: steering as if all were"
                );
            }
            *before = planned.failed_open;
        }
        self.applier.submit(plan, self.hash_key)
    }

    /// When the next backend that is warming up is to have more of its weight.
    fn next_warming(&self) -> Option<Instant> {
        let services = self.config.services.iter().enumerate();
        let next = services.flat_map(|(index, service)| {
            let places = 0..service.backends.len();
            places.filter_map(move |place| {
                let state = self.knowledge.state(index, place);
                state.warmth(service.slow_start).next
            })
        });
        next.min().map(|next| Instant::now() + next)
    }

    /// Name of an interface, as the kernel has it now.
    fn interface_name(&self, ifindex: u32) -> Option<String> {
        self.neighbors
            .borrow()
            .links
            .get(&ifindex)
            .map(|link| link.name.clone())
    }

    /// Lets the last plan be written, then leaves the data plane running or removes it.
    async fn stop(mut self, detach: bool) -> anyhow::Result<()> {
        if let Some(kernel_log) = self.kernel_log {
            kernel_log.abort();
        }
        let _ = self.applier.pause().await;
        if detach {
            self.datapath.unload()?;
            info!("detached: packets for the VIPs go to this host's own stack");
        } else {
            info!(
                "the data plane stays: packets are steered as last decided, until the next start or `dns-lb unload`"
            );
        }
        Ok(())
    }
}
