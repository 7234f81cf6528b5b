//! `dns-lb disable`: nothing for a backend.

use std::process::ExitCode;

use clap::Args;

use super::admin::{self, Backends};
use crate::admin::Action;

/// Send a backend nothing at all, not even what belongs to its TCP connections.
///
/// For a backend that does harm; `dns-lb drain` is gentler. Holds until `dns-lb enable`, also when
/// the agent or the host is restarted. Refused where no backend of a service would be left that
/// takes queries.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  dns-lb disable resolvers/dns1 --reason 'answers nonsense'
  dns-lb disable dns1 --all-services
  dns-lb disable dns1 --all-services --force    even if it is the last one of a service")]
pub(super) struct Arguments {
    #[command(flatten)]
    backends: Backends,

    /// Even if a service is left without a backend that takes queries.
    #[arg(long)]
    force: bool,
}

pub(super) fn execute(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    admin::change(&arguments.backends, Action::Disable, arguments.force)
}
