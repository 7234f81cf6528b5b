//! Who gets how much, as clients see it.

use std::time::Duration;

use dns_lb_tests::{Load, Ports, Report, Software, Topology, lab::VIP};

use crate::stage::{RATE, Stage, two_segments};

/// The greatest departure from equal shares, as a part of a share.
fn worst(report: &Report, backends: usize) -> f64 {
    let ideal = report.answered() as f64 / backends as f64;
    let counts = report.by_identity();
    assert_eq!(counts.len(), backends, "{counts:?}");
    counts
        .values()
        .map(|&count| (count as f64 - ideal).abs() / ideal)
        .fold(0.0, f64::max)
}

#[test]
fn hash_spreads_ten_thousand_ports_and_round_robin_one() {
    let software = [Software::Nsd, Software::Knot, Software::Unbound];
    let stage = Stage::set(&Topology::of(&software), "hash");
    let client = &stage.lab.clients[0].node;
    let ports = 20_000..=29_999;
    let load = Load::start(client, VIP, RATE, Ports::Each(ports.clone())).expect("a load");
    let first = load.join().expect("a report");
    assert_eq!((first.sent(), first.lost()), (10_000, 0));
    assert!(worst(&first, 3) <= 0.10, "{:?}", first.by_identity());

    // The same ports once more: each is answered by whom it was answered before.
    let load = Load::start(client, VIP, RATE, Ports::Each(ports)).expect("a load");
    let second = load.join().expect("a report");
    assert_eq!((second.sent(), second.lost()), (10_000, 0));
    let by = |report: &Report| -> Vec<String> {
        let answers = report.queries().iter().filter_map(|query| query.answer);
        answers
            .map(|answer| report.identities()[answer.by].clone())
            .collect()
    };
    assert_eq!(by(&first), by(&second));
}

#[test]
fn round_robin_spreads_one_client_on_one_port() {
    let software = [Software::Nsd, Software::Knot, Software::Unbound];
    let stage = Stage::set(&Topology::of(&software), "round-robin");
    let client = &stage.lab.clients[0].node;
    let load = Load::start(client, VIP, RATE, Ports::Fixed).expect("a load");
    let report = load.run_for(Duration::from_secs(3)).expect("a report");
    assert_eq!(report.lost(), 0, "{:?}", report.loss_windows());
    assert!(worst(&report, 3) <= 0.01, "{:?}", report.by_identity());
}

#[test]
fn a_backend_behind_another_interface_is_reached() {
    let interfaces = &["eth0", "eth1"];
    let stage = Stage::set_on(interfaces, &two_segments(), "round-robin");
    let client = &stage.lab.clients[0].node;
    let load = Load::start(client, VIP, RATE, Ports::Fresh).expect("a load");
    let report = load.run_for(Duration::from_secs(2)).expect("a report");
    assert_eq!(report.lost(), 0, "{:?}", report.loss_windows());
    assert!(worst(&report, 2) <= 0.01, "{:?}", report.by_identity());
}
