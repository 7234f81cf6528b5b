//! The same benchmark in an emulated machine, on the kernel that has what this one lacks.

use std::{
    path::Path,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, ensure};

use super::measure::Programs;
use crate::{
    machine::{self, Job, Kernel, OUTPUT},
    setup,
};

/// Debian 12's kernel: it has IPVS.
pub(super) const SERIES: &str = "6.1";

/// Who is measured there: those that this kernel may lack, and dns-lb beside them. Who has no need of
/// another kernel is measured on this one.
const ARRANGEMENTS: &str = "ipvs-textbook,ipvs-expire,ipvs-tuned,dns-lb,dns-lb-tuned";

/// The benchmark finds IPVS by what is loaded.
const MODULES: [&str; 4] = ["veth", "ip_vs", "ip_vs_rr", "ip_vs_mh"];

/// Where the programs are there.
const HOME: &str = "/compare";

/// How long the machine may take, several times what it needs.
const LIMIT: Duration = Duration::from_secs(90 * 60);

/// Keeps the record, and only that, of all that the benchmark says. The file's name comes first.
const KEEP_RECORD: &str = r#"file=$1; shift; exec "$@" > "$file""#;

/// Has the benchmark measure a part there, and returns its record.
pub(super) fn run(programs: &Programs, part: &str, quick: bool) -> anyhow::Result<Vec<u8>> {
    let kernel = prepare()?;
    let there = |name: &str| Path::new(HOME).join(name);
    let record = Path::new("record.json");
    let benchmark = there("compare");

    let mut files = vec![(programs.compare.clone(), benchmark.clone())];
    let mut environment = Vec::new();
    for (name, path) in &programs.variables {
        files.push((path.clone(), there(name)));
        environment.push(((*name).to_owned(), there(name).display().to_string()));
    }
    let mut command: Vec<String> = ["sh", "-c", KEEP_RECORD, "sh"].map(str::to_owned).into();
    let words = [&Path::new(OUTPUT).join(record), &benchmark];
    command.extend(words.map(|path| path.display().to_string()));
    command.extend(arguments(part, quick).into_iter().map(str::to_owned));

    let job = Job {
        name: &format!("compare-{part}"),
        packages: &setup::lab_packages(),
        files,
        modules: &MODULES,
        command: &command,
        folder: Path::new(HOME),
        environment: &environment,
        limit: LIMIT,
    };
    let mut outcome = machine::run(&kernel, &job, |line| eprintln!("{part}: {line}"))?;
    ensure!(
        outcome.exit_status == 0,
        "the benchmark failed in the emulated machine (exit status {})",
        outcome.exit_status
    );
    outcome
        .files
        .remove(record)
        .context("the benchmark has left no record in the emulated machine")
}

/// What every machine needs. Parts are measured at the same time, and what one of them installs or unpacks,
/// another does not do beside it.
fn prepare() -> anyhow::Result<Kernel> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    machine::ensure()?;
    Kernel::get(SERIES)
}

/// The benchmark's arguments.
fn arguments(part: &str, quick: bool) -> Vec<&str> {
    let mut arguments = vec![part];
    arguments.extend(quick.then_some("--quick"));
    if part != "cost" {
        arguments.extend(["--arrangements", ARRANGEMENTS]);
        // Waiting costs no time there, and the machine has one processor.
        arguments.extend(["--at-once", "1"]);
    }
    arguments
}
