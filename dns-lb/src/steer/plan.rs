//! The decision: what the maps should say, given the configuration, the health of the backends and
//! where they are on the link. Pure.

use std::{collections::BTreeSet, net::IpAddr};

use dns_lb_common::{Backend, COUNTS_QUERIES, Egress, HAS_LOCAL, OnNoBackend, Policy, VipKey};

use super::Assignment;
use crate::{
    config::{self, Config, Protocol},
    health::Health,
    mac::MacAddress,
};

/// Everything that the maps should say. Equal plans write nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In the order of the configuration.
    pub services: Vec<PlannedService>,
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
    /// Whether the members are those of [`config::OnNoBackend::FailOpen`]: none was usable, and
    /// there is somebody to fail open to.
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Knowledge {
    /// What the probes say.
    pub health: Health,
    /// Where it is; `None` until it has been resolved.
    pub location: Option<Location>,
}

/// Decides. `known` answers for the backend of a service, both by their place in the configuration.
///
/// A backend takes new queries when it has a weight, is not down, and is on this host or has been
/// found on the link. If none of a service does, the service's `on_no_backend` decides.
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
    }
}

fn plan_service(
    service: &config::Service,
    id: u16,
    backends: &[(u16, Knowledge, &config::Backend)],
) -> PlannedService {
    let members_if = |takes_queries: &dyn Fn(Health) -> bool| -> Vec<Member> {
        backends
            .iter()
            .filter(|(_, known, backend)| {
                backend.weight > 0
                    && (backend.local || known.location.is_some())
                    && takes_queries(known.health)
            })
            .map(|&(id, _, backend)| Member {
                id,
                address: mapped(backend.address),
                weight: backend.weight,
            })
            .collect()
    };
    let usable = members_if(&|health| health != Health::Down);
    let fails_open = usable.is_empty() && service.on_no_backend == config::OnNoBackend::FailOpen;
    let members = if fails_open {
        members_if(&|_| true)
    } else {
        usable
    };
    let failed_open = fails_open && !members.is_empty();
    let bound = service
        .max_load
        .map(|percent| Bound::new(percent, &members));
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
                let entry = Backend {
                    takes_flows: members.iter().any(|member| member.id == backend_id).into(),
                    keeps_flows: (known.health != Health::Down || failed_open).into(),
                    window_limit: bound
                        .as_ref()
                        .map_or(0, |bound| bound.limit(backend.weight)),
                    ..entry(id, backend, known)?
                };
                Some((backend_id, entry))
            })
            .collect(),
        members,
    }
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
        weight: backend.weight,
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
mod tests {
    use super::*;

    const HERE: Location = Location {
        mac: MacAddress([2, 0, 0, 0, 0, 1]),
        ifindex: 2,
        source_mac: MacAddress([2, 0, 0, 0, 0, 2]),
    };

    /// The plan for one service with a backend a row: weight, health, whether it is on the link.
    fn plan_for(on_no_backend: &str, rows: &[(u16, Health, bool)]) -> PlannedService {
        let backends = (1..).zip(rows).map(|(number, (weight, ..))| {
            format!(
                "[[service.backend]]\nname = \"b{number}\"\naddress = \"10.0.0.{number}\"\nweight = {weight}\n"
            )
        });
        let config = Config::parse(&format!(
            "interfaces = [\"lo\"]\n[[service]]\nname = \"s\"\nvips = [\"192.0.2.1\"]\n\
             on_no_backend = \"{on_no_backend}\"\n{}",
            backends.collect::<String>()
        ))
        .expect("a configuration");
        let assignment = super::super::assign(&config, &super::super::Known::default());
        let plan = plan(&config, &assignment, |_, backend| {
            let (_, health, found) = rows[backend];
            Knowledge {
                health,
                location: found.then_some(HERE),
            }
        });
        plan.services.into_iter().next().expect("one service")
    }

    fn members(service: &PlannedService) -> Vec<u16> {
        service.members.iter().map(|member| member.id).collect()
    }

    #[test]
    fn who_has_weight_and_a_place_and_is_not_down_takes_queries() {
        let service = plan_for(
            "fail-open",
            &[
                (1, Health::Up, true),
                (1, Health::Unknown, true),
                (1, Health::Down, true),
                (0, Health::Up, true),
                (1, Health::Up, false),
            ],
        );
        assert_eq!(members(&service), [1, 2]);
        assert!(!service.failed_open);
        let entries: Vec<u16> = service.backends.iter().map(|(id, _)| *id).collect();
        assert_eq!(entries, [1, 2, 3, 4], "whoever has a place has an entry");
    }

    #[test]
    fn when_all_are_down_the_service_says_what_happens() {
        let rows = &[(1, Health::Down, true), (0, Health::Down, true)];
        for (on_no_backend, expected, otherwise) in [
            ("fail-open", vec![1], OnNoBackend::Pass),
            ("pass", vec![], OnNoBackend::Pass),
            ("drop", vec![], OnNoBackend::Drop),
        ] {
            let service = plan_for(on_no_backend, rows);
            assert_eq!(members(&service), expected, "{on_no_backend}");
            assert_eq!(service.failed_open, on_no_backend == "fail-open");
            assert_eq!(service.on_no_backend, otherwise);
        }
    }

    #[test]
    fn with_nobody_to_fail_open_to_nothing_has_failed_open() {
        for rows in [[(0, Health::Down, true)], [(1, Health::Up, false)]] {
            let service = plan_for("fail-open", &rows);
            assert!(service.members.is_empty());
            assert!(!service.failed_open);
        }
    }
}
