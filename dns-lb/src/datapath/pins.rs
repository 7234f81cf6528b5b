//! The pin directory: what lies there, who may use it, and how it is removed.

use std::{
    ffi::{CString, OsString},
    fmt,
    fs::{self, File},
    io,
    mem::MaybeUninit,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use aya::maps::MapInfo;
use dns_lb_common::{ABI_VERSION, Control, map};
use serde::{Deserialize, Serialize};

use super::{Capacity, detach::detach, error::DatapathError};
use crate::config::XdpMode;

/// Where everything is pinned unless `--pin-dir` says otherwise.
pub const DEFAULT_PIN_DIR: &str = "/sys/fs/bpf/dns-lb";

/// The pin of the program.
pub(super) const PROGRAM: &str = "program";

/// Where the next program is pinned before it takes the name of the last.
const NEXT_PROGRAM: &str = "program_next";

/// `BPF_FS_MAGIC` of `linux/magic.h`.
const BPF_FS_MAGIC: i64 = 0xcafe_4a11;

/// The pin directory, held by this process alone until dropped.
#[derive(Debug)]
pub(super) struct PinDirectory {
    path: PathBuf,
    /// Holds the lock.
    _lock: File,
}

/// The pin of one interface's link. Its name carries what the kernel does not tell about a link:
/// the mode. Interfaces appear by index, since bpffs reserves the dot, which names may contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LinkPin {
    pub(super) ifindex: u32,
    pub(super) mode: AttachedMode,
}

/// How a program is attached, as opposed to how the operator wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AttachedMode {
    /// In the driver.
    Native,
    /// In the kernel's stack, after the driver.
    Generic,
}

impl fmt::Display for AttachedMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl AttachedMode {
    /// As configuration and status spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
        }
    }

    /// Whether an operator who asked for `wanted` gets that.
    pub(super) fn satisfies(self, wanted: XdpMode) -> bool {
        match wanted {
            XdpMode::Auto => true,
            XdpMode::Native => self == Self::Native,
            XdpMode::Generic => self == Self::Generic,
        }
    }
}

impl From<AttachedMode> for XdpMode {
    fn from(mode: AttachedMode) -> Self {
        match mode {
            AttachedMode::Native => Self::Native,
            AttachedMode::Generic => Self::Generic,
        }
    }
}

impl LinkPin {
    pub(super) fn file_name(self) -> String {
        format!("link_{}_{}", self.ifindex, self.mode.name())
    }

    fn parse(name: &str) -> Option<Self> {
        let (ifindex, mode) = name.strip_prefix("link_")?.split_once('_')?;
        let mode = [AttachedMode::Native, AttachedMode::Generic]
            .into_iter()
            .find(|candidate| candidate.name() == mode)?;
        Some(Self {
            ifindex: ifindex.parse().ok()?,
            mode,
        })
    }
}

