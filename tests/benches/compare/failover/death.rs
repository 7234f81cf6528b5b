//! One death under load.

use std::{
    ops::Range,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use dns_lb_tests::{
    Lab, Load, Ports, Report, Topology,
    comparison::{Arrangement, FailoverRun},
    lab::VIP,
};
use rand::random_range;

use super::{Combination, RATE};
use crate::{
    peers::{Peer, SERVERS},
    runs::Outcome,
};

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

/// Has the server die that answers, or answers most, in a lab of its own.
pub(super) fn run(combination: &Combination, binary: &Path) -> Result<Outcome<FailoverRun>> {
    let mut lab = Lab::start(&Topology::of(&SERVERS))?;
    let mut peer = Peer::start(combination.arrangement, &lab, binary)?;
    peer.wait_until_ready(&lab)?;
    measure(combination, &peer, &mut lab).with_context(|| peer.log())
}

fn measure(combination: &Combination, peer: &Peer, lab: &mut Lab) -> Result<Outcome<FailoverRun>> {
    let death = combination.death;
    let before = [0, 1].map(|dead| lab.own_losses_but_of(dead));
    let loaded = Instant::now();
    let load = Load::start(&lab.clients[0].node, VIP, RATE, combination.ports.clone())?;
    thread::sleep(CALM + MORE_CALM.mul_f64(random_range(0.0..1.0)));
    let victim = victim(combination, lab, &load, loaded)?;
    let [first, second] = before;
    let lost_by_lab = if victim == 0 { first? } else { second? };

    let doom = death.prepare(&lab.backends[victim])?;
    let begun = doom.strike(&mut lab.backends[victim])?;
    let done = Instant::now();
    watch(&load, done);
    peer.ensure_is_out(lab, victim)?;
    let report = load.stop()?;
    let own_losses = lab.own_losses_but_of(victim)? - lost_by_lab;
    if own_losses > 0 {
        return Ok(Outcome::LabLost(own_losses));
    }
    Ok(Outcome::Measured(sum_up(&report, begun..done)))
}

/// Who is to die: whoever answers the most, so that a client that has one server loses it. Makes sure
/// that it has one where it should, and both where both are in use.
fn victim(combination: &Combination, lab: &Lab, load: &Load, since: Instant) -> Result<usize> {
    let by = load.tally(since).by;
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
    let has_one = match combination.arrangement {
        Arrangement::VrrpScript => true,
        Arrangement::IpvsTextbook
        | Arrangement::IpvsExpire
        | Arrangement::DnsLb
        | Arrangement::DnsLbTuned => combination.ports == Ports::Fixed,
        // Each query by itself.
        _ => false,
    };
    ensure!(
        (most == all) == has_one,
        "{} should have answered: {by:?}",
        if has_one {
            "one server"
        } else {
            "both servers"
        }
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

/// A death takes its time, where commands start slowly even a second: it has come with the first query
/// that is lost meanwhile, or else when it is done.
fn sum_up(report: &Report, strike: Range<Instant>) -> FailoverRun {
    let from = strike.start - ON_THE_WAY;
    let mut losses = report.losses();
    let first = losses.find(|sent| (from..strike.end).contains(sent));
    let died = first.map_or(strike.end, |first| first.max(strike.start));
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
