//! What the agent knows of each backend: the verdict of the probes, and its place on the link.

mod probes;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::IpAddr,
    sync::Arc,
    time::SystemTime,
};

use tokio::time::Instant;
use tracing::{info, warn};

use self::probes::Probes;
use crate::{
    api::status::{self, LastProbe, Transition, Transitions},
    config::{self, Config},
    health::{BackendKey, Health, Report, Warmth},
    mac::MacAddress,
    neighbor::{Neighbors, Unresolved},
    steer::{Assignment, Location, Recorded, health_from_wire, mapped},
};

/// Why a backend that a running service is given takes no queries at first.
const NEW: &str = "new: not proven by probes yet";
/// Changes of health that are kept.
const RECENT: usize = 100;

/// By service and backend, in the order of the configuration.
#[derive(Debug, Default)]
pub(super) struct Knowledge {
    services: Vec<Vec<BackendState>>,
    places: BTreeMap<BackendKey, (usize, usize)>,
    /// The last changes of health, the newest first.
    recent: VecDeque<Transition>,
}

/// One backend.
#[derive(Debug)]
pub(super) struct BackendState {
    pub(super) key: BackendKey,
    pub(super) address: IpAddr,
    /// Whether it is on this host.
    pub(super) is_local: bool,
    pub(super) health: Health,
    /// Whether it has been up, or began when nothing was known of anybody.
    pub(super) is_proven: bool,
    /// Since when the health is this; at first, since the agent started or was given the backend.
    pub(super) since: SystemTime,
    /// Why it is down; `None` if it is not, or since before the agent started.
    pub(super) reason: Option<String>,
    /// When it came up again, if it was down before.
    warming_since: Option<Instant>,
    /// Passes in a row that bring it up; `None` before the first report.
    pub(super) passes_to_rise: Option<u32>,
    probes: Probes,
    /// Changes of its health since the agent has had it.
    pub(super) transitions: Transitions,
    /// What the server calls itself.
    pub(super) identity: Option<String>,
    pub(super) location: Option<Location>,
    /// Why there is no location, or none that is fresh.
    pub(super) unresolved: Option<Unresolved>,
    /// Whether it has ever been found on the link.
    was_found: bool,
    /// Whether the kernel has asked for it in vain since it was last found.
    pub(super) is_lost: bool,
}

impl BackendState {
    fn new(key: BackendKey, backend: &config::Backend, health: Health) -> Self {
        Self {
            key,
            address: backend.address,
            is_local: backend.local,
            health,
            is_proven: true,
            since: SystemTime::now(),
            reason: None,
            warming_since: None,
            passes_to_rise: None,
            probes: Probes::default(),
            transitions: Transitions::default(),
            identity: None,
            location: None,
            unresolved: None,
            was_found: false,
            is_lost: false,
        }
    }

    /// One that a running service is given: it takes nothing until it has been up.
    fn unproven(key: BackendKey, backend: &config::Backend) -> Self {
        Self {
            reason: Some(NEW.to_owned()),
            is_proven: false,
            ..Self::new(key, backend, Health::Down)
        }
    }

    /// How much of its weight it gets now.
    pub(super) fn warmth(&self, slow_start: std::time::Duration) -> Warmth {
        match self.warming_since {
            Some(since) => Warmth::after(since.elapsed(), slow_start),
            None => Warmth::FULL,
        }
    }

    /// Why its verdict stays as it is, if it does.
    pub(super) fn frozen(&self) -> Option<String> {
        self.own_fault().or_else(|| self.probes.own_fault())
    }

    /// Its last probes, the newest first.
    pub(super) fn recent_probes(&self) -> impl Iterator<Item = LastProbe> {
        self.probes.newest()
    }

    /// How its probes went.
    pub(super) fn probes(&self) -> status::Probes {
        self.probes.counted()
    }

