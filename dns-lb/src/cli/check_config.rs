//! `dns-lb check-config`: judges a configuration without using it.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use super::{ConfigFile, EXIT_BAD_CONFIG, counted, print};
use crate::config::{Config, ConfigError};

/// Say everything that is wrong with a configuration.
///
/// Reads the file and nothing else: needs no privileges, and touches neither the kernel nor a
/// running agent. One line a fault, FILE:LINE:COLUMN first, in the order of lines. Exit code 0 if
/// there is none, else 2.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  dns-lb check-config
  dns-lb check-config --config ./dns-lb.toml
  dns-lb check-config --json | jq -r '.faults[].line'")]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigFile,

    /// Print a JSON document: file, valid, then services and backends (numbers), or else faults
    /// (line, column, key, problem, allowed), or else error.
    #[arg(long)]
    json: bool,
}

pub(super) fn execute(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let file = &arguments.config.config;
    let loaded = Config::load(file);
    if arguments.json {
        let file = file.to_string_lossy();
        let document = match &loaded {
            Ok(config) => json!({
                "file": file,
                "valid": true,
                "services": config.services.len(),
                "backends": count_backends(config),
            }),
            Err(ConfigError::Faults { faults, .. }) => json!({
                "file": file,
                "valid": false,
                "faults": faults.as_slice(),
            }),
            Err(error) => json!({
                "file": file,
                "valid": false,
                "error": error.to_string(),
            }),
        };
        let text = serde_json::to_string_pretty(&document).context("cannot write JSON")?;
        print(&format!("{text}\n"))?;
        return Ok(match loaded {
            Ok(_) => ExitCode::SUCCESS,
            Err(_) => ExitCode::from(EXIT_BAD_CONFIG),
        });
    }
    let config = loaded?;
    print(&format!(
        "{} is valid: {}, {}\n",
        file.display(),
        counted(config.services.len(), "service"),
        counted(count_backends(&config), "backend"),
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn count_backends(config: &Config) -> usize {
    let backends = config.services.iter().map(|service| service.backends.len());
    backends.sum()
}
