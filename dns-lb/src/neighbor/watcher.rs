//! The task that keeps the answers fresh.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use futures_util::FutureExt;
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};
use tracing::{debug, warn};

use super::{
    NeighborError, Neighbors, Wanted,
    decide::Facts,
    kernel::{Kernel, Notification, Notifications},
};

/// Everything is read anew this often, should a notification ever be missing.
const DUMP_INTERVAL: Duration = Duration::from_secs(30);
/// Dumps are at least this far apart, however often notifications are lost.
const DUMPS_APART: Duration = Duration::from_millis(500);
/// Rounds of route look-ups are at least this far apart, however many routes change.
const LOOKUPS_APART: Duration = Duration::from_millis(20);
/// The kernel is asked again to resolve after this, then after twice as long each time, up to
/// [`LONGEST_BACK_OFF`]. It gives up by itself after three questions a second apart.
const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
/// Also how long a host that comes back silently may stay unknown.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(8);
/// Before everything is begun anew after a failure.
const RESTART_DELAY: Duration = Duration::from_secs(1);
/// Notifications taken in before the answers are published again.
const BATCH: usize = 256;

pub(super) struct Watcher {
    kernel: Kernel,
    notifications: Notifications,
    wishes: watch::Receiver<BTreeSet<Wanted>>,
    neighbors: watch::Sender<Arc<Neighbors>>,
    /// The wishes that `facts` are about.
    wanted: BTreeSet<Wanted>,
    facts: Facts,
    /// When everything is to be read anew.
    dump_due: Instant,
    dumped_at: Instant,
    /// When routes are to be looked up anew, if they may have changed.
    lookup_due: Option<Instant>,
    looked_up_at: Instant,
    /// What the kernel was asked to resolve, by interface index and address.
    asked: BTreeMap<(u32, IpAddr), Asked>,
}

/// When the kernel is to be asked again, and how long to wait after that.
#[derive(Clone, Copy)]
struct Asked {
    again_at: Instant,
    back_off: Duration,
}

impl Watcher {
    /// Subscribes, reads everything once and publishes it.
    pub(super) async fn begin(
        mut wishes: watch::Receiver<BTreeSet<Wanted>>,
        neighbors: watch::Sender<Arc<Neighbors>>,
    ) -> Result<Self, NeighborError> {
        let now = Instant::now();
        let wanted = wishes.borrow_and_update().clone();
        let mut watcher = Self {
            // Before the first dump, so that no change falls between the two.
            notifications: Notifications::subscribe()?,
            kernel: Kernel::open()?,
            wanted,
            wishes,
            neighbors,
            facts: Facts::default(),
            dump_due: now,
            dumped_at: now,
            lookup_due: None,
            looked_up_at: now,
            asked: BTreeMap::new(),
        };
        watcher.catch_up().await?;
        Ok(watcher)
    }

    /// Runs until nobody holds the [`Handle`](super::Handle) any more.
    pub(super) async fn run(mut self) {
        while let Err(error) = self.follow().await {
            warn!(%error, "cannot follow the kernel's neighbours, beginning anew");
            loop {
                sleep(RESTART_DELAY).await;
                match Self::begin(self.wishes.clone(), self.neighbors.clone()).await {
                    Ok(watcher) => {
                        self = watcher;
                        break;
                    }
                    Err(error) => warn!(%error, "still cannot read the kernel's neighbours"),
                }
            }
        }
    }

