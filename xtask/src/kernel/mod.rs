//! `cargo xtask kernel`: the packet tests on another kernel, one of Debian's, in an emulated machine.
//!
//! It builds the tests, and has the kernel fetched and the machine run.

use std::{
    path::PathBuf,
    process::{ExitCode, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};

use crate::{
    machine::{self, Job, Kernel},
    process::cargo,
    setup,
    test::{Count, KERNEL_TESTS, parse_result},
};

/// The test binary that is run there. The others need DNS servers, and more time than there is.
const TESTS: &str = "packet";

/// Packages of the programs that the tests run.
const PACKAGES: [&str; 2] = ["bpftool", "iproute2"];

/// How long the machine may take, several times what it needs.
const LIMIT: Duration = Duration::from_secs(40 * 60);

/// Run the packet tests on a kernel of Debian's, in an emulated machine
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The kernel's first two numbers; the newest that apt offers is taken
    #[arg(default_value = "6.1", value_parser = series)]
    series: String,
    /// Passed on to the test binary, after `--`
    #[arg(last = true)]
    arguments: Vec<String>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    setup::ensure()?;
    machine::ensure()?;
    let kernel = Kernel::get(&args.series)?;
    let tests = build_tests()?;
    eprintln!("kernel: starting {}", kernel.release);
    let root = std::path::absolute(".")?;
    let there = PathBuf::from("/tests/packet");
    let mut command = vec![there.display().to_string()];
    command.extend(args.arguments.iter().cloned());
    let job = Job {
        name: "packet",
        packages: &PACKAGES,
        files: vec![(tests, there), (root.clone(), root.clone())],
        modules: &["veth"],
        command: &command,
        folder: &root.join("tests"),
        environment: &[],
        limit: LIMIT,
    };
    let outcome = machine::run(&kernel, &job, |line| println!("{line}"))?;
    let count = conclude(&outcome.printed, outcome.exit_status)?;
    if count.passed + count.failed == 0 {
        eprintln!("error: no test ran");
    }
    println!("{count}");
    Ok(if count.passed > 0 && count.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What the tests counted, if the exit status says the same.
fn conclude(printed: &str, exit_status: u8) -> anyhow::Result<Count> {
    let count = printed.lines().filter_map(parse_result).last();
    let count = count.with_context(|| {
        format!("the tests ended with status {exit_status} and printed no result")
    })?;
    ensure!(
        (exit_status == 0) == (count.failed == 0),
        "the tests ended with status {exit_status} and {} of them failed",
        count.failed
    );
    Ok(count)
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

/// Builds the test binary, and says where it is.
fn build_tests() -> anyhow::Result<PathBuf> {
    let output = cargo()
        .args([
            "test",
            "--no-run",
            "--locked",
            "--release",
            "--package",
            KERNEL_TESTS,
        ])
        .args(["--test", TESTS])
        .arg("--message-format=json-render-diagnostics")
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo test")?;
    if !output.status.success() {
        bail!("cargo test --no-run failed ({})", output.status);
    }
    output
        .stdout
        .split(|octet| *octet == b'\n')
        .filter_map(|line| serde_json::from_slice::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == TESTS)
        .find_map(|message| Some(PathBuf::from(message["executable"].as_str()?)))
        .with_context(|| format!("cargo named no test binary {TESTS}"))
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
