//! `cargo xtask test`: every test by one command, and one line that counts them.

use std::{
    fmt,
    ops::AddAssign,
    process::{ExitCode, Stdio},
};

use anyhow::{Context as _, bail};

use crate::{
    process::{cargo, lines},
    setup::{self, is_root},
};

/// The crate whose tests need root and a kernel.
pub(crate) const KERNEL_TESTS: &str = "dns-lb-tests";

/// What tells the tests that `--soak` was given.
const SOAK: &str = "DNS_LB_SOAK";

pub(crate) fn run(host_only: bool, soak: bool, arguments: &[String]) -> anyhow::Result<ExitCode> {
    if !host_only {
        if !is_root() {
            bail!(
                "the kernel and lab tests need root: run `cargo xtask test` as root, or \
                 `cargo xtask test --host-only` for the others"
            );
        }
        setup::ensure()?;
    }

    let mut total = cargo_test(&["--workspace", "--exclude", KERNEL_TESTS], soak, arguments)?;
    let mut complete = true;
    if !host_only {
        let kernel = cargo_test(&["--package", KERNEL_TESTS], soak, arguments)?;
        if kernel.passed == 0 {
            eprintln!("error: no kernel or lab test ran");
            complete = false;
        }
        total += kernel;
    }
    // Not the line of a whole run, for whoever reads only the last one.
    let left_out = if host_only {
        ", kernel and lab tests left out"
    } else {
        ""
    };
    println!("{total}{left_out}");
    Ok(if complete && total.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What test binaries reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        )
    }
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// Runs `cargo test`, passes its output on as it comes, and counts.
fn cargo_test(packages: &[&str], soak: bool, arguments: &[String]) -> anyhow::Result<Count> {
    let mut child = cargo()
        .args(["test", "--locked", "--no-fail-fast"])
        .args(packages)
        .arg("--")
        .args(arguments)
        .envs(soak.then_some((SOAK, "1")))
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run cargo test")?;
    let stdout = child.stdout.take().expect("stdout is piped");
    let mut count = Count::default();
    for line in lines(stdout) {
        let line = line.context("cannot read the output of cargo test")?;
        println!("{line}");
        if let Some(result) = parse_result(&line) {
            count += result;
        }
    }
    let status = child.wait().context("cannot wait for cargo test")?;
    if !status.success() && count.failed == 0 {
        eprintln!("error: cargo test ended with {status} and named no failed test: counted as one");
        count.failed = 1;
    }
    Ok(count)
}

/// Reads the line with which a test binary ends; `None` if it is another line.
pub(crate) fn parse_result(line: &str) -> Option<Count> {
    let (_, fields) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let field = |name: &str| {
        fields
            .split("; ")
            .find_map(|field| field.strip_suffix(name)?.trim_end().parse().ok())
    };
    Some(Count {
        passed: field("passed")?,
        failed: field("failed")?,
        skipped: field("ignored")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_test_binaries_are_read() {
        let ok = "test result: ok. 12 passed; 0 failed; 3 ignored; 0 measured; 1 filtered out; finished in 0.01s";
        assert_eq!(
            parse_result(ok),
            Some(Count {
                passed: 12,
                failed: 0,
                skipped: 3
            })
        );
        let failed = "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s";
        assert_eq!(
            parse_result(failed),
            Some(Count {
                passed: 1,
                failed: 2,
                skipped: 0
            })
        );
        assert_eq!(parse_result("test frame::tests::short ... ok"), None);
        assert_eq!(parse_result("test result: unreadable"), None);
    }
}
