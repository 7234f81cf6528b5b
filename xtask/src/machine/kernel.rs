//! A kernel of Debian's: fetched once, unpacked below the target folder, never installed.
//!
//! Its cloud flavour: small, with the type information (BTF) that the program's loader asks for.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail, ensure};
use dns_lb_tests::process::program;

use super::archive::Archive;
use crate::{
    process::{run_quietly, target_dir},
    setup::Debian,
};

/// What the package's name ends with. Signatures are for firmware that asks for them.
const FLAVOUR: &str = "-cloud-amd64-unsigned";
/// Modules of protocols, filters, queues and the like, and what those are made of.
const NETWORK: [&str; 4] = ["kernel/arch", "kernel/crypto", "kernel/lib", "kernel/net"];
/// What the file of the kernel's image begins with; its release follows.
const IMAGE: &str = "vmlinuz-";

/// An unpacked kernel.
pub(crate) struct Kernel {
    /// As `uname -r` has it.
    pub(crate) release: String,
    /// What is booted.
    pub(super) image: PathBuf,
    /// Below it are `lib/modules`.
    folder: PathBuf,
}

impl Kernel {
    /// The kernel of this series, `6.1` say, that was fetched before, or the newest that apt has.
    ///
    /// # Errors
    /// apt has none, or this is no Debian.
    pub(crate) fn get(series: &str) -> anyhow::Result<Self> {
        let folder = std::path::absolute(target_dir())?
            .join("kernel")
            .join(series);
        if !folder.join("boot").is_dir() {
            fetch(series, &folder)?;
        }
        let kernel = find(&folder)?;
        eprintln!(
            "kernel: {} is in {}; remove that for a newer one",
            kernel.release,
            folder.display()
        );
        Ok(kernel)
    }

    /// Adds modules and those that they need, all of the network, which the kernel asks for as it needs
    /// them, and what `modprobe` finds them by.
    pub(super) fn add_modules(&self, archive: &mut Archive, names: &[&str]) -> anyhow::Result<()> {
        let place = Path::new("lib/modules").join(&self.release);
        let tables = fs::read_dir(self.folder.join(&place))
            .with_context(|| format!("cannot read {}", self.folder.join(&place).display()))?;
        let mut files = Vec::new();
        for entry in tables {
            let path = entry?.path();
            if path.is_file() {
                files.push(path);
            }
        }
        for folder in NETWORK {
            list(&self.folder.join(&place).join(folder), &mut files)?;
        }
        for name in names {
            files.extend(self.modules(name)?);
        }
        for file in files {
            let there = Path::new("/usr").join(file.strip_prefix(&self.folder)?);
            archive.copy(&there, file);
        }
        Ok(())
    }
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            list(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

fn fetch(series: &str, folder: &Path) -> anyhow::Result<()> {
    let mut debian = Debian::detect().context("only Debian's apt has Debian's kernels")?;
    let names = debian.names(&format!("linux-image-{series}."))?;
    let package = newest(&names).with_context(|| {
        format!("apt knows no package linux-image-{series}.*{FLAVOUR}: is its suite enabled?")
    })?;
    eprintln!("kernel: unpacking {package}");
    // What is only half there must not be taken for a kernel.
    let parts = folder.with_file_name(format!("{series}.new"));
    if parts.is_dir() {
        fs::remove_dir_all(&parts).with_context(|| format!("cannot remove {}", parts.display()))?;
    }
    debian.unpack(package, &parts)?;
    let kernel = find(&parts)?;
    run_quietly(program("depmod").arg("-b").arg(&parts).arg(&kernel.release))?;
    if folder.is_dir() {
        fs::remove_dir_all(folder)
            .with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    fs::rename(&parts, folder)
        .with_context(|| format!("cannot move {} to {}", parts.display(), folder.display()))
}

/// The newest package of the flavour: the numbers in its name count, one after the other.
fn newest(names: &[String]) -> Option<&str> {
    let numbers = |name: &str| -> Vec<u32> {
        name.split(|letter: char| !letter.is_ascii_digit())
            .filter_map(|number| number.parse().ok())
            .collect()
    };
    names
        .iter()
        .map(String::as_str)
        .filter(|name| name.ends_with(FLAVOUR))
        .max_by_key(|name| numbers(name))
}

fn find(folder: &Path) -> anyhow::Result<Kernel> {
    let boot = folder.join("boot");
    for entry in fs::read_dir(&boot).with_context(|| format!("cannot read {}", boot.display()))? {
        let entry = entry?;
        let name = entry.file_name();
        if let Some(release) = name.to_str().and_then(|name| name.strip_prefix(IMAGE)) {
            return Ok(Kernel {
                release: release.to_owned(),
                image: entry.path(),
                folder: folder.to_owned(),
            });
        }
    }
    bail!("no {IMAGE}* in {}", boot.display())
}

impl Kernel {
    /// The files of a module and of those that it needs, in the order in which they are loaded.
    fn modules(&self, name: &str) -> anyhow::Result<Vec<PathBuf>> {
        let listed = run_quietly(program("modprobe").arg("-d").arg(&self.folder).args([
            "-S",
            &self.release,
            "--show-depends",
            name,
        ]))?;
        // `builtin NAME` is the other kind of line.
        let files: Vec<PathBuf> = listed
            .lines()
            .filter_map(|line| line.strip_prefix("insmod "))
            .map(|file| without_options(file).into())
            .collect();
        ensure!(
            files.iter().all(|file| file.is_file()),
            "modprobe names modules that are not there: {listed}"
        );
        Ok(files)
    }
}

/// A module's file, which the options for it may follow.
fn without_options(file: &str) -> &str {
    let suffix = file.rfind(".ko").unwrap_or_default();
    let end = file[suffix..].find(' ').map(|length| suffix + length);
    file[..end.unwrap_or(file.len())].trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_is_found_by_numbers_not_by_letters() {
        let names = [
            "linux-image-6.12.99+deb12-cloud-amd64-unsigned",
            "linux-image-6.12.117+deb12-cloud-amd64-unsigned",
            "linux-image-6.12.200+deb12-cloud-amd64-dbg",
            "linux-image-6.12.101+deb12-cloud-amd64-unsigned",
        ]
        .map(str::to_owned);
        assert_eq!(newest(&names), Some(names[1].as_str()));
        assert_eq!(newest(&names[2..3]), None);
    }

    #[test]
    fn options_are_no_part_of_a_modules_name() {
        for (line, file) in [
            (
                "/my kernel/bonding.ko max_bonds=0 ",
                "/my kernel/bonding.ko",
            ),
            ("/kernel/veth.ko.xz ", "/kernel/veth.ko.xz"),
            ("/kernel/veth.ko", "/kernel/veth.ko"),
        ] {
            assert_eq!(without_options(line), file);
        }
    }
}
