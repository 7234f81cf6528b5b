//! Telling routing daemons which VIPs are served here: those of services that are ready are addresses
//! of one interface, from where BIRD, FRR and others take them.
//!
//! What is to be told is decided here, and is pure; [`host`] makes it so.

mod host;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use tokio::time::Instant;

pub use self::host::{AnnounceError, Host, present};
use crate::config::{Announce, Service};

/// How long each service has been ready, and whether its VIPs are told.
#[derive(Debug, Default)]
pub struct Announcer {
    services: BTreeMap<String, Standing>,
    /// What was last decided to be told.
    told: BTreeSet<IpAddr>,
}

/// A service.
#[derive(Clone, Copy, Debug, Default)]
struct Standing {
    /// Since when it has been ready, if it is.
    since: Option<Instant>,
    /// Whether it has been ready for long enough.
    held: bool,
}

/// What routing daemons are to be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// These VIPs, and no other.
    pub vips: BTreeSet<IpAddr>,
    /// When another decision is due although nothing happens.
    pub due: Option<Instant>,
}

impl Announcer {
    /// Starts from the VIPs that an earlier agent has left to be told.
    #[must_use]
    pub fn new(told: BTreeSet<IpAddr>) -> Self {
        Self {
            services: BTreeMap::new(),
            told,
        }
    }

    /// What is to be told now. A VIP is if every service on it is ready, and has been for `hold`.
    /// One that is no longer ready counts at once. A service that is new or has another name, and
    /// whose VIPs are all told already, need not wait: they would be taken back meanwhile.
    pub fn decide(
        &mut self,
        announce: &Announce,
        services: &[Service],
        is_ready: impl Fn(usize) -> bool,
        now: Instant,
    ) -> Decision {
        let mut standings = BTreeMap::new();
        let mut told: BTreeMap<IpAddr, bool> = BTreeMap::new();
        let mut due: Option<Instant> = None;
        for (index, service) in services.iter().enumerate() {
            let known = self.services.remove(&service.name);
            let mut standing = known.unwrap_or_else(|| Standing {
                since: None,
                held: service.vips.iter().all(|vip| self.told.contains(vip)),
            });
            if is_ready(index) {
                let since = *standing.since.get_or_insert(now);
                let held_at = since + announce.hold;
                standing.held |= now >= held_at;
                if !standing.held {
                    due = Some(due.map_or(held_at, |due| due.min(held_at)));
                }
            } else {
                standing = Standing::default();
            }
            for vip in &service.vips {
                *told.entry(*vip).or_insert(true) &= standing.held;
            }
            standings.insert(service.name.clone(), standing);
        }
        self.services = standings;
        let vips = told.into_iter().filter(|(_, told)| *told);
        self.told = vips.map(|(vip, _)| vip).collect();
        Decision {
            vips: self.told.clone(),
            due,
        }
    }
}

#[cfg(test)]
mod tests;
