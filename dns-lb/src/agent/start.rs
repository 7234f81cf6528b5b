//! Starting: the data plane comes up, then the tasks that keep it true.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use dns_lb_common::HashKey;
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout,
};
use tracing::{error, info, warn};

use super::{
    Asked, Options, Running, applier::Applier, decide, keeper::Keeper, knowledge::Knowledge,
    rates::Rates, readiness::Announcing, service_manager::ServiceManager,
};
use crate::{
    admin::{Ledger, Removed, Store, StoreError, Weight},
    api::{Timestamp, admin::AdminSocket, status::Tables},
    config::Config,
    datapath::{Attachment, Counters, Datapath, DatapathError, Demand, Maps},
    health::Checkers,
    neighbor::{self, Neighbors, Unresolved, Wanted},
    steer::{Applied, Assignment, Known, Writer, assign},
};

/// How long a fresh start waits for backends to be found on the link. ARP and neighbour discovery take
/// a round trip.
const RESOLVING: Duration = Duration::from_millis(500);

/// Reports waiting for the loop. It handles one in microseconds; a full channel delays probes.
const REPORT_QUEUE: usize = 1024;

impl Running {
    /// Starts with what an earlier agent left running, or from nothing; a start from nothing that
    /// fails leaves nothing.
    pub(super) async fn start(
        config: Config,
        options: Options,
        hash_key: HashKey,
        watcher: neighbor::Handle,
        asked: Asked,
    ) -> anyhow::Result<(Self, AdminSocket)> {
        let (mut datapath, maps) = Datapath::load(&options.pin_dir, Demand::of(&config))?;
        // Not before the pins are this agent's: what a second one is told is that there is a first.
        let socket = match AdminSocket::bind(&config.api).await {
            Ok(socket) => socket,
            Err(error) => {
                datapath.abandon();
                return Err(error.into());
            }
        };
        let announcing = match Announcing::start(&config).await {
            Ok(announcing) => announcing,
            Err(error) => {
                datapath.abandon();
                return Err(error.into());
            }
        };
        let mut neighbors = watcher.neighbors();
        if !datapath.adopted() {
            await_neighbors(&mut neighbors).await;
        }
        let store = Store::new(config.state_file.clone());
        let (ledger, is_less) = load_ledger(&store, &config);
        let keeper = Keeper::spawn(store);
        if is_less {
            // Said in the log; what is kept too long is dropped at the next start.
            drop(keeper.keep(ledger.clone()));
        }
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
        let mut tables = Tables::default();
        tables.count(&up.applied);
        let mut running = Self {
            failed_open: vec![false; config.services.len()],
            checkers,
            checks: BTreeMap::new(),
            peers: Vec::new(),
            ledger,
            keeper,
            is_stale: false,
            warming_due: None,
            config,
            config_file: options.config_file,
            hash_key,
            assignment: up.assignment,
            knowledge: up.knowledge,
            attachments: up.attachments,
            program_id: up.program_id,
            datapath,
            counters: up.counters,
            started_at: Timestamp::now(),
            applier: Applier::spawn(up.writer),
            applied: up.applied,
            tables,
            rates: Rates::new(),
            announcing,
            detached: BTreeSet::new(),
            retry_at: None,
            neighbors,
            watcher,
            reports,
            asked,
            kernel_log,
            manager: ServiceManager::of_this_process(),
        };
        running.follow_configuration();
        Ok((running, socket))
    }
}

/// Gives the kernel a moment to find the backends on the link: a program that is attached before has
/// nobody to steer to, and passes the packets to this host's own stack.
async fn await_neighbors(neighbors: &mut watch::Receiver<Arc<Neighbors>>) {
    let are_settled = |neighbors: &Arc<Neighbors>| {
        let mut answers = neighbors.by_address.values();
        !answers.any(|answer| matches!(answer, Err(Unresolved::Resolving { .. })))
    };
    // Whoever is not found by then is dead, or will be found later.
    let _ = timeout(RESOLVING, neighbors.wait_for(are_settled)).await;
}

/// What operators have set. A file that is of no use is no reason not to steer.
/// True: some of it is of backends that are no longer configured, and is dropped.
fn load_ledger(store: &Store, config: &Config) -> (Ledger, bool) {
    let mut ledger = store.load().unwrap_or_else(|error| {
        error!(%error, "what operators had set is lost: every backend is enabled, at its configured weight");
        if matches!(error, StoreError::Broken { .. }) {
            match store.set_aside() {
                Ok(path) => warn!(path = %path.display(), "the file is kept there"),
                Err(error) => warn!(%error, "the file cannot be moved out of the way"),
            }
        }
        Ledger::default()
    });
    for (service, backend, entry) in ledger.iter() {
        info!(service, backend, admin = %entry.admin, weight = entry.weight.map(Weight::get), by = entry.by, "set by an operator");
    }
    let is_less = forget_removed(&mut ledger, config);
    (ledger, is_less)
}

/// Drops what was set on backends that are not configured.
pub(super) fn forget_removed(ledger: &mut Ledger, config: &Config) -> bool {
    let removed = ledger.retain(config);
    for Removed {
        service, backend, ..
    } in &removed
    {
        info!(
            service,
            backend, "no longer configured: what was set on it is dropped"
        );
    }
    !removed.is_empty()
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
pub(super) fn follow_kernel_log(datapath: &mut Datapath) -> Option<JoinHandle<()>> {
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