impl PinDirectory {
    /// Makes the directory if need be and locks it against a second agent.
    pub(super) fn open(path: &Path) -> Result<Self, DatapathError> {
        let parent = path.parent().unwrap_or(Path::new("/"));
        let failed = |source| DatapathError::PinDirectory {
            path: path.to_owned(),
            source,
        };
        if !parent.is_dir() {
            return Err(failed(io::ErrorKind::NotFound.into()));
        }
        if !on_bpffs(parent) {
            let path = path.to_owned();
            return Err(match on_bpffs(&path) {
                true => DatapathError::BpffsRoot { path },
                false => DatapathError::NoBpffs { path },
            });
        }
        match fs::create_dir(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(failed(error));
            }
            _ => {}
        }
        let lock = File::open(path).map_err(failed)?;
        let directory = match lock.try_lock() {
            Ok(()) => Self {
                path: path.to_owned(),
                _lock: lock,
            },
            Err(fs::TryLockError::WouldBlock) => {
                return Err(DatapathError::InUse {
                    path: path.to_owned(),
                });
            }
            Err(fs::TryLockError::Error(error)) => return Err(failed(error)),
        };
        directory.refuse_foreign()?;
        Ok(directory)
    }

    /// Refuses a directory in which others pin: what lies in ours is removed one day. Versions
    /// differ in what they pin, so one name of ours is enough.
    fn refuse_foreign(&self) -> Result<(), DatapathError> {
        let names = self.names()?;
        let is_ours = |name: &OsString| {
            name.to_str().is_some_and(|name| {
                map::PINNED.contains(&name)
                    || [PROGRAM, NEXT_PROGRAM].contains(&name)
                    || LinkPin::parse(name).is_some()
            })
        };
        if !names.is_empty() && !names.iter().any(is_ours) {
            return Err(DatapathError::ForeignPins {
                path: self.path.clone(),
            });
        }
        Ok(())
    }

    /// Locks the directory if there is one.
    pub(super) fn open_existing(path: &Path) -> Result<Option<Self>, DatapathError> {
        if path.is_dir() {
            Self::open(path).map(Some)
        } else {
            Ok(None)
        }
    }

    pub(super) fn map(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(super) fn program(&self) -> PathBuf {
        self.path.join(PROGRAM)
    }

    pub(super) fn next_program(&self) -> PathBuf {
        self.path.join(NEXT_PROGRAM)
    }

    pub(super) fn link(&self, pin: LinkPin) -> PathBuf {
        self.path.join(pin.file_name())
    }

    /// The links that are pinned here.
    pub(super) fn links(&self) -> Result<Vec<LinkPin>, DatapathError> {
        let names = self.names()?.into_iter();
        Ok(names
            .filter_map(|name| LinkPin::parse(name.to_str()?))
            .collect())
    }

    /// The names of everything that is pinned here.
    fn names(&self) -> Result<Vec<OsString>, DatapathError> {
        let entries = fs::read_dir(&self.path)
            .and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect());
        entries.map_err(|source| DatapathError::PinDirectory {
            path: self.path.clone(),
            source,
        })
    }

    /// What an earlier agent left: the capacity of its maps if all are there and of this version,
    /// nothing if there are none. What a start left that broke off before its first configuration,
    /// or a removal that broke off after the links, is removed: nothing is steered by it.
    pub(super) fn inspect(&self) -> Result<Option<Capacity>, DatapathError> {
        let present = map::PINNED
            .iter()
            .filter(|name| self.map(name).exists())
            .count();
        if present == 0 {
            return Ok(None);
        }
        let version = if self.map(map::CONTROL).exists() {
            self.abi_version()?
        } else {
            0
        };
        let whole = present == map::PINNED.len();
        let broken_off = version == 0 || (version == ABI_VERSION && !whole);
        if broken_off && self.links()?.is_empty() {
            for name in map::PINNED {
                remove_if_there(&self.map(name))?;
            }
            return Ok(None);
        }
        if version != ABI_VERSION || !whole {
            return Err(DatapathError::Abi {
                path: self.path.clone(),
                found: version,
                expected: ABI_VERSION,
            });
        }
        let entries = |name| -> Result<u32, DatapathError> {
            let info =
                MapInfo::from_pin(self.map(name)).map_err(DatapathError::map("open", name))?;
            Ok(info.max_entries())
        };
        Ok(Some(Capacity::from_entries(
            entries(map::VIPS)?,
            entries(map::TABLES)?,
            entries(map::BACKENDS)?,
            entries(map::TCP_FLOWS)?,
        )))
    }

    /// The version in the pinned `control` map; 0 if its shape is not even this version's.
    fn abi_version(&self) -> Result<u32, DatapathError> {
        let failed = DatapathError::map("read", map::CONTROL);
        let data = aya::maps::MapData::from_pin(self.map(map::CONTROL)).map_err(&failed)?;
        if data.info().map_err(&failed)?.value_size() as usize != size_of::<Control>() {
            return Ok(0);
        }
        let control: aya::maps::Array<_, Control> =
            aya::maps::Array::try_from(aya::maps::Map::Array(data)).map_err(&failed)?;
        Ok(control.get(&0, 0).map_err(&failed)?.abi_version)
    }

    /// Detaches what is attached by this link, and removes its pin.
    pub(super) fn remove_link(&self, pin: LinkPin) -> Result<(), DatapathError> {
        let path = self.link(pin);
        detach(&path).map_err(|error| DatapathError::pin("detach", &path, &error))?;
        remove_if_there(&path)
    }

    /// Removes every pin, those of other versions of dns-lb as well, and the directory. The links
    /// go first, so that packets go to the host's own stack before the maps are gone.
    pub(super) fn remove(self) -> Result<(), DatapathError> {
        for link in self.links()? {
            self.remove_link(link)?;
        }
        for name in self.names()? {
            remove_if_there(&self.path.join(name))?;
        }
        fs::remove_dir(&self.path).map_err(|source| DatapathError::PinDirectory {
            path: self.path.clone(),
            source,
        })
    }
}

/// Whether a path lies on a BPF file system.
fn on_bpffs(path: &Path) -> bool {
    let Ok(path) = CString::new(path.as_os_str().as_bytes()) else {
        return false;
    };
    let mut info = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the path is a C string and the kernel writes one `statfs` into the buffer.
    let result = unsafe { libc::statfs(path.as_ptr(), info.as_mut_ptr()) };
    // SAFETY: a call that returns 0 has filled the buffer.
    result == 0 && unsafe { info.assume_init() }.f_type == BPF_FS_MAGIC
}

/// Removes a pin; one that is not there is fine.
pub(super) fn remove_if_there(path: &Path) -> Result<(), DatapathError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(DatapathError::pin("remove", path, &error))
        }
        _ => Ok(()),
    }
}
