//! A death and a return as one mail relay sees them.

use std::{
    env,
    ops::Range,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use dns_lb_tests::{
    Lab, Relay, Topology,
    agent::PATIENCE,
    comparison::{Arrangement, MailPhase, MailRun},
    ha::wait_for,
    lab::VIP,
};
use rand::random_range;

use super::{Combination, Phases};
use crate::{
    peers::{Peer, SERVERS},
    runs::Outcome,
};

/// Whose death is seen: the server of the first nameserver line, and the one that has VRRP's address.
const VICTIM: usize = 0;

/// How much longer than it must the relay goes on before the death: or a death would always be at the
/// same moment of a check's period.
const MORE_BEFORE: Duration = Duration::from_secs(1);

/// A step of the timeline.
const STEP: Duration = Duration::from_millis(500);

/// An arrangement that serves, in a lab with nothing else: relays of several are neither clients of one
/// balancer nor wait for one server, and the death of one's server is nobody else's.
pub(super) struct Stage {
    // Before the lab, whose hosts it is on.
    peer: Peer,
    lab: Lab,
    combination: Combination,
}

impl Stage {
    /// Builds the lab, and waits until the arrangement serves.
    pub(super) fn set(combination: Combination, binary: &Path) -> Result<Self> {
        let lab = Lab::start(&Topology::of(&SERVERS))?;
        let mut peer = Peer::start(combination.arrangement, &lab, binary)?;
        peer.wait_until_ready(&lab)?;
        Ok(Self {
            peer,
            lab,
            combination,
        })
    }

    /// Lets a relay work while the server dies and comes back.
    pub(super) fn measure(mut self, phases: Phases) -> Result<Outcome<MailRun>> {
        let measured = measure(&self.combination, &self.peer, &mut self.lab, phases);
        measured.with_context(|| self.peer.log())
    }
}

fn measure(
    combination: &Combination,
    peer: &Peer,
    lab: &mut Lab,
    phases: Phases,
) -> Result<Outcome<MailRun>> {
    let mut program = Command::new(env::current_exe()?);
    program.arg("mail-relay");
    let resolver = resolver(combination.arrangement, lab);
    let started = Instant::now();
    let relay = Relay::start_with(&lab.clients[0].node, program, &resolver)?;
    wait_for("mail leaves", PATIENCE, || {
        Ok(relay.delivery(started..Instant::now()).mails > 0)
    })?;

    let lost_by_lab = lab.own_losses_but_of(VICTIM)?;
    let doom = combination.death.prepare(&lab.backends[VICTIM])?;
    let begun = Instant::now();
    thread::sleep(phases.before + MORE_BEFORE.mul_f64(random_range(0.0..1.0)));
    let died = doom.strike(&mut lab.backends[VICTIM])?;
    sleep_until(died + phases.during);
    peer.ensure_is_out(lab, VICTIM)?;
    let returning = Instant::now();
    doom.undo(&mut lab.backends[VICTIM])?;
    sleep_until(returning + phases.after);
    let ended = Instant::now();
    // A resolver misses a packet for 5 s.
    let lost_by_lab = lab.own_losses_but_of(VICTIM)? - lost_by_lab;
    if lost_by_lab > 0 {
        return Ok(Outcome::LabLost(lost_by_lab));
    }
    Ok(Outcome::Measured(MailRun {
        before: phase(&relay, begun..died),
        during: phase(&relay, died..returning),
        after: phase(&relay, returning..ended),
        step_ms: STEP.as_millis() as u64,
        timeline: timeline(&relay, begun..ended),
    }))
}

/// The relay's `/etc/resolv.conf`.
fn resolver(arrangement: Arrangement, lab: &Lab) -> String {
    let [first, second] = [0, 1].map(|place| lab.backends[place].address);
    match arrangement {
        Arrangement::NameserverLines => format!("nameserver {first}\nnameserver {second}\n"),
        Arrangement::NameserverLinesTuned => {
            format!("nameserver {first}\nnameserver {second}\noptions timeout:1 attempts:1\n")
        }
        Arrangement::VrrpScript
        | Arrangement::IpvsTextbook
        | Arrangement::IpvsExpire
        | Arrangement::IpvsTuned
        | Arrangement::Dnsdist
        | Arrangement::DnsdistTuned
        | Arrangement::DnsLb
        | Arrangement::DnsLbTuned => format!("nameserver {VIP}\n"),
    }
}

fn phase(relay: &Relay, time: Range<Instant>) -> MailPhase {
    let seconds = (time.end - time.start).as_secs_f64();
    let delivery = relay.delivery(time);
    MailPhase {
        seconds,
        mails: delivery.mails,
        deferred: delivery.deferred,
        longest_lookup_ms: delivery.longest_lookup.as_secs_f64() * 1e3,
    }
}

/// Mails that left, step by step; a step that would end later is not among them.
fn timeline(relay: &Relay, time: Range<Instant>) -> Vec<u32> {
    let mut mails = Vec::new();
    let mut from = time.start;
    while from + STEP <= time.end {
        mails.push(relay.delivery(from..from + STEP).mails as u32);
        from += STEP;
    }
    mails
}

fn sleep_until(moment: Instant) {
    thread::sleep(moment.saturating_duration_since(Instant::now()));
}
