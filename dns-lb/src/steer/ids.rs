//! The numbers under which the maps know services and backends.
//!
//! They are local to a host. They stay with a service or backend for as long as the maps live, so
//! that its counters go on when the agent starts again.

use std::collections::{BTreeMap, BTreeSet};

use dns_lb_common::{Backend, Egress, NO_SERVICE, VipKey, VipSlot};

use super::plan::{mapped, service_keys};
use crate::{config::Config, datapath::Capacity};

/// What the maps say of the configuration that is live in them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recorded {
    /// Service ids by VIP, port and protocol.
    pub services: BTreeMap<[u8; 20], u16>,
    /// Index of the live steering table by service id.
    pub tables: BTreeMap<u16, u32>,
    /// Backend entries by id.
    pub backends: BTreeMap<u16, Backend>,
    /// Room in the maps; without maps there is no limit.
    pub capacity: Option<Capacity>,
}

impl Recorded {
    /// Reads a bank.
    pub(super) fn read(capacity: Capacity, vips: &[VipSlot], backends: &[Backend]) -> Self {
        let used = vips.iter().filter(|slot| slot.service != NO_SERVICE);
        let named = used.clone().filter(|slot| slot.key.names_service());
        Self {
            services: named
                .map(|slot| (ordered(&slot.key), slot.service))
                .collect(),
            tables: used.map(|slot| (slot.service, slot.table)).collect(),
            backends: (0..)
                .zip(backends)
                .filter(|(_, backend)| backend.egress != Egress::None as u8)
                .map(|(id, backend)| (id, *backend))
                .collect(),
            capacity: Some(capacity),
        }
    }

    /// The service that has one of these keys.
    pub(super) fn service(&self, keys: &[VipKey]) -> Option<u16> {
        keys.iter()
            .find_map(|key| self.services.get(&ordered(key)).copied())
    }

    /// The entry of the backend of this service at this address.
    #[must_use]
    pub fn backend(&self, service: u16, address: &[u8; 16]) -> Option<(u16, &Backend)> {
        self.backends
            .iter()
            .find(|(_, backend)| backend.service == service && backend.address == *address)
            .map(|(&id, backend)| (id, backend))
    }
}

/// A key in a form that sorts.
fn ordered(key: &VipKey) -> [u8; 20] {
    let mut octets = [0; 20];
    octets[..16].copy_from_slice(&key.address);
    octets[16..18].copy_from_slice(&key.port.to_be_bytes());
    octets[18] = key.protocol;
    octets
}

/// Ids for a configuration, in its order. All count from 1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignment {
    /// One a service.
    pub services: Vec<u16>,
    /// One a backend, by service.
    pub backends: Vec<Vec<u16>>,
}

/// Gives every service and backend its id: the one that the maps know it by, else one that nobody
/// has. A backend is known by its service and its address.
///
/// # Panics
///
/// If the configuration does not fit the capacity that is recorded: [`Datapath::load`] has seen to
/// that.
///
/// [`Datapath::load`]: crate::datapath::Datapath::load
#[must_use]
pub fn assign(config: &Config, recorded: &Recorded) -> Assignment {
    let mut kept_services = BTreeSet::new();
    let mut kept_backends = BTreeSet::new();
    let mut known = Vec::with_capacity(config.services.len());
    for service in &config.services {
        let id = recorded
            .service(&service_keys(service))
            .filter(|&id| kept_services.insert(id));
        let backends = service.backends.iter().map(|backend| {
            let (backend, _) = recorded.backend(id?, &mapped(backend.address))?;
            kept_backends.insert(backend);
            Some(backend)
        });
        known.push((id, backends.collect::<Vec<_>>()));
    }

    let room = |entries: fn(Capacity) -> u32| {
        let limit = recorded.capacity.map_or(u32::MAX, entries);
        u16::try_from(limit).unwrap_or(u16::MAX)
    };
    let had_services = recorded.services.values().copied().collect();
    let had_backends = recorded.backends.keys().copied().collect();
    let mut free_services = free(room(|room| room.services), &had_services, &kept_services);
    let mut free_backends = free(room(|room| room.backends), &had_backends, &kept_backends);
    let mut assignment = Assignment::default();
    for (service, backends) in known {
        let mut take = |id: Option<u16>| id.or_else(|| free_backends.next());
        let backends = backends.into_iter().map(|id| take(id).expect(FITS));
        assignment.backends.push(backends.collect());
        let service = service.or_else(|| free_services.next());
        assignment.services.push(service.expect(FITS));
    }
    assignment
}

