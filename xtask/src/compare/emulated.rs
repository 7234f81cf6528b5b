//! The same benchmark in an emulated machine, on the kernel that has what this one lacks.

use std::{
    panic::resume_unwind,
    path::Path,
    sync::{Mutex, PoisonError},
    thread::{self, ScopedJoinHandle},
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
/// another kernel is measured on this one. Each list is one machine's: all are the same machine, and
/// whatever takes long is dealt out, but what is compared with one another.
const ARRANGEMENTS: [&str; 2] = [
    "ipvs-textbook,ipvs-expire,dns-lb",
    "ipvs-tuned,dns-lb-tuned",
];

/// Runs of each death there.
const RUNS: &str = "3";

/// The benchmark finds IPVS by what is loaded.
const MODULES: [&str; 4] = ["veth", "ip_vs", "ip_vs_rr", "ip_vs_mh"];

/// Where the programs are there.
const HOME: &str = "/compare";

/// How long the machine may take, several times what it needs.
const LIMIT: Duration = Duration::from_secs(90 * 60);

/// Keeps the record, and only that, of all that the benchmark says. The file's name comes first.
const KEEP_RECORD: &str = r#"file=$1; shift; exec "$@" > "$file""#;

/// Has the benchmark measure a part there, and returns its records: one of each machine.
pub(super) fn run(programs: &Programs, part: &str, quick: bool) -> anyhow::Result<Vec<Vec<u8>>> {
    let shares: &[&str] = match part {
        "mail" | "failover" => &ARRANGEMENTS,
        // Its forwarders are measured by turns.
        _ => &[""],
    };
    thread::scope(|scope| {
        let started: Vec<_> = (1..)
            .zip(shares)
            .map(|(number, arrangements)| {
                let name = format!("{part}-{number}");
                let arguments = arguments(part, arrangements, quick);
                scope.spawn(move || run_share(programs, &name, arguments))
            })
            .collect();
        let ended = started.into_iter().map(ScopedJoinHandle::join);
        ended
            .map(|record| record.unwrap_or_else(|panic| resume_unwind(panic)))
            .collect()
    })
}

fn run_share(programs: &Programs, name: &str, arguments: Vec<String>) -> anyhow::Result<Vec<u8>> {
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
    command.extend(arguments);

    let job = Job {
        name: &format!("compare-{name}"),
        packages: &setup::lab_packages(),
        files,
        modules: &MODULES,
        command: &command,
        folder: Path::new(HOME),
        environment: &environment,
        limit: LIMIT,
    };
    let mut outcome = machine::run(&kernel, &job, |line| eprintln!("{name}: {line}"))?;
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
fn arguments(part: &str, arrangements: &str, quick: bool) -> Vec<String> {
    let mut arguments = vec![part];
    arguments.extend(quick.then_some("--quick"));
    if part != "cost" {
        // Waiting costs no time there, and the machine has one processor.
        arguments.extend(["--arrangements", arrangements, "--at-once", "1"]);
        if !quick {
            arguments.extend(["--runs", RUNS]);
        }
    }
    arguments.into_iter().map(str::to_owned).collect()
}
