//! Brings a Debian machine that has only cargo to where everything builds and runs.
//!
//! It looks first, says what it is about to install and why, and changes nothing that is already
//! there. Three needs, each independent of the others: the toolchain of the XDP program, the
//! lab's servers and tools, and a mounted bpffs. A fourth, what emulates a machine, is that of one
//! chore, and is looked at when that is run.
//!
//! It speaks on standard error: the chores that call it have results of their own.

mod debian;
mod lab;
mod program;

use std::{fs, process::Command, time::Instant};

use anyhow::{bail, ensure};

pub(crate) use self::{debian::Debian, lab::lab_packages};
use crate::{
    process::run_quietly,
    toolchain::{Missing, Toolchain},
};

/// Where the pinned maps and programs live.
const BPFFS: &str = "/sys/fs/bpf";

/// Whether this process may install, mount and load.
pub(crate) fn is_root() -> bool {
    nix::unistd::Uid::effective().is_root()
}

/// Installs what is missing. Prints nothing if all is there.
pub(crate) fn ensure() -> anyhow::Result<()> {
    satisfy(survey)
}

/// The same for what emulates a machine.
pub(crate) fn ensure_emulator() -> anyhow::Result<()> {
    satisfy(|| {
        let tools = lab::missing(&lab::EMULATOR);
        let emulator = (!tools.is_empty()).then_some(Need::Emulator(tools));
        emulator.into_iter().collect()
    })
}

fn satisfy(survey: impl Fn() -> Vec<Need>) -> anyhow::Result<()> {
    let needs = survey();
    if needs.is_empty() {
        return Ok(());
    }
    if !is_root() {
        tell(&needs);
        bail!("setup has to be root to install this; nothing was changed");
    }
    let mut debian = Debian::detect();
    for need in needs {
        let start = Instant::now();
        match need.bring(debian.as_mut()) {
            Ok(()) => eprintln!("setup: done in {:.0?}", start.elapsed()),
            Err(error) => eprintln!("setup: failed: {error:#}"),
        }
    }
    let left = survey();
    if !left.is_empty() {
        tell(&left);
        bail!("setup could not get everything: what is listed above is still missing");
    }
    eprintln!("setup: everything is in place");
    Ok(())
}

/// Says what is missing, and fails if anything is.
pub(crate) fn report() -> anyhow::Result<()> {
    let needs = survey();
    tell(&needs);
    ensure!(
        needs.is_empty(),
        "run `cargo xtask setup` as root, or the commands above by hand"
    );
    eprintln!("setup: nothing is missing");
    Ok(())
}

/// Something that this machine lacks.
enum Need {
    Program(Missing),
    Lab(Vec<lab::Tool>),
    Emulator(Vec<lab::Tool>),
    Bpffs,
}

fn survey() -> Vec<Need> {
    let program = Toolchain::find().err().map(Need::Program);
    let tools = lab::missing(&lab::TOOLS);
    let lab = (!tools.is_empty()).then_some(Need::Lab(tools));
    let bpffs = (!is_bpffs_mounted()).then_some(Need::Bpffs);
    [program, lab, bpffs].into_iter().flatten().collect()
}

fn is_bpffs_mounted() -> bool {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    mounts.lines().any(|line| {
        let mut fields = line.split(' ').skip(1);
        fields.next() == Some(BPFFS) && fields.next() == Some("bpf")
    })
}

impl Need {
    fn describe(&self) -> String {
        match self {
            Self::Program(missing) => format!("the XDP program cannot be built: {missing}"),
            Self::Lab(tools) => {
                let commands = commands(tools);
                format!("the tests, the demo or the checks run {commands}, not installed here")
            }
            Self::Emulator(tools) => {
                let commands = commands(tools);
                format!("an emulated machine takes {commands}, not installed here")
            }
            Self::Bpffs => format!("no bpffs is mounted at {BPFFS}: maps are pinned there"),
        }
    }

    /// Commands that satisfy the need, for a person to run as root.
    fn by_hand(&self) -> Vec<String> {
        match self {
            Self::Program(missing) => program::by_hand(missing),
            Self::Lab(tools) | Self::Emulator(tools) => lab::by_hand(tools),
            Self::Bpffs => vec![format!("mount -t bpf bpf {BPFFS}")],
        }
    }

    fn bring(&self, debian: Option<&mut Debian>) -> anyhow::Result<()> {
        eprintln!("setup: {}", self.describe());
        match (self, debian) {
            (Self::Bpffs, _) => {
                eprintln!("setup: mounting it");
                run_quietly(Command::new("mount").args(["-t", "bpf", "bpf", BPFFS])).map(drop)
            }
            (Self::Program(_), Some(debian)) => program::bring(debian),
            (Self::Lab(tools) | Self::Emulator(tools), Some(debian)) => lab::bring(tools, debian),
            (_, None) => bail!("this is no Debian: setup does not know its packages"),
        }
    }
}

fn commands(tools: &[lab::Tool]) -> String {
    let commands: Vec<&str> = tools.iter().map(|tool| tool.command).collect();
    commands.join(", ")
}

fn tell(needs: &[Need]) {
    for need in needs {
        eprintln!("setup: missing: {}", need.describe());
        eprintln!("  by hand (rustup and cargo as the user who builds, the rest as root):");
        for command in need.by_hand() {
            eprintln!("    {command}");
        }
    }
}
