//! `cargo xtask kernel`: the packet tests on another kernel, one of Debian's, in an emulated machine.
//!
//! It builds the tests, and has the kernel fetched, the machine's files collected and the machine
//! run. Nothing of this machine's hardware is used, so it runs wherever the compiler does, slowly.

mod archive;
mod boot;
mod image;
mod package;

use std::{
    path::PathBuf,
    process::{ExitCode, Stdio},
};

use anyhow::{Context as _, bail, ensure};

use crate::{
    process::{cargo, target_dir},
    setup,
    test::KERNEL_TESTS,
};

/// The test binary that is run there. The others need DNS servers, and more time than there is.
const TESTS: &str = "packet";

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
    ensure!(
        cfg!(target_arch = "x86_64"),
        "the emulated machine is an x86-64, and tests that are built here do not run on it"
    );
    setup::ensure()?;
    setup::ensure_emulator()?;
    let folder = std::path::absolute(target_dir())?
        .join("kernel")
        .join(&args.series);
    let kernel = package::get(&args.series, &folder)?;
    let tests = build_tests()?;
    let image = folder.join("image.cpio");
    image::write(&image, &kernel, &tests, &args.arguments)?;

    eprintln!("kernel: starting {}", kernel.release);
    let count = boot::run(&kernel.image, &image)?;
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
        .args(["test", "--no-run", "--locked", "--package", KERNEL_TESTS])
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
