//! The command line: a file a verb.

mod admin;
mod check_config;
mod client;
mod disable;
mod doctor;
mod drain;
mod enable;
mod explain;
mod figures;
mod import;
mod log;
mod palette;
mod ready;
mod reload;
mod run;
mod status;
mod table;
mod terminal;
mod top;
mod unload;
mod weight;

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Args, CommandFactory as _, Parser, Subcommand};
use tokio::runtime::Runtime;

use crate::{
    config::{ConfigError, defaults},
    datapath::DEFAULT_PIN_DIR,
    import::Problems,
};

/// Wrong usage or a wrong configuration. clap leaves with the same.
const EXIT_BAD_CONFIG: u8 = 2;

/// A load balancer for DNS servers with an XDP fast path.
///
/// An XDP program takes the packets for a service address and hands each to one of the servers
/// behind it, which answers the client directly. The agent asks the servers real DNS questions and
/// takes out of rotation who does not answer.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_long_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

/// The command line as clap knows it: what man pages and completions are made of.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

const EXAMPLES: &str = "\
Examples:
  dns-lb check-config                    is the configuration right? every fault, with its line
  dns-lb run                             steer, and probe until SIGTERM; traffic flows on after it
  dns-lb run --config ./dns-lb.toml      the same with another configuration
  dns-lb status                          who is up, who gets which share
  dns-lb status --watch                  the same, every 2 seconds
  dns-lb top                             live, with the whole screen: rates, probes, keys to drain
  dns-lb status --json | jq '.services[].backends[] | select(.health != \"up\")'
  dns-lb drain resolvers/dns1 --reason 'new disk'
                                         no new queries for it, until dns-lb enable resolvers/dns1
  dns-lb weight resolvers/dns1 5         another share for it
  dns-lb reload --dry-run                what would change if the configuration were read again?
  dns-lb explain --from 198.51.100.7:4242 --to 192.168.0.200 --qname www.example.com
                                         what would become of this query, and why
  dns-lb doctor                          what breaks Direct Routing here or on a server, and the remedy
  dns-lb unload                          steer no more
  dns-lb import keepalived /etc/keepalived/keepalived.conf --output /etc/dns-lb/dns-lb.toml
                                         a configuration made of keepalived's

Exit codes: 0 done, 1 failed, 2 bad usage or bad configuration.";

#[derive(Debug, Subcommand)]
enum Verb {
    Run(run::Arguments),
    CheckConfig(check_config::Arguments),
    Status(status::Arguments),
    Ready(ready::Arguments),
    Top(top::Arguments),
    Drain(drain::Arguments),
    Disable(disable::Arguments),
    Enable(enable::Arguments),
    Weight(weight::Arguments),
    Reload(reload::Arguments),
    Explain(explain::Arguments),
    Doctor(doctor::Arguments),
    Unload(unload::Arguments),
    Import(import::Arguments),
}

/// Where the configuration is: an argument of every verb.
#[derive(Debug, Args)]
struct ConfigFile {
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = defaults::CONFIG_FILE)]
    config: PathBuf,
}

/// Where maps, program and links are pinned.
#[derive(Debug, Args)]
struct PinDirectory {
    /// Where maps, program and links are pinned; on a bpffs.
    #[arg(long, value_name = "DIR", default_value = DEFAULT_PIN_DIR)]
    pin_dir: PathBuf,
}

impl Cli {
    /// Does what the command line says, and says on standard error why it cannot.
    #[must_use]
    pub fn execute(&self) -> ExitCode {
        let done = match &self.verb {
            Verb::Run(arguments) => run::execute(arguments),
            Verb::CheckConfig(arguments) => check_config::execute(arguments),
            Verb::Status(arguments) => status::execute(arguments),
            Verb::Ready(arguments) => ready::execute(arguments),
            Verb::Top(arguments) => top::execute(arguments),
            Verb::Drain(arguments) => drain::execute(arguments),
            Verb::Disable(arguments) => disable::execute(arguments),
            Verb::Enable(arguments) => enable::execute(arguments),
            Verb::Weight(arguments) => weight::execute(arguments),
            Verb::Reload(arguments) => reload::execute(arguments),
            Verb::Explain(arguments) => explain::execute(arguments),
            Verb::Doctor(arguments) => doctor::execute(arguments),
            Verb::Unload(arguments) => unload::execute(arguments),
            Verb::Import(arguments) => import::execute(arguments),
        };
        done.unwrap_or_else(|error| {
            // Nobody may be left who reads it.
            let _ = writeln!(io::stderr(), "{}", one_line(&error));
            if error.is::<ConfigError>() || error.is::<Problems>() {
                ExitCode::from(EXIT_BAD_CONFIG)
            } else if let Some(refused) = error.downcast_ref::<admin::Refused>() {
                ExitCode::from(refused.exit_code)
            } else {
                ExitCode::FAILURE
            }
        })
    }
}

/// An error and its causes in one line. What many an error says of its cause itself is not said
/// twice.
fn one_line(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

/// Writes to standard output. A reader who has seen enough (`dns-lb status | head`) is no failure.
fn print(text: &str) -> anyhow::Result<()> {
    print_on(text).map(drop)
}

/// The same for who has more to say: whether anybody still reads.
fn print_on(text: &str) -> anyhow::Result<bool> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error).context("cannot write to standard output"),
    }
}

/// What a verb that asks something waits on: one thread is enough.
fn runtime() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the I/O runtime")
}

/// A number of things: `1 change`, `2 changes`.
fn counted(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn causes_are_said_once() {
        let cause = || io::Error::from_raw_os_error(2);
        let repeating = anyhow::Error::from(cause()).context(format!("cannot read x: {}", cause()));
        assert_eq!(one_line(&repeating), format!("cannot read x: {}", cause()));
        let plain = anyhow::Error::from(cause()).context("cannot read x");
        assert_eq!(one_line(&plain), format!("cannot read x: {}", cause()));
    }

    #[test]
    fn help_fits_a_hundred_columns() {
        let mut command = command();
        command.build();
        let mut helps = vec![command.render_long_help().to_string()];
        for verb in command.get_subcommands_mut() {
            let help = verb.render_long_help().to_string();
            let teaches = help.contains("\nExamples:\n") || verb.get_name() == "help";
            assert!(teaches, "dns-lb {} has no examples", verb.get_name());
            helps.push(help);
        }
        assert_eq!(helps.len(), 16, "the root, fourteen verbs, help");
        for line in helps.iter().flat_map(|help| help.lines()) {
            assert!(line.chars().count() <= 100, "{line}");
        }
    }
}
