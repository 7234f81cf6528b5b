//! The smallest farm: two hosts, each balancer and DNS server, and keepalived on both. Either host's server
//! may die, or either host.

use std::{thread, time::Duration};

use dns_lb_tests::{
    Load, Ports, Software, Topology,
    agent::Status,
    ha::{Fault, Pair, takeover, wait_for},
    lab::VIP,
};

use crate::stage::{Hold, LOUD, RATE, assert_healthy, assert_lost, binary};

const PATIENCE: Duration = Duration::from_secs(20);

fn farm() -> Pair {
    let topology = Topology::of(&[Software::Nsd, Software::Knot]);
    Pair::start_smallest(&topology, binary()).expect("a pair")
}

/// The textbook's case: the DNS server is dead on the host that has the address, and VRRP is alive there.
#[test]
fn either_hosts_server_may_die() {
    let _hold = Hold::shared();
    let mut pair = farm();
    assert_healthy(&pair.balancers);
    for dead in 0..2 {
        let name = pair.lab.backends[dead].name.clone();
        pair.lab.backends[dead].kill().expect("it runs");
        let is_out = |status: &Status| {
            let found = status.backend(&name);
            found.is_some_and(|found| found.health == "down" && found.share == 0.0)
        };
        for balancer in &mut pair.balancers {
            balancer
                .agent
                .wait_until("it is out", PATIENCE, is_out)
                .expect("the agents see it");
        }
        let client = &pair.lab.clients[0].node;
        let load = Load::start(client, VIP, RATE, Ports::Fresh).expect("a load");
        let report = load.run_for(Duration::from_secs(2)).expect("a report");
        assert_eq!(report.lost(), 0, "{name}: {:?}", report.loss_windows());
        let other = pair.lab.backends[1 - dead].identity();
        assert_eq!(
            report.by_identity().into_keys().collect::<Vec<_>>(),
            [other]
        );
        // One server is quorum enough: the address stays.
        assert!(pair.balancers[0].has_vip("eth0").expect("ip"));
        pair.lab.backends[dead].start().expect("it starts");
        pair.settle().expect("as before");
    }
}

#[test]
fn the_host_with_the_address_may_die() {
    let _hold = Hold::alone();
    let mut pair = farm();
    let cost = takeover(&mut pair, Fault::Power, LOUD).expect("a takeover");
    println!("smallest farm, power gone: {cost:?}");
    let lost = cost.lost_before + cost.lost_on_return;
    assert_lost(lost, cost.own_losses, || {
        format!("{cost:?}\n{}", pair.logs())
    });
}

#[test]
fn the_other_host_may_die() {
    let _hold = Hold::alone();
    let mut pair = farm();
    let client = pair.lab.clients[0].node.clone();
    let load = Load::start(&client, VIP, RATE, Ports::Fresh).expect("a load");
    thread::sleep(Duration::from_secs(1));
    let router = pair.lab.router.clone();
    pair.balancers[1].cut_power(&router).expect("it had power");
    let is_out = |status: &Status| status.backend("dns2").is_some_and(|dns2| dns2.share == 0.0);
    let agent = &mut pair.balancers[0].agent;
    agent
        .wait_until("dns2 is out", PATIENCE, is_out)
        .expect("the agent sees it");
    thread::sleep(Duration::from_secs(1));
    let (tally, moved) = {
        let last = std::time::Instant::now() - Duration::from_millis(900);
        (load.tally(last), pair.balancers[0].has_vip("eth0"))
    };
    assert_eq!(tally.overdue, 0, "{tally:?}");
    assert!(moved.expect("ip"), "the address stays where it was");
    pair.balancers[1].restore_power(&router).expect("it boots");
    pair.settle().expect("as before");
    wait_for("both serve", PATIENCE, || {
        let last = std::time::Instant::now() - Duration::from_millis(500);
        Ok(load.tally(last).by.len() == 2)
    })
    .expect("dns2 takes queries");
    drop(load);
}