    /// What is wrong with this host, if so much is that nothing can be found out about the backend.
    pub(super) fn own_fault(&self) -> Option<String> {
        let unresolved = self.unresolved.as_ref()?;
        let is_own = match unresolved {
            Unresolved::InterfaceDown { .. } | Unresolved::InterfaceGone { .. } => true,
            // The routes of an interface go with it.
            unresolved => unresolved.is_own_loss() && self.was_found,
        };
        is_own.then(|| format!("this host's own link or address is gone: {unresolved}"))
    }
}

impl Knowledge {
    /// Starts from what an earlier agent left in the maps: its verdicts and places hold until
    /// probes and the kernel say otherwise.
    pub(super) fn new(config: &Config, assignment: &Assignment, recorded: &Recorded) -> Self {
        let running: BTreeSet<u16> = recorded.services.values().copied().collect();
        Self::of_each(config, |index, place, key| {
            let backend = &config.services[index].backends[place];
            let id = assignment.services[index];
            let entry = recorded.backend(id, &mapped(backend.address));
            if entry.is_none() && running.contains(&id) {
                return BackendState::unproven(key, backend);
            }
            let health = entry.map_or(Health::Unknown, |(_, entry)| health_from_wire(entry.health));
            BackendState {
                location: entry.filter(|_| !backend.local).map(|(_, entry)| Location {
                    mac: MacAddress(entry.destination_mac),
                    ifindex: entry.ifindex,
                    source_mac: MacAddress(entry.source_mac),
                }),
                ..BackendState::new(key, backend, health)
            }
        })
    }

    /// Goes on with another configuration: what is known of a backend stays with its service and its
    /// address. A service is known by its id, which goes by its VIPs, else by its name. Who is new to a
    /// service that is there already starts down.
    pub(super) fn carry_over(
        self,
        old: &Assignment,
        config: &Config,
        assignment: &Assignment,
    ) -> Self {
        let mut by_name: BTreeMap<Arc<str>, u16> = BTreeMap::new();
        let mut known: BTreeMap<(u16, IpAddr), BackendState> = BTreeMap::new();
        for (&id, states) in old.services.iter().zip(self.services) {
            for state in states {
                by_name.insert(Arc::clone(&state.key.service), id);
                known.insert((id, state.address), state);
            }
        }
        let running: BTreeSet<u16> = old.services.iter().copied().collect();
        let knowledge = Self::of_each(config, |index, place, key| {
            let backend = &config.services[index].backends[place];
            let id = assignment.services[index];
            let id = match running.contains(&id) {
                true => Some(id),
                false => by_name.get(&key.service).copied(),
            };
            let Some(id) = id else {
                return BackendState::new(key, backend, Health::Unknown);
            };
            match known.remove(&(id, backend.address)) {
                Some(state) => BackendState {
                    key,
                    is_local: backend.local,
                    location: state.location.filter(|_| !backend.local),
                    ..state
                },
                None => BackendState::unproven(key, backend),
            }
        });
        Self {
            recent: self.recent,
            ..knowledge
        }
    }

    fn of_each(
        config: &Config,
        mut state: impl FnMut(usize, usize, BackendKey) -> BackendState,
    ) -> Self {
        let mut places = BTreeMap::new();
        let mut services = Vec::with_capacity(config.services.len());
        for (index, service) in config.services.iter().enumerate() {
            let name: Arc<str> = service.name.as_str().into();
            let mut backends = Vec::with_capacity(service.backends.len());
            for (place, backend) in service.backends.iter().enumerate() {
                let key = BackendKey {
                    service: Arc::clone(&name),
                    backend: backend.name.as_str().into(),
                };
                places.insert(key.clone(), (index, place));
                backends.push(state(index, place, key));
            }
            services.push(backends);
        }
        Self {
            services,
            places,
            recent: VecDeque::new(),
        }
    }

    /// The last changes of health, the newest first.
    pub(super) fn recent_transitions(&self) -> impl Iterator<Item = &Transition> {
        self.recent.iter()
    }

    /// A backend's state.
    pub(super) fn state(&self, service: usize, backend: usize) -> &BackendState {
        &self.services[service][backend]
    }

    /// All of them by service, in the order of the configuration.
    pub(super) fn services(&self) -> impl Iterator<Item = &[BackendState]> {
        self.services.iter().map(Vec::as_slice)
    }

