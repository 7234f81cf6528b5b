//! What the command line asks for.

use std::{path::PathBuf, str::FromStr};

use anyhow::{Context as _, Result, bail, ensure};
use dns_lb_tests::comparison::Arrangement;
use serde_json::Value;

const USAGE: &str = "usage: compare failover [--quick] [--output FILE] [--arrangements NAME,…] \
                     [--runs COUNT] [--rate QUERIES-PER-SECOND] [--at-once LABS]";

/// The options of `compare failover`.
pub(super) struct Options {
    /// Whether to be as short as can be.
    pub(super) quick: bool,
    /// Where the record goes; to standard output if nowhere.
    pub(super) output: Option<PathBuf>,
    /// Whom to measure.
    pub(super) arrangements: Vec<Arrangement>,
    /// How often.
    pub(super) runs: usize,
    /// Queries a second.
    pub(super) rate: u32,
    /// How many labs there are at a time. Most of a run is waiting.
    pub(super) at_once: usize,
}

impl Options {
    pub(super) fn parse(arguments: &[String]) -> Result<Self> {
        let quick = arguments.iter().any(|argument| argument == "--quick");
        let mut options = Self {
            quick,
            output: None,
            arrangements: Arrangement::ALL.into_iter().filter(has_vip).collect(),
            runs: if quick { 1 } else { 5 },
            rate: 500,
            at_once: 4,
        };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let mut value = || {
                arguments
                    .next()
                    .with_context(|| format!("{argument}: {USAGE}"))
            };
            match argument.as_str() {
                // Cargo adds the second.
                "--quick" | "--bench" => {}
                "--output" => options.output = Some(value()?.into()),
                "--arrangements" => options.arrangements = named(value()?)?,
                "--runs" => options.runs = number(value()?)?,
                "--rate" => options.rate = number(value()?)?,
                "--at-once" => options.at_once = number(value()?)?,
                _ => bail!("{argument}: {USAGE}"),
            }
        }
        ensure!(
            options.rate > 0 && options.at_once > 0,
            "--rate and --at-once are at least 1"
        );
        Ok(options)
    }
}

/// The load generator asks an address; a stub resolver with several is for the mail relay to measure.
const fn has_vip(arrangement: &Arrangement) -> bool {
    !matches!(
        arrangement,
        Arrangement::NameserverLines | Arrangement::NameserverLinesTuned
    )
}

/// The arrangements that are named as in the record, and have a VIP.
fn named(names: &str) -> Result<Vec<Arrangement>> {
    let named = names.split(',').map(|name| {
        serde_json::from_value(Value::from(name))
            .with_context(|| format!("there is no arrangement {name}"))
    });
    let named: Vec<Arrangement> = named.collect::<Result<_>>()?;
    Ok(named.into_iter().filter(has_vip).collect())
}

fn number<T: FromStr>(text: &str) -> Result<T> {
    text.parse()
        .ok()
        .with_context(|| format!("{text} is no number: {USAGE}"))
}
