//! What the agent knows of each backend: the verdict of the probes, and its place on the link.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use tracing::{info, warn};

use crate::{
    config::Config,
    health::{BackendKey, Health, Outcome, Report},
    mac::MacAddress,
    neighbor::{Neighbors, Unresolved},
    steer::{self, Assignment, Location, Recorded, health_from_wire, mapped},
};

/// By service and backend, in the order of the configuration.
#[derive(Debug)]
pub(super) struct Knowledge {
    services: Vec<Vec<BackendState>>,
    places: BTreeMap<BackendKey, (usize, usize)>,
}

/// One backend.
#[derive(Debug)]
pub(super) struct BackendState {
    pub(super) key: BackendKey,
    pub(super) address: std::net::IpAddr,
    pub(super) health: Health,
    /// Since when the health is this; at first, since the agent started.
    pub(super) since: SystemTime,
    pub(super) last_probe: Option<Probe>,
    pub(super) location: Option<Location>,
    /// Why there is no location, or none that is fresh.
    pub(super) unresolved: Option<Unresolved>,
}

/// The last probe of a backend.
#[derive(Debug)]
pub(super) struct Probe {
    pub(super) at: SystemTime,
    pub(super) outcome: Outcome,
}

impl Knowledge {
    /// Starts from what an earlier agent left in the maps: its verdicts and places hold until
    /// probes and the kernel say otherwise.
    pub(super) fn new(config: &Config, assignment: &Assignment, recorded: &Recorded) -> Self {
        let since = SystemTime::now();
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
                let entry = recorded.backend(assignment.services[index], &mapped(backend.address));
                backends.push(BackendState {
                    key,
                    address: backend.address,
                    health: entry
                        .map_or(Health::Unknown, |(_, entry)| health_from_wire(entry.health)),
                    since,
                    last_probe: None,
                    location: entry.filter(|_| !backend.local).map(|(_, entry)| Location {
                        mac: MacAddress(entry.destination_mac),
                        ifindex: entry.ifindex,
                        source_mac: MacAddress(entry.source_mac),
                    }),
                    unresolved: None,
                });
            }
            services.push(backends);
        }
        Self { services, places }
    }

    /// What the plan needs of a backend.
    pub(super) fn of(&self, service: usize, backend: usize) -> steer::Knowledge {
        let state = &self.services[service][backend];
        steer::Knowledge {
            health: state.health,
            location: state.location,
        }
    }

    /// A backend's state.
    pub(super) fn state(&self, service: usize, backend: usize) -> &BackendState {
        &self.services[service][backend]
    }

    /// A backend's name.
    pub(super) fn key(&self, service: usize, backend: usize) -> BackendKey {
        self.services[service][backend].key.clone()
    }

    /// Takes a probe's report in. True: the verdict changed.
    pub(super) fn record(&mut self, report: Report) -> bool {
        let Some(&(service, backend)) = self.places.get(&report.backend) else {
            return false;
        };
        let state = &mut self.services[service][backend];
        let changed = state.health != report.health;
        if changed {
            state.since = report.at;
            let (key, from, to) = (&report.backend, state.health, report.health);
            match to {
                Health::Down => {
                    warn!(backend = %key, %from, %to, reason = %report.outcome, "health")
                }
                Health::Unknown | Health::Up => {
                    info!(backend = %key, %from, %to, reason = %report.outcome, "health")
                }
            }
        }
        state.health = report.health;
        state.last_probe = Some(Probe {
            at: report.at,
            outcome: report.outcome,
        });
        changed
    }

    /// Takes in where the kernel finds the backends now. True: a place changed.
    ///
    /// While the kernel asks for an address and gets no answer, the last place counts on: probes
    /// decide whether anybody is there, and for failing open an old place is better than none. A
    /// backend that is no longer on the link at all has no place, nor has one on an interface that
    /// is gone.
    pub(super) fn locate(&mut self, neighbors: &Neighbors) -> bool {
        let mut changed = false;
        for state in self.services.iter_mut().flatten() {
            let Some(answer) = neighbors.by_address.get(&state.address) else {
                continue;
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
                    let last = state.location;
                    let last = last.filter(|last| neighbors.links.contains_key(&last.ifindex));
                    (last, Some(reason.clone()))
                }
                Err(reason) => (None, Some(reason.clone())),
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
            state.location = location;
            state.unresolved = unresolved;
        }
        changed
    }
}
