//! The files of the package where they are to lie, below a folder that stands for `/`.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context as _;

use crate::process::{cargo, run_quietly};

/// Single files of the tree, and where they go.
const FILES: [(&str, &str); 6] = [
    (
        "packaging/dns-lb.service",
        "usr/lib/systemd/system/dns-lb.service",
    ),
    (
        "packaging/dns-lb-bpffs.service",
        "usr/lib/systemd/system/dns-lb-bpffs.service",
    ),
    (
        "packaging/dns-lb.sysusers",
        "usr/lib/sysusers.d/dns-lb.conf",
    ),
    ("packaging/copyright", "usr/share/doc/dns-lb/copyright"),
    ("README.md", "usr/share/doc/dns-lb/README.md"),
    ("CHANGELOG.md", "usr/share/doc/dns-lb/changelog"),
];

/// Folders of the tree, and where they go. Examples are examples: none is installed as configuration.
const FOLDERS: [(&str, &str); 2] = [
    ("docs", "usr/share/doc/dns-lb"),
    ("examples", "usr/share/doc/dns-lb/examples"),
];

/// Lays everything below `root`, in place of what is there.
pub(super) fn lay(binary: &Path, root: &Path) -> anyhow::Result<()> {
    if root.exists() {
        fs::remove_dir_all(root).with_context(|| format!("cannot remove {}", root.display()))?;
    }
    let agent = root.join("usr/sbin/dns-lb");
    copy(binary, &agent)?;
    // For those who look for a fault there is the tree; the XDP program in it keeps its line numbers.
    run_quietly(
        Command::new("strip")
            .args(["--strip-unneeded", "--remove-section=.comment"])
            .arg(&agent),
    )?;
    fs::set_permissions(&agent, Permissions::from_mode(0o755))?;
    for (from, to) in FILES {
        copy(Path::new(from), &root.join(to))?;
    }
    for (from, to) in FOLDERS {
        copy_folder(Path::new(from), &root.join(to))?;
    }
    let share = root.join("usr/share");
    run_quietly(
        cargo()
            .args(["run", "--quiet", "--locked", "--package", "dns-lb"])
            .args(["--example", "manual", "--"])
            .arg(&share),
    )
    .context("man pages and completions")?;
    let mut compressed = entries(&share.join("man/man8"))?;
    compressed.push(share.join("doc/dns-lb/changelog"));
    compress(&compressed)
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let failed = || format!("cannot copy {} to {}", from.display(), to.display());
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).with_context(failed)?;
    }
    fs::copy(from, to).with_context(failed)?;
    fs::set_permissions(to, Permissions::from_mode(0o644)).with_context(failed)
}

fn copy_folder(from: &Path, to: &Path) -> anyhow::Result<()> {
    for path in entries(from)? {
        let to = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy_folder(&path, &to)?;
        } else {
            copy(&path, &to)?;
        }
    }
    Ok(())
}

/// As man pages and changelogs lie on Debian; without a time in them they are the same each time.
fn compress(files: &[PathBuf]) -> anyhow::Result<()> {
    run_quietly(Command::new("gzip").args(["-9n", "--force"]).args(files)).map(drop)
}

fn entries(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let read = || -> std::io::Result<Vec<PathBuf>> {
        fs::read_dir(folder)?
            .map(|entry| Ok(entry?.path()))
            .collect()
    };
    read().with_context(|| format!("cannot read {}", folder.display()))
}
