//! What the kernel knows of a backend's place on the link counts at once, without a probe: in these
//! tests the next probe of a backend that is up comes after a minute.

use std::{
    thread,
    time::{Duration, Instant},
};

use dns_lb_tests::{Load, Ports, Software, Topology, agent, lab::VIP};

use crate::stage::{RATE, Stage};

/// What is asked for only once a minute. One that comes by chance while the kernel is finding out is not
/// the last word either: a hundred have to fail.
const RARE_PROBES: &str = "[service.health]\ninterval = \"60s\"\nfall = 100\n";

/// How long the kernel may take to give up a neighbour, on a busy machine: it asks for three seconds.
const LIMIT: Duration = Duration::from_secs(30);

/// How long queries may go to an address that is no more.
const STALE: Duration = Duration::from_millis(500);

fn stage() -> Stage {
    let servers = [Software::Nsd, Software::Knot, Software::Nsd];
    Stage::set_configured(&Topology::of(&servers), |backends| {
        agent::configuration(&["eth0"], "hash", backends) + RARE_PROBES
    })
}

#[test]
fn a_backend_that_nobody_answers_for_is_down() {
    let mut stage = stage();
    stage.lab.backends[0].set_link(false).expect("ip");
    // Somebody has to use the entry for the kernel to find out; it asks three times, a second apart.
    stage
        .lab
        .balancer
        .ip("neigh change 192.168.0.201 dev eth0 nud probe")
        .expect("ip");
    let (status, _) = stage
        .agent
        .wait_until("dns1 is out", LIMIT, |status| {
            let dns1 = status.backend("dns1");
            dns1.is_some_and(|dns1| dns1.health == "down" && dns1.share == 0.0)
        })
        .expect("the kernel's word counts");
    let words = status.backend("dns1").expect("a backend").words();
    assert!(words.contains("not found on the link"), "{words}");

    stage.lab.backends[0].set_link(true).expect("ip");
    stage
        .agent
        .wait_until_all_up(LIMIT)
        .expect("it is found again, and asked at once");
}

#[test]
fn queries_follow_a_backend_to_another_mac_address() {
    let mut stage = stage();
    let mac = "02:00:00:00:00:77";
    let backend = stage.lab.backends[0].node.clone();
    // The host tells its neighbours, as hosts do that take over an address.
    backend
        .sysctl(&["net/ipv4/conf/eth0/arp_notify=1"])
        .expect("a setting");
    let client = &stage.lab.clients[0].node;
    let load = Load::start(client, VIP, RATE, Ports::Fresh).expect("a load");
    thread::sleep(Duration::from_millis(300));
    let changed = Instant::now();
    backend
        .ip(&format!("link set eth0 address {mac}"))
        .expect("ip");
    stage
        .agent
        .wait_until("dns1 is where it is now", LIMIT, |status| {
            let dns1 = status.backend("dns1");
            dns1.is_some_and(|dns1| dns1.mac.as_deref() == Some(mac))
        })
        .expect("the kernel's word counts");
    thread::sleep(Duration::from_secs(1));
    let report = load.stop().expect("a report");
    let stale = changed - Duration::from_millis(50)..changed + STALE;
    assert_eq!(report.lost_outside(stale), 0, "{:?}", report.loss_windows());
    let status = stage.agent.status().expect("a status");
    assert!(status.all_up(), "nobody is blamed: {status:?}");
    let after = report.between(changed + STALE..Instant::now());
    assert_eq!(after.by_identity().len(), 3, "{:?}", after.by_identity());
}
