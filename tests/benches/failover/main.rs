//! What each death of a server costs, at the default timings and at fast ones, in the lab: real
//! servers, real queries. `cargo xtask bench failover` runs it.

mod report;

use std::{env, path::Path};

use anyhow::{Context as _, Result, bail};
use dns_lb_tests::{Agent, Backend, Death, Failover, Lab, Software, Topology, agent, failover};

use self::report::{Report, Row};

/// Queries a second.
const RATE: u32 = 5_000;

/// Runs of each death.
const RUNS: usize = 5;

/// How often a run is tried, if the lab loses packets by itself.
const TRIES: usize = 3;

/// The servers: the first is the one that dies.
const SERVERS: [Software; 3] = [Software::Nsd, Software::Knot, Software::Nsd];

/// Settings of `[service.health]` by which deaths are found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timing {
    Default,
    Fast,
}

impl Timing {
    const ALL: [Self; 2] = [Self::Default, Self::Fast];

    const fn settings(self) -> &'static str {
        match self {
            Self::Default => "",
            Self::Fast => "[service.health]\ninterval = \"50ms\"\ntimeout = \"50ms\"\nfall = 1\n",
        }
    }
}

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let binary = env::var_os("DNS_LB_BINARY").context("`cargo xtask bench` sets it")?;
    let runs = if has("--quick") { 1 } else { RUNS };
    let mut rows = Vec::new();
    for timing in Timing::ALL {
        for death in Death::ALL {
            let mut row = Row::new(death, timing);
            for _ in 0..runs {
                let run = run(Path::new(&binary), death, timing)?;
                eprintln!("{}: {run:?}", row.name());
                row.runs.push(run);
            }
            rows.push(row);
        }
    }
    let report = Report { rows };
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

/// A death in a lab of its own, in which the lab itself has lost nothing.
fn run(binary: &Path, death: Death, timing: Timing) -> Result<Failover> {
    for _ in 0..TRIES {
        let mut lab = Lab::start(&Topology::of(&SERVERS))?;
        let backends: Vec<&Backend> = lab.backends.iter().collect();
        let configuration = agent::configuration(&["eth0"], "hash", &backends) + timing.settings();
        let mut agent = Agent::start(&lab.balancer, binary, &configuration)?;
        agent.wait_until_all_up(agent::PATIENCE)?;
        let run = failover(&mut lab, &mut agent, 0, death, RATE)?;
        if run.own_losses == 0 {
            return Ok(run);
        }
        eprintln!("again, since the lab itself has lost packets: {run:?}");
    }
    bail!("the machine is too busy: the lab has lost packets in each of {TRIES} runs")
}
