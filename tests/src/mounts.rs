//! What a host of the lab sees differently from the machine: its own `/sys`, `/run` and `/etc`, and
//! `/var/lib/dns-lb`.

use std::{fs, os::unix::fs::symlink, path::Path};

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};

/// Where the machine's `/etc` is seen, read-only.
const MACHINE_ETC: &str = "/run/machine-etc";

/// Where the machine's `/var/lib` is seen, read-only.
const MACHINE_STATE: &str = "/run/machine-state";

/// Sets up the calling thread's new mount namespace. Nothing that is mounted here is seen outside,
/// and nothing that is written to the places named above reaches the machine's disk.
pub(crate) fn make_private() -> Result<()> {
    let unknown = MsFlags::empty();
    attach(None, "/", None, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None)?;
    // A sysfs shows the network of the namespace that it was mounted in.
    attach(Some("sysfs"), "/sys", Some("sysfs"), unknown, None)?;
    attach(Some("bpf"), "/sys/fs/bpf", Some("bpf"), unknown, None)?;
    attach(
        Some("tmpfs"),
        "/run",
        Some("tmpfs"),
        unknown,
        Some("mode=0755,size=64m"),
    )?;
    own_entries("/etc", MACHINE_ETC, &["dns-lb", "resolv.conf"])?;
    fs::create_dir("/etc/dns-lb")?;
    fs::write("/etc/resolv.conf", "")?;
    own_entries("/var/lib", MACHINE_STATE, &["dns-lb"])?;
    fs::create_dir("/var/lib/dns-lb")?;
    Ok(())
}

/// Where the machine's `/usr/sbin` is seen, read-only, by hosts that have a program of their own there.
const MACHINE_SBIN: &str = "/run/machine-sbin";

/// Puts one of the machine's programs under a name into the calling thread's own `/usr/sbin`.
pub(crate) fn install(program: &Path, name: &str) -> Result<()> {
    let sbin = Path::new("/usr/sbin");
    if !Path::new(MACHINE_SBIN).exists() {
        own_entries("/usr/sbin", MACHINE_SBIN, &[name])?;
    }
    let target = sbin.join(name);
    fs::write(&target, "")?;
    let (program, target) = (program.display().to_string(), target.display().to_string());
    attach(Some(&program), &target, None, MsFlags::MS_BIND, None)
}

/// Lays a directory of links over one of the machine's, which is seen read-only at `machine`, so
/// that single entries can be the host's own: those are left out.
fn own_entries(directory: &str, machine: &str, own: &[&str]) -> Result<()> {
    fs::create_dir(machine)?;
    attach(
        Some(directory),
        machine,
        None,
        MsFlags::MS_BIND | MsFlags::MS_REC,
        None,
    )?;
    attach(
        None,
        machine,
        None,
        MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY,
        None,
    )?;
    attach(
        Some("tmpfs"),
        directory,
        Some("tmpfs"),
        MsFlags::empty(),
        Some("mode=0755,size=4m"),
    )?;
    for entry in fs::read_dir(machine)? {
        let entry = entry?;
        if own.iter().any(|own| entry.file_name() == *own) {
            continue;
        }
        let target = if entry.file_type()?.is_symlink() {
            // A relative link means something else from where it is now.
            fs::read_link(entry.path())?
        } else {
            entry.path()
        };
        symlink(target, Path::new(directory).join(entry.file_name()))?;
    }
    Ok(())
}

fn attach(
    source: Option<&str>,
    target: &str,
    kind: Option<&str>,
    flags: MsFlags,
    data: Option<&str>,
) -> Result<()> {
    mount(source, target, kind, flags, data).with_context(|| {
        format!(
            "mounting {} on {target}",
            kind.unwrap_or("a view of a directory")
        )
    })
}
