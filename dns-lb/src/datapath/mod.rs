//! The data plane: the XDP program and its maps, loaded, pinned, attached, adopted, removed.
//!
//! Everything is pinned, so it outlives the agent. A starting agent adopts the maps that it finds
//! and replaces the program on the pinned links by its own, atomically: no packet sees an interface
//! without a program, and the program is always the one that this agent was built with. Knows
//! nothing of DNS, health or tables.

mod attach;
mod capacity;
mod counters;
mod detach;
mod error;
mod explain;
mod maps;
mod pins;

use std::{fs, path::Path};

use aya::{
    Ebpf, EbpfLoader,
    programs::{TestRun as _, TestRunOptions, Xdp},
};
use aya_log::EbpfLogger;
use dns_lb_common::map;
use tracing::warn;

use self::pins::{PinDirectory, remove_if_there};
pub use self::{
    attach::{Attachment, interface_index, interface_name},
    capacity::{Capacity, Demand},
    counters::Counters,
    error::DatapathError,
    explain::{Explained, explain},
    maps::Maps,
    pins::{AttachedMode, DEFAULT_PIN_DIR},
};

/// The program as compiled by the build script.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/dns-lb-program"));

/// Its function, by the name that the kernel shows.
const PROGRAM: &str = "dns_lb";

/// The loaded program and its pin directory. Dropping it leaves the pins, and so the traffic, as
/// they are.
#[derive(Debug)]
pub struct Datapath {
    ebpf: Ebpf,
    directory: PinDirectory,
    adopted: bool,
}

impl Datapath {
    /// Loads the program over the maps that are pinned in `pin_dir`, or over new ones with room for
    /// twice the demand. Nothing is attached yet.
    ///
    /// # Errors
    ///
    /// If another agent works there, the pins are of another version or too small, or the kernel
    /// refuses; the text says why and what to do.
    pub fn load(pin_dir: &Path, demand: Demand) -> Result<(Self, Maps), DatapathError> {
        let directory = PinDirectory::open(pin_dir)?;
        let found = directory.inspect()?;
        if let Some(capacity) = found.filter(|capacity| !capacity.holds(demand)) {
            return Err(DatapathError::Capacity {
                path: pin_dir.to_owned(),
                needed: format!("{demand:?}"),
                available: format!("{capacity:?}"),
            });
        }
        let capacity = found.unwrap_or_else(|| Capacity::with_headroom(demand));
        let (ebpf, maps) = match load_over(&directory, capacity) {
            Ok(loaded) => loaded,
            Err(error) => {
                if found.is_none() {
                    discard(directory);
                }
                return Err(error);
            }
        };
        Ok((
            Self {
                ebpf,
                directory,
                adopted: found.is_some(),
            },
            maps,
        ))
    }

    /// Takes back a start that failed. What was found already, the pins and the traffic that they
    /// steer, stays.
    pub fn abandon(self) {
        if !self.adopted {
            discard(self.directory);
        }
    }

    /// Whether the maps were there already, with a configuration in them.
    #[must_use]
    pub fn adopted(&self) -> bool {
        self.adopted
    }

    /// Handles for reading the counters.
    ///
    /// # Errors
    ///
    /// If a pin has been taken away since.
    pub fn counters(&self) -> Result<Counters, DatapathError> {
        Counters::open(&self.directory)
    }

    /// The stream of what the program logs. Reading it needs a Tokio runtime.
    ///
    /// # Errors
    ///
    /// If the program was built without logging.
    pub fn logger(&mut self) -> Result<EbpfLogger<&'static dyn log::Log>, aya_log::Error> {
        EbpfLogger::init(&mut self.ebpf)
    }

    /// The kernel's number of the program.
    ///
    /// # Errors
    ///
    /// If the kernel does not tell.
    pub fn program_id(&mut self) -> Result<u32, DatapathError> {
        let info = program(&mut self.ebpf)?
            .info()
            .map_err(|source| DatapathError::Refused {
                source: Box::new(source),
            })?;
        Ok(info.id())
    }

    /// The loaded program, to look at and to measure.
    ///
    /// # Errors
    ///
    /// If the object holds none.
    pub fn program_mut(&mut self) -> Result<&mut Xdp, DatapathError> {
        program(&mut self.ebpf)
    }

    /// Runs the program once on a frame as if it had come in by the loopback interface, and returns
    /// the action (`enum xdp_action`) and the frame as it left. Counters move.
    ///
    /// # Errors
    ///
    /// If the kernel refuses the frame: it takes 14 octets to about a page.
    pub fn test_run(&mut self, frame: &[u8]) -> Result<(u32, Vec<u8>), DatapathError> {
        let mut out = vec![0; frame.len() + 256];
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            repeat: 1,
            ..TestRunOptions::default()
        };
        let result = program(&mut self.ebpf)?
            .test_run(options)
            .map_err(|source| DatapathError::Refused {
                source: Box::new(source),
            })?;
        out.truncate(result.data_size_out as usize);
        Ok((result.return_value, out))
    }

    /// Detaches the program and removes every pin: packets for the VIPs go to the host's stack.
    ///
    /// # Errors
    ///
    /// If a pin cannot be removed.
    pub fn unload(self) -> Result<(), DatapathError> {
        self.directory.remove()
    }

    /// Pins the program in the place of the last one, without a moment in which none is there.
    fn pin_program(&mut self) -> Result<(), DatapathError> {
        let next = self.directory.next_program();
        remove_if_there(&next)?;
        program(&mut self.ebpf)?
            .pin(&next)
            .map_err(|error| DatapathError::pin("pin", &next, &error))?;
        let path = self.directory.program();
        fs::rename(&next, &path).map_err(|error| DatapathError::pin("pin", &path, &error))
    }
}

/// Detaches and removes what dns-lb has pinned in a directory, if that is there at all. False: it
/// was not.
///
/// # Errors
///
/// If an agent is running on it, or a pin cannot be removed.
pub fn unload(pin_dir: &Path) -> Result<bool, DatapathError> {
    match PinDirectory::open_existing(pin_dir)? {
        Some(directory) => directory.remove().map(|()| true),
        None => Ok(false),
    }
}

/// Loads the program over the maps that are pinned, or pins new ones of this capacity.
fn load_over(directory: &PinDirectory, capacity: Capacity) -> Result<(Ebpf, Maps), DatapathError> {
    let mut loader = EbpfLoader::new();
    for name in map::PINNED {
        loader.map_max_entries(name, capacity.entries(name));
        loader.map_pin_path(name, directory.map(name));
    }
    let mut ebpf = loader.load(OBJECT).map_err(|source| DatapathError::Load {
        source: Box::new(source),
    })?;
    let maps = Maps::take(&mut ebpf, capacity)?;
    program(&mut ebpf)?
        .load()
        .map_err(|source| DatapathError::Refused {
            source: Box::new(source),
        })?;
    Ok((ebpf, maps))
}

/// Removes the pins of a start that failed, on the way to reporting why: that is what the operator
/// needs to hear.
fn discard(directory: PinDirectory) {
    if let Err(error) = directory.remove() {
        warn!(%error, "pins of the failed start are left");
    }
}

fn program(ebpf: &mut Ebpf) -> Result<&mut Xdp, DatapathError> {
    ebpf.program_mut(PROGRAM)
        .and_then(|program| program.try_into().ok())
        .ok_or(DatapathError::Object {
            what: "XDP program dns_lb",
        })
}
