//! How large the maps are: decided when they are made, since an array cannot grow. A configuration
//! that outgrows them gets new ones.

use dns_lb_common::map;

use super::DatapathError;
use crate::config::Config;

/// Room in the maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Services.
    pub services: u32,
    /// Backends, over all services.
    pub backends: u32,
    /// Slots of one bank of the VIP hash; a power of two.
    pub vip_slots: u32,
    /// Established TCP connections.
    pub tcp_flows: u32,
}

/// What a configuration takes up of a [`Capacity`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Services.
    pub services: u32,
    /// Backends, over all services.
    pub backends: u32,
    /// Keys in the VIP hash: each VIP with each port and protocol, each VIP's fragments of each
    /// protocol, each VIP as an address, and the other balancers.
    pub vip_keys: u32,
    /// Established TCP connections.
    pub tcp_flows: u32,
}

impl Demand {
    /// What this configuration needs.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let sum = |count: &dyn Fn(&crate::config::Service) -> usize| -> u32 {
            config
                .services
                .iter()
                .map(count)
                .sum::<usize>()
                .try_into()
                .unwrap_or(u32::MAX)
        };
        Self {
            services: sum(&|_| 1),
            backends: sum(&|service| service.backends.len()),
            vip_keys: sum(&|service| {
                let has_local = service.backends.iter().any(|backend| backend.local);
                let peers = if has_local { service.backends.len() } else { 0 };
                service.vips.len() * (2 * service.protocols.len() + 1) + peers
            }),
            tcp_flows: config.tcp_flows,
        }
    }

    /// Refuses what no maps can hold: ids have 16 bits, and 0 is nobody's.
    pub fn check(&self) -> Result<(), DatapathError> {
        let limit = u32::from(u16::MAX);
        for (what, count) in [("services", self.services), ("backends", self.backends)] {
            if count > limit {
                return Err(DatapathError::TooMany { what, count, limit });
            }
        }
        Ok(())
    }
}

impl Capacity {
    /// Room for twice this demand, so that a configuration can grow while the maps live on, and
    /// never so little that a small one is cramped.
    #[must_use]
    pub fn with_headroom(demand: Demand) -> Self {
        Self {
            services: (demand.services * 2).next_power_of_two().max(8),
            backends: (demand.backends * 2).next_power_of_two().max(32),
            vip_slots: vip_slots_for(demand.vip_keys.saturating_mul(2)),
            tcp_flows: demand.tcp_flows,
        }
    }

    /// This room, and where the demand asks for more, twice what it asks for.
    pub(super) fn raised_to(self, demand: Demand) -> Self {
        let wanted = Self::with_headroom(demand);
        Self {
            services: self.services.max(wanted.services),
            backends: self.backends.max(wanted.backends),
            // A power of two, whatever was found.
            vip_slots: self.vip_slots.next_power_of_two().max(wanted.vip_slots),
            tcp_flows: self.tcp_flows,
        }
    }

    /// Whether the demand fits. How many connections are remembered is a wish: maps that are there
    /// already keep the number that they were made with.
    #[must_use]
    pub fn holds(&self, demand: Demand) -> bool {
        demand.services <= self.services
            && demand.backends <= self.backends
            && vip_slots_for(demand.vip_keys) <= self.vip_slots
    }

    /// Entries of a map. Ids count from 1, so what ids index has one entry more.
    ///
    /// # Panics
    ///
    /// If the map is not one whose size depends on the configuration.
    #[must_use]
    pub(super) fn entries(&self, map: &str) -> u32 {
        match map {
            map::CONTROL => 1,
            map::VIPS => 2 * self.vip_slots,
            map::TABLES => 2 * self.services,
            map::BACKENDS => 2 * self.backend_stride(),
            map::SERVICE_COUNTERS => self.services + 1,
            map::BACKEND_COUNTERS => self.backend_stride(),
            map::TCP_FLOWS => self.tcp_flows,
            map::TCP_PENDING => (self.tcp_flows / 4).max(1_024),
            map::FRAGMENTS => FRAGMENTS,
            _ => unreachable!("{map} has a fixed size"),
        }
    }

    /// The capacity of maps that have this many entries.
    pub(super) fn from_entries(vips: u32, tables: u32, backends: u32, tcp_flows: u32) -> Self {
        Self {
            services: tables / 2,
            backends: (backends / 2).saturating_sub(1),
            vip_slots: vips / 2,
            tcp_flows,
        }
    }

    /// Distance between the banks of the `backends` map.
    #[must_use]
    pub fn backend_stride(&self) -> u32 {
        self.backends + 1
    }
}

/// Datagrams in fragments that are remembered: their fragments mostly come within milliseconds.
const FRAGMENTS: u32 = 8_192;

/// Slots in which a seed that separates this many keys is found quickly.
///
/// A random seed separates n keys in m slots with probability e^(-n²/2m), by the birthday bound.
/// At m = n²/16 that is e^-8, one in 3,000: a few milliseconds of search for a thousand keys.
fn vip_slots_for(keys: u32) -> u32 {
    (keys.saturating_mul(keys) / 16).next_power_of_two().max(64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_and_capacity_are_each_others_inverse() {
        let demand = Demand {
            services: 3,
            backends: 40,
            vip_keys: 12,
            tcp_flows: 2_048,
        };
        let capacity = Capacity::with_headroom(demand);
        assert!(capacity.holds(demand));
        let [vips, tables, backends, tcp_flows] =
            [map::VIPS, map::TABLES, map::BACKENDS, map::TCP_FLOWS]
                .map(|map| capacity.entries(map));
        let found = Capacity::from_entries(vips, tables, backends, tcp_flows);
        assert_eq!(found, capacity);
    }

    #[test]
    fn a_demand_beyond_the_capacity_is_seen() {
        let capacity = Capacity::with_headroom(Demand {
            services: 1,
            backends: 1,
            vip_keys: 2,
            tcp_flows: 1_024,
        });
        assert!(!capacity.holds(Demand {
            services: 9,
            backends: 1,
            vip_keys: 2,
            tcp_flows: 1_024,
        }));
        assert!(!capacity.holds(Demand {
            services: 1,
            backends: 33,
            vip_keys: 2,
            tcp_flows: 1_024,
        }));
        assert!(!capacity.holds(Demand {
            services: 1,
            backends: 1,
            vip_keys: 100,
            tcp_flows: 1_024,
        }));
    }
}
