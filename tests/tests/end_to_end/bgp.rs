//! Three balancers, BIRD on each and on the router, by the files in `examples/bird`: the router spreads
//! flows over those whose service is ready.
//!
//! Every balancer has the same tables, so a flow that comes by another than before reaches the same server.

mod announced;
mod stopping;

use std::{
    collections::BTreeSet,
    thread,
    time::{Duration, Instant},
};

use dns_lb_tests::{
    Host, Load, Ports, Report, Software, Talks, Topology,
    agent::PATIENCE,
    dns,
    ha::{Fan, wait_for},
    lab::{VIP, VIP_V6},
    load::ANSWER_LIMIT,
};

use crate::stage::{GENTLER, Hold, LOUD, assert_lost, binary};

/// Connections that ask once a second.
const CONNECTIONS: usize = 200;

/// Source ports of the flows that are looked at before and after.
const PORTS: std::ops::RangeInclusive<u16> = 20_000..=20_999;

/// How long it stays as it is before and after something happens.
const CALM: Duration = Duration::from_secs(2);

/// Three times what BFD takes, and the routes after it.
const DEAD_LIMIT: Duration = Duration::from_secs(2);

const SERVERS: [Software; 4] = [Software::Nsd, Software::Knot, Software::Nsd, Software::Knot];

fn topology() -> Topology {
    Topology {
        // One for the load, one for fixed ports, one for the connections.
        clients: 3,
        ipv6: true,
        backends: SERVERS.map(Host::running).into(),
        ..Topology::of(&[])
    }
}

/// A fan under load.
struct Traffic {
    fan: Fan,
    load: Load,
    talks: Talks,
    lost_by_lab: u64,
    /// Who answers each of the fixed ports.
    before: Vec<Option<String>>,
    _hold: Hold,
}

/// What became of it.
struct Outcome {
    report: Report,
    own_losses: u64,
}

impl Traffic {
    fn start() -> Self {
        let hold = Hold::alone();
        let fan = Fan::start(&topology(), binary()).expect("a fan");
        let clients = &fan.lab.clients;
        let before = by_port(&fan);
        let talks = Talks::open(&[clients[2].node.clone()], VIP, CONNECTIONS).expect("connections");
        let lost_by_lab = fan.lab.own_losses().expect("counters");
        let load = Load::start(&clients[0].node, VIP, LOUD, Ports::Fresh).expect("a load");
        thread::sleep(CALM);
        Self {
            load,
            talks,
            lost_by_lab,
            before,
            fan,
            _hold: hold,
        }
    }

    /// Waits until the router has routes to these balancers and no other.
    fn await_routes(&self, of: &[u8]) -> Instant {
        let of: BTreeSet<u8> = of.iter().copied().collect();
        let what = format!("routes to {of:?}");
        wait_for(&what, PATIENCE, || Ok(self.fan.routes()? == of)).expect("BIRD sees it")
    }

    /// Asserts that each of the fixed ports is answered by the same server as at first.
    fn assert_flows_stay(&self, when: &str) {
        let now = by_port(&self.fan);
        let pairs = self.before.iter().zip(&now);
        let moved =
            pairs.filter(|(before, now)| before.is_some() && now.is_some() && before != now);
        let (moved, missing) = (
            moved.count(),
            now.iter().filter(|now| now.is_none()).count(),
        );
        println!(
            "{when}: {moved} of {} flows moved, {missing} lost",
            now.len()
        );
        assert_eq!(moved, 0, "{when}");
        assert!(missing < now.len() / 2, "{when}: {missing} lost");
    }

    /// Ends all, and asserts that no connection broke or changed its server.
    fn finish(self) -> Outcome {
        thread::sleep(CALM);
        let report = self.load.stop().expect("a report");
        let talks = self.talks.stop().expect("connections");
        let broken: Vec<_> = talks.iter().filter(|talk| talk.failure.is_some()).collect();
        println!("{} of {} connections broken", broken.len(), talks.len());
        assert!(broken.is_empty(), "{broken:?}");
        let reached: BTreeSet<_> = talks.iter().map(|talk| &talk.identity).collect();
        assert_eq!(reached.len(), SERVERS.len(), "{reached:?}");
        Outcome {
            own_losses: self.fan.lab.own_losses().expect("counters") - self.lost_by_lab,
            report,
        }
    }
}

