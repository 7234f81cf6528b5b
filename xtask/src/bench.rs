//! `cargo xtask bench`: builds what is to be measured and what it is measured against, and runs the
//! benchmarks.

use std::{env::consts, ffi::OsString, process::Command};

use anyhow::{Context as _, anyhow};
use clap::ValueEnum;
use serde_json::Value;

use crate::{
    binary,
    check::{endian, program_target_dir},
    process::{cargo, printed, run_visibly},
    toolchain::{self, Toolchain},
};

/// Measure what packets, the agent and a server's death cost; needs root
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What is measured; all of it, if nothing is named
    #[arg(value_name = "SUITE")]
    suites: Vec<Suite>,
    /// Print one document, with the record of each suite under its name
    #[arg(long)]
    json: bool,
    /// As short as can be: to see that it works, not how fast
    #[arg(long)]
    quick: bool,
}

/// What is measured together.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Suite {
    /// What a packet costs: ours, the floor and the bare program in one run, and farms of many sizes
    Packet,
    /// What the agent costs with 10 to 1,000 servers: CPU, memory, tables, probes that are late
    Agent,
    /// How long queries go to a dead server, for each way to die
    Failover,
    /// How long queries go to a dead balancer, of two with keepalived and of three with BIRD
    Ha,
}

impl Suite {
    /// The benchmark's target.
    const fn name(self) -> &'static str {
        match self {
            Self::Packet => "packet",
            Self::Agent => "agent",
            Self::Failover => "failover",
            Self::Ha => "ha",
        }
    }

    /// Builds what the benchmark needs, and returns where it is: a variable for the benchmark.
    fn build(self) -> anyhow::Result<(&'static str, OsString)> {
        Ok(match self {
            Self::Packet => ("DNS_LB_FLOOR", build_floor()?),
            Self::Agent | Self::Failover | Self::Ha => ("DNS_LB_BINARY", binary::build()?.into()),
        })
    }

    /// The benchmark, with all that it needs built.
    fn command(self, quick: bool) -> anyhow::Result<Command> {
        let (variable, path) = self.build()?;
        let mut bench = cargo();
        bench
            .args(["bench", "--quiet", "--package", "dns-lb-tests"])
            .args(["--bench", self.name(), "--"])
            .args(quick.then_some("--quick"))
            .env(variable, path);
        Ok(bench)
    }
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let suites = match &args.suites[..] {
        [] => Suite::value_variants(),
        named => named,
    };
    let mut records = serde_json::Map::new();
    for &suite in suites {
        if args.json {
            records.insert(suite.name().to_owned(), record(suite, args.quick)?);
        } else {
            let mut bench = suite.command(args.quick)?;
            println!("\n# {}\n", suite.name());
            run_visibly(&mut bench)?;
        }
    }
    if args.json {
        println!("{:#}", Value::from(records));
    }
    Ok(())
}

/// Runs a benchmark to its end, and reads the document that it prints.
pub(crate) fn record(suite: Suite, quick: bool) -> anyhow::Result<Value> {
    let document = printed(suite.command(quick)?.arg("--json"))?;
    serde_json::from_slice(&document).context("the benchmark prints no document")
}

/// Builds the programs that ours is measured against.
pub(crate) fn build_floor() -> anyhow::Result<OsString> {
    let toolchain =
        Toolchain::find().map_err(|missing| anyhow!("{missing}; run `cargo xtask setup`"))?;
    let target_dir = program_target_dir();
    run_visibly(
        toolchain
            .command("cargo", "build", consts::ARCH, endian())
            .args(["--release", "--target-dir"])
            .arg(&target_dir),
    )?;
    let floor = target_dir
        .join(toolchain::triple(endian()))
        .join("release/dns-lb-floor");
    Ok(std::path::absolute(floor)?.into())
}
