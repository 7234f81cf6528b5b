//! What the command line asks for.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use dns_lb_tests::comparison::Arrangement;
use serde_json::Value;

const USAGE: &str = "usage: compare mail [--quick] [--output FILE] [--arrangements NAME,…] \
                     [--runs COUNT] [--at-once LABS]";

/// How long each part of a run takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Phases {
    /// Until the death, at least.
    pub(super) before: Duration,
    /// From the death until the server is brought back. By nameserver lines, the first of which is
    /// silent, each mail takes 10 s and a little.
    pub(super) during: Duration,
    /// From then on. A look-up that the dead server was asked for may take its 5 s of this.
    pub(super) after: Duration,
}

impl Phases {
    /// Three such mails.
    const FULL: Self = Self {
        before: Duration::from_secs(5),
        during: Duration::from_secs(31),
        after: Duration::from_secs(10),
    };
    /// One.
    const QUICK: Self = Self {
        before: Duration::from_secs(2),
        during: Duration::from_millis(11_500),
        after: Duration::from_secs(6),
    };
}

/// The options of `compare mail`.
pub(super) struct Options {
    /// Whether to be as short as can be.
    pub(super) quick: bool,
    pub(super) phases: Phases,
    /// Where the record goes; to standard output if nowhere.
    pub(super) output: Option<PathBuf>,
    /// Whom to measure.
    pub(super) arrangements: Vec<Arrangement>,
    /// How often.
    pub(super) runs: usize,
    /// How many labs there are at a time.
    pub(super) at_once: usize,
}

impl Options {
    pub(super) fn parse(arguments: &[String]) -> Result<Self> {
        let quick = arguments.iter().any(|argument| argument == "--quick");
        let mut options = Self {
            quick,
            phases: if quick { Phases::QUICK } else { Phases::FULL },
            output: None,
            arrangements: Arrangement::ALL.into(),
            runs: if quick { 1 } else { 3 },
            // As many as there are rows without IPVS; together they take a third of a core.
            at_once: 14,
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
