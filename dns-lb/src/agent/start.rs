//! Starting: the data plane comes up, then the tasks that keep it true.

use std::{collections::BTreeSet, sync::Arc};

use dns_lb_common::HashKey;
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tracing::{info, warn};

use super::{Options, Running, applier::Applier, knowledge::Knowledge};
use crate::{
    api::{Timestamp, server::StatusRequest},
    config::Config,
    datapath::{Attachment, Counters, Datapath, DatapathError, Demand, Maps},
    health::{Checker, Report, Target},
    neighbor::{self, Neighbors, Wanted},
    steer::{Applied, Assignment, Writer, assign, plan},
};

/// Reports waiting for the loop. It handles one in microseconds; a full channel delays probes.
const REPORT_QUEUE: usize = 1024;

impl Running {
    /// Starts with what an earlier agent left running, or from nothing; a start from nothing that
    /// fails leaves nothing.
    pub(super) fn start(
        config: Config,
        options: &Options,
        hash_key: HashKey,
        watcher: neighbor::Handle,
        status_requests: mpsc::Receiver<StatusRequest>,
    ) -> anyhow::Result<Self> {
        let (mut datapath, maps) = Datapath::load(&options.pin_dir, Demand::of(&config))?;
        let mut neighbors = watcher.neighbors();
        let up = match bring_up(&mut datapath, maps, &config, hash_key, &mut neighbors) {
            Ok(up) => up,
            Err(error) => {
                datapath.abandon();
                return Err(error.into());
            }
        };
        for Attachment {
            interface, mode, ..
        } in &up.attachments
        {
            info!(
                interface,
                mode = mode.name(),
                adopted = datapath.adopted(),
                "steering"
            );
        }

        let (report_sender, reports) = mpsc::channel(REPORT_QUEUE);
        let checkers = spawn_checkers(&config, &up.knowledge, &report_sender);
        let kernel_log = follow_kernel_log(&mut datapath);
        Ok(Self {
            failed_open: vec![false; config.services.len()],
            config,
            assignment: up.assignment,
            knowledge: up.knowledge,
            attachments: up.attachments,
            program_id: up.program_id,
            datapath,
            counters: up.counters,
            started_at: Timestamp::now(),
            applier: Applier::spawn(up.writer, hash_key),
            applied: up.applied,
            retry_at: None,
            neighbors,
            _watcher: watcher,
            reports,
            status_requests,
            _checkers: checkers,
            kernel_log,
        })
    }
}

/// A data plane that steers, and what was learnt on the way.
struct Up {
    assignment: Assignment,
    knowledge: Knowledge,
    attachments: Vec<Attachment>,
    program_id: u32,
    counters: Counters,
    writer: Writer,
    applied: Applied,
}

/// Makes the data plane steer by this configuration. Maps that were adopted steer already, so the
/// new program takes over first; empty ones are filled first, so that no packet meets them empty.
fn bring_up(
    datapath: &mut Datapath,
    maps: Maps,
    config: &Config,
    hash_key: HashKey,
    neighbors: &mut watch::Receiver<Arc<Neighbors>>,
) -> Result<Up, DatapathError> {
    let counters = datapath.counters()?;
    let mut writer = Writer::new(maps)?;
    let assignment = assign(config, writer.recorded());
    let mut knowledge = Knowledge::new(config, &assignment, writer.recorded());
    knowledge.locate(&neighbors.borrow_and_update());
    let first = plan(config, &assignment, |service, backend| {
        knowledge.of(service, backend)
    });

    let (attachments, applied);
    if datapath.adopted() {
        attachments = datapath.attach(&config.interfaces, config.xdp_mode)?;
        applied = writer.apply(&first, &hash_key)?;
    } else {
        applied = writer.apply(&first, &hash_key)?;
        attachments = datapath.attach(&config.interfaces, config.xdp_mode)?;
    }
    let program_id = datapath.program_id()?;
    Ok(Up {
        assignment,
        knowledge,
        attachments,
        program_id,
        counters,
        writer,
        applied,
    })
}

/// The addresses that have to be found on the link.
pub(super) fn wanted(config: &Config) -> BTreeSet<Wanted> {
    let backends = config.services.iter().flat_map(|service| &service.backends);
    backends
        .filter(|backend| !backend.local)
        .map(|backend| Wanted {
            address: backend.address,
            mac: backend.mac,
        })
        .collect()
}

fn spawn_checkers(
    config: &Config,
    knowledge: &Knowledge,
    reports: &mpsc::Sender<Report>,
) -> Vec<Checker> {
    let targets = config
        .services
        .iter()
        .enumerate()
        .flat_map(|(index, service)| {
            service
                .backends
                .iter()
                .enumerate()
                .map(move |(place, backend)| {
                    let target = Target {
                        backend: knowledge.key(index, place),
                        address: backend.address,
                        port: service.port,
                        vips: service.vips.clone(),
                        local: backend.local,
                    };
                    let initial = knowledge.of(index, place).health;
                    (target, initial, service.health.clone())
                })
        });
    targets
        .map(|(target, initial, check)| Checker::spawn(target, initial, check, reports.clone()))
        .collect()
}

/// Lets what the program logs appear in the agent's own log. Steering does without it if need be.
fn follow_kernel_log(datapath: &mut Datapath) -> Option<JoinHandle<()>> {
    let logger = match datapath.logger() {
        Ok(logger) => logger,
        Err(error) => {
            warn!(%error, "the program's own log lines will not be shown");
            return None;
        }
    };
    // SAFETY: the logger owns the ring buffer and its descriptor for as long as it lives, and the
    // `AsyncFd` owns the logger.
    let registered = unsafe { AsyncFd::register_with_interest(logger, Interest::READABLE) };
    let mut logger = match registered {
        Ok(logger) => logger,
        Err(error) => {
            warn!(%error, "the program's own log lines will not be shown");
            return None;
        }
    };
    Some(tokio::spawn(async move {
        while let Ok(mut ready) = logger.readable_mut().await {
            ready.get_inner_mut().flush();
            ready.clear_ready();
        }
    }))
}
