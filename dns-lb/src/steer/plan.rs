//! The decision: what the maps should say, given the configuration, the health of the backends and
//! where they are on the link. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use dns_lb_common::{Backend, COUNTS_QUERIES, Egress, HAS_LOCAL, OnNoBackend, Policy, VipKey};

use super::Assignment;
use crate::{
    admin::Admin,
    config::{self, Config, Protocol},
    health::Health,
    mac::MacAddress,
};

/// What weights are multiplied by in the table of a service of which a backend is still warming up,
/// so that there are steps below a weight of 1. The largest weight still fits 16 bits.
const WARMING_SCALE: u16 = 64;

/// Everything that the maps should say. Equal plans write nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In the order of the configuration.
    pub services: Vec<PlannedService>,
    /// The ids of all backends that are configured, those that have no entry among them.
    pub assigned: BTreeSet<u16>,
}

/// One service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedService {
    /// Its id.
    pub id: u16,
    /// What it answers to.
    pub keys: Vec<VipKey>,
    /// How the table is indexed and filled.
    pub policy: Policy,
    /// What happens when the table is empty.
    pub on_no_backend: OnNoBackend,
    /// [`COUNTS_QUERIES`] and [`HAS_LOCAL`].
    pub flags: u8,
    /// See [`VipSlot::window_shift`](dns_lb_common::VipSlot).
    pub window_shift: u8,
    /// MAC addresses of the other balancers: of the backends that are not on this host, where one
    /// of them is.
    pub peers: BTreeSet<[u8; 6]>,
    /// The backends that share the table.
    pub members: Vec<Member>,
    /// The entry of every backend that is on this host or whose place on the link is known, by id.
    pub backends: Vec<(u16, Backend)>,
    /// Whether the probes are not believed, and the members are all whom the operator wants: none
    /// was usable and the service says [`config::OnNoBackend::FailOpen`], or more are down than
    /// `max_ejected` allows.
    pub failed_open: bool,
}

/// A backend's claim to a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: u16,
    /// Its address, IPv4-mapped for IPv4: what it is known by to every balancer.
    pub address: [u8; 16],
    /// Its weight; 0 takes nothing.
    pub weight: u16,
}

/// Where a backend is on the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// MAC address of the backend.
    pub mac: MacAddress,
    /// Index of the interface that leads to it.
    pub ifindex: u32,
    /// MAC address of that interface.
    pub source_mac: MacAddress,
}

/// What is known of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Knowledge {
    /// What the operator wants.
    pub admin: Admin,
    /// Its weight, as configured or as the operator has set it since; 0 to 1,000.
    pub weight: u16,
    /// Part of that weight that it gets, in percent, 1 to 100: less while it is warming up.
    pub warmth: u8,
    /// What the probes say.
    pub health: Health,
    /// Whether a probe has ever found it up, or none has been asked to yet: one that a running
    /// service is given is down until then, and distrust of probes does not let it in.
    pub is_proven: bool,
    /// Where it is; `None` until it has been resolved.
    pub location: Option<Location>,
}

impl Knowledge {
    /// What is known at first of a backend of this weight.
    #[must_use]
    pub fn new(weight: u16) -> Self {
        Self {
            admin: Admin::Enabled,
            weight,
            warmth: 100,
            health: Health::Unknown,
            is_proven: true,
            location: None,
        }
    }
}

/// Decides. `known` answers for the backend of a service, both by their place in the configuration.
///
/// A backend takes new queries when it is enabled, has a weight, is not down, and is on this host or
/// has been found on the link. If none of a service does, the service's `on_no_backend` decides. If
/// some do, but more than `max_ejected` of those that have ever been up are down, they take queries too.
#[must_use]
pub fn plan(
    config: &Config,
    assignment: &Assignment,
    known: impl Fn(usize, usize) -> Knowledge,
) -> Plan {
    let services = config.services.iter().enumerate().map(|(index, service)| {
        let backends: Vec<(u16, Knowledge, &config::Backend)> = service
            .backends
            .iter()
            .enumerate()
            .map(|(place, backend)| {
                (
                    assignment.backends[index][place],
                    known(index, place),
                    backend,
                )
            })
            .collect();
        plan_service(service, assignment.services[index], &backends)
    });
    Plan {
        services: services.collect(),
        assigned: assignment.backends.iter().flatten().copied().collect(),
    }
}

