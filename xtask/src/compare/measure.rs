//! What is measured, and how: the benchmarks are built and run, and their records read.

use std::{
    env::current_exe,
    fmt,
    panic::resume_unwind,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    thread::{self, ScopedJoinHandle},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use dns_lb_tests::comparison::{CostRow, FailoverRow, MailRow, Part as Taken};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    Part, emulated,
    record::{self, Kernel, Suite},
    scale,
};
use crate::{
    bench::build_floor,
    binary,
    kernel::suite_names,
    machine::UNLIKE_DEBIAN,
    process::{cargo, executables, output_within},
    test::{KERNEL_TESTS, parse_result},
};

/// How long the benchmark may take for a part here, several times what it needs.
const LIMIT: Duration = Duration::from_secs(4 * 60 * 60);
/// The same with `--quick`.
const QUICK_LIMIT: Duration = Duration::from_secs(15 * 60);

/// Debian packages whose programs are measured. IPVS is the kernel's.
const MEASURED: [&str; 4] = ["dnsdist", "keepalived", "nftables", "nsd"];

/// A record that is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Measurement {
    part: Part,
    /// Whether in the emulated machine.
    emulated: bool,
}

/// Where there is to be measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places {
    pub(super) here: bool,
    pub(super) emulated: bool,
}

/// What is to be measured for these parts, what takes longest at the end: those of a group at the same
/// time. Time in an emulated machine is its own, so several of them do not disturb each other.
pub(super) fn plan(parts: &[Part], places: Places) -> Vec<Vec<Measurement>> {
    let of = |emulated: bool, is_wanted: fn(Part) -> bool| -> Vec<Measurement> {
        let parts = parts.iter().filter(move |part| is_wanted(**part));
        parts.map(|&part| Measurement { part, emulated }).collect()
    };
    let is_kernel = |part| part == Part::Kernel;
    let mut groups = Vec::new();
    if places.here {
        let alone = of(false, |part| part != Part::Kernel);
        groups.extend(alone.into_iter().map(|measurement| vec![measurement]));
    }
    if places.emulated {
        // The agent's time and the packet's, in scale, are of the machine at hand.
        groups.push(of(true, |part| !matches!(part, Part::Scale | Part::Kernel)));
        groups.push(of(true, is_kernel));
    } else {
        for measurement in of(true, |part| part != Part::Scale) {
            eprintln!("NOT MEASURED: {measurement}: it was not asked for");
        }
    }
    if places.here {
        groups.push(of(false, is_kernel));
    }
    groups.retain(|group| !group.is_empty());
    groups
}

/// Measures all of a group at the same time, and returns what failed.
pub(super) fn take(group: &[Measurement], folder: &Path, quick: bool) -> Vec<Measurement> {
    let take = |measurement: &Measurement| {
        println!("\n# compare: {measurement}");
        let taken = measurement.take(folder, quick);
        let failed = taken.inspect_err(|error| eprintln!("error: {measurement}: {error:#}"));
        failed.is_err().then_some(*measurement)
    };
    thread::scope(|scope| {
        let started: Vec<_> = group
            .iter()
            .map(|measurement| scope.spawn(move || take(measurement)))
            .collect();
        let ended = started.into_iter().map(ScopedJoinHandle::join);
        ended
            .filter_map(|failed| failed.unwrap_or_else(|panic| resume_unwind(panic)))
            .collect()
    })
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mail => "mail",
            Self::Failover => "failover",
            Self::Cost => "cost",
            Self::Scale => "scale",
            Self::Kernel => "kernel",
        })
    }
}

impl fmt::Display for Measurement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.part, self.place())
    }
}

impl Measurement {
    /// Measures, and keeps the record in the folder in place of the one before.
    fn take(self, folder: &Path, quick: bool) -> anyhow::Result<()> {
        match self.part {
            Part::Mail => self.compare::<MailRow>(folder, quick, |row| !row.runs.is_empty()),
            Part::Failover => {
                self.compare::<FailoverRow>(folder, quick, |row| !row.runs.is_empty())
            }
            Part::Cost => self.compare::<CostRow>(folder, quick, |row| {
                !(row.path_ns.is_empty() && row.queries_per_second.is_empty())
            }),
            Part::Scale => record::save(folder, "scale", &scale::measure(quick)?),
            Part::Kernel => {
                let kernel = match self.emulated {
                    true => emulated_kernel(quick)?,
                    false => this_kernel(quick)?,
                };
                record::save(folder, &self.record(), &kernel)
            }
        }
    }

