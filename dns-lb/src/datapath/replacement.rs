//! New maps on their way into the place of pinned ones, while the old ones are steered by.
//!
//! A new map is pinned as `<name>_next`. When every link has the new program, that program takes the
//! name `program`, and this one rename is what decides: from then on the maps that it uses count,
//! before it those under their plain names. The maps are renamed after it, one by one. Whatever the
//! agent dies of in between, all that a start finds under either name is whole, for nothing writes
//! maps that are left behind:
//!
//! - before any link is switched, or when some are: each link's program steers by its own maps, old
//!   or new, which live as long as it does. [`settle`] removes the new pins; the old ones hold the
//!   configuration before this one, and the start takes it from there.
//! - after the program's rename: [`settle`] gives the new maps their names, those that do not have
//!   them yet.

use std::{fmt, fs, path::Path};

use aya::{
    Ebpf, Pod,
    maps::{Array, Map, MapData, MapError, MapInfo, PerCpuArray, PerCpuValues},
    programs::ProgramInfo,
};
use dns_lb_common::{ABI_VERSION, BackendCounters, Control, ServiceCounters, map};
use tracing::{info, warn};

use super::{
    Capacity, DatapathError,
    pins::{PinDirectory, remove_if_there},
    survey::Succession,
};

/// New maps that are pinned under their names to come.
#[derive(Debug)]
pub(super) struct Replacement {
    /// Those of them that take the place of old ones.
    names: Vec<&'static str>,
    services: Option<Count<{ size_of::<ServiceCounters>() / 8 }>>,
    backends: Option<Count<{ size_of::<BackendCounters>() / 8 }>>,
    /// The program that steers meanwhile and the room in its maps, if it is this process's.
    pub(super) before: Option<(Ebpf, Capacity)>,
}

impl Replacement {
    /// After the new maps have been pinned.
    pub(super) fn begin(
        directory: &PinDirectory,
        succession: &Succession,
    ) -> Result<Self, DatapathError> {
        let goes_on = |name| succession.counting_on.contains(&name);
        Ok(Self {
            names: succession.replaced.clone(),
            services: goes_on(map::SERVICE_COUNTERS)
                .then(|| Count::begin(directory, map::SERVICE_COUNTERS))
                .transpose()?,
            backends: goes_on(map::BACKEND_COUNTERS)
                .then(|| Count::begin(directory, map::BACKEND_COUNTERS))
                .transpose()?,
            before: None,
        })
    }

    /// With the program that steers until the new one is attached, and the room in its maps.
    pub(super) fn instead_of(self, before: (Ebpf, Capacity)) -> Self {
        Self {
            before: Some(before),
            ..self
        }
    }

    /// Whether the maps that packets are steered by are new.
    pub(super) fn steers_anew(&self) -> bool {
        self.names.contains(&map::CONTROL)
    }

    /// Refuses maps without a configuration: packets would go to the host's own stack.
    pub(super) fn require_filled(&self, directory: &PinDirectory) -> Result<(), DatapathError> {
        let path = directory.next_map(map::CONTROL);
        if !self.steers_anew() || !path.exists() {
            return Ok(());
        }
        let failed = DatapathError::map("read", map::CONTROL);
        let data = MapData::from_pin(path).map_err(&failed)?;
        let control: Array<_, Control> = Array::try_from(Map::Array(data)).map_err(&failed)?;
        match control.get(&0, 0).map_err(&failed)?.abi_version {
            ABI_VERSION => Ok(()),
            _ => Err(DatapathError::Unfilled),
        }
    }

    /// Lets the new counters go on from where the old ones are. What is counted from here until the
    /// last link is switched, a few packets, is not carried over. Only the first call does
    /// anything: the new ones are counted in as soon as a link is switched.
    pub(super) fn carry_counts(&mut self) -> Result<(), DatapathError> {
        if let Some(count) = self.services.take() {
            count.finish(map::SERVICE_COUNTERS)?;
        }
        if let Some(count) = self.backends.take() {
            count.finish(map::BACKEND_COUNTERS)?;
        }
        Ok(())
    }

    /// Gives the new maps their names, when the new program has its own.
    pub(super) fn commit(&self, directory: &PinDirectory) -> Result<(), DatapathError> {
        for name in &self.names {
            rename_if_there(&directory.next_map(name), &directory.map(name))?;
        }
        info!(maps = ?self.names, "replaced while steering");
        Ok(())
    }
}

