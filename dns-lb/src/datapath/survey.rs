//! What an earlier agent left pinned, and what becomes of each map: kept, or followed by a new one.
//!
//! The decision is pure. The maps that the agent writes stand or fall together, since the program
//! that is still attached steers by them while the new ones are filled. What the program writes by
//! ids, counters and connections, is kept as long as it is known whose the ids are.

use std::{collections::BTreeMap, os::fd::AsFd as _, path::Path};

use aya::maps::{MapData, MapInfo, MapType};
use dns_lb_common::{
    ABI_VERSION, Backend, BackendCounters, Control, FlowKey, FragmentKey, Pinned, ServiceCounters,
    SteeringTable, VipSlot, map,
};

use super::{
    Capacity, DatapathError, Demand,
    pins::{PinDirectory, remove_if_there},
    syscall::first_word,
};

/// The maps that the agent writes, which only make sense together.
const STEERING: [&str; 4] = [map::CONTROL, map::VIPS, map::TABLES, map::BACKENDS];

/// What is pinned.
#[derive(Clone, Debug)]
pub(super) struct Survey {
    /// The layout version; 0 if there is no configuration in the maps, or nothing that tells.
    version: u32,
    maps: BTreeMap<&'static str, Shape>,
}

/// What the kernel says of a map.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Shape {
    /// `None` for a type that aya does not know.
    map_type: Option<MapType>,
    key_size: u32,
    value_size: u32,
    entries: u32,
}

/// What becomes of the maps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Succession {
    /// Room in the maps as they will be.
    pub(super) capacity: Capacity,
    /// Entries of each pinned map.
    pub(super) entries: BTreeMap<&'static str, u32>,
    /// Those that new ones take the place of.
    pub(super) replaced: Vec<&'static str>,
    /// Whether it is known whose the ids in the old maps are. If not, all are replaced.
    pub(super) ids_known: bool,
    /// Those of the replaced maps whose counts the new ones go on from.
    pub(super) counting_on: Vec<&'static str>,
}

impl Survey {
    /// Looks at what is pinned; `None` if nothing is. What a start left that broke off before its
    /// first configuration, or a removal that broke off after the links, is removed: nothing is
    /// steered by it.
    pub(super) fn settle(directory: &PinDirectory) -> Result<Option<Self>, DatapathError> {
        let survey = Self::read(directory)?;
        if survey.maps.is_empty() {
            return Ok(None);
        }
        let broken_off = survey.version == 0 || survey.maps.len() < map::PINNED.len();
        if broken_off && directory.links()?.is_empty() {
            for name in map::PINNED {
                remove_if_there(&directory.map(name))?;
            }
            return Ok(None);
        }
        Ok(Some(survey))
    }

    /// Looks at what is pinned.
    ///
    /// # Errors
    ///
    /// If it is of a newer version.
    pub(super) fn read(directory: &PinDirectory) -> Result<Self, DatapathError> {
        let mut maps = BTreeMap::new();
        for name in map::PINNED {
            let path = directory.map(name);
            if path.exists() {
                let info = MapInfo::from_pin(path).map_err(DatapathError::map("open", name))?;
                maps.insert(name, Shape::of(&info));
            }
        }
        let version = match maps.get(map::CONTROL) {
            Some(shape) => abi_version(directory.path(), shape)?,
            None => 0,
        };
        if version > ABI_VERSION {
            return Err(DatapathError::Abi {
                path: directory.path().to_owned(),
                found: version,
                expected: ABI_VERSION,
            });
        }
        Ok(Self { version, maps })
    }

    /// The layout version that was found.
    pub(super) fn version(&self) -> u32 {
        self.version
    }

    /// Decides for a start: what serves is kept.
    pub(super) fn decide(&self, demand: Demand) -> Succession {
        let serves = STEERING
            .iter()
            .all(|name| self.serves(name, map::since(name)));
        let capacity = self.capacity(demand);
        if serves && capacity.vip_slots.is_power_of_two() && capacity.holds(demand) {
            self.with(capacity, &[])
        } else {
            self.replace(demand)
        }
    }

    /// Decides that the maps which the agent writes are replaced by ones with room for this.
    pub(super) fn replace(&self, demand: Demand) -> Succession {
        let legible = STEERING
            .iter()
            .all(|name| self.serves(name, map::legible_since(name)));
        if !legible {
            return Succession {
                replaced: map::PINNED.to_vec(),
                ..Succession::fresh(demand)
            };
        }
        // Nothing shrinks: ids that were given out stay valid.
        self.with(self.capacity(demand).raised_to(demand), &STEERING)
    }