    /// Has the benchmark `compare` measure a part.
    fn compare<Row: Serialize + DeserializeOwned>(
        self,
        folder: &Path,
        quick: bool,
        is_measured: impl Fn(&Row) -> bool,
    ) -> anyhow::Result<()> {
        let part = self.part.to_string();
        let programs = Programs::build()?;
        let records = match self.emulated {
            false => vec![programs.run_here(&part, quick)?],
            true => emulated::run(&programs, &part, quick)?,
        };
        let mut record = joined::<Row>(&records)?;
        if self.emulated {
            let words =
                format!("started with {UNLIKE_DEBIAN}, without the processor's erms and fsrm");
            record.machine.push(words);
        }
        record.machine.extend(versions());
        record.machine.extend(revision());
        ensure!(
            record.rows.iter().any(is_measured),
            "the benchmark has measured nothing"
        );
        record::save(folder, &self.record(), &record)
    }

    /// What its record is called.
    fn record(self) -> String {
        format!("{}-{}", self.place(), self.part)
    }

    fn place(self) -> &'static str {
        if self.emulated { "emulated" } else { "here" }
    }
}

/// One record of what several machines that are alike have measured.
fn joined<Row: DeserializeOwned>(records: &[Vec<u8>]) -> anyhow::Result<Taken<Row>> {
    let mut all = records.iter().map(|record| -> anyhow::Result<Taken<Row>> {
        serde_json::from_slice(record).context("the benchmark's record cannot be read")
    });
    let mut joined = all.next().context("there is no record")??;
    for record in all {
        let record = record?;
        ensure!(
            record.machine == joined.machine && record.quick == joined.quick,
            "machines that are to be alike are not: {:?}, {:?}",
            joined.machine,
            record.machine
        );
        joined.rows.extend(record.rows);
        joined.skipped.extend(record.skipped);
    }
    Ok(joined)
}

/// What the benchmark `compare` needs: cargo builds each only once.
pub(super) struct Programs {
    pub(super) compare: PathBuf,
    /// Where the others are: variables for the benchmark.
    pub(super) variables: [(&'static str, PathBuf); 2],
}

impl Programs {
    fn build() -> anyhow::Result<Self> {
        Ok(Self {
            variables: [
                ("DNS_LB_BINARY", std::path::absolute(binary::build()?)?),
                ("DNS_LB_FLOOR", build_floor()?.into()),
            ],
            compare: build_benchmark()?,
        })
    }

    fn run_here(&self, part: &str, quick: bool) -> anyhow::Result<Vec<u8>> {
        let mut benchmark = Command::new(&self.compare);
        benchmark
            .arg(part)
            .args(quick.then_some("--quick"))
            .envs(self.variables.iter().map(|(name, path)| (name, path)));
        let limit = if quick { QUICK_LIMIT } else { LIMIT };
        let (status, record) =
            output_within(&mut benchmark, limit).context("running the benchmark")?;
        ensure!(status.success(), "the benchmark failed ({status})");
        Ok(record)
    }
}

/// The packages of what is measured, and their versions, which are the same in the emulated machine; none
/// where nobody knows.
fn versions() -> Option<String> {
    let mut query = Command::new("dpkg-query");
    query
        .args(["-W", "-f", "${db:Status-Status} ${Package} ${Version}\n"])
        .args(MEASURED)
        .stderr(Stdio::null());
    // It fails if one of them is not there, and names the others.
    let listed = query.output().ok()?.stdout;
    let listed = String::from_utf8_lossy(&listed);
    let installed = listed
        .lines()
        .filter_map(|it| it.strip_prefix("installed "));
    let versions = installed.collect::<Vec<_>>().join(", ");
    (!versions.is_empty()).then_some(versions)
}

/// The revision of dns-lb that is measured, where there is a repository to ask.
fn revision() -> Option<String> {
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        git.args(arguments).stderr(Stdio::null()).output()
    };
    let head = git(&["rev-parse", "--short", "HEAD"]).ok()?;
    // The records are there, which change while others are measured.
    let changes = git(&["status", "--porcelain", "--", ":/", ":!/docs"]).ok()?;
    if !head.status.success() || !changes.status.success() {
        return None;
    }
    let head = String::from_utf8_lossy(&head.stdout).trim().to_owned();
    let changed = if changes.stdout.is_empty() {
        ""
    } else {
        " with changes"
    };
    Some(format!("dns-lb {head}{changed}"))
}

/// Builds the benchmark `compare`, and says where it is.
fn build_benchmark() -> anyhow::Result<PathBuf> {
    let mut build = cargo();
    build
        .args(["bench", "--no-run", "--package", KERNEL_TESTS])
        .args(["--bench", "compare"]);
    executables(&mut build)?
        .remove("compare")
        .context("cargo named no benchmark compare")
}

/// Runs the test suites on another kernel.
fn emulated_kernel(quick: bool) -> anyhow::Result<Kernel> {
    let mut chore = Command::new(current_exe().context("this program is not to be found")?);
    chore
        .args(["kernel", "--json", emulated::SERIES])
        .args(suites(quick));
    let (status, document) =
        output_within(&mut chore, LIMIT).context("running cargo xtask kernel")?;
    // That tests fail there is a result, and no reason to keep none.
    let mut kernel: Kernel = serde_json::from_slice(&document)
        .with_context(|| format!("no results of cargo xtask kernel ({status})"))?;
    let count: usize = kernel.suites.iter().map(|it| it.passed + it.failed).sum();
    ensure!(count > 0, "no test ran on {}", kernel.kernel);
    kernel.quick = quick;
    Ok(kernel)
}

/// Runs the same test suites here.
fn this_kernel(quick: bool) -> anyhow::Result<Kernel> {
    let name = dns_lb_tests::machine::describe().pop();
    Ok(Kernel {
        kernel: name.unwrap_or_else(|| "this kernel".to_owned()),
        quick,
        suites: suites(quick)
            .into_iter()
            .map(run_suite)
            .collect::<anyhow::Result<_>>()?,
    })
}

/// The test suites that ask the kernel, or the one that asks the most of it.
fn suites(quick: bool) -> Vec<&'static str> {
    let mut suites = suite_names();
    suites.truncate(if quick { 1 } else { suites.len() });
    suites
}

