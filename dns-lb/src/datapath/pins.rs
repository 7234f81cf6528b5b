//! The pin directory: what lies there, who may use it, and how it is removed.

use std::{
    ffi::{CString, OsString},
    fmt,
    fs::{self, File},
    io,
    mem::MaybeUninit,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use dns_lb_common::map;
use serde::{Deserialize, Serialize};

use super::{detach::detach, error::DatapathError};
use crate::config::XdpMode;

/// Where everything is pinned unless `--pin-dir` says otherwise.
pub const DEFAULT_PIN_DIR: &str = "/sys/fs/bpf/dns-lb";

/// The pin of the program.
pub(super) const PROGRAM: &str = "program";

/// What the name of a pin ends in before it takes the place of the last.
const NEXT: &str = "_next";

/// `BPF_FS_MAGIC` of `linux/magic.h`.
const BPF_FS_MAGIC: i64 = 0xcafe_4a11;

/// The inode of a bpffs's root: `simple_fill_super` in `fs/libfs.c`.
const BPF_FS_ROOT: u64 = 1;

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
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
        check_place(path)?;
        let failed = |source| DatapathError::PinDirectory {
            path: path.to_owned(),
            source,
        };
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
                let name = name.strip_suffix(NEXT).unwrap_or(name);
                map::PINNED.contains(&name) || name == PROGRAM || LinkPin::parse(name).is_some()
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

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn map(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Where a new map is pinned before it takes the place of the last.
    pub(super) fn next_map(&self, name: &str) -> PathBuf {
        self.path.join(format!("{name}{NEXT}"))
    }

    pub(super) fn program(&self) -> PathBuf {
        self.path.join(PROGRAM)
    }

    pub(super) fn next_program(&self) -> PathBuf {
        self.path.join(format!("{PROGRAM}{NEXT}"))
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

    /// Detaches what is attached by this link, and removes its pin.
    pub(super) fn remove_link(&self, pin: LinkPin) -> Result<(), DatapathError> {
        let path = self.link(pin);
        detach(&path).map_err(|error| DatapathError::pin("detach", &path, &error))?;
        remove_if_there(&path)
    }

    /// Removes every pin, those of other versions of dns-lb as well, and the directory. The links
    /// go first, so that packets go to the host's own stack before the maps are gone. A directory that
    /// only another may remove, who has made it for this agent, stays, empty.
    pub(super) fn remove(self) -> Result<(), DatapathError> {
        for link in self.links()? {
            self.remove_link(link)?;
        }
        for name in self.names()? {
            remove_if_there(&self.path.join(name))?;
        }
        fs::remove_dir(&self.path).or_else(|source| match source.kind() {
            io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::ResourceBusy => Ok(()),
            _ => Err(DatapathError::PinDirectory {
                path: self.path.clone(),
                source,
            }),
        })
    }
}

/// Refuses what cannot be a pin directory; it need not be there. The parent of one that is there may be
/// anything: a service manager shows an agent one directory of a bpffs.
pub(super) fn check_place(path: &Path) -> Result<(), DatapathError> {
    let failed = |source| DatapathError::PinDirectory {
        path: path.to_owned(),
        source,
    };
    if on_bpffs(path) {
        return match fs::metadata(path).map_err(failed)?.ino() {
            BPF_FS_ROOT => Err(DatapathError::BpffsRoot {
                path: path.to_owned(),
            }),
            _ => Ok(()),
        };
    }
    let parent = path.parent().unwrap_or(Path::new("/"));
    if !parent.is_dir() {
        return Err(failed(io::ErrorKind::NotFound.into()));
    }
    if !on_bpffs(parent) {
        return Err(DatapathError::NoBpffs {
            path: path.to_owned(),
        });
    }
    Ok(())
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
