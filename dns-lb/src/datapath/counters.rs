//! Reading what the program counts.

use aya::maps::{Map, MapData, PerCpuArray};
use dns_lb_common::{BackendCounters, Ending, QueryType, ServiceCounters, map};

use super::{DatapathError, pins::PinDirectory};

/// Read-only handles of the counter maps.
pub struct Counters {
    services: PerCpuArray<MapData, ServiceCounters>,
    backends: PerCpuArray<MapData, BackendCounters>,
}

impl Counters {
    pub(super) fn open(directory: &PinDirectory) -> Result<Self, DatapathError> {
        let open = |name| {
            MapData::from_pin(directory.map(name))
                .map(Map::PerCpuArray)
                .map_err(DatapathError::map("open", name))
        };
        Ok(Self {
            services: PerCpuArray::try_from(open(map::SERVICE_COUNTERS)?)
                .map_err(DatapathError::map("open", map::SERVICE_COUNTERS))?,
            backends: PerCpuArray::try_from(open(map::BACKEND_COUNTERS)?)
                .map_err(DatapathError::map("open", map::BACKEND_COUNTERS))?,
        })
    }

    /// A service's counters over all CPUs; [`NO_SERVICE`](dns_lb_common::NO_SERVICE) for those of
    /// packets that no service claimed.
    ///
    /// # Errors
    ///
    /// If the id is beyond the map.
    pub fn service(&self, id: u16) -> Result<ServiceCounters, DatapathError> {
        let values = self
            .services
            .get(&id.into(), 0)
            .map_err(DatapathError::map("read", map::SERVICE_COUNTERS))?;
        let mut sum = ServiceCounters::default();
        for value in values.iter() {
            sum.bytes += value.bytes;
            sum.cursor += value.cursor;
            sum.tcp_packets += value.tcp_packets;
            sum.tcp_connections += value.tcp_connections;
            for &ending in Ending::ALL {
                *sum.endings.get_mut(ending) += value.endings.get(ending);
            }
            for &query_type in QueryType::ALL {
                *sum.queries.get_mut(query_type) += value.queries.get(query_type);
            }
            sum.queries.edns += value.queries.edns;
        }
        Ok(sum)
    }

    /// A backend's counters over all CPUs.
    ///
    /// # Errors
    ///
    /// If the id is beyond the map.
    pub fn backend(&self, id: u16) -> Result<BackendCounters, DatapathError> {
        let values = self
            .backends
            .get(&id.into(), 0)
            .map_err(DatapathError::map("read", map::BACKEND_COUNTERS))?;
        Ok(values
            .iter()
            .fold(BackendCounters::default(), |sum, value| BackendCounters {
                packets: sum.packets + value.packets,
                bytes: sum.bytes + value.bytes,
                ..sum
            }))
    }
}