    /// The state of a backend by name.
    pub(super) fn of(&self, service: &str, backend: &str) -> Option<&BackendState> {
        let key = BackendKey {
            service: service.into(),
            backend: backend.into(),
        };
        let &(service, backend) = self.places.get(&key)?;
        Some(self.state(service, backend))
    }

    /// Takes a report in. True: the verdict changed.
    pub(super) fn record(&mut self, report: Report) -> bool {
        let Some(&(service, backend)) = self.places.get(&report.backend) else {
            return false;
        };
        let state = &mut self.services[service][backend];
        let changed = state.health != report.health;
        if changed {
            state.since = report.at;
            let (key, from, to) = (&report.backend, state.health, report.health);
            let reason = report.outcome.to_string();
            match to {
                Health::Down => warn!(backend = %key, %from, %to, reason, "health"),
                Health::Unknown | Health::Up => info!(backend = %key, %from, %to, reason, "health"),
            }
            state.reason = (to == Health::Down).then_some(reason);
            self.recent.truncate(RECENT - 1);
            self.recent.push_front(Transition {
                at: report.at.into(),
                service: key.service.to_string(),
                backend: key.backend.to_string(),
                from,
                to,
                reason: state.reason.clone(),
            });
            match to {
                Health::Up => state.transitions.up += 1,
                Health::Down => state.transitions.down += 1,
                Health::Unknown => {}
            }
            let is_back = from == Health::Down && to == Health::Up;
            state.warming_since = is_back.then(Instant::now);
        }
        state.health = report.health;
        state.is_proven |= report.health == Health::Up;
        state.passes_to_rise = Some(report.passes_to_rise);
        if let Some(identity) = report.outcome.identity() {
            state.identity = Some(identity.to_owned());
        }
        if report.probed {
            state.probes.count(&report);
        }
        changed
    }

    /// Takes in where the kernel finds the backends now. True: a place changed.
    ///
    /// While the kernel asks for an address and gets no answer, the last place counts on: probes
    /// decide whether anybody is there, and for failing open an old place is better than none. So it
    /// does while this host has no route to it: frames need none. A backend on an interface that is
    /// down or gone has no place.
    pub(super) fn locate(&mut self, neighbors: &Neighbors) -> bool {
        let mut changed = false;
        for state in self.services.iter_mut().flatten() {
            let Some(answer) = neighbors.by_address.get(&state.address) else {
                continue;
            };
            let last = || {
                let last = state.location?;
                let link = neighbors.links.get(&last.ifindex)?;
                link.up.then_some(last)
            };
            let (location, unresolved) = match answer {
                Ok(neighbor) => {
                    let source = neighbors
                        .links
                        .get(&neighbor.ifindex)
                        .and_then(|link| link.mac);
                    let location = source.map(|source_mac| Location {
                        mac: neighbor.mac,
                        ifindex: neighbor.ifindex,
                        source_mac,
                    });
                    (location, None)
                }
                Err(reason @ (Unresolved::Resolving { .. } | Unresolved::Failed { .. })) => {
                    (last(), Some(reason.clone()))
                }
                Err(reason) if reason.is_own_loss() => (last(), Some(reason.clone())),
                Err(reason) => (None, Some(reason.clone())),
            };
            state.is_lost = match answer {
                Ok(_) => false,
                Err(Unresolved::Failed { .. }) => state.location.is_some(),
                // What is asked for again is not found yet.
                Err(_) => state.is_lost,
            };
            if state.location != location {
                let backend = &state.key;
                match &location {
                    Some(Location { mac, ifindex, .. }) => {
                        info!(%backend, %mac, ifindex, "found on the link")
                    }
                    None => {
                        warn!(%backend, reason = unresolved.as_ref().map(ToString::to_string), "not on the link")
                    }
                }
                changed = true;
            }
            state.was_found |= state.location.is_some() || location.is_some();
            state.location = location;
            state.unresolved = unresolved;
        }
        changed
    }
}

#[cfg(test)]
mod tests;
