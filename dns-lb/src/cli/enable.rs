//! `dns-lb enable`: queries for a backend again.

use std::process::ExitCode;

use clap::Args;

use super::admin::{self, Backends};
use crate::admin::Action;

/// Let a backend have queries again after `drain` or `disable`.
///
/// It gets them while its probes pass. A weight that was set stays: see `dns-lb weight`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  dns-lb enable resolvers/dns1
  dns-lb enable dns1 dns2 --all-services
  dns-lb enable resolvers/dns1 --json | jq -r '.backends[].admin'")]
pub(super) struct Arguments {
    #[command(flatten)]
    backends: Backends,
}

pub(super) fn execute(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    admin::change(&arguments.backends, Action::Enable, false)
}
