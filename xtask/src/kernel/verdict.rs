//! What became of the tests: read from what a test binary printed, and put together by suite.

use anyhow::{Context as _, ensure};
use serde::Serialize;

use super::suites::{LeftOut, Share, Suite};
use crate::{
    machine::Outcome,
    test::{Count, parse_result},
};

/// The line before the names of tests that failed.
const FAILURES: &str = "failures:";

/// What became of one share of a suite.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    passed: usize,
    /// By name.
    failed: Vec<String>,
}

impl Verdict {
    /// Reads what a test binary printed, which was to run so many tests.
    ///
    /// # Errors
    /// It did not come to its end, or contradicts itself.
    pub(super) fn read(outcome: &Outcome, tests: usize) -> anyhow::Result<Self> {
        let status = outcome.exit_status;
        let count = outcome.printed.lines().filter_map(parse_result).next_back();
        let Count {
            passed,
            failed,
            skipped,
        } = count.with_context(|| {
            format!("the tests ended with status {status} and printed no result")
        })?;
        ensure!(
            (status == 0) == (failed == 0),
            "the tests ended with status {status} and {failed} of them failed"
        );
        ensure!(
            passed + failed == tests,
            "of {tests} tests {passed} passed, {failed} failed and {skipped} were skipped"
        );
        // The names come last; before them the same line begins what the tests have printed.
        let names = outcome.printed.rsplit_once(FAILURES);
        let names = names.map_or("", |(_, names)| names).lines();
        let names: Vec<String> = names
            .filter_map(|line| line.strip_prefix("    "))
            .map(str::to_owned)
            .collect();
        ensure!(
            names.len() == failed,
            "{failed} tests failed, and these names are given: {names:?}"
        );
        Ok(Self {
            passed,
            failed: names,
        })
    }

    /// Of a share that did not come to its end: nobody knows how many of its tests would have passed.
    pub(super) fn none(share: &Share) -> Self {
        let tests = share.tests.iter();
        Self {
            passed: 0,
            failed: tests.map(|test| format!("{test} (no result)")).collect(),
        }
    }
}

/// All suites in the order in which they were asked for.
#[derive(Default)]
pub(super) struct Report(Vec<(Suite, Row)>);

/// What became of a suite, as the document has it.
#[derive(Serialize)]
pub(super) struct Row {
    name: &'static str,
    passed: usize,
    failed: usize,
    left_out: Vec<LeftOut>,
    /// The names of those that failed.
    failures: Vec<String>,
}

impl Report {
    pub(super) fn begin(&mut self, suite: Suite, left_out: Vec<LeftOut>) {
        let row = Row {
            name: suite.name(),
            passed: 0,
            failed: 0,
            left_out,
            failures: Vec::new(),
        };
        self.0.push((suite, row));
    }

    pub(super) fn add(&mut self, suite: Suite, verdict: Verdict) {
        for (_, row) in self.0.iter_mut().filter(|(of, _)| *of == suite) {
            row.passed += verdict.passed;
            row.failed += verdict.failed.len();
            row.failures.extend(verdict.failed.iter().cloned());
        }
    }

    /// Whether something passed and nothing failed.
    pub(super) fn is_good(&self) -> bool {
        self.suites().any(|row| row.passed > 0) && self.suites().all(|row| row.failed == 0)
    }

    pub(super) fn suites(&self) -> impl Iterator<Item = &Row> {
        self.0.iter().map(|(_, row)| row)
    }

    /// For a person.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for row in self.suites() {
            for LeftOut { test, why } in &row.left_out {
                lines.push(format!("{}: left out: {test}: {why}", row.name));
            }
            for test in &row.failures {
                lines.push(format!("{}: failed: {test}", row.name));
            }
        }
        for row in self.suites() {
            lines.push(format!(
                "{}: {} passed, {} failed, {} left out",
                row.name,
                row.passed,
                row.failed,
                row.left_out.len()
            ));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn read(printed: &str, exit_status: u8, tests: usize) -> anyhow::Result<Verdict> {
        let outcome = Outcome {
            exit_status,
            printed: printed.to_owned(),
            files: BTreeMap::new(),
        };
        Verdict::read(&outcome, tests)
    }

    const GOOD: &str = "test a ... ok\n\ntest result: ok. 1 passed; 0 failed; 0 ignored; \
                        0 measured; 0 filtered out; finished in 0.01s\n";
    const BAD: &str = "failures:\n\n---- b stdout ----\n    indented\n\nfailures:\n    b\n\n\
                       test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; \
                       0 filtered out; finished in 0.01s\n";

    #[test]
    fn only_a_whole_run_counts() {
        let verdict = |passed, failed: &[&str]| Verdict {
            passed,
            failed: failed.iter().map(ToString::to_string).collect(),
        };
        assert_eq!(read(GOOD, 0, 1).unwrap(), verdict(1, &[]));
        assert_eq!(read(BAD, 101, 2).unwrap(), verdict(1, &["b"]));
        for (printed, status, tests) in [
            ("", 0, 1),
            ("test a ... ", 137, 1),
            (GOOD, 139, 1),
            (GOOD, 0, 2),
            (BAD, 0, 2),
        ] {
            assert!(read(printed, status, tests).is_err(), "{printed}, {status}");
        }
    }

    #[test]
    fn shares_of_a_suite_are_put_together() {
        let mut report = Report::default();
        report.begin(Suite::Lab, Vec::new());
        report.add(Suite::Lab, read(GOOD, 0, 1).unwrap());
        assert!(report.is_good());
        let tests = ["b", "c"].map(str::to_owned).into();
        report.add(
            Suite::Lab,
            Verdict::none(&Share::deal(Suite::Lab, tests)[0]),
        );
        assert!(!report.is_good());
        let row = serde_json::to_value(report.suites().next().unwrap()).unwrap();
        assert_eq!(
            (&row["passed"], &row["failed"]),
            (&1.into(), &2.into()),
            "{row}"
        );
    }
}
