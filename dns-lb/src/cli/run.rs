//! `dns-lb run`: the agent.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use super::{
    ConfigFile, PinDirectory,
    log::{self, Format},
};
use crate::{
    agent::{self, Options},
    config::Config,
    health::raise_limit,
};

/// Attach the program, steer, and probe until told to stop.
///
/// Stops on SIGTERM and SIGINT. The program stays and steers on as it was last told to, and the
/// next start takes over from there.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  dns-lb run
  dns-lb run --config ./dns-lb.toml --detach-on-exit    leaves nothing behind
  RUST_LOG=debug dns-lb run
  dns-lb run --log-format journald")]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigFile,

    #[command(flatten)]
    pins: PinDirectory,

    /// Detach the program and remove the pins when the agent stops.
    #[arg(long)]
    detach_on_exit: bool,

    /// Form of the log, which `RUST_LOG` filters: from `info` on unless it says otherwise.
    #[arg(long, value_name = "FORM", value_enum, default_value = "text")]
    log_format: Format,
}

pub(super) fn execute(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let config = Config::load(&arguments.config.config)?;
    log::start(arguments.log_format)?;
    // Before anything counts on it: each probe by a socket of its own is an open file.
    match raise_limit() {
        Ok(descriptors) => tracing::debug!(descriptors, "limit of open files"),
        Err(error) => tracing::warn!(%error, "the limit of open files stays as it is"),
    }
    let options = Options {
        config_file: arguments.config.config.clone(),
        pin_dir: arguments.pins.pin_dir.clone(),
        detach_on_exit: arguments.detach_on_exit,
    };
    // One thread: the agent waits nearly always, and what blocks has a thread of its own.
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(agent::run(config, options))?;
    Ok(ExitCode::SUCCESS)
}
