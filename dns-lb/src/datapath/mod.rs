//! The data plane: the XDP program and its maps, loaded, pinned, attached, adopted, removed.
//!
//! Everything is pinned, so it outlives the agent. A starting agent adopts the maps that it finds
//! and replaces the program on the pinned links by its own, atomically: no packet sees an interface
//! without a program, and the program is always the one that this agent was built with. Maps that a
//! configuration has outgrown, or whose layout is an older version's, are replaced in the same step.
//! Knows nothing of DNS, health or tables.

mod attach;
mod capacity;
mod counters;
mod detach;
mod entries;
mod error;
mod explain;
mod former;
mod inspect;
mod maps;
mod pins;
mod privilege;
mod replacement;
mod survey;
mod syscall;

use std::{fs, mem, path::Path};

use aya::{
    Ebpf, EbpfLoader,
    programs::{TestRun as _, TestRunOptions, Xdp},
};
use aya_log::EbpfLogger;
use dns_lb_common::map;
use tracing::{info, warn};

pub use self::{
    attach::{Attachment, interface_index, interface_name},
    capacity::{Capacity, Demand},
    counters::Counters,
    entries::read_range,
    error::DatapathError,
    explain::{Explained, explain},
    inspect::{Pinned, inspect},
    maps::Maps,
    pins::{AttachedMode, DEFAULT_PIN_DIR},
};
use self::{
    error::os_error,
    former::Former,
    pins::{PinDirectory, remove_if_there},
    replacement::Replacement,
    survey::{Succession, Survey},
};

/// The program as compiled by the build script.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/dns-lb-program"));

/// Its function, by the name that the kernel shows.
const PROGRAM: &str = "dns_lb";

/// How often loading is tried when signals interrupt it.
const LOAD_ATTEMPTS: u32 = 10;

/// The loaded program and its pin directory. Dropping it leaves the pins, and so the traffic, as
/// they are.
#[derive(Debug)]
pub struct Datapath {
    ebpf: Ebpf,
    directory: PinDirectory,
    capacity: Capacity,
    adopted: bool,
    /// Maps that are to take the place of pinned ones when this program is attached.
    replacement: Option<Replacement>,
}

impl Datapath {
    /// Loads the program over the maps that are pinned in `pin_dir`, or over new ones with room for
    /// twice the demand. Nothing is attached yet.
    ///
    /// Pinned maps that are too small, or of an older layout, are replaced: packets go by the old
    /// ones until [`attach`](Self::attach). Connections, fragments and counts are kept unless their
    /// own layout has changed, or so much of the others' that nobody knows whose the ids are.
    ///
    /// # Errors
    ///
    /// If another agent works there, the pins are of a newer version, there are more services or
    /// backends than ids, or the kernel refuses; the text says why and what to do.
    pub fn load(pin_dir: &Path, demand: Demand) -> Result<(Self, Maps), DatapathError> {
        demand.check()?;
        let directory = PinDirectory::open(pin_dir)?;
        replacement::settle(&directory)?;
        let Some(survey) = Survey::settle(&directory)? else {
            return Self::load_fresh(directory, demand);
        };
        let succession = survey.decide(demand);
        let (ebpf, maps, replacement) = succeed(&directory, &survey, &succession)?;
        let datapath = Self {
            ebpf,
            directory,
            capacity: succession.capacity,
            adopted: true,
            replacement,
        };
        Ok((datapath, maps))
    }

    fn load_fresh(directory: PinDirectory, demand: Demand) -> Result<(Self, Maps), DatapathError> {
        let succession = Succession::fresh(demand);
        // New maps are zero, and need not be read to know it.
        match load_over(&directory, &succession, Some(Former::default())) {
            Ok((ebpf, maps)) => {
                let datapath = Self {
                    ebpf,
                    directory,
                    capacity: succession.capacity,
                    adopted: false,
                    replacement: None,
                };
                Ok((datapath, maps))
            }
            Err(error) => {
                discard(directory);
                Err(error)
            }
        }
    }

    /// Room in the maps.
    #[must_use]
    pub fn capacity(&self) -> Capacity {
        self.capacity
    }

    /// Whether a configuration fits the maps as they are. One that does not needs
    /// [`grow`](Self::grow).
    #[must_use]
    pub fn holds(&self, demand: Demand) -> bool {
        self.capacity.holds(demand)
    }

