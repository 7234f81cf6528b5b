//! dns-lb's chores, as `cargo xtask <chore>`.

mod bench;
mod binary;
mod check;
mod compare;
mod demo;
mod dist;
mod fuzz;
mod kernel;
mod machine;
mod process;
mod setup;
mod test;
#[path = "../../dns-lb/build/toolchain.rs"]
mod toolchain;

use std::{env, path::Path, process::ExitCode};

use anyhow::Context as _;
use clap::{Parser, builder::PossibleValuesParser};

/// dns-lb's chores
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
enum Chore {
    /// Install what building, testing and the demo need, where it is missing
    Setup {
        /// Only report what is missing; exit 1 if anything is
        #[arg(long)]
        check: bool,
    },
    Demo(demo::Args),
    /// A mail relay of the demo: a process of its own, since a resolver's state is a process's
    #[command(hide = true)]
    MailRelay,
    Bench(bench::Args),
    Compare(compare::Args),
    /// Look for octets that the program, compiled for the host, or the agent does not do right by
    Fuzz {
        /// How long, for each target
        #[arg(long, default_value_t = 60)]
        seconds: u32,
        /// What is fuzzed: `frame` is the program, the others are the agent; without: all in turn
        #[arg(value_parser = PossibleValuesParser::new(fuzz::targets()))]
        target: Option<String>,
    },
    /// Hold the tree against its rules: format, lints, documentation, licences
    Check,
    Dist(dist::Args),
    Kernel(kernel::Args),
    /// Run every test: host, kernel and lab; needs root
    Test {
        /// Leave out the tests that need root and a kernel
        #[arg(long)]
        host_only: bool,
        /// Five times as many queries in the tests that must lose none
        #[arg(long)]
        soak: bool,
        /// Passed on to the test binaries, after `--`
        #[arg(last = true)]
        arguments: Vec<String>,
    },
}

fn main() -> ExitCode {
    match run(Chore::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(chore: Chore) -> anyhow::Result<ExitCode> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    env::set_current_dir(&root).with_context(|| format!("cannot enter {}", root.display()))?;
    match chore {
        Chore::Setup { check: true } => setup::report().map(|()| ExitCode::SUCCESS),
        Chore::Setup { check: false } => setup::ensure().map(|()| ExitCode::SUCCESS),
        Chore::Demo(args) => {
            setup::ensure()?;
            demo::run(&args).map(|()| ExitCode::SUCCESS)
        }
        Chore::MailRelay => dns_lb_tests::relay::run_child().map(|()| ExitCode::SUCCESS),
        Chore::Bench(args) => {
            setup::ensure()?;
            bench::run(&args).map(|()| ExitCode::SUCCESS)
        }
        Chore::Compare(args) => compare::run(&args).map(|()| ExitCode::SUCCESS),
        Chore::Fuzz { seconds, target } => {
            fuzz::run(target.as_deref(), seconds).map(|()| ExitCode::SUCCESS)
        }
        Chore::Dist(args) => dist::run(&args).map(|()| ExitCode::SUCCESS),
        Chore::Kernel(args) => kernel::run(&args),
        Chore::Check => check::run().map(|()| ExitCode::SUCCESS),
        Chore::Test {
            host_only,
            soak,
            arguments,
        } => test::run(host_only, soak, &arguments),
    }
}