const FITS: &str = "the configuration fits the maps";

/// Ids to give out: first those that nobody has, lowest first, then those of who is leaving. The
/// latter are safe to give, since packets read the old bank or the new one; but counters pass to
/// another owner while the last packets of the old one are counted.
fn free<'a>(
    limit: u16,
    had: &'a BTreeSet<u16>,
    kept: &'a BTreeSet<u16>,
) -> impl Iterator<Item = u16> + 'a {
    (1..=limit)
        .filter(|id| !had.contains(id))
        .chain(had.difference(kept).copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: Capacity = Capacity {
        services: 2,
        backends: 4,
        vip_slots: 64,
        tcp_flows: 1_024,
    };

    /// A service `name` of this VIP with backends at 10.0.0.`last`, one a number.
    fn service(vip: &str, last: &[u8]) -> String {
        let backends = last.iter().map(|last| {
            format!("[[service.backend]]\nname = \"b{last}\"\naddress = \"10.0.0.{last}\"\n")
        });
        let backends: String = backends.collect();
        format!("[[service]]\nname = \"of-{vip}\"\nvips = [\"{vip}\"]\n{backends}")
    }

    fn config(services: &[String]) -> Config {
        let text = format!("interfaces = [\"lo\"]\n{}", services.concat());
        Config::parse(&text).expect("a configuration")
    }

    /// What maps of this room say after this configuration was given these ids.
    fn recorded(config: &Config, assignment: &Assignment) -> Recorded {
        let mut recorded = Recorded {
            capacity: Some(ROOM),
            ..Recorded::default()
        };
        for (place, service) in config.services.iter().enumerate() {
            let id = assignment.services[place];
            let keys = service_keys(service);
            recorded
                .services
                .extend(keys.iter().map(|key| (ordered(key), id)));
            for (backend, &backend_id) in service.backends.iter().zip(&assignment.backends[place]) {
                let entry = Backend {
                    address: mapped(backend.address),
                    service: id,
                    ..Backend::default()
                };
                recorded.backends.insert(backend_id, entry);
            }
        }
        recorded
    }

    /// The ids of the second configuration, after the first was live.
    fn assign_after(first: &[String], second: &[String]) -> Assignment {
        let first = config(first);
        let recorded = recorded(&first, &assign(&first, &Recorded::default()));
        assign(&config(second), &recorded)
    }

    #[test]
    fn who_stays_keeps_the_id_whatever_the_order() {
        let (one, two) = (service("192.0.2.1", &[1, 2]), service("192.0.2.2", &[1]));
        let assignment = assign_after(
            &[one, two],
            &[service("192.0.2.2", &[1]), service("192.0.2.1", &[2, 3, 1])],
        );
        assert_eq!(assignment.services, [2, 1]);
        assert_eq!(assignment.backends, [vec![3], vec![2, 4, 1]]);
    }

    #[test]
    fn who_is_new_takes_an_id_that_nobody_had_while_there_is_one() {
        let assignment = assign_after(
            &[service("192.0.2.1", &[1, 2])],
            &[service("192.0.2.9", &[1, 2])],
        );
        assert_eq!(assignment.services, [2]);
        assert_eq!(assignment.backends, [vec![3, 4]]);
    }

    #[test]
    fn ids_stay_within_the_maps_when_everybody_is_new() {
        let first = [service("192.0.2.1", &[1, 2, 3]), service("192.0.2.2", &[4])];
        let second = [service("192.0.2.1", &[3, 5, 6]), service("192.0.2.3", &[7])];
        let assignment = assign_after(&first, &second);
        assert_eq!(assignment.services, [1, 2]);
        assert_eq!(assignment.backends, [vec![3, 1, 2], vec![4]]);
    }
}
