//! Telling routing daemons which VIPs are served here: those of services that are ready are addresses
//! of one interface, from where BIRD, FRR and others take them.
//!
//! What is to be told is decided here, and is pure; [`host`] makes it so.

mod host;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use tokio::time::Instant;

pub use self::host::{AnnounceError, Host, present};
use crate::config::{Announce, Service};

/// How long a service that is new may take to be ready before VIPs that are told are taken back for it:
/// its servers have to be found on the link first.
const GRACE: Duration = Duration::from_secs(1);

/// How long each service has been ready, and whether its VIPs are told.
#[derive(Debug, Default)]
pub struct Announcer {
    services: BTreeMap<String, Standing>,
    /// What was last decided to be told.
    told: BTreeSet<IpAddr>,
}

/// Whether a service is of use to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Too few of its servers can be used.
    Unready,
    /// Enough of them can, but too few have answered yet: good enough to go on, not to begin.
    Untried,
    /// As many as its quorum says answer.
    Ready,
}

/// A service.
#[derive(Clone, Copy, Debug)]
struct Standing {
    /// Since when it has been ready, if it is.
    since: Option<Instant>,
    /// Whether it has been ready for long enough.
    held: bool,
    /// Until when it need not be ready yet.
    grace: Option<Instant>,
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
    /// The VIPs that were last decided to be told.
    #[must_use]
    pub fn told(&self) -> &BTreeSet<IpAddr> {
        &self.told
    }

    /// Starts from the VIPs that an earlier agent has left to be told.
    #[must_use]
    pub fn new(told: BTreeSet<IpAddr>) -> Self {
        Self {
            services: BTreeMap::new(),
            told,
        }
    }

    /// What is to be told now. A VIP is if every service on it is ready, and has been for `hold`.
    /// One that is no longer ready counts at once. What is told already is not taken back for a service
    /// that is new or has another name: it need not wait, and has a moment to become ready.
    pub fn decide(
        &mut self,
        announce: &Announce,
        services: &[Service],
        readiness: impl Fn(usize) -> Readiness,
        now: Instant,
    ) -> Decision {
        let mut standings = BTreeMap::new();
        let mut told: BTreeMap<IpAddr, bool> = BTreeMap::new();
        let mut due: Option<Instant> = None;
        for (index, service) in services.iter().enumerate() {
            let known = self.services.remove(&service.name);
            let mut standing = known.unwrap_or_else(|| Standing {
                since: None,
                held: false,
                grace: Some(now + GRACE),
            });
            let readiness = readiness(index);
            let mut wait = |until: Instant| due = Some(due.map_or(until, |due| due.min(until)));
            match readiness {
                Readiness::Ready => {
                    standing.grace = None;
                    let since = *standing.since.get_or_insert(now);
                    let held_at = since + announce.hold;
                    standing.held |= now >= held_at;
                    if !standing.held {
                        wait(held_at);
                    }
                }
                Readiness::Untried => standing.since = None,
                Readiness::Unready => {
                    standing = Standing {
                        since: None,
                        held: false,
                        grace: standing.grace.filter(|&until| now < until),
                    };
                    if let Some(until) = standing.grace {
                        wait(until);
                    }
                }
            }
            let stays = readiness != Readiness::Unready || standing.grace.is_some();
            for vip in &service.vips {
                let is_told = standing.held || stays && self.told.contains(vip);
                *told.entry(*vip).or_insert(true) &= is_told;
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
