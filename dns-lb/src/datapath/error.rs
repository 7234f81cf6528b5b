//! Why the data plane could not be brought up or changed, with the likely cause and the remedy.

use std::{borrow::Cow, io, path::PathBuf};

use aya::{EbpfError, maps::MapError, programs::ProgramError};

use super::privilege;
use crate::config::XdpMode;

/// A failure of the data plane. The text is for an operator: what failed, why that usually is, and
/// what to do.
#[derive(Debug, thiserror::Error)]
pub enum DatapathError {
    /// The pin directory is not on a BPF file system.
    #[error(
        "{path} is not on a BPF file system, which dns-lb keeps its maps in; \
         mount one with: mount -t bpf bpf /sys/fs/bpf"
    )]
    NoBpffs {
        /// The directory that was looked at.
        path: PathBuf,
    },

    /// The pin directory is a whole BPF file system.
    #[error(
        "{path} is the root of a BPF file system, where others pin as well; name a directory in it, \
         such as --pin-dir {path}/dns-lb"
    )]
    BpffsRoot {
        /// The directory.
        path: PathBuf,
    },

    /// The pin directory is somebody else's.
    #[error("what is pinned in {path} is not dns-lb's; name another --pin-dir")]
    ForeignPins {
        /// The directory.
        path: PathBuf,
    },

    /// The pin directory could not be made or read.
    #[error(
        "cannot use the pin directory {path}: {source}{}",
        privilege_hint(source)
    )]
    PinDirectory {
        /// The directory.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },

    /// Another agent works with the same pins.
    #[error(
        "another dns-lb agent is running on {path}; stop it first, or give this one its own --pin-dir"
    )]
    InUse {
        /// The pin directory.
        path: PathBuf,
    },

    /// The pins are of a version with another map layout: to a start, of a newer one.
    #[error(
        "the maps pinned in {path} have layout version {found}, this dns-lb uses {expected}; \
         use the dns-lb that made them, or remove them with `dns-lb unload` and start again (until \
         then and while none is loaded, packets for the VIPs go to this host's own stack)"
    )]
    Abi {
        /// The pin directory.
        path: PathBuf,
        /// The version found; 0 if the maps do not even have the shape that tells.
        found: u32,
        /// [`dns_lb_common::ABI_VERSION`].
        expected: u32,
    },

    /// Nothing is pinned where the program should be.
    #[error(
        "nothing steers here: there is no program in {path}; start the agent with `dns-lb run`"
    )]
    NotLoaded {
        /// The pin directory.
        path: PathBuf,
    },

    /// No maps can hold the configuration.
    #[error("the configuration has {count} {what}; {limit} is the most that the maps can number")]
    TooMany {
        /// "services" or "backends".
        what: &'static str,
        /// How many there are.
        count: u32,
        /// How many there may be.
        limit: u32,
    },

    /// New maps were to be steered by before there was a configuration in them.
    #[error("the new maps hold no configuration yet; steering goes on by the old ones")]
    Unfilled,

    /// The kernel did not take the maps or the program.
    #[error("cannot load the XDP program: {}{}", chain(source), load_hint(source))]
    Load {
        /// What aya reports.
        source: Box<EbpfError>,
    },

    /// The verifier or the kernel refused the program.
    #[error(
        "the kernel refused the XDP program: {}{}",
        chain(source),
        program_hint(source)
    )]
    Refused {
        /// What aya reports.
        source: Box<ProgramError>,
    },

    /// No such interface.
    #[error("there is no interface {name}; `ip link` lists those that exist")]
    NoInterface {
        /// The name in the configuration.
        name: String,
    },

    /// The interface did not take the program.
    #[error("cannot attach to {interface} ({}): {}{}", mode_name(*mode), chain(source), attach_hint(source))]
    Attach {
        /// The interface.
        interface: String,
        /// The mode that was tried last.
        mode: XdpMode,
        /// What aya reports.
        source: Box<ProgramError>,
    },

    /// The kernel attached the program without a BPF link.
    #[error(
        "{interface}: this kernel attaches XDP programs without a link that could be pinned; \
         Linux 5.9 or later is needed"
    )]
    NoLink {
        /// The interface.
        interface: String,
    },

    /// An object could not be pinned, or a pin could not be opened or removed.
    #[error("cannot {operation} {path}: {reason}")]
    Pin {
        /// "pin", "open", "detach" or "remove".
        operation: &'static str,
        /// The pin.
        path: PathBuf,
        /// What the kernel said.
        reason: String,
    },

    /// A map could not be read or written.
    #[error("cannot {operation} the map {map}: {}", chain(source))]
    Map {
        /// "read", "write" or "open".
        operation: &'static str,
        /// Name of the map.
        map: &'static str,
        /// What aya reports.
        source: Box<MapError>,
    },

    /// The compiled-in object lacks what this agent expects of it.
    #[error("the compiled-in XDP object has no {what}; this is a defect of the build")]
    Object {
        /// The part.
        what: &'static str,
    },

    /// The devmap is full.
    #[error("backends are reached through more than {limit} interfaces")]
    TooManyInterfaces {
        /// Entries of the devmap.
        limit: u32,
    },

    /// No seed separates the VIPs.
    #[error("{keys} VIP entries do not fit a hash of {slots} slots")]
    VipHash {
        /// Number of keys.
        keys: usize,
        /// Number of slots.
        slots: u32,
    },
}

