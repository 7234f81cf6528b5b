//! A server dies, and comes back.

use std::{
    thread,
    time::{Duration, Instant},
};

use dns_lb_tests::{Load, Ports, Software, Topology, lab::VIP};

use crate::stage::{RATE, Stage};

/// Within this time of a death, at the default timings, the others answer for the dead.
const LIMIT: Duration = Duration::from_millis(800);

#[test]
fn a_killed_server_costs_queries_for_less_than_0_8_s_and_its_return_none() {
    let mut stage = Stage::set(&Topology::of(&[Software::Nsd, Software::Knot]), "hash");
    let client = &stage.lab.clients[0].node;
    let load = Load::start(client, VIP, RATE, Ports::Fresh).expect("a load");
    thread::sleep(Duration::from_secs(2));

    let death = Instant::now();
    stage.lab.backends[0].kill().expect("the server runs");
    stage.await_down("dns1");
    thread::sleep(Duration::from_secs(2));

    stage.bring_back(0, Duration::from_secs(5));
    let back = Instant::now();
    thread::sleep(Duration::from_secs(2));
    let report = load.stop().expect("a report");

    // A query on its way when the server dies was sent a little before.
    let from = death - Duration::from_millis(50);
    assert_eq!(
        report.lost_outside(from..death + LIMIT),
        0,
        "{:?}",
        report.loss_windows()
    );
    assert!(
        report.lost() > 0,
        "a server died and nothing was lost: was it in use?"
    );
    let after = report.between(back..Instant::now()).by_identity();
    assert_eq!(after.len(), 2, "both serve again: {after:?}");
}

#[test]
fn with_every_server_dead_queries_still_go_to_all_of_them() {
    let mut stage = Stage::set(
        &Topology::of(&[Software::Nsd, Software::Knot]),
        "round-robin",
    );
    for backend in &mut stage.lab.backends {
        backend.kill().expect("the server runs");
    }
    stage
        .agent
        .wait_until(
            "both are down and share equally",
            Duration::from_secs(5),
            |status| {
                let backends = &status.services[0].backends;
                backends.iter().all(|backend| {
                    backend.health == "down" && (0.49..0.51).contains(&backend.share)
                })
            },
        )
        .expect("the agent fails open");

    // One comes back: it takes all, at once, since it is the only one that is up.
    stage.lab.backends[0]
        .start()
        .expect("the server starts again");
    stage
        .agent
        .wait_until("dns1 has it all", Duration::from_secs(5), |status| {
            status.services[0].backends[0].share > 0.999
        })
        .expect("the agent sees it");
    let client = &stage.lab.clients[0].node;
    let load = Load::start(client, VIP, RATE, Ports::Fresh).expect("a load");
    let report = load.run_for(Duration::from_secs(1)).expect("a report");
    assert_eq!(report.lost(), 0);
    assert_eq!(
        report.by_identity().into_keys().collect::<Vec<_>>(),
        [stage.lab.backends[0].identity()]
    );
}