/// Runs a test suite here.
fn run_suite(name: &str) -> anyhow::Result<Suite> {
    println!("\n# compare: tests of {name}, here");
    let output = cargo()
        .args(["test", "--locked", "--package", KERNEL_TESTS])
        .args(["--test", name])
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo test")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let suite = read_suite(name, &text, &output.status);
    ensure!(
        suite.passed + suite.failed > 0,
        "no test of {name} ran ({})",
        output.status
    );
    Ok(suite)
}

/// Reads what a test binary printed, which ended so.
fn read_suite(name: &str, text: &str, status: &ExitStatus) -> Suite {
    let mut suite = Suite {
        name: name.to_owned(),
        passed: 0,
        failed: 0,
        left_out: Vec::new(),
        failures: Vec::new(),
    };
    for line in text.lines() {
        let failed = line
            .strip_prefix("test ")
            .and_then(|line| line.strip_suffix(" ... FAILED"));
        if let Some(failed) = failed {
            println!("{line}");
            suite.failures.push(failed.to_owned());
        }
        if let Some(count) = parse_result(line) {
            suite.passed += count.passed;
            suite.failed += count.failed;
        }
    }
    // As elsewhere: what does not come to its end has failed, and says nothing for what passed before.
    if !status.success() && suite.failed == 0 {
        suite.failed = 1;
        suite.failures = vec![format!("all of it ({status})")];
    }
    suite
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn a_suite_that_does_not_come_to_its_end_has_failed() {
        let good = "test a ... ok\n\ntest result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n";
        let read = |text, status| {
            let suite = read_suite("lab", text, &ExitStatus::from_raw(status));
            (suite.passed, suite.failed, suite.failures)
        };
        assert_eq!(read(good, 0), (1, 0, Vec::new()));
        for text in [good, "test a ... ok\n"] {
            let (_, failed, failures) = read(text, 6);
            assert_eq!(failed, 1);
            assert!(failures[0].contains("signal: 6"), "{failures:?}");
        }
        let bad = "test a ... FAILED\ntest result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out\n";
        assert_eq!(read(bad, 101 << 8), (1, 1, vec!["a".to_owned()]));
    }
}
