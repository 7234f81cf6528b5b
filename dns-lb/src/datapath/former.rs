//! What maps say that are about to be replaced: who has which id goes on in the new ones.

use aya::{
    Pod,
    maps::{Array, Map, MapData},
};
use dns_lb_common::{Backend, Control, VipSlot, map};

use super::{DatapathError, entries::read_range, pins::PinDirectory};

/// The live bank of maps that are left behind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Former {
    /// How many times the maps have been switched over since there were any.
    pub(crate) generation: u64,
    /// Entries of the VIP hash.
    pub(crate) vips: Vec<VipSlot>,
    /// Backends, by id.
    pub(crate) backends: Vec<Backend>,
}

impl Former {
    /// Reads the pinned maps. They are of a layout in which ids are where this version has them
    /// (see [`map::legible_since`]); the program may go by a newer one.
    pub(super) fn read(directory: &PinDirectory) -> Result<Self, DatapathError> {
        let control: Array<MapData, Control> = open(directory, map::CONTROL)?;
        let control = control
            .get(&0, 0)
            .map_err(DatapathError::map("read", map::CONTROL))?;
        let bank = control.live_bank();
        Ok(Self {
            generation: control.generation,
            vips: read_half(directory, map::VIPS, bank.vip_base)?,
            backends: read_half(directory, map::BACKENDS, bank.backend_base)?,
        })
    }
}

/// Reads the bank that begins here of a map that has two.
fn read_half<T: Pod + Default>(
    directory: &PinDirectory,
    name: &'static str,
    base: u32,
) -> Result<Vec<T>, DatapathError> {
    let entries: Array<MapData, T> = open(directory, name)?;
    read_range(&entries, base..base.saturating_add(entries.len() / 2))
        .map_err(DatapathError::map("read", name))
}

fn open<T: Pod>(
    directory: &PinDirectory,
    name: &'static str,
) -> Result<Array<MapData, T>, DatapathError> {
    let failed = DatapathError::map("open", name);
    let data = MapData::from_pin(directory.map(name)).map_err(&failed)?;
    Array::try_from(Map::Array(data)).map_err(&failed)
}
