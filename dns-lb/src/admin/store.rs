//! The file that keeps the ledger over a restart.

use std::{
    fmt,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{Admin, Entry, Ledger, Reason, Weight};
use crate::{api::Timestamp, config::MAX_BACKENDS};

/// Of the file's form. Another number is another form.
const VERSION: u64 = 1;
/// Largest file that is read, in octets; the largest ledger takes 6 MiB.
const MAX_SIZE: u64 = 8 * 1024 * 1024;
/// Most characters of a name, and of the words that say who made a change.
const MAX_WORDS: usize = 200;

/// Where a ledger is kept. Reading and writing block, writing until the disk has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    path: PathBuf,
}

/// Why a ledger is not read or not kept.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system does not let us.
    #[error("cannot {operation} the state file {}: {reason}{}", path.display(), remedy(reason))]
    File {
        /// "read", "write" or "set aside".
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: io::Error,
    },
    /// The file holds something else than a ledger, or only a part of one.
    #[error(
        "the state file {} is broken: {fault}; unless it is mended, what operators have set is to be \
         set again with `dns-lb drain`, `disable` and `weight`",
        path.display()
    )]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: NotALedger,
    },
}

/// Why octets are no ledger: on one line, and safe to show.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotALedger(String);

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; the user that the agent runs as must own the file and its directory"
        }
        io::ErrorKind::NotFound => "; make the directory, or set state_file to another place",
        io::ErrorKind::ReadOnlyFilesystem => "; set state_file to another place",
        io::ErrorKind::StorageFull => "; free some space",
        _ => "",
    }
}

impl Store {
    /// A ledger in this file, which need not be there yet.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the ledger; an empty one if there is no file.
    ///
    /// # Errors
    /// The file cannot be read, or is broken: see [`Store::set_aside`].
    pub fn load(&self) -> Result<Ledger, StoreError> {
        let mut octets = Vec::new();
        let read = File::open(&self.path)
            .and_then(|file| file.take(MAX_SIZE + 1).read_to_end(&mut octets));
        match read {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Ledger::default()),
            Err(reason) => return Err(self.failed("read", reason)),
        }
        Ledger::from_json(&octets).map_err(|fault| StoreError::Broken {
            path: self.path.clone(),
            fault,
        })
    }

    /// Replaces the file by this ledger: whatever happens, the old or the new one is there. The
    /// directory is made if its own parent is there.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, ledger: &Ledger) -> Result<(), StoreError> {
        self.replace(ledger)
            .map_err(|reason| self.failed("write", reason))
    }

    /// Moves a broken file out of the way, to its name and `.broken`, and returns where it is now.
    ///
    /// # Errors
    /// It cannot be moved.
    pub fn set_aside(&self) -> Result<PathBuf, StoreError> {
        let aside = self.beside("broken");
        fs::rename(&self.path, &aside).map_err(|reason| self.failed("set aside", reason))?;
        Ok(aside)
    }

    fn replace(&self, ledger: &Ledger) -> io::Result<()> {
        let text = ledger.to_json()?;
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        match DirBuilder::new().mode(0o755).create(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let draft = self.beside(&std::process::id().to_string());
        let written = (|| {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o644)
                .open(&draft)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&draft, &self.path)?;
            // The new name is on the disk when its directory is.
            File::open(directory)?.sync_all()
        })();
        if written.is_err() {
            // Best effort: the error that matters is the one above.
            let _ = fs::remove_file(&draft);
        }
        written
    }

    fn beside(&self, ending: &str) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(".");
        path.push(ending);
        path.into()
    }

    fn failed(&self, operation: &'static str, reason: io::Error) -> StoreError {
        StoreError::File {
            operation,
            path: self.path.clone(),
            reason,
        }
    }
}

impl Ledger {
    /// The ledger that a state file says. Pure; takes any octets.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn from_json(octets: &[u8]) -> Result<Self, NotALedger> {
        parse(octets).map_err(NotALedger)
    }

    /// What the state file says of the ledger.
    ///
    /// # Errors
    /// None for a ledger, whose keys are texts.
    pub fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        let mut text = serde_json::to_vec_pretty(&Document::of(self))?;
        text.push(b'\n');
        Ok(text)
    }
}

/// What is read before all else.
#[derive(Deserialize)]
struct Version {
    version: u64,
}

/// The file's form.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u64,
    backends: Vec<Line>,
}

/// One entry and the backend that it is of.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    service: String,
    backend: String,
    admin: Admin,
    weight: Option<Weight>,
    reason: Option<Reason>,
    by: String,
    at: Timestamp,
}

impl Document {
    fn of(ledger: &Ledger) -> Self {
        let lines = ledger.iter().map(|(service, backend, entry)| Line {
            service: service.to_owned(),
            backend: backend.to_owned(),
            admin: entry.admin,
            weight: entry.weight,
            reason: entry.reason.clone(),
            by: entry.by.clone(),
            at: entry.at,
        });
        Self {
            version: VERSION,
            backends: lines.collect(),
        }
    }
}

/// The ledger that a file's octets say, or what is wrong with them.
fn parse(octets: &[u8]) -> Result<Ledger, String> {
    fn fault(error: impl fmt::Display) -> String {
        // What stands in the file does not belong on a terminal unseen.
        let text = error.to_string();
        text.escape_debug().take(MAX_WORDS).collect()
    }

    if octets.len() as u64 > MAX_SIZE {
        return Err("it is larger than 8 MiB".to_owned());
    }
    let Version { version } = serde_json::from_slice(octets).map_err(fault)?;
    if version != VERSION {
        return Err(format!(
            "its version is {version}, and this dns-lb knows {VERSION}"
        ));
    }
    let document: Document = serde_json::from_slice(octets).map_err(fault)?;
    if document.backends.len() > MAX_BACKENDS {
        return Err(format!("it has more than {MAX_BACKENDS} entries"));
    }
    let mut ledger = Ledger::default();
    for line in document.backends {
        for words in [&line.service, &line.backend, &line.by] {
            if words.chars().count() > MAX_WORDS || words.chars().any(char::is_control) {
                return Err(fault(format!("{words:?} is too long or not one line")));
            }
        }
        if ledger.get(&line.service, &line.backend).is_some() {
            return Err(fault(format!(
                "{}/{} is there twice",
                line.service, line.backend
            )));
        }
        let entry = Entry {
            admin: line.admin,
            weight: line.weight,
            reason: line.reason,
            by: line.by,
            at: line.at,
        };
        ledger.set(&line.service, &line.backend, entry);
    }
    Ok(ledger)
}

#[cfg(test)]
mod tests;
