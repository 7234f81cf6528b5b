//! Real clients and real servers: what all of the lab manages, and what a query costs all of it.
//!
//! So many queries are on their way at any time, more than the lab needs to keep every core busy. Both
//! figures are of the whole lab: clients, router, balancer, servers. What a balancer costs is its CPU
//! time a query above that of the same round's without one, where clients ask the servers themselves.
//!
//! It is a veth's world: native XDP is handed `sk_buff`s, which have to be made XDP frames of and back.
//! No network card's driver does that, so this flatters the others; [`super::path`] is without it.

use std::{
    fs,
    net::Ipv4Addr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use dns_lb_tests::{ClosedLoad, Lab, agent::PATIENCE, comparison::CostRow, lab::VIP};
use nix::unistd::{SysconfVar, sysconf};

use super::balancer::Balancer;

/// Queries that are on their way from each client.
const SOCKETS: usize = 64;

/// How often a figure is taken again, if queries were lost.
const TRIES: usize = 3;

/// How much is measured.
pub(super) struct Extent {
    rounds: usize,
    /// How long a load runs before it counts.
    warm_up: Duration,
    /// How long it counts.
    window: Duration,
}

impl Extent {
    pub(super) const fn of(brief: bool) -> Self {
        match brief {
            true => Self {
                rounds: 3,
                warm_up: Duration::from_millis(50),
                window: Duration::from_millis(300),
            },
            false => Self {
                rounds: 11,
                warm_up: Duration::from_millis(250),
                window: Duration::from_millis(1_500),
            },
        }
    }
}

/// Adds the figures to the rows: nothing's is the first, the balancers' follow in order.
pub(super) fn measure(
    lab: &Lab,
    balancers: &mut [Balancer],
    extent: &Extent,
    rows: &mut [CostRow],
) -> Result<()> {
    for balancer in &mut *balancers {
        if let Some(agent) = &mut balancer.agent {
            agent.wait_until_all_up(PATIENCE)?;
        }
    }
    let Some((nothing, rows)) = rows.split_first_mut() else {
        return Ok(());
    };
    let servers: Vec<Ipv4Addr> = lab.backends.iter().map(|it| it.address).collect();
    for round in 1..=extent.rounds {
        eprintln!("lab: round {round} of {}", extent.rounds);
        push(nothing, sample(lab, &servers, extent)?);
        for (balancer, row) in balancers.iter().zip(&mut *rows) {
            balancer.take_vip(lab)?;
            let sample = sample(lab, &[VIP], extent);
            push(row, sample.with_context(|| balancer.forwarder.to_string())?);
        }
    }
    Ok(())
}

/// What was seen in a window of time.
struct Sample {
    queries_per_second: f64,
    lab_ns: f64,
}

fn push(row: &mut CostRow, sample: Sample) {
    row.queries_per_second.push(sample.queries_per_second);
    row.lab_ns.push(sample.lab_ns);
}

fn sample(lab: &Lab, servers: &[Ipv4Addr], extent: &Extent) -> Result<Sample> {
    for _ in 0..TRIES {
        let loads: Vec<ClosedLoad> = lab
            .clients
            .iter()
            .map(|client| ClosedLoad::start(&client.node, servers, SOCKETS))
            .collect::<Result<_>>()?;
        let answered = || -> u64 { loads.iter().map(ClosedLoad::answered).sum() };
        thread::sleep(extent.warm_up);
        let (start, first, idle) = (Instant::now(), answered(), idle()?);
        thread::sleep(extent.window);
        let (wall, count, idle) = (start.elapsed(), answered() - first, self::idle()? - idle);
        let lost: Vec<u64> = loads
            .into_iter()
            .map(ClosedLoad::stop)
            .collect::<Result<_>>()?;
        let lost: u64 = lost.iter().sum();
        // Each lost query is a socket that has asked nothing for a second.
        if count == 0 || lost * 10_000 > count {
            eprintln!("again: {count} queries were answered, and {lost} lost");
            continue;
        }
        let cores = thread_count()?;
        let busy = (wall.as_secs_f64() * cores - idle.as_secs_f64()).max(0.0);
        return Ok(Sample {
            queries_per_second: count as f64 / wall.as_secs_f64(),
            lab_ns: busy * 1e9 / count as f64,
        });
    }
    bail!("queries are lost, each of {TRIES} times")
}

/// How long the machine's cores have had nothing to do so far, or were somebody else's, all together. The
/// kernel measures this; how they were busy it samples at ticks.
fn idle() -> Result<Duration> {
    // User, nice, system, idle, waiting for a disk, interrupts, softirqs, stolen by the host, ….
    const NOT_OURS: [usize; 3] = [3, 4, 7];
    let stat = fs::read_to_string("/proc/stat")?;
    let all = stat
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("cpu "));
    let columns: Vec<u64> = all
        .context("/proc/stat does not begin with all cores")?
        .split_whitespace()
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    let ticks: u64 = NOT_OURS
        .iter()
        .filter_map(|&place| columns.get(place))
        .sum();
    let per_second = sysconf(SysconfVar::CLK_TCK)?.context("a clock's ticks")?;
    Ok(Duration::from_secs_f64(ticks as f64 / per_second as f64))
}

/// How many cores there are.
fn thread_count() -> Result<f64> {
    let count = sysconf(SysconfVar::_NPROCESSORS_ONLN)?.context("a number of cores")?;
    Ok(count as f64)
}