    /// Makes larger maps beside those that steer, and loads the program anew over them. Until
    /// [`attach`](Self::attach) packets go by the old ones, and nothing that is pinned under its
    /// plain name changes; from here on `self` speaks of the new program.
    ///
    /// What follows is: [`Writer::grown`] over the maps that are returned, the first plan, and
    /// `attach`. Until then the old writer may write nothing: what it says now is what goes on in
    /// the new maps. Afterwards the old writer is to be dropped, which frees the old maps, and the
    /// [counters](Self::counters) and the [logger](Self::logger) are to be opened again. If it comes to nothing, [`cancel_growth`](Self::cancel_growth), and the old
    /// writer goes on.
    ///
    /// # Errors
    ///
    /// If there are more services or backends than ids, an earlier replacement has not been
    /// attached, or the kernel refuses. Then everything is as before.
    ///
    /// [`Writer::grown`]: crate::steer::Writer::grown
    pub fn grow(&mut self, demand: Demand) -> Result<Maps, DatapathError> {
        demand.check()?;
        if self.replacement.is_some() {
            return Err(DatapathError::Unfilled);
        }
        let survey = Survey::read(&self.directory)?;
        let succession = survey.replace(demand);
        let (ebpf, maps, replacement) = succeed(&self.directory, &survey, &succession)?;
        let before = (
            mem::replace(&mut self.ebpf, ebpf),
            mem::replace(&mut self.capacity, succession.capacity),
        );
        self.replacement = replacement.map(|replacement| replacement.instead_of(before));
        Ok(maps)
    }

    /// Takes back a [growth](Self::grow) that has not been attached. False: there was none.
    pub fn cancel_growth(&mut self) -> bool {
        let before = self
            .replacement
            .as_mut()
            .and_then(|replacement| replacement.before.take());
        let Some(before) = before else {
            return false;
        };
        (self.ebpf, self.capacity) = before;
        self.replacement = None;
        withdraw(&self.directory);
        true
    }

    /// Whether the maps that were handed out last are empty: then the first configuration is to be
    /// written before [`attach`](Self::attach). Maps that are adopted steer already, and the new
    /// program, whose devmap the writer fills, is to be attached before they are written.
    #[must_use]
    pub fn fill_first(&self) -> bool {
        match &self.replacement {
            Some(replacement) => replacement.steers_anew(),
            None => !self.adopted,
        }
    }

    /// Takes back a start that failed. What was found already, the pins and the traffic that they
    /// steer, stays.
    pub fn abandon(self) {
        if !self.adopted {
            discard(self.directory);
        } else if self.replacement.is_some()
            && let Err(error) = replacement::settle(&self.directory)
        {
            warn!(%error, "the next start has to settle which maps count");
        }
    }

    /// Whether maps were there already, with a configuration in them.
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

/// Loads the program over what is kept of the pinned maps and over new ones beside them.
fn succeed(
    directory: &PinDirectory,
    survey: &Survey,
    succession: &Succession,
) -> Result<(Ebpf, Maps, Option<Replacement>), DatapathError> {
    if succession.replaced.is_empty() {
        let (ebpf, maps) = load_over(directory, succession, None)?;
        return Ok((ebpf, maps, None));
    }
    let steers_anew = succession.replaced.contains(&map::CONTROL);
    let former = match (steers_anew, succession.ids_known) {
        (false, _) => None,
        (true, true) => Some(Former::read(directory)?),
        (true, false) => Some(Former::default()),
    };
    info!(
        maps = ?succession.replaced,
        found_layout = survey.version(),
        "the pinned maps do not serve this configuration and version: replacing them"
    );
    if !succession.ids_known {
        warn!(
            "whose the ids in the pinned maps are is not known to this version: connections, \
             datagrams in fragments and counts are not taken over"
        );
    }
    withdraw(directory);
    let loaded = load_over(directory, succession, former).and_then(|(ebpf, maps)| {
        let replacement = Replacement::begin(directory, succession)?;
        Ok((ebpf, maps, Some(replacement)))
    });
    if loaded.is_err() {
        withdraw(directory);
    }
    loaded
}

/// Loads the program over the maps that are pinned, and pins those that are new.
fn load_over(
    directory: &PinDirectory,
    succession: &Succession,
    former: Option<Former>,
) -> Result<(Ebpf, Maps), DatapathError> {
    let mut loader = EbpfLoader::new();
    for (&name, &entries) in &succession.entries {
        loader.map_max_entries(name, entries);
        let pin = match succession.replaced.contains(&name) {
            true => directory.next_map(name),
            false => directory.map(name),
        };
        loader.map_pin_path(name, pin);
    }
    let mut ebpf = loader.load(OBJECT).map_err(|source| DatapathError::Load {
        source: Box::new(source),
    })?;
    let maps = Maps::take(&mut ebpf, succession.capacity, former)?;
    let program = program(&mut ebpf)?;
    let mut attempts = 1;
    while let Err(source) = program.load() {
        // The verifier gives up when a signal comes (EAGAIN of `do_check` in `kernel/bpf/verifier.c`),
        // as SIGHUP does before a reload.
        if os_error(&source) != Some(libc::EAGAIN) || attempts == LOAD_ATTEMPTS {
            return Err(DatapathError::Refused {
                source: Box::new(source),
            });
        }
        attempts += 1;
    }
    Ok((ebpf, maps))
}

/// Removes the pins of new maps. Any that stay are no obstacle to the next start.
fn withdraw(directory: &PinDirectory) {
    if let Err(error) = replacement::withdraw(directory) {
        warn!(%error, "pins of maps that nothing steers by are left");
    }
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
