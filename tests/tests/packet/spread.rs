//! How the policies spread packets over backends.

use std::{collections::BTreeMap, net::Ipv4Addr};

use dns_lb::config::Policy;
use dns_lb_common::Action;

use crate::fixture::{CLIENT, Fixture, ROTATING_VIP, VIP, query_from, service, with_program};

/// Sends the frames and counts by the last octet of the MAC address that they went to.
fn spread(fixture: &mut Fixture, frames: impl Iterator<Item = Vec<u8>>) -> BTreeMap<u8, u32> {
    let mut counts = BTreeMap::new();
    for frame in frames {
        let run = fixture.datapath.test_run(&frame).expect("test run");
        assert_eq!(run.0, Action::Transmit as u32);
        *counts.entry(run.1[5]).or_default() += 1;
    }
    counts
}

/// The greatest departure from the share that the weights give, as a part of that share.
fn worst(counts: &BTreeMap<u8, u32>, weights: &[(u8, u16)]) -> f64 {
    let packets: u32 = counts.values().sum();
    let total: u16 = weights.iter().map(|&(_, weight)| weight).sum();
    let departures = weights.iter().map(|&(backend, weight)| {
        let ideal = f64::from(packets) * f64::from(weight) / f64::from(total);
        (f64::from(counts.get(&backend).copied().unwrap_or(0)) - ideal).abs() / ideal
    });
    departures.fold(0.0, f64::max)
}

#[test]
fn hash_spreads_ten_thousand_ports_by_weight() {
    for weights in [
        &[(201, 1), (202, 1), (203, 1)][..],
        &[(201, 1), (202, 3)],
        &[(201, 5), (202, 3), (203, 2)],
    ] {
        with_program(
            vec![service("resolvers", VIP, weights)],
            move |mut fixture| {
                let frames = (0..10_000).map(|port| query_from(CLIENT, 1024 + port, VIP));
                let counts = spread(&mut fixture, frames);
                let worst = worst(&counts, weights);
                assert!(worst <= 0.10, "{weights:?} came out as {counts:?}");
            },
        );
    }
}

#[test]
fn hash_keeps_a_flow_on_its_backend() {
    let weights = &[(201, 1), (202, 1), (203, 1)];
    with_program(vec![service("resolvers", VIP, weights)], |mut fixture| {
        for port in [53, 4242, 65_535] {
            let frames = (0..200).map(|_| query_from(CLIENT, port, VIP));
            assert_eq!(spread(&mut fixture, frames).len(), 1, "port {port}");
        }
    });
}

#[test]
fn hash_spreads_one_port_of_many_clients() {
    let weights = &[(201, 1), (202, 1), (203, 1)];
    with_program(vec![service("resolvers", VIP, weights)], |mut fixture| {
        let frames = (0..10_000)
            .map(|client| query_from(Ipv4Addr::from_bits(0x0a00_0000 + client), 53, VIP));
        let counts = spread(&mut fixture, frames);
        assert!(worst(&counts, weights) <= 0.10, "{counts:?}");
    });
}

#[test]
fn round_robin_spreads_one_port_of_one_client() {
    let weights = &[(201, 1), (202, 1), (203, 2)];
    let mut rotating = service("rotates", ROTATING_VIP, weights);
    rotating.policy = Policy::RoundRobin;
    with_program(vec![rotating], |mut fixture| {
        let frames = (0..4_000).map(|_| query_from(CLIENT, 4242, ROTATING_VIP));
        let counts = spread(&mut fixture, frames);
        assert!(worst(&counts, weights) <= 0.01, "{counts:?}");
    });
}