    async fn follow(&mut self) -> Result<(), NeighborError> {
        loop {
            let due = self.next_due();
            tokio::select! {
                notification = self.notifications.next() => {
                    self.take_in(notification?);
                    for _ in 1..BATCH {
                        match self.notifications.next().now_or_never() {
                            Some(notification) => self.take_in(notification?),
                            None => break,
                        }
                    }
                }
                changed = self.wishes.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    self.wanted.clone_from(&self.wishes.borrow_and_update());
                    self.dump_due = Instant::now();
                }
                () = sleep_until(due) => {}
            }
            self.catch_up().await?;
        }
    }

    fn take_in(&mut self, notification: Notification) {
        match notification {
            Notification::Link(ifindex, link) => {
                if self.facts.links.get(&ifindex) != Some(&link) {
                    self.facts.links.insert(ifindex, link);
                    self.routing_changed();
                }
            }
            Notification::LinkGone(ifindex) => {
                self.facts.links.remove(&ifindex);
                self.routing_changed();
            }
            Notification::Entry(key, entry) => {
                if self.facts.routes.contains_key(&key.1) {
                    self.facts.entries.insert(key, entry);
                }
            }
            Notification::EntryGone(key) => {
                self.facts.entries.remove(&key);
            }
            Notification::Address(own) => {
                let on_link = self.facts.addresses.entry(own.ifindex).or_default();
                match own.usable {
                    true => drop(on_link.insert(own.address, own.prefix_length)),
                    false => drop(on_link.remove(&own.address)),
                }
                self.routing_changed();
            }
            Notification::Routing => self.routing_changed(),
            Notification::Lost => {
                debug!("netlink notifications were lost, reading everything anew");
                self.dump_due = self.dump_due.min(self.dumped_at + DUMPS_APART);
            }
        }
    }

    fn routing_changed(&mut self) {
        let earliest = self.looked_up_at + LOOKUPS_APART;
        self.lookup_due.get_or_insert(earliest);
    }

    /// Does what is due, and publishes what is known then.
    async fn catch_up(&mut self) -> Result<(), NeighborError> {
        let now = Instant::now();
        if self.dump_due <= now {
            self.dump().await?;
        } else if self.lookup_due.is_some_and(|due| due <= now) {
            self.look_up().await?;
        }
        self.ask().await;
        self.publish();
        Ok(())
    }

    async fn dump(&mut self) -> Result<(), NeighborError> {
        self.facts.links = self.kernel.links().await?;
        self.facts.addresses = self.kernel.addresses().await?;
        let addresses = self.addresses();
        self.facts.entries = self.kernel.entries(&addresses).await?;
        self.look_up().await?;
        self.dumped_at = Instant::now();
        self.dump_due = self.dumped_at + DUMP_INTERVAL;
        Ok(())
    }

    async fn look_up(&mut self) -> Result<(), NeighborError> {
        // A change from here on may come too late for the first look-up, so it counts anew.
        self.lookup_due = None;
        let mut routes = BTreeMap::new();
        for address in self.addresses() {
            routes.insert(address, self.kernel.route(address).await?);
        }
        self.facts.routes = routes;
        self.looked_up_at = Instant::now();
        Ok(())
    }

    fn addresses(&self) -> BTreeSet<IpAddr> {
        self.wanted.iter().map(|wanted| wanted.address).collect()
    }

    /// Asks the kernel to resolve what is not resolved, each address with its own back-off.
    async fn ask(&mut self) {
        let unresolved = self.facts.unresolved(&self.wanted);
        self.asked.retain(|key, _| unresolved.contains(key));
        for key in unresolved {
            let now = Instant::now();
            let back_off = match self.asked.get(&key) {
                Some(asked) if asked.again_at > now => continue,
                Some(asked) => LONGEST_BACK_OFF.min(2 * asked.back_off),
                None => FIRST_BACK_OFF,
            };
            let (ifindex, address) = key;
            if let Err(error) = self.kernel.resolve(ifindex, address).await {
                warn!(%error, "cannot have a neighbour resolved");
            }
            let again_at = now + back_off;
            self.asked.insert(key, Asked { again_at, back_off });
        }
    }

    fn publish(&self) {
        let latest = self.facts.answer(&self.wanted);
        self.neighbors.send_if_modified(|published| {
            let modified = **published != latest;
            if modified {
                *published = Arc::new(latest);
            }
            modified
        });
    }

    /// When there is something to do next, if no notification comes.
    fn next_due(&self) -> Instant {
        let ask_due = self.asked.values().map(|asked| asked.again_at).min();
        [Some(self.dump_due), self.lookup_due, ask_due]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(self.dump_due)
    }
}
