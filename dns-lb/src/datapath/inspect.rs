//! Looking at a pin directory without taking it: beside an agent that holds it, or where none is.

use std::path::Path;

use aya::{maps::MapInfo, programs::ProgramInfo};
use dns_lb_common::map;

use super::{
    DatapathError,
    pins::{self, check_place},
    survey,
};

/// What is pinned, as far as can be told from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pinned {
    /// Version of the maps' layout; 0 if there are none, or no configuration in them.
    pub version: u32,
    /// The kernel's number of the program, if there is one.
    pub program_id: Option<u32>,
}

/// Looks at what is pinned, and takes no lock; nothing need be there.
///
/// # Errors
///
/// If this can be no pin directory, or the pins may not be opened: that takes CAP_BPF, and the
/// permissions of the files.
pub fn inspect(pin_dir: &Path) -> Result<Pinned, DatapathError> {
    check_place(pin_dir)?;
    let control = pin_dir.join(map::CONTROL);
    let is_there = |path: &Path| {
        path.try_exists()
            .map_err(|source| DatapathError::PinDirectory {
                path: pin_dir.to_owned(),
                source,
            })
    };
    let version = match is_there(&control)? {
        true => {
            let info =
                MapInfo::from_pin(control).map_err(DatapathError::map("open", map::CONTROL))?;
            survey::version(pin_dir, &info)?
        }
        false => 0,
    };
    let program = pin_dir.join(pins::PROGRAM);
    let program_id = match is_there(&program)? {
        true => {
            let info = ProgramInfo::from_pin(&program)
                .map_err(|error| DatapathError::pin("open", &program, &error))?;
            Some(info.id())
        }
        false => None,
    };
    Ok(Pinned {
        version,
        program_id,
    })
}
