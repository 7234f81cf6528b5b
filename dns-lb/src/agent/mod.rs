//! The agent: ties configuration, probes, neighbours and the data plane together.
//!
//! One loop owns what is known. It turns each change into a plan and hands the plan to the
//! [`applier`], which owns the maps. The loop itself never blocks, so that probes stay on time.

mod applier;
mod knowledge;
mod reach;
mod start;
mod status;

use std::{collections::BTreeMap, io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context as _, anyhow};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::{Instant, sleep_until},
};
use tracing::{error, info, warn};

use self::{applier::Applier, knowledge::Knowledge, reach::reach};
use crate::{
    admin::Ledger,
    api::{
        Timestamp,
        server::{self, StatusRequest, StatusSource},
    },
    config::{Config, HealthCheck},
    datapath::{Attachment, Counters, Datapath},
    health::{BackendKey, Checker, Checkers, Report, Target},
    neighbor::{self, Neighbors},
    steer::{self, Applied, Assignment, Plan, load_or_create_hash_key, plan},
};

/// How long to wait before maps that could not be written are tried again.
const RETRY: Duration = Duration::from_secs(1);

/// What `dns-lb run` was told beside the configuration.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where maps, program and links are pinned.
    pub pin_dir: PathBuf,
    /// Whether to detach and remove the pins when stopping, instead of leaving traffic flowing.
    pub detach_on_exit: bool,
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
///
/// If something that steering depends on cannot be had at the start: the address of the HTTP
/// server, the hash key, the data plane, netlink. Then nothing is attached that was not before.
pub async fn run(config: Config, options: Options) -> anyhow::Result<()> {
    // First all that may fail without a trace.
    let mut signals = Signals::new()?;
    let listener = TcpListener::bind(config.api.listen)
        .await
        .map_err(|reason| cannot_listen(config.api.listen, &reason))?;
    let hash_key = load_or_create_hash_key(&config.hash_key_file)?;
    let neighbors = neighbor::start(start::wanted(&config)).await?;

    let (source, status_requests) = StatusSource::new();
    let mut running = Running::start(config, &options, hash_key, neighbors, status_requests)?;
    let (stop_server, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(server::serve(listener, source, async {
        // An error means that the sender is gone, which stops the server as well.
        let _ = stopped.await;
    }));

    let signal = running.until_signal(&mut signals).await?;
    info!(signal, "stopping");
    drop(stop_server);
    let served = server.await.context("the HTTP server failed");
    running.stop(options.detach_on_exit).await?;
    served
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

/// What ends the agent.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    async fn recv(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// A backend that is probed, and how.
struct Check {
    target: Target,
    check: Arc<HealthCheck>,
    checker: Checker,
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
            location: state.location,
        }
    })
}

/// The agent at work.
struct Running {
    config: Config,
    assignment: Assignment,
    knowledge: Knowledge,
    datapath: Datapath,
    attachments: Vec<Attachment>,
    program_id: u32,
    counters: Counters,
    started_at: Timestamp,
    applier: Applier,
    applied: Applied,
    /// Which services steer to all backends since none is usable.
    failed_open: Vec<bool>,
    /// When to hand the plan over again, after a failure.
    retry_at: Option<Instant>,
    neighbors: watch::Receiver<Arc<Neighbors>>,
    watcher: neighbor::Handle,
    reports: mpsc::Receiver<Report>,
    status_requests: mpsc::Receiver<StatusRequest>,
    checkers: Checkers,
    /// Who is probed; dropped, and so stopped, with this.
    checks: BTreeMap<BackendKey, Check>,
    /// What operators have set.
    ledger: Ledger,
    /// When a backend that is warming up is to have more of its weight.
    warming_due: Option<Instant>,
    kernel_log: Option<JoinHandle<()>>,
}

