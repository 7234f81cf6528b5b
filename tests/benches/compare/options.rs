//! What the command line asks for of the parts that have a lab for each run.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use dns_lb_tests::comparison::Arrangement;
use serde_json::Value;

const USAGE: &str = "usage: compare mail|failover [--quick] [--output FILE] [--arrangements NAME,…] \
                     [--runs COUNT] [--at-once LABS]";

/// The options of `compare mail` and `compare failover`.
pub(crate) struct Options {
    /// Whether to be as short as can be.
    pub(crate) quick: bool,
    /// Where the record goes; to standard output if nowhere.
    pub(crate) output: Option<PathBuf>,
    /// Whom to measure.
    pub(crate) arrangements: Vec<Arrangement>,
    /// How often: once with `--quick`, unless it says otherwise.
    pub(crate) runs: usize,
    /// How many labs there are at a time.
    pub(crate) at_once: usize,
}

impl Options {
    /// Reads them, and has this for what is not said.
    pub(crate) fn parse(arguments: &[String], runs: usize, at_once: usize) -> Result<Self> {
        let quick = arguments.iter().any(|argument| argument == "--quick");
        let mut options = Self {
            quick,
            output: None,
            arrangements: Arrangement::ALL.into(),
            runs: if quick { 1 } else { runs },
            at_once,
        };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let mut value = || {
                let value = arguments.next();
                value.with_context(|| format!("{argument}: {USAGE}"))
            };
            match argument.as_str() {
                // Cargo adds the second.
                "--quick" | "--bench" => {}
                "--output" => options.output = Some(value()?.into()),
                "--arrangements" => options.arrangements = named(value()?)?,
                "--runs" => options.runs = number(value()?)?,
                "--at-once" => options.at_once = number(value()?)?,
                _ => bail!("{argument}: {USAGE}"),
            }
        }
        Ok(options)
    }
}

/// The arrangements that are named as in the record.
fn named(names: &str) -> Result<Vec<Arrangement>> {
    let names = names.split(',').map(|name| {
        let arrangement = serde_json::from_value(Value::from(name));
        arrangement.with_context(|| format!("{name} is no arrangement: {USAGE}"))
    });
    names.collect()
}

fn number(text: &str) -> Result<usize> {
    let number = text.parse().unwrap_or(0);
    ensure!(number > 0, "{text} is no number from 1: {USAGE}");
    Ok(number)
}
