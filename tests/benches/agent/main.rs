//! What the agent itself costs with up to 1,000 servers in up to 100 services, each backend probed
//! twice a second through its VIP. `cargo xtask bench agent` runs it.

mod farm;
mod report;
mod usage;

use std::{
    env,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use dns_lb_tests::{Agent, Scale};
use serde_json::Value;

use self::{
    farm::Farm,
    report::{Report, Row},
    usage::{cpu_time, memory},
};

/// Until all backends are up.
const START_LIMIT: Duration = Duration::from_secs(60);

/// How long and how often is measured.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    /// Until all is quiet after the start.
    settle: Duration,
    /// For which CPU time and probes are counted.
    pub(crate) time: Duration,
    /// Tables built.
    pub(crate) builds: u16,
}

impl Effort {
    const FULL: Self = Self {
        settle: Duration::from_secs(5),
        time: Duration::from_secs(30),
        builds: 21,
    };
    const QUICK: Self = Self {
        settle: Duration::from_secs(1),
        time: Duration::from_secs(3),
        builds: 3,
    };
}

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let binary = env::var_os("DNS_LB_BINARY").context("`cargo xtask bench` sets it")?;
    let effort = if has("--quick") {
        Effort::QUICK
    } else {
        Effort::FULL
    };
    let rows = Scale::ALL.map(|scale| measure(Path::new(&binary), scale, effort));
    let report = Report {
        rows: rows.into_iter().collect::<Result<_>>()?,
        effort,
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

/// Runs the agent and measures it.
fn measure(binary: &Path, scale: Scale, effort: Effort) -> Result<Row> {
    let farm = Farm::build(scale)?;
    let mut agent = Agent::start(&farm.lab.balancer, binary, &farm.configuration())?;
    agent.wait_until_all_up(START_LIMIT)?;
    thread::sleep(effort.settle);
    let started = probes(&agent)?;
    let pid = agent.pid()?;
    let (begun, cpu) = (Instant::now(), cpu_time(pid)?);
    thread::sleep(effort.time);
    let (elapsed, cpu) = (begun.elapsed(), cpu_time(pid)? - cpu);
    let ended = probes(&agent)?;
    let (resident_mb, most_resident_mb) = (memory(pid, "VmRSS")?, memory(pid, "VmHWM")?);
    let builds = (0..effort.builds).map(|round| build_tables(&mut agent, round));
    let table_ms = builds.collect::<Result<_>>()?;
    ensure!(
        agent.status()?.all_up(),
        "a backend is down: {}",
        agent.log()
    );
    Ok(Row {
        scale,
        cpu_percent: cpu.as_secs_f64() / elapsed.as_secs_f64() * 1e2,
        resident_mb,
        most_resident_mb,
        table_ms,
        latest_ms: ended.latest_us as f64 / 1e3,
        late: ended.late,
        late_meanwhile: ended.late - started.late,
        probes_per_second: (ended.total - started.total) as f64 / elapsed.as_secs_f64(),
    })
}

/// Has the agent build the tables anew, and returns how many milliseconds it says that it took until
/// packets went by them.
///
/// What changes is one backend's weight: a service may have no other backend, and then keeps it.
fn build_tables(agent: &mut Agent, round: u16) -> Result<f64> {
    let before = agent.status()?.generation;
    let weight = if round.is_multiple_of(2) { "2" } else { "1" };
    let output = agent.run(&["weight", farm::CHANGED, weight])?;
    ensure!(
        output.status.success(),
        "dns-lb weight: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    agent.wait_until("new tables", START_LIMIT, |status| {
        status.generation > before
    })?;
    let took = document(agent)?["tables"]["last_us"].as_u64();
    Ok(took.context("the status does not say how long tables took")? as f64 / 1e3)
}

/// Probes of all backends since the agent was started.
#[derive(Default)]
struct Probes {
    total: u64,
    late: u64,
    latest_us: u64,
}

fn probes(agent: &Agent) -> Result<Probes> {
    let status = document(agent)?;
    let services = status["services"].as_array().into_iter().flatten();
    let backends =
        services.flat_map(|service| service["backends"].as_array().into_iter().flatten());
    let mut sum = Probes::default();
    for backend in backends {
        let count = |name: &str| {
            let count = backend["probes"][name].as_u64();
            count.with_context(|| format!("the status has no {name} of probes"))
        };
        sum.total += count("total")?;
        sum.late += count("late")?;
        sum.latest_us = sum.latest_us.max(count("latest_us")?);
    }
    Ok(sum)
}

/// The whole status document.
fn document(agent: &Agent) -> Result<Value> {
    let output = agent.run(&["status", "--json"])?;
    serde_json::from_slice(&output.stdout).context("dns-lb status --json")
}
