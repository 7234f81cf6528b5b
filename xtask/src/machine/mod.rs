//! An emulated machine: it boots a kernel of Debian's, runs one program of ours among installed Debian
//! packages, and gives back what that printed and the files that it wrote.
//!
//! Its time is its own: one instruction is one nanosecond, and waiting takes none of ours. So it is the
//! same machine wherever it is emulated, and whatever else runs beside it: 1,000 million instructions a
//! second on one CPU. Nothing of this machine's hardware is used.

mod archive;
mod emulator;
mod kernel;
mod packages;
mod root;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, ensure};

pub(crate) use self::{emulator::UNLIKE_DEBIAN, kernel::Kernel};
use crate::{process::target_dir, setup};

/// Where a program in the machine puts the files that are to come back, `/output/record.json` say.
pub(crate) const OUTPUT: &str = "/output";

/// A program to be run in a machine, and what there is for it.
pub(crate) struct Job<'a> {
    /// What it is called here: of jobs that run at the same time no two have the same name.
    pub(crate) name: &'a str,
    /// Debian packages that are installed here. They and what they depend on are installed there too,
    /// and so is what every Debian has.
    pub(crate) packages: &'a [&'a str],
    /// Files and folders of this machine, and where they are to be there.
    pub(crate) files: Vec<(PathBuf, PathBuf)>,
    /// Kernel modules that are loaded at the start. Those of the network are there for whoever asks.
    pub(crate) modules: &'a [&'a str],
    /// The program and its arguments. It is root and has standard input from nowhere.
    pub(crate) command: &'a [String],
    /// Where it is started.
    pub(crate) folder: &'a Path,
    /// Environment variables of its own.
    pub(crate) environment: &'a [(String, String)],
    /// After so long, by our time, it is taken to hang.
    pub(crate) limit: Duration,
}

/// What came of a job that came to its end.
pub(crate) struct Outcome {
    /// As a shell has it: 128 and more for a signal.
    pub(crate) exit_status: u8,
    /// What it printed, on standard output and standard error.
    pub(crate) printed: String,
    /// What it wrote to [`OUTPUT`], by its place there.
    pub(crate) files: BTreeMap<PathBuf, Vec<u8>>,
}

/// Installs what emulates a machine, where it is missing.
///
/// # Errors
/// This is no x86-64, or no Debian that has it.
pub(crate) fn ensure() -> anyhow::Result<()> {
    ensure!(
        cfg!(target_arch = "x86_64"),
        "the emulated machine is an x86-64, and what is built here does not run on it"
    );
    setup::ensure_emulator()
}

/// Boots a machine with this kernel, runs the job in it, and hands on each line that it prints as it
/// comes.
///
/// # Errors
/// A package is not installed, or the machine did not come to its end: it hung, or its kernel panicked.
/// The error has the last lines of the job and of the kernel. That the job failed is for the caller to see.
pub(crate) fn run(
    kernel: &Kernel,
    job: &Job<'_>,
    print: impl FnMut(&str),
) -> anyhow::Result<Outcome> {
    let folder = std::path::absolute(target_dir())?
        .join("machine")
        .join(job.name);
    if folder.exists() {
        fs::remove_dir_all(&folder)
            .with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let image = folder.join("root.cpio");
    let ended = root::write(&image, kernel, job)
        .and_then(|()| emulator::run(&kernel.image, &image, &folder, job.limit, print))
        .with_context(|| format!("the machine for {}, kernel {}", job.name, kernel.release));
    // Some hundred megabytes, or as many as there was room for. Why there is no result counts for more.
    let removed = fs::remove_file(&image);
    let outcome = ended?;
    removed.with_context(|| format!("cannot remove {}", image.display()))?;
    Ok(outcome)
}