impl DatapathError {
    pub(super) fn pin(
        operation: &'static str,
        path: impl Into<PathBuf>,
        reason: &dyn std::error::Error,
    ) -> Self {
        Self::Pin {
            operation,
            path: path.into(),
            reason: chain(reason),
        }
    }

    pub(crate) fn map(operation: &'static str, map: &'static str) -> impl Fn(MapError) -> Self {
        move |source| Self::Map {
            operation,
            map,
            source: Box::new(source),
        }
    }
}

/// An error and its causes in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let part = error.to_string();
        // Transparent wrappers repeat what they wrap.
        if !text.ends_with(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        cause = error.source();
    }
    text
}

fn mode_name(mode: XdpMode) -> &'static str {
    match mode {
        XdpMode::Auto => "native or generic XDP",
        XdpMode::Native => "native XDP",
        XdpMode::Generic => "generic XDP",
    }
}

/// The first operating-system error among the causes.
pub(super) fn os_error(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(code) = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::raw_os_error)
        {
            return Some(code);
        }
        cause = error.source();
    }
    None
}

fn privilege_hint(error: &io::Error) -> Cow<'static, str> {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => privilege::hint(),
        _ => "".into(),
    }
}

fn load_hint(error: &EbpfError) -> Cow<'static, str> {
    let hint = match os_error(error) {
        Some(libc::EPERM | libc::EACCES) => return privilege::hint(),
        Some(libc::ENOMEM) => "; the kernel has no memory for maps of this size",
        Some(libc::E2BIG) => "; a map is larger than this kernel allows",
        _ => "",
    };
    hint.into()
}

fn program_hint(error: &ProgramError) -> Cow<'static, str> {
    let hint = match os_error(error) {
        Some(libc::EPERM) => return privilege::hint(),
        // Without CAP_PERFMON the verifier forbids what it allows with it.
        Some(libc::EACCES | libc::EINVAL) if !privilege::missing().is_empty() => {
            return privilege::hint();
        }
        Some(libc::EACCES | libc::EINVAL | libc::E2BIG) => {
            "; the verifier did not accept it, which means a kernel older than this program was \
             tested on: see the README for the oldest"
        }
        _ => "",
    };
    hint.into()
}

fn attach_hint(error: &ProgramError) -> Cow<'static, str> {
    let hint = match os_error(error) {
        Some(libc::EPERM | libc::EACCES) => return privilege::hint(),
        Some(libc::EBUSY) => {
            "; another XDP program holds this interface: `ip -details link show` names it, \
             `ip link set dev … xdp off` removes it"
        }
        Some(libc::EEXIST) => {
            "; an XDP program is attached in the other mode: `ip link set dev … xdp off` removes it"
        }
        Some(libc::EOPNOTSUPP) => {
            "; its driver has no native XDP: set xdp_mode = \"generic\" or \"auto\""
        }
        Some(libc::ERANGE | libc::EINVAL | libc::EMSGSIZE) => {
            "; the driver refuses in its present state, most often for a large MTU, LRO, or too \
             few queues: the kernel log says which, xdp_mode = \"generic\" avoids it"
        }
        Some(libc::ENODEV) => "; the interface has gone",
        _ => "",
    };
    hint.into()
}
