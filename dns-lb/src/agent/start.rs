//! Starting: the data plane comes up, then the tasks that keep it true.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use dns_lb_common::HashKey;
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tracing::{info, warn};

use super::{Options, Running, applier::Applier, decide, knowledge::Knowledge};
use crate::{
    admin::Ledger,
    api::{Timestamp, server::StatusRequest},
    config::Config,
    datapath::{Attachment, Counters, Datapath, DatapathError, Demand, Maps},
    health::Checkers,
    neighbor::{self, Neighbors, Wanted},
    steer::{Applied, Assignment, Known, Writer, assign},
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
        let ledger = Ledger::default();
        let up = match bring_up(
            &mut datapath,
            maps,
            &config,
            hash_key,
            &mut neighbors,
            &ledger,
        ) {
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
        let checkers = Checkers::new(report_sender);
        let kernel_log = follow_kernel_log(&mut datapath);
        let mut running = Self {
            failed_open: vec![false; config.services.len()],
            checkers,
            checks: BTreeMap::new(),
            ledger,
            warming_due: None,
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
            watcher,
            reports,
            status_requests,
            kernel_log,
        };
        running.follow_configuration();
        Ok(running)
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
/// new program takes over first; new ones are filled first, so that no packet meets them empty.
fn bring_up(
    datapath: &mut Datapath,
    maps: Maps,
    config: &Config,
    hash_key: HashKey,
    neighbors: &mut watch::Receiver<Arc<Neighbors>>,
    ledger: &Ledger,
) -> Result<Up, DatapathError> {
    let mut writer = Writer::new(maps)?;
    let assignment = assign(config, &Known::from(writer.recorded()));
    let mut knowledge = Knowledge::new(config, &assignment, writer.recorded());
    knowledge.locate(&neighbors.borrow_and_update());
    let first = decide(config, &assignment, &knowledge, ledger);

    let (attachments, applied);
    if datapath.fill_first() {
        applied = writer.apply(&first, &hash_key)?;
        attachments = datapath.attach(&config.interfaces, config.xdp_mode)?;
    } else {
        attachments = datapath.attach(&config.interfaces, config.xdp_mode)?;
        applied = writer.apply(&first, &hash_key)?;
    }
    let program_id = datapath.program_id()?;
    // Only now: new maps have taken the place of old ones.
    let counters = datapath.counters()?;
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

/// The addresses that clients are given.
pub(super) fn vips(config: &Config) -> BTreeSet<IpAddr> {
    let services = config.services.iter();
    services
        .flat_map(|service| service.vips.iter().copied())
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
