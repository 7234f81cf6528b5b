//! What a packet costs by each way of forwarding, in two figures.
//!
//! [`path`] is one core's work from the driver to the driver. [`lab`] is what clients, balancer and servers
//! manage together, and what a query costs all of them. Every balancer has a host of its own and stays up
//! from beginning to end, so that they are measured in turn, round by round, and whatever else they do is
//! part of everybody's rounds.

mod balancer;
mod frames;
mod lab;
mod path;

use std::{env, path::PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use dns_lb_tests::{
    Lab, Software, Topology,
    comparison::{CostRow, Forwarder, Part, Skipped},
    machine,
};

use self::{
    balancer::{Balancer, Hosts},
    frames::Frames,
};

/// All that forwards, or does not.
const FORWARDERS: [Forwarder; 8] = [
    Forwarder::Nothing,
    Forwarder::DnsLbNative,
    Forwarder::DnsLbGeneric,
    Forwarder::Nftables,
    Forwarder::IpvsRoundRobin,
    Forwarder::IpvsMaglev,
    Forwarder::IpvsOnePacket,
    Forwarder::Dnsdist,
];

/// The servers.
const SERVERS: [Software; 3] = [Software::Nsd; 3];

/// Hosts that ask.
const CLIENTS: u8 = 2;

/// How much is measured.
struct Extent {
    path: path::Extent,
    lab: lab::Extent,
}

/// Measures and prints the record. Arguments: `--quick`; `--only` and names as the record has them, with
/// commas between.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let wanted = wanted(arguments)?;
    let machine = machine::describe();
    // An emulated processor counts instructions: the tenth round is as the first, and takes its time.
    let brief = quick || machine.iter().any(|line| line.contains("TCG"));
    let extent = Extent {
        path: path::Extent::of(brief),
        lab: lab::Extent::of(brief),
    };
    let (rows, skipped) = measure(&wanted, &extent)?;
    let part = Part {
        machine,
        quick,
        skipped,
        rows,
    };
    println!("{}", serde_json::to_string_pretty(&part)?);
    Ok(())
}

/// What is to be measured; nothing is among it in any case, since the others' cost is what is above it.
fn wanted(arguments: &[String]) -> Result<Vec<Forwarder>> {
    let mut wanted = FORWARDERS.to_vec();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            // Cargo adds the second.
            "--quick" | "--bench" => {}
            "--only" => wanted = named(arguments.next().context("--only needs names")?)?,
            _ => bail!("{argument}: usage: compare cost [--quick] [--only NAME,…]"),
        }
    }
    Ok(wanted)
}

/// Nothing, and the forwarders that are named as in the record.
fn named(names: &str) -> Result<Vec<Forwarder>> {
    let mut wanted = vec![Forwarder::Nothing];
    for name in names.split(',') {
        let forwarder: Forwarder = serde_json::from_value(name.into())
            .with_context(|| format!("--only: there is no forwarder {name}"))?;
        if !wanted.contains(&forwarder) {
            wanted.push(forwarder);
        }
    }
    Ok(wanted)
}

fn measure(wanted: &[Forwarder], extent: &Extent) -> Result<(Vec<CostRow>, Vec<Skipped>)> {
    let variable = |name| {
        let path = env::var_os(name).map(PathBuf::from);
        path.with_context(|| format!("{name} is not set: `cargo xtask compare` does"))
    };
    let (floor, binary) = (variable("DNS_LB_FLOOR")?, variable("DNS_LB_BINARY")?);
    let mut lab = Lab::start(&Topology {
        clients: CLIENTS,
        further_balancers: FORWARDERS.len() as u8 + 1,
        ..Topology::of(&SERVERS)
    })?;
    let mut frames = Frames::load(&floor)?;
    let mut hosts = Hosts::take(&mut lab);
    let mut floors = path::Floors::set_up(&lab, &frames, &mut hosts)?;

    let mut skipped = Vec::new();
    let mut balancers = Vec::new();
    for &forwarder in wanted.iter().filter(|it| **it != Forwarder::Nothing) {
        eprintln!("setting up {forwarder}");
        let host = hosts.next().context("a host for each forwarder")?;
        match Balancer::set_up(forwarder, host, &lab, &binary, &frames) {
            Ok(balancer) => balancers.push(balancer),
            // Without what it is all about there is no comparison.
            Err(error) if matches!(forwarder, Forwarder::DnsLbNative | Forwarder::DnsLbGeneric) => {
                return Err(error.context(forwarder));
            }
            Err(error) => {
                eprintln!("SKIPPED: {forwarder}: {error:#}");
                skipped.push(Skipped {
                    what: forwarder.to_string(),
                    why: format!("{error:#}"),
                });
            }
        }
    }
    ensure!(!balancers.is_empty(), "there is nothing to be measured");

    let mut rows = vec![row(Forwarder::Nothing)];
    rows.extend(balancers.iter().map(|balancer| row(balancer.forwarder)));
    path::measure(
        &mut floors,
        &mut balancers,
        &mut frames,
        &extent.path,
        &mut rows[1..],
    )?;
    lab::measure(&lab, &mut balancers, &extent.lab, &mut rows)?;
    for row in &rows {
        eprintln!("{}", summary(row));
    }
    Ok((rows, skipped))
}

const fn row(forwarder: Forwarder) -> CostRow {
    CostRow {
        forwarder,
        path_ns: Vec::new(),
        path_floor_ns: Vec::new(),
        path_packets_per_second: Vec::new(),
        queries_per_second: Vec::new(),
        lab_ns: Vec::new(),
    }
}

/// A line for who watches.
fn summary(row: &CostRow) -> String {
    let median = |samples: &[f64]| {
        let mut samples = samples.to_vec();
        samples.sort_by(f64::total_cmp);
        samples.get(samples.len() / 2).copied().unwrap_or(f64::NAN)
    };
    format!(
        "{:<20} path {:.0} ns (the least there {:.0}), {:.0} packets/s; lab {:.0} queries/s, {:.0} ns",
        row.forwarder.to_string(),
        median(&row.path_ns),
        median(&row.path_floor_ns),
        median(&row.path_packets_per_second),
        median(&row.queries_per_second),
        median(&row.lab_ns),
    )
}