    /// Maps of this capacity, these new, and of the others those that do not do.
    fn with(&self, capacity: Capacity, new: &[&'static str]) -> Succession {
        let (mut entries, mut replaced, mut counting_on) = (BTreeMap::new(), vec![], vec![]);
        for name in map::PINNED {
            let serves = self.serves(name, map::since(name));
            let counts = [map::SERVICE_COUNTERS, map::BACKEND_COUNTERS].contains(&name);
            let (wanted, found) = (capacity.entries(name), self.entries(name));
            if serves && !new.contains(&name) && !(counts && found < wanted) {
                entries.insert(name, found);
                continue;
            }
            entries.insert(name, wanted);
            replaced.push(name);
            if counts && serves {
                counting_on.push(name);
            }
        }
        Succession {
            capacity,
            entries,
            replaced,
            ids_known: true,
            counting_on,
        }
    }

    /// Whether a map is there, of this version or a later one and of the shape that it should have.
    fn serves(&self, name: &str, since: u32) -> bool {
        let Some(found) = self.maps.get(name) else {
            return false;
        };
        let fits = Shape {
            entries: found.entries,
            ..Shape::wanted(name)
        };
        self.version >= since && *found == fits && found.entries > 0
    }

    fn entries(&self, name: &str) -> u32 {
        self.maps.get(name).map_or(0, |shape| shape.entries)
    }

    /// The room in what is there. Connections that are remembered are worth more than the number
    /// that is wished for.
    fn capacity(&self, demand: Demand) -> Capacity {
        Capacity::from_entries(
            self.entries(map::VIPS),
            self.entries(map::TABLES),
            self.entries(map::BACKENDS),
            match self.serves(map::TCP_FLOWS, map::since(map::TCP_FLOWS)) {
                true => self.entries(map::TCP_FLOWS),
                false => demand.tcp_flows,
            },
        )
    }
}

impl Succession {
    /// New maps with room for twice this, where none were.
    pub(super) fn fresh(demand: Demand) -> Self {
        let capacity = Capacity::with_headroom(demand);
        Self {
            entries: map::PINNED
                .map(|name| (name, capacity.entries(name)))
                .into(),
            capacity,
            replaced: Vec::new(),
            ids_known: false,
            counting_on: Vec::new(),
        }
    }
}

impl Shape {
    fn of(info: &MapInfo) -> Self {
        Self {
            map_type: info.map_type().ok(),
            key_size: info.key_size(),
            value_size: info.value_size(),
            entries: info.max_entries(),
        }
    }

    /// What a map of this version looks like, but for the number of its entries.
    fn wanted(name: &str) -> Self {
        let shape = |map_type, key_size: usize, value_size: usize| Self {
            map_type: Some(map_type),
            key_size: key_size as u32,
            value_size: value_size as u32,
            entries: 0,
        };
        let array = |value_size| shape(MapType::Array, size_of::<u32>(), value_size);
        let counters = |value_size| shape(MapType::PerCpuArray, size_of::<u32>(), value_size);
        let remembers = |key_size| shape(MapType::LruHash, key_size, size_of::<Pinned>());
        match name {
            map::CONTROL => array(size_of::<Control>()),
            map::VIPS => array(size_of::<VipSlot>()),
            map::TABLES => array(size_of::<SteeringTable>()),
            map::BACKENDS => array(size_of::<Backend>()),
            map::SERVICE_COUNTERS => counters(size_of::<ServiceCounters>()),
            map::BACKEND_COUNTERS => counters(size_of::<BackendCounters>()),
            map::TCP_FLOWS | map::TCP_PENDING => remembers(size_of::<FlowKey>()),
            map::FRAGMENTS => remembers(size_of::<FragmentKey>()),
            _ => unreachable!("{name} is not pinned"),
        }
    }
}

/// The layout version of the pinned maps, of whose `control` map this is said.
pub(super) fn version(directory: &Path, control: &MapInfo) -> Result<u32, DatapathError> {
    abi_version(directory, &Shape::of(control))
}

/// The first word of the pinned `control` map, which is the version whatever the layout; 0 if the
/// map has none.
fn abi_version(directory: &Path, shape: &Shape) -> Result<u32, DatapathError> {
    if shape.map_type != Some(MapType::Array) {
        return Ok(0);
    }
    let failed = DatapathError::map("read", map::CONTROL);
    let data = MapData::from_pin(directory.join(map::CONTROL)).map_err(&failed)?;
    let word = first_word(data.fd().as_fd(), shape.value_size)
        .map_err(|error| failed(aya::maps::MapError::IoError(error)))?;
    Ok(word.unwrap_or(0))
}

#[cfg(test)]
mod tests;
