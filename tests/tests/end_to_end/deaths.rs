//! Each way for a server to die, once, under load: what it costs, and that the status says why.
//!
//! Machines that run tests are busy, so a death may cost twice what `cargo xtask bench failover`
//! holds it to.

use std::time::Duration;

use dns_lb_tests::{Death, Software, Topology, agent, failover};

use crate::stage::{LOUD, Stage, assert_lost};

/// How long queries may go to a server whose port refuses, and to any other dead.
const REFUSED: Duration = Duration::from_millis(800);
const SILENT: Duration = Duration::from_millis(1_800);

/// The servers: the first is the one that dies.
const SERVERS: [Software; 3] = [Software::Nsd, Software::Knot, Software::Nsd];

fn dies(death: Death, limit: Duration) {
    let mut stage = Stage::set_alone(&Topology::of(&SERVERS), |backends| {
        agent::configuration(&["eth0"], "hash", backends)
    });
    let cost = failover(&mut stage.lab, &mut stage.agent, 0, death, LOUD).expect("a failover");
    let cost_and_log = format!("{death}: {cost:?}\n{}", stage.agent.log());
    println!("{cost_and_log}");
    assert!(
        cost.lost > 0,
        "a server died and nothing was lost: was it in use?"
    );
    assert!(cost.until_last_loss <= limit, "{death}: {cost:?}");
    assert_lost(
        cost.lost_before + cost.lost_on_return,
        cost.own_losses,
        || format!("before {death} and on the return: {cost:?}"),
    );
}

#[test]
fn a_killed_server() {
    dies(Death::Killed, REFUSED);
}

#[test]
fn a_server_that_hangs() {
    dies(Death::Hung, SILENT);
}

#[test]
fn a_server_whose_link_is_down() {
    dies(Death::LinkDown, SILENT);
}

#[test]
fn a_server_behind_a_filter_that_drops() {
    dies(Death::Dropped, SILENT);
}

#[test]
fn a_server_that_fails() {
    dies(Death::Servfail, SILENT);
}

#[test]
fn a_server_without_the_vip() {
    dies(Death::VipMissing, SILENT);
}

#[test]
fn a_server_that_answers_from_its_own_address() {
    dies(Death::WrongSource, SILENT);
}

/// Nothing of it is seen but by a probe that asks from a foreign MAC address, which is every eighth.
#[test]
fn a_server_that_answers_to_the_balancer() {
    dies(Death::WrongMac, SILENT + 8 * Duration::from_millis(250));
}
