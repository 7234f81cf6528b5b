//! Backends are drained and removed, and get other weights.

use std::time::Instant;

use dns_lb_tests::agent;

use super::Traffic;

fn start() -> Traffic {
    Traffic::start(|backends| agent::configuration(&["eth0"], "hash", &backends[..3]))
}

/// Connections to the one that is drained go on until it is removed; then nothing is promised to them.
#[test]
fn by_a_backend_that_is_drained_and_then_removed() {
    let mut traffic = start();
    let drained = traffic.stage.lab.backends[2].identity();
    let reached = traffic.talks.as_ref().expect("they talk").reached();
    assert!(reached[&drained] > 0, "it has connections: {reached:?}");

    traffic.await_part(1, 4);
    traffic.run(&["drain", "resolvers/dns3", "--reason", "to be removed"]);
    traffic.await_status("dns3 takes no new queries", |status| {
        let dns3 = status.backend("dns3");
        dns3.is_some_and(|dns3| dns3.admin == "draining" && dns3.share == 0.0)
    });
    let drained_since = Instant::now();
    let steered = |traffic: &Traffic| {
        let status = traffic.stage.agent.status().expect("a status");
        status.backend("dns3").expect("a backend").packets
    };
    let packets = steered(&traffic);
    traffic.await_part(3, 4);
    traffic.assert_talks_stay(None, "while it drains");
    assert!(steered(&traffic) > packets, "its connections go on");

    let backends: Vec<_> = traffic.stage.lab.backends[..2].iter().collect();
    let configuration = agent::configuration(&["eth0"], "hash", &backends);
    traffic.reload(&configuration);
    traffic.await_status("dns3 is gone", |status| status.backend("dns3").is_none());
    let outcome = traffic.finish(Some(&drained));
    let queries = outcome.report.between(drained_since..Instant::now());
    let answers = queries.by_identity();
    assert!(
        !answers.contains_key(&drained),
        "it has had new queries: {answers:?}"
    );
}

#[test]
fn by_weights_that_change() {
    let mut traffic = start();
    let weights: [u16; 10] = [5, 0, 1, 100, 2, 1, 0, 50, 3, 1];
    for (step, weight) in (1..).zip(weights) {
        traffic.await_part(step, 11);
        traffic.run(&["weight", "resolvers/dns1", &weight.to_string()]);
        let share = f64::from(weight) / f64::from(weight + 2);
        traffic.await_status("the tables follow", |status| {
            let dns1 = status.backend("dns1");
            dns1.is_some_and(|dns1| dns1.weight == weight && (dns1.share - share).abs() < 0.01)
        });
        traffic.assert_talks_stay(None, "after a weight has changed");
    }
    traffic.finish(None);
}