/// Who answers each of the fixed ports.
fn by_port(fan: &Fan) -> Vec<Option<String>> {
    let client = &fan.lab.clients[1].node;
    let load = Load::start(client, VIP, 1_000, Ports::Each(PORTS)).expect("a load");
    let report = load.join().expect("a report");
    let identities = report.identities();
    let queries = report.queries().iter();
    queries
        .map(|query| query.answer.map(|answer| identities[answer.by].clone()))
        .collect()
}

#[test]
fn a_balancer_that_is_stopped_and_started_costs_nothing() {
    let mut traffic = Traffic::start();
    let spread: Vec<u64> = packets(&mut traffic.fan);
    println!("packets by balancer: {spread:?}");
    assert!(
        spread
            .iter()
            .all(|&packets| packets > 1_000 / u64::from(GENTLER)),
        "{spread:?}"
    );

    let stopped = Instant::now();
    let status = traffic.fan.balancers[1].agent.terminate();
    assert!(status.expect("it ends").success());
    let took = stopped.elapsed();
    // It has waited for the routers, although they had long known.
    assert!(took > Duration::from_secs(2), "{took:?}");
    assert_eq!(traffic.fan.routes().expect("ip"), BTreeSet::from([1, 3]));
    assert_eq!(traffic.fan.routes_v6().expect("ip"), BTreeSet::from([1, 3]));
    traffic.assert_flows_stay("without the second");

    traffic.fan.balancers[1].agent.restart().expect("it starts");
    traffic.await_routes(&[1, 2, 3]);
    traffic.assert_flows_stay("with the second again");
    let client = &traffic.fan.lab.clients[0].node;
    let answer = client.run(|| dns::ask_identity(VIP_V6, Duration::from_secs(5)));
    assert!(answer.is_ok(), "IPv6: {answer:?}");
    let Outcome { report, own_losses } = traffic.finish();
    assert_lost(report.lost(), own_losses, || {
        format!("{:?}", report.loss_windows())
    });
}

#[test]
fn a_balancer_whose_power_is_gone_costs_its_queries_until_bfd_sees_it() {
    let mut traffic = Traffic::start();
    let router = traffic.fan.lab.router.clone();
    let cut = traffic.fan.balancers[2].cut_power(&router).expect("power");
    let noticed = traffic.await_routes(&[1, 2]);
    thread::sleep(ANSWER_LIMIT);
    traffic.assert_flows_stay("without the third");
    let returning = Instant::now();
    traffic.fan.balancers[2]
        .restore_power(&router)
        .expect("it boots");
    traffic.await_routes(&[1, 2, 3]);
    traffic.assert_flows_stay("with the third again");
    let Outcome { report, own_losses } = traffic.finish();

    let from = cut - Duration::from_millis(50);
    let lost = report.between(from..returning);
    let last = lost
        .losses()
        .last()
        .map(|last| last.saturating_duration_since(cut));
    println!(
        "power gone: routes gone after {:?}, {} lost, the last after {last:?}; by the lab: {own_losses}",
        noticed - cut,
        lost.lost()
    );
    assert!(lost.lost() > 0, "there was nobody, and nothing was lost?");
    assert!(last.is_some_and(|last| last < DEAD_LIMIT), "{last:?}");
    let otherwise = report.lost() - lost.lost();
    assert_lost(otherwise, own_losses, || {
        format!("{:?}", report.loss_windows())
    });
}

/// Packets for the service at each balancer so far.
fn packets(fan: &mut Fan) -> Vec<u64> {
    let balancers = fan.balancers.iter();
    balancers
        .map(|balancer| balancer.agent.status().expect("a status").services[0].packets)
        .collect()
}
