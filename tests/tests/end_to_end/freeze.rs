//! The balancer's own link, address or route goes away: no backend is blamed, queries are steered on
//! where they can be, and all is well when it is back.

use std::{thread, time::Duration};

use dns_lb_tests::{Load, Ports, Report, Software, Topology, agent::Status, lab::VIP};

use crate::stage::{RATE, Stage};

/// How long it is gone: enough for many probes to fail.
const GONE: Duration = Duration::from_secs(2);

/// How long the agent may take to find a change out, on a busy machine.
const LIMIT: Duration = Duration::from_secs(10);

/// The balancer's default route, which goes with link and address.
const DEFAULT_ROUTE: &str = "route replace default via 192.168.0.254";

fn stage() -> Stage {
    Stage::set(
        &Topology::of(&[Software::Nsd, Software::Knot, Software::Unbound]),
        "hash",
    )
}

/// Health, and since when, of each backend.
fn verdicts(status: &Status) -> Vec<(String, String)> {
    let backends = status.services[0].backends.iter();
    backends
        .map(|backend| (backend.health.clone(), backend.since.clone()))
        .collect()
}

/// Takes something away for a while and gives it back, under queries. Returns what became of those
/// that were sent before it was back, and sees that all is well after that.
fn play(stage: &mut Stage, take: impl FnOnce(&Stage), give_back: impl FnOnce(&Stage)) -> Report {
    let client = stage.lab.clients[0].node.clone();
    let before = verdicts(&stage.agent.status().expect("a status"));
    let load = Load::start(&client, VIP, RATE, Ports::Fresh).expect("a load");
    thread::sleep(Duration::from_millis(300));
    take(stage);
    let frozen = |status: &Status| {
        let mut backends = status.services[0].backends.iter();
        backends.all(|backend| backend.frozen.is_some())
    };
    stage
        .agent
        .wait_until("verdicts are frozen", LIMIT, frozen)
        .expect("the agent finds out");
    thread::sleep(GONE);
    let during = stage.agent.status().expect("a status");
    assert_eq!(verdicts(&during), before, "a backend is blamed");
    assert!(frozen(&during), "{during:?}");
    let report = load.stop().expect("a report");

    give_back(stage);
    let (status, _) = stage
        .agent
        .wait_until("all is well", LIMIT, |status| {
            let mut backends = status.services[0].backends.iter();
            status.all_up() && backends.all(|backend| backend.frozen.is_none())
        })
        .expect("the agent finds out");
    assert_eq!(verdicts(&status), before, "a backend was blamed");
    let load = Load::start(&client, VIP, RATE, Ports::Fresh).expect("a load");
    let after = load.run_for(Duration::from_secs(1)).expect("a report");
    assert_eq!(after.lost(), 0, "{:?}", after.loss_windows());
    assert_eq!(after.by_identity().len(), 3, "{:?}", after.by_identity());
    report
}

/// Runs `ip` on the balancer.
fn ip(stage: &Stage, lines: &str) {
    stage.lab.balancer.ip(lines).expect("ip");
}

#[test]
fn the_link_is_taken_down() {
    play(
        &mut stage(),
        |stage| ip(stage, "link set eth0 down"),
        |stage| {
            ip(stage, &format!("link set eth0 up\n{DEFAULT_ROUTE}"));
            await_path(stage);
        },
    );
}

#[test]
fn the_carrier_is_lost() {
    let port = |stage: &Stage, state: &str| {
        let router = &stage.lab.router;
        router.ip(&format!("link set lb0 {state}")).expect("ip");
    };
    play(
        &mut stage(),
        |stage| port(stage, "down"),
        |stage| {
            port(stage, "up");
            await_path(stage);
        },
    );
}

/// Waits until frames pass the balancer's link again: a bridge learns of a port's carrier late.
fn await_path(stage: &Stage) {
    for _ in 0..100 {
        let client = &stage.lab.clients[0].node;
        let load = Load::start(client, VIP, 100, Ports::Fresh).expect("a load");
        let report = load.run_for(Duration::from_millis(50)).expect("a report");
        if report.lost() == 0 {
            return;
        }
    }
    panic!("no query gets through the balancer's link");
}

#[test]
fn the_address_is_removed() {
    let report = play(
        &mut stage(),
        |stage| ip(stage, "addr del 192.168.0.1/24 dev eth0"),
        |stage| {
            ip(
                stage,
                &format!("addr add 192.168.0.1/24 dev eth0\n{DEFAULT_ROUTE}"),
            )
        },
    );
    assert_eq!(report.lost(), 0, "{:?}", report.loss_windows());
}

#[test]
fn the_route_is_removed() {
    let report = play(
        &mut stage(),
        |stage| ip(stage, "route del 192.168.0.0/24 dev eth0"),
        |stage| {
            ip(
                stage,
                "route add 192.168.0.0/24 dev eth0 scope link src 192.168.0.1",
            )
        },
    );
    assert_eq!(report.lost(), 0, "{:?}", report.loss_windows());
}
