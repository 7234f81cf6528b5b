//! `dns-lb weight`: another share for a backend.

use std::{process::ExitCode, str::FromStr};

use clap::Args;

use super::admin::{self, Backends};
use crate::admin::{Action, InvalidWeight};

/// Give a backend another share than the configuration does.
///
/// Shares are relative to the other backends of the service; 0 takes no new queries. Holds until
/// it is `configured` again, also when the agent or the host is restarted, and when the
/// configuration comes to state another weight.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  dns-lb weight resolvers/dns1 5
  dns-lb weight resolvers/dns1 resolvers/dns2 5
  dns-lb weight dns1 configured --all-services")]
pub(super) struct Arguments {
    #[command(flatten)]
    backends: Backends,

    /// From 0 to 1000, or `configured` for the one that the configuration states.
    #[arg(value_name = "WEIGHT")]
    weight: Setting,

    /// Even if a service is left without a backend that takes queries.
    #[arg(long)]
    force: bool,
}

/// A weight, or none of the operator's.
#[derive(Clone, Copy, Debug)]
struct Setting(Action);

impl FromStr for Setting {
    type Err = InvalidSetting;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(match text {
            "configured" => Action::ResetWeight,
            _ => Action::SetWeight(text.parse().map_err(InvalidSetting)?),
        }))
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0}, or `configured`")]
struct InvalidSetting(InvalidWeight);

pub(super) fn execute(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    admin::change(&arguments.backends, arguments.weight.0, arguments.force)
}
