//! The numbers under which the maps know services and backends.
//!
//! They are local to a host. They stay with a service or backend for as long as it is configured, so
//! that its counters and connections go on when the configuration changes, when the agent starts
//! again, and when the maps are replaced.

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
    /// Ids of the backends by service and address.
    places: BTreeMap<(u16, [u8; 16]), u16>,
}

impl Recorded {
    /// Reads a bank.
    pub(super) fn read(capacity: Capacity, vips: &[VipSlot], backends: &[Backend]) -> Self {
        let used = vips.iter().filter(|slot| slot.service != NO_SERVICE);
        let named = used.clone().filter(|slot| slot.key.names_service());
        let backends: BTreeMap<u16, Backend> = (0..)
            .zip(backends)
            .filter(|(_, backend)| backend.egress != Egress::None as u8)
            .map(|(id, backend)| (id, *backend))
            .collect();
        Self {
            services: named
                .map(|slot| (ordered(&slot.key), slot.service))
                .collect(),
            tables: used.map(|slot| (slot.service, slot.table)).collect(),
            places: backends
                .iter()
                .map(|(&id, backend)| ((backend.service, backend.address), id))
                .collect(),
            backends,
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
        let id = self.places.get(&(service, *address))?;
        Some((*id, self.backends.get(id)?))
    }
}

/// Who has which id: what new ids are given out after.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Service ids by VIP, port and protocol.
    services: BTreeMap<[u8; 20], u16>,
    /// Backend ids by service and address.
    backends: BTreeMap<(u16, [u8; 16]), u16>,
    /// Room in the maps; without maps there is no limit.
    capacity: Option<Capacity>,
}

impl From<&Recorded> for Known {
    /// For a start: what the maps say. A backend that had not been found on the link has no entry
    /// there, and its id goes to whoever needs one.
    fn from(recorded: &Recorded) -> Self {
        Self {
            services: recorded.services.clone(),
            backends: recorded.places.clone(),
            capacity: recorded.capacity,
        }
    }
}

impl Known {
    /// For a reload: the ids that the last configuration was given, in maps of this room (the new
    /// one, if they [grow](crate::datapath::Datapath::grow) with it).
    #[must_use]
    pub fn of(config: &Config, assignment: &Assignment, capacity: Capacity) -> Self {
        let mut known = Self {
            capacity: Some(capacity),
            ..Self::default()
        };
        let ids = assignment.services.iter().zip(&assignment.backends);
        for (service, (&id, backend_ids)) in config.services.iter().zip(ids) {
            let keys = service_keys(service);
            let keys = keys.iter().map(|key| (ordered(key), id));
            known.services.extend(keys);
            let backends = service.backends.iter().zip(backend_ids);
            let backends =
                backends.map(|(backend, &backend_id)| ((id, mapped(backend.address)), backend_id));
            known.backends.extend(backends);
        }
        known
    }

    /// The service that has one of these keys.
    fn service(&self, keys: &[VipKey]) -> Option<u16> {
        keys.iter()
            .find_map(|key| self.services.get(&ordered(key)).copied())
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

/// Gives every service and backend its id: the one that it is known by, else one that nobody has. A
/// backend is known by its service and its address.
///
/// # Panics
///
/// If the configuration does not fit the capacity that is known: [`Datapath::load`] and
/// [`Datapath::grow`] see to that.
///
/// [`Datapath::load`]: crate::datapath::Datapath::load
/// [`Datapath::grow`]: crate::datapath::Datapath::grow
#[must_use]
pub fn assign(config: &Config, known: &Known) -> Assignment {
    let mut kept_services = BTreeSet::new();
    let mut kept_backends = BTreeSet::new();
    let mut kept = Vec::with_capacity(config.services.len());
    for service in &config.services {
        let id = known
            .service(&service_keys(service))
            .filter(|&id| kept_services.insert(id));
        let backends = service.backends.iter().map(|backend| {
            let id = *known.backends.get(&(id?, mapped(backend.address)))?;
            kept_backends.insert(id).then_some(id)
        });
        kept.push((id, backends.collect::<Vec<_>>()));
    }

    let room = |entries: fn(Capacity) -> u32| {
        let limit = known.capacity.map_or(u32::MAX, entries);
        u16::try_from(limit).unwrap_or(u16::MAX)
    };
    let had_services = known.services.values().copied().collect();
    let had_backends = known.backends.values().copied().collect();
    let mut free_services = free(room(|room| room.services), &had_services, &kept_services);
    let mut free_backends = free(room(|room| room.backends), &had_backends, &kept_backends);
    let mut assignment = Assignment::default();
    for (service, backends) in kept {
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

    /// The ids of the second configuration, after the first was live in maps of this room.
    fn assign_after(first: &[String], second: &[String]) -> Assignment {
        let first = config(first);
        let known = Known::of(&first, &assign(&first, &Known::default()), ROOM);
        assign(&config(second), &known)
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
    #[test]
    fn a_start_and_a_reload_agree_on_who_is_known() {
        let config = config(&[service("192.0.2.1", &[1, 2]), service("192.0.2.2", &[1])]);
        let assignment = Assignment {
            services: vec![2, 1],
            backends: vec![vec![4, 1], vec![3]],
        };
        let slots = config.services.iter().zip(&assignment.services);
        let slots: Vec<VipSlot> = slots
            .flat_map(|(service, &id)| {
                let slot = move |key| VipSlot {
                    key,
                    service: id,
                    ..VipSlot::default()
                };
                service_keys(service).into_iter().map(slot)
            })
            .collect();
        let mut backends = [Backend::default(); 5];
        for (place, service) in config.services.iter().enumerate() {
            for (backend, &id) in service.backends.iter().zip(&assignment.backends[place]) {
                backends[usize::from(id)] = Backend {
                    address: mapped(backend.address),
                    service: assignment.services[place],
                    egress: Egress::Forward as u8,
                    ..Backend::default()
                };
            }
        }
        let recorded = Recorded::read(ROOM, &slots, &backends);
        let known = Known::from(&recorded);
        assert_eq!(known, Known::of(&config, &assignment, ROOM));
        assert_eq!(assign(&config, &known), assignment);
        let (id, _) = recorded.backend(2, &backends[4].address).expect("found");
        assert_eq!(id, 4);
    }

    #[test]
    fn ids_are_told_apart_and_kept_by_thousands() {
        let addresses: Vec<u8> = (1..=200).collect();
        let services: Vec<String> = (1..=20)
            .map(|last| service(&format!("192.0.2.{last}"), &addresses))
            .collect();
        let config = config(&services);
        let first = assign(&config, &Known::default());
        let ids: BTreeSet<u16> = first.backends.iter().flatten().copied().collect();
        assert_eq!(ids, (1..=4_000).collect());
        let room = Capacity {
            services: 20,
            backends: 4_000,
            ..ROOM
        };
        assert_eq!(assign(&config, &Known::of(&config, &first, room)), first);
    }
}
