//! What is measured, and how: the benchmarks are built and run, and their records read.

use std::{
    env::current_exe,
    fmt,
    panic::resume_unwind,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread::{self, ScopedJoinHandle},
};

use anyhow::{Context as _, bail, ensure};
use dns_lb_tests::comparison::{CostRow, FailoverRow, MailRow, Part as Taken};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    Part, emulated,
    record::{self, Kernel, Kernels, Suite},
    scale,
};
use crate::{
    bench::build_floor,
    binary,
    process::cargo,
    test::{KERNEL_TESTS, parse_result},
};

/// A record that is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Measurement {
    part: Part,
    /// Whether in the emulated machine.
    emulated: bool,
}

/// What is to be measured for these parts, what takes longest at the end: those of a group at the same
/// time. Time in an emulated machine is its own, so several of them do not disturb each other.
pub(super) fn plan(parts: &[Part], quick: bool, emulated: bool) -> Vec<Vec<Measurement>> {
    let has_emulated = |part: &&Part| matches!(part, Part::Mail | Part::Failover | Part::Cost);
    let measurement = |part: &Part, emulated| Measurement {
        part: *part,
        emulated,
    };
    // The agent's time and the packet's are of the machine at hand.
    let here = parts.iter().filter(|part| **part != Part::Kernel);
    let mut groups: Vec<Vec<_>> = here.map(|part| vec![measurement(part, false)]).collect();
    if emulated {
        let there = parts.iter().filter(has_emulated);
        groups.push(there.map(|part| measurement(part, true)).collect());
        let kernel = parts.iter().filter(|part| **part == Part::Kernel);
        groups.extend(kernel.map(|part| vec![measurement(part, true)]));
    } else if quick {
        for part in parts.iter().filter(|part| **part != Part::Scale) {
            eprintln!("NOT MEASURED: {part}, emulated: --quick, without --emulated");
        }
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
        let place = if self.emulated { "emulated" } else { "here" };
        write!(f, "{}, {place}", self.part)
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
            Part::Kernel => record::save(folder, "kernels", &kernels(quick)?),
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
        let record = match self.emulated {
            false => programs.run_here(&part, quick)?,
            true => emulated::run(&programs, &part, quick)?,
        };
        let record: Taken<Row> =
            serde_json::from_slice(&record).context("the benchmark's record cannot be read")?;
        ensure!(
            record.rows.iter().any(is_measured),
            "the benchmark has measured nothing"
        );
        let place = if self.emulated { "emulated" } else { "here" };
        record::save(folder, &format!("{place}-{part}"), &record)
    }
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
        let output = Command::new(&self.compare)
            .arg(part)
            .args(quick.then_some("--quick"))
            .envs(self.variables.iter().map(|(name, path)| (name, path)))
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .context("cannot run the benchmark")?;
        ensure!(
            output.status.success(),
            "the benchmark failed ({})",
            output.status
        );
        Ok(output.stdout)
    }
}

/// Builds the benchmark `compare`, and says where it is.
fn build_benchmark() -> anyhow::Result<PathBuf> {
    let output = cargo()
        .args(["bench", "--no-run", "--package", KERNEL_TESTS])
        .args(["--bench", "compare"])
        .arg("--message-format=json-render-diagnostics")
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo bench")?;
    ensure!(
        output.status.success(),
        "cargo bench --no-run failed ({})",
        output.status
    );
    output
        .stdout
        .split(|octet| *octet == b'\n')
        .filter_map(|line| serde_json::from_slice::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == "compare")
        .find_map(|message| Some(PathBuf::from(message["executable"].as_str()?)))
        .context("cargo named no benchmark compare")
}

/// Runs the test suites on another kernel, and the same ones here.
fn kernels(quick: bool) -> anyhow::Result<Kernels> {
    let output = Command::new(current_exe().context("this program is not to be found")?)
        .args(["kernel", "--json", emulated::SERIES])
        .args(quick.then_some("packet"))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo xtask kernel")?;
    // That tests fail there is a result, and no reason to keep none.
    let emulated: Kernel = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("no results of cargo xtask kernel ({})", output.status))?;
    let count: usize = emulated.suites.iter().map(|it| it.passed + it.failed).sum();
    ensure!(count > 0, "no test ran on {}", emulated.kernel);
    let suites = emulated.suites.iter().map(|suite| run_suite(&suite.name));
    let here = Kernel {
        kernel: dns_lb_tests::machine::describe()
            .pop()
            .unwrap_or_else(|| "this kernel".to_owned()),
        suites: suites.collect::<anyhow::Result<_>>()?,
    };
    Ok(Kernels {
        quick,
        kernels: vec![here, emulated],
    })
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
    if suite.passed + suite.failed == 0 {
        bail!("no test of {name} ran ({})", output.status);
    }
    Ok(suite)
}
