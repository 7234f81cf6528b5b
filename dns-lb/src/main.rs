//! The `dns-lb` command.

use std::process::ExitCode;

use clap::Parser as _;
use dns_lb::cli::Cli;

fn main() -> ExitCode {
    Cli::parse().execute()
}