fn plan_service(
    service: &config::Service,
    id: u16,
    backends: &[(u16, Knowledge, &config::Backend)],
) -> PlannedService {
    let wanted: Vec<&(u16, Knowledge, &config::Backend)> = backends
        .iter()
        .filter(|(_, known, backend)| {
            known.admin == Admin::Enabled
                && known.weight > 0
                && (backend.local || known.location.is_some())
        })
        .collect();
    let is_warming = wanted.iter().any(|(_, known, _)| known.warmth < 100);
    let members_if = |takes_queries: &dyn Fn(&Knowledge) -> bool| -> Vec<Member> {
        wanted
            .iter()
            .filter(|(_, known, _)| takes_queries(known))
            .map(|&&(id, known, backend)| Member {
                id,
                address: mapped(backend.address),
                weight: match is_warming {
                    true => warming_weight(known),
                    false => known.weight,
                },
            })
            .collect()
    };
    let usable = members_if(&|known| known.health != Health::Down);
    let proven = wanted
        .iter()
        .filter(|(_, known, _)| known.is_proven)
        .count();
    let ejected = proven.saturating_sub(usable.len());
    let too_many = ejected * 100 > service.max_ejected as usize * proven;
    let (fails_open, members) = match usable.is_empty() {
        true if service.on_no_backend == config::OnNoBackend::FailOpen => {
            (true, members_if(&|_| true))
        }
        false if too_many => (true, members_if(&|known| known.is_proven)),
        _ => (false, usable),
    };
    let failed_open = fails_open && !members.is_empty();
    let bound = service
        .max_load
        .map(|percent| Bound::new(percent, &members));
    let weights: BTreeMap<u16, u16> = members
        .iter()
        .map(|member| (member.id, member.weight))
        .collect();
    let has_local = backends.iter().any(|(_, _, backend)| backend.local);
    PlannedService {
        id,
        keys: service_keys(service),
        policy: match service.policy {
            config::Policy::Hash => Policy::Hash,
            config::Policy::Source => Policy::Source,
            config::Policy::Qname => Policy::Qname,
            config::Policy::RoundRobin => Policy::RoundRobin,
        },
        flags: if has_local { HAS_LOCAL } else { 0 }
            | if service.count_queries {
                COUNTS_QUERIES
            } else {
                0
            },
        window_shift: bound.as_ref().map_or(0, |bound| bound.window_shift),
        peers: backends
            .iter()
            .filter(|(_, _, backend)| has_local && !backend.local)
            .filter_map(|(_, known, _)| Some(known.location?.mac.0))
            .collect(),
        on_no_backend: match service.on_no_backend {
            // Failing open with nobody to fail open to: the host's stack may still know what to do.
            config::OnNoBackend::FailOpen | config::OnNoBackend::Pass => OnNoBackend::Pass,
            config::OnNoBackend::Drop => OnNoBackend::Drop,
        },
        failed_open,
        backends: backends
            .iter()
            .filter_map(|&(backend_id, known, backend)| {
                let weight = weights.get(&backend_id);
                let is_kept = known.health != Health::Down || failed_open;
                let entry = Backend {
                    takes_flows: weight.is_some().into(),
                    keeps_flows: (is_kept && known.admin != Admin::Disabled).into(),
                    window_limit: bound
                        .as_ref()
                        .zip(weight)
                        .map_or(0, |(bound, &weight)| bound.limit(weight)),
                    ..entry(id, backend, known)?
                };
                Some((backend_id, entry))
            })
            .collect(),
        members,
    }
}

/// The weight in the table of a service of which a backend is warming up.
fn warming_weight(known: Knowledge) -> u16 {
    let scaled = u32::from(known.weight) * u32::from(WARMING_SCALE);
    let part = scaled * u32::from(known.warmth) / 100;
    part.clamp(1, u32::from(u16::MAX)) as u16
}

/// How many queries by name each backend may get: so many in a window of so many queries.
struct Bound {
    percent: u32,
    /// The binary logarithm of the queries in a window.
    window_shift: u8,
    /// Of all members.
    weight: u64,
}

impl Bound {
    /// Queries of a window for each member, on average: enough for a limit to be near the factor,
    /// and for chance to keep below it.
    const QUERIES_EACH: usize = 64;

    fn new(percent: u32, members: &[Member]) -> Self {
        let queries = (members.len() * Self::QUERIES_EACH).clamp(1 << 10, 1 << 16);
        Self {
            percent,
            window_shift: queries.next_power_of_two().trailing_zeros() as u8,
            weight: members.iter().map(|member| u64::from(member.weight)).sum(),
        }
    }

    /// The limit of a backend of this weight: its part of a window times the factor, rounded up.
    fn limit(&self, weight: u16) -> u32 {
        let part = (u64::from(weight) * u64::from(self.percent)) << self.window_shift;
        part.div_ceil(100 * self.weight.max(1)) as u32
    }
}

/// The entry of a backend; `None` if it is neither here nor anywhere.
fn entry(service: u16, backend: &config::Backend, known: Knowledge) -> Option<Backend> {
    let entry = Backend {
        address: mapped(backend.address),
        health: health_to_wire(known.health),
        service,
        weight: known.weight,
        ..Backend::default()
    };
    if backend.local {
        return Some(Backend {
            egress: Egress::Local as u8,
            ..entry
        });
    }
    let location = known.location?;
    Some(Backend {
        destination_mac: location.mac.0,
        source_mac: location.source_mac.0,
        ifindex: location.ifindex,
        egress: Egress::Forward as u8,
        ..entry
    })
}

/// Health as [`Backend::health`] has it.
pub(super) fn health_to_wire(health: Health) -> u8 {
    match health {
        Health::Unknown => 0,
        Health::Up => 1,
        Health::Down => 2,
    }
}

/// The reverse; what nobody wrote is unknown.
#[must_use]
pub fn health_from_wire(octet: u8) -> Health {
    match octet {
        1 => Health::Up,
        2 => Health::Down,
        _ => Health::Unknown,
    }
}

/// An address as the maps have it.
#[must_use]
pub fn mapped(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => VipKey::map_ipv4(v4.octets()),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// What a service answers to.
pub(super) fn service_keys(service: &config::Service) -> Vec<VipKey> {
    let mut keys = Vec::with_capacity(service.vips.len() * service.protocols.len());
    for &vip in &service.vips {
        for protocol in &service.protocols {
            let number = match protocol {
                Protocol::Udp => libc::IPPROTO_UDP as u8,
                Protocol::Tcp => libc::IPPROTO_TCP as u8,
            };
            keys.push(VipKey::new(mapped(vip), service.port, number));
        }
    }
    keys
}

#[cfg(test)]
mod tests;
