//! Debian's packages: what can be had, and installing it without starting anything.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context as _;

use crate::process::run_quietly;

/// Whether packages can be installed here by apt.
pub(super) fn is_debian() -> bool {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let mut fields = release.lines().filter_map(|line| line.split_once('='));
    fields.any(|(key, value)| {
        let mut words = value.trim_matches('"').split(' ');
        matches!(key, "ID" | "ID_LIKE") && words.any(|word| word == "debian")
    })
}

/// apt on this machine. Its lists are refreshed once, before the first look into them: a fresh
/// machine has none.
pub(crate) struct Debian {
    refreshed: bool,
}

impl Debian {
    pub(crate) fn detect() -> Option<Self> {
        is_debian().then_some(Self { refreshed: false })
    }

    /// The version of a package that would be installed, without its epoch and revision.
    pub(super) fn candidate(&mut self, package: &str) -> Option<String> {
        self.refresh();
        let policy = run_quietly(Command::new("apt-cache").args(["policy", package])).ok()?;
        let version = policy
            .lines()
            .find_map(|line| line.trim().strip_prefix("Candidate: "))?;
        let version = version
            .split_once(':')
            .map_or(version, |(_epoch, rest)| rest);
        (version != "(none)").then(|| version.to_owned())
    }

    /// Installs packages; no daemon among them is started.
    pub(super) fn install(&mut self, packages: &[&str]) -> anyhow::Result<()> {
        self.refresh();
        eprintln!(
            "setup: installing the Debian packages {}",
            packages.join(" ")
        );
        run_quietly(
            Command::new("sh")
                .args(["-c", INSTALL, "apt-get"])
                .args(packages)
                .env("LC_ALL", "C"),
        )
        .map(drop)
        .context("apt-get install")
    }

    /// The names of all packages that begin so.
    pub(crate) fn names(&mut self, prefix: &str) -> anyhow::Result<Vec<String>> {
        self.refresh();
        let names = run_quietly(Command::new("apt-cache").args(["pkgnames", prefix]))?;
        Ok(names.lines().map(str::to_owned).collect())
    }

    /// Lays a package's files below a folder that is made for it, without installing anything.
    pub(crate) fn unpack(&mut self, package: &str, folder: &Path) -> anyhow::Result<()> {
        self.refresh();
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        run_quietly(
            Command::new("apt-get")
                .args(["-q", "-o", "Acquire::Retries=2", "download", package])
                .current_dir(folder),
        )
        .context("apt-get download")?;
        let archive = fs::read_dir(folder)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
            .with_context(|| format!("apt-get left no package in {}", folder.display()))?;
        run_quietly(Command::new("dpkg").arg("-x").args([&archive, folder]))?;
        fs::remove_file(&archive).with_context(|| format!("cannot remove {}", archive.display()))
    }

    fn refresh(&mut self) {
        if self.refreshed {
            return;
        }
        self.refreshed = true;
        eprintln!("setup: refreshing apt's lists");
        let mut update = Command::new("apt-get");
        // By itself apt is content when a source does not answer.
        update.args(["-q", "-o", "APT::Update::Error-Mode=any"]);
        update.args([
            "-o",
            "Acquire::http::Timeout=30",
            "-o",
            "Acquire::Retries=1",
            "update",
        ]);
        // One foreign source that does not answer must not stop the others.
        if let Err(error) = run_quietly(&mut update) {
            let error = error.to_string();
            let reason = error
                .lines()
                .map(str::trim)
                .find(|line| line.starts_with("E: "));
            let reason = reason.unwrap_or("apt-get update failed");
            eprintln!("setup: going on with the lists that are there: {reason}");
        }
    }
}

/// The command that [`Debian::install`] stands for.
pub(super) fn by_hand(packages: &str) -> String {
    format!("apt-get update && apt-get install --no-install-recommends {packages}")
}

/// Takes a daemon that has been installed off the run levels, where systemd does not run: its
/// mask says nothing to another init system.
pub(super) fn disable(daemon: &str) -> anyhow::Result<()> {
    // Some packages have a unit alone.
    let has_script = Path::new("/etc/init.d").join(daemon).exists();
    if Path::new("/run/systemd/system").is_dir() || !has_script {
        return Ok(());
    }
    run_quietly(Command::new("update-rc.d").args([daemon, "disable"])).map(drop)
}

/// Lets systemd never start a daemon that is about to be installed.
///
/// Masking is a symbolic link, so it works before the unit exists and without a running systemd.
/// A unit that the operator has put there is left alone. Returns the link that was made.
pub(super) fn mask(daemon: &str) -> anyhow::Result<Option<PathBuf>> {
    let unit = Path::new("/etc/systemd/system").join(format!("{daemon}.service"));
    if unit.symlink_metadata().is_ok() {
        return Ok(None);
    }
    fs::create_dir_all("/etc/systemd/system")
        .and_then(|()| symlink("/dev/null", &unit))
        .with_context(|| format!("cannot mask {}", unit.display()))?;
    eprintln!(
        "setup: {daemon} is for the lab only: masked by {}",
        unit.display()
    );
    Ok(Some(unit))
}

/// Installs its arguments. Maintainer scripts ask policy-rc.d before they start a daemon; one that
/// is there already is the operator's. The shell outlives an interrupted xtask, whose end of the
/// pipe is then closed, and removes ours.
const INSTALL: &str = r#"
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 130' HUP INT TERM
    trap : PIPE
    printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy" || exit 1
fi
DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends \
    -o DPkg::Lock::Timeout=120 -o Acquire::Retries=2 install "$@"
"#;
