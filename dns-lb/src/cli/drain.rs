//! `dns-lb drain`: no new queries for a backend.

use std::process::ExitCode;

use clap::Args;

use super::admin::{self, Backends};
use crate::admin::Action;

/// Send a backend no new queries; the TCP connections that it has stay.
///
/// Holds until `dns-lb enable`, also when the agent or the host is restarted. Refused where no
/// backend of a service would be left that takes queries.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  dns-lb drain resolvers/dns1 --reason 'new disk'
  dns-lb drain resolvers/dns1 resolvers/dns2
  dns-lb drain dns1 --all-services
  dns-lb drain dns1 --all-services --force      even if it is the last one of a service")]
pub(super) struct Arguments {
    #[command(flatten)]
    backends: Backends,

    /// Even if a service is left without a backend that takes queries.
    #[arg(long)]
    force: bool,
}

pub(super) fn execute(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    admin::change(&arguments.backends, Action::Drain, arguments.force)
}
