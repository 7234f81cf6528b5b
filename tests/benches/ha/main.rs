//! What it costs when a balancer goes and comes back, in the lab: two of them with keepalived, and three
//! with BIRD, by the files in `examples`. `cargo xtask bench ha` runs it.

mod report;

use std::{
    env,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use dns_lb_tests::{
    Software, Topology,
    ha::{Absence, Fan, Fault, Pair, Takeover, absence, takeover},
};

use self::report::{Report, Row};

/// Queries a second.
const RATE: u32 = 5_000;

/// Runs of each.
const RUNS: usize = 5;

/// How often a run is tried, if the lab loses packets by itself.
const TRIES: usize = 3;

/// How often `dns-lb ready` is asked.
const ASKED: usize = 50;

/// The servers.
const SERVERS: [Software; 4] = [Software::Nsd, Software::Knot, Software::Nsd, Software::Knot];

/// What happens, to what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    /// To the active one of two that are balancers only.
    Pair(Fault),
    /// To the active one of two that are DNS servers too.
    Smallest(Fault),
    /// To one of three.
    Fan(Absence),
}

impl Case {
    fn all() -> Vec<Self> {
        let pairs = Fault::ALL.into_iter().map(Self::Pair);
        let smallest = [Self::Smallest(Fault::Power)];
        let fans = Absence::ALL.into_iter().map(Self::Fan);
        pairs.chain(smallest).chain(fans).collect()
    }

    fn run(self, binary: &Path) -> Result<Takeover> {
        let topology = Topology::of(&SERVERS);
        match self {
            Self::Pair(fault) => takeover(&mut Pair::start(&topology, binary)?, fault, RATE),
            Self::Smallest(fault) => {
                let topology = Topology::of(&SERVERS[..2]);
                takeover(&mut Pair::start_smallest(&topology, binary)?, fault, RATE)
            }
            // The examples have IPv6 sessions, too.
            Self::Fan(how) => {
                let topology = Topology::dual_stack(&SERVERS);
                absence(&mut Fan::start(&topology, binary)?, how, RATE)
            }
        }
    }
}

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let binary = env::var_os("DNS_LB_BINARY").context("`cargo xtask bench` sets it")?;
    let binary = PathBuf::from(binary);
    let runs = if has("--quick") { 1 } else { RUNS };
    let mut rows = Vec::new();
    for case in Case::all() {
        let mut row = Row::new(case);
        for _ in 0..runs {
            let run = run(&binary, case)?;
            eprintln!("{}: {run:?}", row.name());
            row.runs.push(run);
        }
        rows.push(row);
    }
    let report = Report {
        ready: ready(&binary)?,
        rows,
    };
    print!(
        "{}",
        if has("--json") {
            report.json()
        } else {
            report.text()
        }
    );
    Ok(())
}

/// A case in a lab of its own, in which the lab itself has lost nothing.
fn run(binary: &Path, case: Case) -> Result<Takeover> {
    for _ in 0..TRIES {
        let run = case.run(binary)?;
        if run.own_losses == 0 {
            return Ok(run);
        }
        eprintln!("again, since the lab itself has lost packets: {run:?}");
    }
    bail!("the machine is too busy: the lab has lost packets in each of {TRIES} runs")
}

/// How long `dns-lb ready` takes, from the shortest time to the longest.
fn ready(binary: &Path) -> Result<Vec<Duration>> {
    let pair = Pair::start(&Topology::of(&SERVERS), binary)?;
    let mut took = Vec::with_capacity(ASKED);
    for _ in 0..ASKED {
        let (is_ready, time) = pair.balancers[0].ready()?;
        ensure!(is_ready, "a balancer that works is not ready");
        took.push(time);
    }
    took.sort_unstable();
    Ok(took)
}
