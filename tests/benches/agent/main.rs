//! What the agent itself costs with 1,000 backends, each probed twice a second through the VIP.
//! `cargo xtask bench agent` runs it.

mod report;

use std::{
    env,
    fmt::Write as _,
    fs,
    net::{IpAddr, Ipv4Addr},
    path::Path,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use dns_lb_tests::{Agent, Backend, Lab, Software, Topology};
use nix::unistd::{SysconfVar, sysconf};
use serde_json::Value;

use self::report::{Report, Row};

/// Backends of all services.
const BACKENDS: u16 = 1_000;

/// How many services share them.
const SERVICES: [u16; 2] = [1, 100];

/// Until all backends are up, and then until all is quiet.
const START_LIMIT: Duration = Duration::from_secs(60);
const SETTLE: Duration = Duration::from_secs(5);

/// How long is measured.
const TIME: Duration = Duration::from_secs(30);
const QUICK: Duration = Duration::from_secs(5);

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let binary = env::var_os("DNS_LB_BINARY").context("`cargo xtask bench` sets it")?;
    let time = if has("--quick") { QUICK } else { TIME };
    let rows = SERVICES.map(|services| measure(Path::new(&binary), services, time));
    let report = Report {
        rows: rows.into_iter().collect::<Result<_>>()?,
        time,
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

/// The VIP of a service, from 0.
const fn vip(service: u16) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, service as u8 + 1)
}

/// The address of a backend, from 0.
const fn address(backend: u16) -> Ipv4Addr {
    Ipv4Addr::new(10, 53, (backend / 250) as u8, (backend % 250) as u8 + 1)
}

/// Runs the agent and measures it.
fn measure(binary: &Path, services: u16, time: Duration) -> Result<Row> {
    // A thousand addresses of one host: what is measured is the agent, not a thousand servers.
    let mut lab = Lab::build(&Topology::of(&[Software::Nsd]))?;
    let farm = &mut lab.backends[0];
    let vips: Vec<IpAddr> = (0..services).map(|service| vip(service).into()).collect();
    let mut lines = String::new();
    for address in vips
        .iter()
        .copied()
        .chain((0..BACKENDS).map(|backend| address(backend).into()))
    {
        // Writing to a string cannot fail.
        let _ = writeln!(lines, "addr add {address}/32 dev lo");
    }
    farm.node.ip(&lines)?;
    farm.further_addresses = vips;
    farm.start()?;
    lab.balancer.ip("route add 10.53.0.0/16 dev eth0")?;

    let configuration = configuration(&lab.backends[0], services);
    let mut agent = Agent::start(&lab.balancer, binary, &configuration)?;
    agent.wait_until_all_up(START_LIMIT)?;
    thread::sleep(SETTLE);
    let started = probes(&agent)?;
    let pid = agent.pid()?;
    let cpu = cpu_time(pid)?;
    thread::sleep(time);
    let cpu = cpu_time(pid)? - cpu;
    let ended = probes(&agent)?;
    ensure!(
        agent.status()?.all_up(),
        "a backend is down: {}",
        agent.log()
    );
    Ok(Row {
        services,
        cpu_percent: cpu.as_secs_f64() / time.as_secs_f64() * 1e2,
        resident_mb: memory(pid, "VmRSS")?,
        most_resident_mb: memory(pid, "VmHWM")?,
        latest_ms: ended.latest_us as f64 / 1e3,
        late: ended.late,
        late_meanwhile: ended.late - started.late,
        probes_per_second: (ended.total - started.total) as f64 / time.as_secs_f64(),
    })
}

fn configuration(farm: &Backend, services: u16) -> String {
    let mut text = "interfaces = [\"eth0\"]\n".to_owned();
    for service in 0..services {
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "\n[[service]]\nname = \"s{service}\"\nvips = [\"{}\"]\n\
             [service.health]\ninterval = \"500ms\"\n",
            vip(service)
        );
        let each = BACKENDS / services;
        for backend in service * each..(service + 1) * each {
            let _ = write!(
                text,
                "[[service.backend]]\nname = \"b{backend}\"\naddress = \"{}\"\nmac = \"{}\"\n",
                address(backend),
                farm.mac
            );
        }
    }
    text
}

/// Probes of all backends since the agent was started.
#[derive(Default)]
struct Probes {
    total: u64,
    late: u64,
    latest_us: u64,
}

fn probes(agent: &Agent) -> Result<Probes> {
    let output = agent.run(&["status", "--json"])?;
    let status: Value = serde_json::from_slice(&output.stdout)?;
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

/// The CPU time that a process has used so far, in user space and in the kernel.
fn cpu_time(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // Columns 14 and 15, in ticks (proc_pid_stat(5)); a name in parentheses may hold anything.
    let columns = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = columns
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|column| column.parse::<u64>())
        .sum::<Result<_, _>>()?;
    let per_second = sysconf(SysconfVar::CLK_TCK)?.context("ticks have no length")?;
    Ok(Duration::from_secs_f64(ticks as f64 / per_second as f64))
}

/// A size of a process's memory, in megabytes (10⁶ octets).
fn memory(pid: u32, name: &str) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kibibytes = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .and_then(|value| value.trim().strip_suffix(" kB"))
        .with_context(|| format!("the kernel does not tell {name}"))?;
    Ok(kibibytes.trim().parse::<f64>()? * 1_024.0 / 1e6)
}