/// Removes the pins of new maps that are not to take their places.
pub(super) fn withdraw(directory: &PinDirectory) -> Result<(), DatapathError> {
    map::PINNED
        .iter()
        .try_for_each(|name| remove_if_there(&directory.next_map(name)))
}

/// Ends a replacement that broke off: forward if the pinned program is the new one, else back.
pub(super) fn settle(directory: &PinDirectory) -> Result<(), DatapathError> {
    let pending: Vec<_> = map::PINNED
        .into_iter()
        .filter(|name| directory.next_map(name).exists())
        .collect();
    if pending.is_empty() {
        return Ok(());
    }
    let used = maps_of(&directory.program())?;
    for name in pending {
        let next = directory.next_map(name);
        let new = MapInfo::from_pin(&next).map_err(DatapathError::map("open", name))?;
        if used.contains(&new.id()) {
            rename_if_there(&next, &directory.map(name))?;
            warn!(map = name, "takes its place: the last agent had no time to");
        } else {
            remove_if_there(&next)?;
            warn!(map = name, "a new one was not steered by: removed");
        }
    }
    Ok(())
}

/// Ids of the maps that a pinned program uses; none if there is no program.
fn maps_of(program: &Path) -> Result<Vec<u32>, DatapathError> {
    if !program.exists() {
        return Ok(Vec::new());
    }
    let ids = ProgramInfo::from_pin(program).and_then(|info| info.map_ids());
    let ids = ids.map_err(|error| DatapathError::pin("open", program, &error))?;
    Ok(ids.unwrap_or_default())
}

fn rename_if_there(from: &Path, to: &Path) -> Result<(), DatapathError> {
    if !from.exists() {
        return Ok(());
    }
    fs::rename(from, to).map_err(|error| DatapathError::pin("pin", to, &error))
}

/// Counters that go on in a larger map. A value is words that only grow, or are written anew.
///
/// The bulk is copied when the new map is made, so that the writer can then clear what passes to
/// another owner; what came on top meanwhile is added just before the switch.
struct Count<const WORDS: usize> {
    old: PerCpuArray<MapData, [u64; WORDS]>,
    new: PerCpuArray<MapData, [u64; WORDS]>,
    copied: Vec<PerCpuValues<[u64; WORDS]>>,
}

impl<const WORDS: usize> Count<WORDS>
where
    [u64; WORDS]: Pod + PartialEq,
{
    fn begin(directory: &PinDirectory, name: &'static str) -> Result<Self, DatapathError> {
        let open = |path| MapData::from_pin(path).map(Map::PerCpuArray);
        let begin = || {
            let old = PerCpuArray::try_from(open(directory.map(name))?)?;
            let mut new = PerCpuArray::try_from(open(directory.next_map(name))?)?;
            let mut copied = Vec::new();
            for id in 0..old.len().min(new.len()) {
                let values: PerCpuValues<[u64; WORDS]> = old.get(&id, 0)?;
                if values.iter().flatten().any(|&word| word != 0) {
                    new.set(id, each_cpu(values.iter().copied())?, 0)?;
                }
                copied.push(values);
            }
            Ok(Self { old, new, copied })
        };
        begin().map_err(DatapathError::map("write", name))
    }

    fn finish(mut self, name: &'static str) -> Result<(), DatapathError> {
        let mut finish = || {
            for (id, copied) in (0..).zip(&self.copied) {
                let now = self.old.get(&id, 0)?;
                if now.iter().eq(copied.iter()) {
                    continue;
                }
                let new = self.new.get(&id, 0)?;
                let sums = new.iter().zip(now.iter()).zip(copied.iter());
                let sums = sums.map(|((new, now), copied)| {
                    std::array::from_fn(|word| {
                        new[word].wrapping_add(now[word].wrapping_sub(copied[word]))
                    })
                });
                self.new.set(id, each_cpu(sums)?, 0)?;
            }
            Ok(())
        };
        finish().map_err(DatapathError::map("write", name))
    }
}

impl<const WORDS: usize> fmt::Debug for Count<WORDS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Count").finish_non_exhaustive()
    }
}

/// A value a CPU.
fn each_cpu<T: Pod>(values: impl Iterator<Item = T>) -> Result<PerCpuValues<T>, MapError> {
    PerCpuValues::try_from(values.collect::<Vec<_>>()).map_err(MapError::IoError)
}
