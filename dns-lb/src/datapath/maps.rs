//! Typed handles of the maps that the agent writes.

use aya::{
    Ebpf,
    maps::{Array, DevMap, MapData, MapError, PerCpuArray, PerCpuValues},
};
use dns_lb_common::{
    Backend, BackendCounters, Control, ServiceCounters, SteeringTable, VipSlot, map,
};

use super::{Capacity, DatapathError, entries::read_range, former::Former};

/// The maps that steer, in the hands of their one writer.
pub struct Maps {
    capacity: Capacity,
    /// What the maps said that these take the place of. Then these are new.
    former: Option<Former>,
    control: Array<MapData, Control>,
    vips: Array<MapData, VipSlot>,
    tables: Array<MapData, SteeringTable>,
    backends: Array<MapData, Backend>,
    service_counters: PerCpuArray<MapData, ServiceCounters>,
    backend_counters: PerCpuArray<MapData, BackendCounters>,
    egress: DevMap<MapData>,
}

impl Maps {
    pub(super) fn take(
        ebpf: &mut Ebpf,
        capacity: Capacity,
        former: Option<Former>,
    ) -> Result<Self, DatapathError> {
        Ok(Self {
            capacity,
            former,
            control: take(ebpf, map::CONTROL)?,
            vips: take(ebpf, map::VIPS)?,
            tables: take(ebpf, map::TABLES)?,
            backends: take(ebpf, map::BACKENDS)?,
            service_counters: take(ebpf, map::SERVICE_COUNTERS)?,
            backend_counters: take(ebpf, map::BACKEND_COUNTERS)?,
            egress: take(ebpf, map::EGRESS)?,
        })
    }

    /// Room in these maps.
    #[must_use]
    pub fn capacity(&self) -> Capacity {
        self.capacity
    }

    /// Interfaces that the devmap has room for.
    #[must_use]
    pub fn egress_capacity(&self) -> u32 {
        self.egress.len()
    }

    /// What the maps said that these take the place of, which is nothing if there were none, for the
    /// first who asks; `None` if these are to be read themselves.
    pub(crate) fn take_former(&mut self) -> Option<Former> {
        self.former.take()
    }

    pub(crate) fn control(&self) -> Result<Control, DatapathError> {
        self.control
            .get(&0, 0)
            .map_err(DatapathError::map("read", map::CONTROL))
    }

    pub(crate) fn set_control(&mut self, control: &Control) -> Result<(), DatapathError> {
        self.control
            .set(0, control, 0)
            .map_err(DatapathError::map("write", map::CONTROL))
    }

    /// All slots of a bank.
    pub(crate) fn vips(&self, bank: u32) -> Result<Vec<VipSlot>, DatapathError> {
        let slots = self.capacity.vip_slots;
        read_range(&self.vips, bank * slots..(bank + 1) * slots)
            .map_err(DatapathError::map("read", map::VIPS))
    }

    pub(crate) fn set_vip(&mut self, index: u32, slot: &VipSlot) -> Result<(), DatapathError> {
        self.vips
            .set(index, slot, 0)
            .map_err(DatapathError::map("write", map::VIPS))
    }

    pub(crate) fn set_table(
        &mut self,
        index: u32,
        table: &SteeringTable,
    ) -> Result<(), DatapathError> {
        self.tables
            .set(index, table, 0)
            .map_err(DatapathError::map("write", map::TABLES))
    }

    /// All entries of a bank.
    pub(crate) fn backends(&self, bank: u32) -> Result<Vec<Backend>, DatapathError> {
        let stride = self.capacity.backend_stride();
        read_range(&self.backends, bank * stride..(bank + 1) * stride)
            .map_err(DatapathError::map("read", map::BACKENDS))
    }

    pub(crate) fn set_backend(
        &mut self,
        index: u32,
        backend: &Backend,
    ) -> Result<(), DatapathError> {
        self.backends
            .set(index, backend, 0)
            .map_err(DatapathError::map("write", map::BACKENDS))
    }

    pub(crate) fn set_egress(&mut self, key: u16, ifindex: u32) -> Result<(), DatapathError> {
        self.egress
            .set(key.into(), ifindex, None, 0)
            .map_err(|error| {
                DatapathError::map("write", map::EGRESS)(match error {
                    aya::maps::xdp::XdpMapError::MapError(error) => error,
                    aya::maps::xdp::XdpMapError::ChainedProgramNotSupported => {
                        MapError::ProgIdNotSupported
                    }
                })
            })
    }

    /// Sets a service's counters to zero, as it takes over an id.
    pub(crate) fn clear_service_counters(&mut self, id: u16) -> Result<(), DatapathError> {
        clear(&mut self.service_counters, id)
            .map_err(DatapathError::map("write", map::SERVICE_COUNTERS))
    }

    /// Sets a backend's counters to zero, as it takes over an id.
    pub(crate) fn clear_backend_counters(&mut self, id: u16) -> Result<(), DatapathError> {
        clear(&mut self.backend_counters, id)
            .map_err(DatapathError::map("write", map::BACKEND_COUNTERS))
    }
}

fn clear<T: aya::Pod + Default>(
    counters: &mut PerCpuArray<MapData, T>,
    id: u16,
) -> Result<(), MapError> {
    let cpus = aya::util::nr_cpus().map_err(|(_, error)| MapError::IoError(error))?;
    let zeros = PerCpuValues::try_from(vec![T::default(); cpus]).map_err(MapError::IoError)?;
    counters.set(id.into(), zeros, 0)
}

fn take<T: TryFrom<aya::maps::Map, Error = MapError>>(
    ebpf: &mut Ebpf,
    name: &'static str,
) -> Result<T, DatapathError> {
    let map = ebpf
        .take_map(name)
        .ok_or(DatapathError::Object { what: name })?;
    T::try_from(map).map_err(DatapathError::map("open", name))
}
