//! One death under load.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use dns_lb_tests::{
    Lab, Load, Ports, Report, Topology, comparison::Arrangement, comparison::FailoverRun, lab::VIP,
};
use rand::random_range;

use super::Combination;
use crate::peers::{Peer, SERVERS};

/// How long the load runs before the death, at least.
const CALM: Duration = Duration::from_millis(1_500);

/// And how much longer at the most: or a death would always be at the same moment of a check's period.
const MORE_CALM: Duration = Duration::from_secs(1);

/// Without a loss for so long, no more are expected.
const QUIET: Duration = Duration::from_secs(3);

/// How long after the death the load ends, though queries are still lost.
const LIMIT: Duration = Duration::from_secs(30);

/// A query on its way when the server dies was sent a little before.
const ON_THE_WAY: Duration = Duration::from_millis(50);

/// Steps of the timeline, of which there are so many before the death.
const STEP: Duration = Duration::from_millis(100);
const STEPS_BEFORE: u32 = 10;

/// How a run ended.
pub(super) enum Outcome {
    Measured(FailoverRun),
    /// The lab itself has lost so many packets, so that what was measured means nothing.
    LabLost(u64),
}

/// Has the server die that answers, or answers most, in a lab of its own.
pub(super) fn run(combination: &Combination, binary: &Path, rate: u32) -> Result<Outcome> {
    let mut lab = Lab::start(&Topology::of(&SERVERS))?;
    let mut peer = Peer::start(combination.arrangement, &lab, binary)?;
    peer.wait_until_ready(&lab)?;
    measure(combination, &mut lab, rate).with_context(|| peer.log())
}

fn measure(combination: &Combination, lab: &mut Lab, rate: u32) -> Result<Outcome> {
    let death = combination.death;
    let before = [0, 1].map(|dead| lab.own_losses_but_of(dead));
    let begun = Instant::now();
    let load = Load::start(&lab.clients[0].node, VIP, rate, combination.ports.clone())?;
    thread::sleep(CALM + MORE_CALM.mul_f64(random_range(0.0..1.0)));
    let victim = victim(combination, lab, &load, begun)?;
    let [first, second] = before;
    let lost_by_lab = if victim == 0 { first? } else { second? };

    let doom = death.prepare(&lab.backends[victim])?;
    let died = doom.strike(&mut lab.backends[victim])?;
    watch(&load, died);
    let report = load.stop()?;
    let own_losses = lab.own_losses_but_of(victim)? - lost_by_lab;
    if own_losses > 0 {
        return Ok(Outcome::LabLost(own_losses));
    }
    Ok(Outcome::Measured(sum_up(&report, died)))
}

/// Who is to die: whoever answers most. A client that keeps its port must lose all that it has, or a
/// part as large as the server's; who answers nothing would die unnoticed.
fn victim(combination: &Combination, lab: &Lab, load: &Load, begun: Instant) -> Result<usize> {
    let by = load.tally(begun).by;
    let answered = |place: &usize| {
        by.get(&lab.backends[*place].identity())
            .copied()
            .unwrap_or(0)
    };
    let victim = (0..lab.backends.len())
        .rev()
        .max_by_key(answered)
        .context("the lab has servers")?;
    let (most, all) = (answered(&victim), by.values().sum::<usize>());
    ensure!(most > 0, "nobody answers");
    // By these, a client on one port has one server.
    let sticks = match combination.arrangement {
        Arrangement::VrrpScript => true,
        Arrangement::IpvsTextbook
        | Arrangement::IpvsExpire
        | Arrangement::DnsLb
        | Arrangement::DnsLbTuned => combination.ports == Ports::Fixed,
        _ => false,
    };
    ensure!(
        !sticks || most == all,
        "one server should have answered: {by:?}"
    );
    ensure!(
        sticks || most < all,
        "both servers should have answered: {by:?}"
    );
    Ok(victim)
}

/// Waits until no query has been lost for a while, or for as long as it may take.
fn watch(load: &Load, died: Instant) {
    // A query counts as overdue only after a while.
    let quiet = QUIET + Duration::from_millis(300);
    thread::sleep(quiet);
    while died.elapsed() < LIMIT && load.tally(Instant::now() - quiet).overdue > 0 {
        thread::sleep(STEP);
    }
}

fn sum_up(report: &Report, died: Instant) -> FailoverRun {
    let from = died - ON_THE_WAY;
    let last = report.losses().filter(|&sent| sent >= from).last();
    let ended = report.queries().last().map_or(died, |query| query.sent);
    FailoverRun {
        lost: report.losses().filter(|&sent| sent >= from).count(),
        until_last_loss_ms: last.map_or(0.0, |last| {
            last.saturating_duration_since(died).as_secs_f64() * 1e3
        }),
        still_losing: last.is_some_and(|last| ended.saturating_duration_since(last) < QUIET),
        lost_before: report.losses().filter(|&sent| sent < from).count(),
        step_ms: STEP.as_millis() as u64,
        timeline: report.timeline(died - STEP * STEPS_BEFORE, STEP),
    }
}
