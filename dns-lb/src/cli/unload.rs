//! `dns-lb unload`: detaches the program and removes the pins.

use std::process::ExitCode;

use clap::Args;

use super::{PinDirectory, print};
use crate::datapath;

/// Detach the program and remove the pins: nothing is steered any more.
///
/// Packets for the VIPs go to this host's own stack from then on. Refused while an agent runs.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  dns-lb unload
  dns-lb unload --pin-dir /sys/fs/bpf/other")]
pub(super) struct Arguments {
    #[command(flatten)]
    pins: PinDirectory,
}

pub(super) fn execute(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let path = &arguments.pins.pin_dir;
    print(&if datapath::unload(path)? {
        format!("detached; {} removed\n", path.display())
    } else {
        format!("nothing to do: there is no {}\n", path.display())
    })?;
    Ok(ExitCode::SUCCESS)
}
