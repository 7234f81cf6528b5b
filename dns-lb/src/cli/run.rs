//! `dns-lb run`: the agent.

use std::{io, process::ExitCode};

use anyhow::Context as _;
use clap::Args;
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

use super::{ConfigFile, PinDirectory};
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
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigFile,

    #[command(flatten)]
    pins: PinDirectory,

    /// Detach the program and remove the pins when the agent stops.
    #[arg(long)]
    detach_on_exit: bool,
}

pub(super) fn execute(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let config = Config::load(&arguments.config.config)?;
    log_to_stderr();
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

/// Events from `info` on, or as `RUST_LOG` says; what crates and the XDP program say through `log`
/// among them.
fn log_to_stderr() {
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .from_env_lossy();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_writer(io::stderr)
        .with_ansi(
            io::IsTerminal::is_terminal(&io::stderr()) && std::env::var_os("NO_COLOR").is_none(),
        )
        .init();
}
