//! `cargo xtask kernel`: the kernel and lab tests on another kernel, one of Debian's, in emulated machines.
//!
//! It builds the tests, deals them out between machines, and counts. Where the emulated machine is no
//! place for a test, that is named with the reason, and counted as neither passed nor failed.

mod suites;
mod verdict;

use std::{
    collections::VecDeque,
    process::ExitCode,
    sync::{Mutex, PoisonError},
    thread,
};

use anyhow::{Context as _, bail};
use serde_json::json;

use self::{
    suites::{Built, Share, Suite},
    verdict::{Report, Verdict},
};
use crate::{
    machine::{self, Kernel},
    setup,
};

/// Run the kernel and lab tests on a kernel of Debian's, in emulated machines
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The kernel's first two numbers; the newest that apt offers is taken
    #[arg(default_value = "6.1", value_parser = series)]
    series: String,
    /// Which tests; without, all of these in turn
    suites: Vec<Suite>,
    /// How many machines run side by side; each takes a core and some 3 GB
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..))]
    machines: u8,
    /// Only tests whose names have this in them, or another of these
    #[arg(long)]
    filter: Vec<String>,
    /// Print a JSON document in the end, and all else to standard error
    #[arg(long)]
    json: bool,
}

/// The test binaries that ask the kernel, as cargo calls them; the one for packets is the first.
pub(crate) fn suite_names() -> Vec<&'static str> {
    let suites: &[Suite] = clap::ValueEnum::value_variants();
    suites.iter().map(|suite| suite.name()).collect()
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    setup::ensure()?;
    machine::ensure()?;
    let wanted = match &args.suites[..] {
        [] => clap::ValueEnum::value_variants(),
        named => named,
    };
    let kernel = Kernel::get(&args.series)?;
    let built = Built::build(wanted)?;
    let mut report = Report::default();
    let mut shares = VecDeque::new();
    for &suite in wanted {
        let tests = built.tests(suite, &args.filter)?;
        report.begin(suite, tests.left_out);
        shares.extend(Share::deal(suite, tests.to_run));
    }
    if shares.is_empty() {
        bail!("there is no test to run");
    }
    let verdicts = run_all(&kernel, &built, shares, args.machines);
    for (suite, verdict) in verdicts {
        report.add(suite, verdict);
    }
    for line in report.lines() {
        tell(&line);
    }
    if args.json {
        let suites: Vec<_> = report.suites().collect();
        let kernel = format!("Linux {}", kernel.release);
        let document = json!({ "kernel": kernel, "suites": suites });
        println!("{document:#}");
    }
    Ok(if report.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Runs every share, so many at a time, each in a machine of its own.
fn run_all(
    kernel: &Kernel,
    built: &Built,
    shares: VecDeque<Share>,
    machines: u8,
) -> Vec<(Suite, Verdict)> {
    let total = shares.len();
    let open = Mutex::new(shares);
    let verdicts = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..machines {
            scope.spawn(|| {
                loop {
                    // A thread that panics leaves the queue as any other does.
                    let next = open
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .pop_front();
                    let Some(share) = next else {
                        break;
                    };
                    let verdict = run_one(kernel, built, &share, total);
                    verdicts
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push((share.suite, verdict));
                }
            });
        }
    });
    verdicts
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
}

fn run_one(kernel: &Kernel, built: &Built, share: &Share, total: usize) -> Verdict {
    let name = share.name();
    tell(&format!(
        "{name}: {} tests on {}, one share of {total}",
        share.tests.len(),
        kernel.release
    ));
    let outcome = built
        .run(kernel, share, |line| tell(&format!("{name}: {line}")))
        .with_context(|| format!("{name} has no result"));
    match outcome.and_then(|outcome| Verdict::read(&outcome, share.tests.len())) {
        Ok(verdict) => verdict,
        Err(error) => {
            tell(&format!("error: {error:#}"));
            Verdict::none(share)
        }
    }
}

/// Standard output is the document's.
fn tell(line: &str) {
    eprintln!("{line}");
}

/// Accepts what names a series and can be part of a path.
fn series(text: &str) -> Result<String, String> {
    let is_number =
        |word: &str| !word.is_empty() && word.bytes().all(|octet| octet.is_ascii_digit());
    match text.split_once('.') {
        Some((major, minor)) if is_number(major) && is_number(minor) => Ok(text.to_owned()),
        _ => Err("two numbers with a dot between them, as in 6.1".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_two_numbers() {
        assert_eq!(series("6.12"), Ok("6.12".to_owned()));
        for other in ["6", "6.", ".1", "6.1.0", "6.1-rc1", "../6.1"] {
            assert!(series(other).is_err(), "{other}");
        }
    }
}
