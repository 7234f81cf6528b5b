//! A Debian with nothing in it but what every Debian has, to install into.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::LazyLock,
};

use dns_lb_tests::{Node, process::program};

/// What the agent's package depends on beyond what every Debian has.
const DEPENDENCIES: &str = "systemd-standalone-sysusers";

/// A root folder; gone when dropped.
pub(crate) struct CleanRoot {
    path: PathBuf,
    /// Its mounts: what is mounted in the root is not seen outside.
    node: Node,
}

impl CleanRoot {
    /// Unpacks one.
    pub(crate) fn new(name: &str) -> Self {
        static ARCHIVE: LazyLock<PathBuf> = LazyLock::new(archive);
        let archive = &*ARCHIVE;
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let path = folder.join(format!("{name}-{}", std::process::id()));
        fs::create_dir(&path).expect("a folder");
        run(program("tar")
            .args(["--extract", "--file"])
            .arg(archive)
            .arg("--directory")
            .arg(&path));
        Self {
            path,
            node: Node::new(name).expect("mounts of its own"),
        }
    }

    /// Where a file of the root is, seen from outside.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.path.join(path.trim_start_matches('/'))
    }

    /// Runs a command in the root.
    pub(crate) fn output(&self, words: &[&str]) -> Output {
        let mut command = program("chroot");
        command.arg(&self.path).args(words).env("LC_ALL", "C");
        command.env("DEBIAN_FRONTEND", "noninteractive");
        self.node.output(command).expect("chroot")
    }

    /// The same for one that has to succeed; what it prints.
    pub(crate) fn run(&self, words: &[&str]) -> String {
        let output = self.output(words);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let complained = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {said}{complained}");
        said
    }

    /// Whose a file is, as names, and what may be done with it.
    pub(crate) fn owner_and_mode(&self, path: &str) -> (String, u32) {
        let owner = self.run(&["stat", "--format=%U:%G", path]);
        let metadata = fs::symlink_metadata(self.path(path)).expect(path);
        let mode = metadata.permissions().mode();
        (owner.trim_end().to_owned(), mode & 0o7777)
    }

    /// Puts a program in the place of another: a script.
    pub(crate) fn stand_in(&self, path: &str, script: &str) {
        fs::write(self.path(path), script).expect("a script");
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(0o755)).expect("its mode");
    }
}

impl Drop for CleanRoot {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("{} stays: {error}", self.path.display());
        }
    }
}

/// What a root is unpacked from: fetched from Debian's archive once, and kept.
fn archive() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let suite = suite();
    let archive = folder.join(format!("root-{suite}.tar"));
    if !archive.exists() {
        // Under its name only when it is whole.
        let draft = folder.join(format!("root-{suite}.draft.tar"));
        run(program("mmdebstrap")
            .args(["--quiet", "--variant=essential", "--include", DEPENDENCIES])
            .arg(&suite)
            .arg(&draft));
        fs::rename(&draft, &archive).expect("the archive in its place");
    }
    archive
}

/// The release of this machine, whose archive it knows.
fn suite() -> String {
    let release = fs::read_to_string("/etc/os-release").expect("this is a Debian");
    let mut lines = release.lines();
    let name = lines.find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    name.expect("a Debian has a code name").to_owned()
}

pub(crate) fn run(command: &mut Command) {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?} (cargo xtask setup installs it): {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}