impl Running {
    /// The loop. Returns the name of the signal that ends it.
    ///
    /// # Errors
    ///
    /// If the maps can no longer be written or neighbours no longer be found: an agent that goes on
    /// without would only seem to work.
    async fn until_signal(&mut self, signals: &mut Signals) -> anyhow::Result<&'static str> {
        loop {
            let due = [self.retry_at, self.warming_due]
                .into_iter()
                .flatten()
                .min();
            let due = async {
                match due {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                signal = signals.recv() => return Ok(signal),
                Some(report) = self.reports.recv() => {
                    if self.knowledge.record(report) {
                        self.replan();
                    }
                }
                changed = self.neighbors.changed() => {
                    changed.context("the task that watches neighbours has died")?;
                    let neighbors = Arc::clone(&self.neighbors.borrow_and_update());
                    self.follow_interfaces(&neighbors);
                    let is_elsewhere = self.knowledge.locate(&neighbors);
                    self.follow_neighbors();
                    if is_elsewhere {
                        self.replan();
                    }
                }
                result = self.applier.result() => match result.context("the thread that writes the maps has died")? {
                    Ok(applied) => self.applied = applied,
                    Err(error) => {
                        error!(%error, "the maps could not be written: steering goes on as before, and it is tried again");
                        self.retry_at = Some(Instant::now() + RETRY);
                    }
                },
                Some(request) = self.status_requests.recv() => match status::status(self) {
                    // An asker that has gone away needs no answer.
                    Ok(status) => drop(request.reply.send(status)),
                    Err(error) => error!(%error, "no status"),
                },
                () = due => self.replan(),
            }
        }
    }

    /// Attaches to configured interfaces that have been made anew: a link goes with its interface,
    /// and does not come back with the name.
    fn follow_interfaces(&mut self, neighbors: &Neighbors) {
        self.attachments.retain(|attachment| {
            let exists = neighbors.links.contains_key(&attachment.ifindex);
            if !exists {
                warn!(
                    interface = attachment.interface,
                    "gone, and the program with it"
                );
            }
            exists
        });
        let (mut existing, mut bare) = (Vec::new(), false);
        for name in &self.config.interfaces {
            if neighbors.links.values().any(|link| link.name == *name) {
                existing.push(name.clone());
                bare |= !self
                    .attachments
                    .iter()
                    .any(|attached| attached.interface == *name);
            }
        }
        if !bare {
            return;
        }
        match self.datapath.attach(&existing, self.config.xdp_mode) {
            Ok(attachments) => {
                info!(interfaces = ?existing, "steering again");
                self.attachments = attachments;
            }
            Err(error) => error!(%error, "an interface that came back is not steered"),
        }
    }

    /// Decides anew and hands the plan to the applier. A plan like the last one costs nothing.
    fn replan(&mut self) {
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
        self.applier.submit(plan);
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

    /// Probes whom the configuration has now, and nobody else. Who is probed already in the same way
    /// goes on so.
    fn follow_configuration(&mut self) {
        self.watcher.watch(start::wanted(&self.config));
        let vips = start::vips(&self.config);
        let neighbors = self.neighbors.borrow();
        let mut before = std::mem::take(&mut self.checks);
        for (index, service) in self.config.services.iter().enumerate() {
            let check = Arc::new(service.health.clone());
            for (place, backend) in service.backends.iter().enumerate() {
                let state = self.knowledge.state(index, place);
                let target = Target {
                    backend: state.key.clone(),
                    address: backend.address,
                    port: service.port,
                    vips: service.vips.clone(),
                    local: backend.local,
                };
                let reach = reach(state, &neighbors, &vips);
                let running = before.remove(&state.key);
                let running = running.filter(|old| old.target == target && old.check == check);
                let next = running.unwrap_or_else(|| Check {
                    checker: self.checkers.spawn(
                        target.clone(),
                        Arc::clone(&check),
                        reach.clone(),
                        state.health,
                    ),
                    target,
                    check: Arc::clone(&check),
                });
                next.checker.reach(reach);
                self.checks.insert(state.key.clone(), next);
            }
        }
    }

    /// Tells the checkers where their backends are now.
    fn follow_neighbors(&self) {
        let vips = start::vips(&self.config);
        let neighbors = self.neighbors.borrow();
        for state in self.knowledge.states() {
            if let Some(check) = self.checks.get(&state.key) {
                check.checker.reach(reach(state, &neighbors, &vips));
            }
        }
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
    async fn stop(self, detach: bool) -> anyhow::Result<()> {
        if let Some(kernel_log) = self.kernel_log {
            kernel_log.abort();
        }
        self.applier.finish().await;
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
