//! Servers whose packets are too large for a link to the clients.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use dns_lb_tests::{
    Backend, Node, Software, Topology,
    dns::{self, Conversation},
    lab::{VIP, VIP_V6},
    process,
};

use crate::stage::Stage;

/// For a connection, and for an answer. A server that never hears of the lower MTU never gets its
/// segments through.
const PATIENCE: Duration = Duration::from_secs(5);

/// The MTU of the router's link to the clients, in octets.
const LOWERED: u16 = 1400;

/// Connections to a VIP before every server must have had one.
const ATTEMPTS: usize = 100;

/// A connection to each server.
fn open(client: &Node, vip: IpAddr, servers: usize) -> BTreeMap<String, Conversation> {
    client.run(move || {
        let mut opened = BTreeMap::new();
        for _ in 0..ATTEMPTS {
            let mut conversation = Conversation::open(vip, PATIENCE).expect("a connection");
            let identity = conversation.ask().expect("an answer");
            opened.entry(identity).or_insert(conversation);
            if opened.len() == servers {
                break;
            }
        }
        opened
    })
}

/// The route from the VIP to a client, with what the server's kernel has learnt of it.
fn route(backend: &Backend, client: IpAddr, vip: IpAddr) -> String {
    let mut command = process::program("ip");
    command.args([
        "route",
        "get",
        &client.to_string(),
        "from",
        &vip.to_string(),
    ]);
    let output = backend.node.output(command).expect("ip");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_server_learns_from_an_icmp_error_that_its_segments_are_too_large() {
    // Knot keeps its segments below 1280 octets by itself.
    let servers = [Software::Nsd, Software::Unbound, Software::Nsd];
    let stage = Stage::set(&Topology::dual_stack(&servers), "hash");
    let lab = &stage.lab;
    // The client's own link stays as it was, and so does the segment size that it announces.
    lab.router
        .ip(&format!("link set clients mtu {LOWERED}"))
        .expect("ip");
    let client = &lab.clients[0];
    let address_v6 = client.address_v6.expect("a lab with IPv6");
    for (vip, address) in [
        (IpAddr::from(VIP), IpAddr::from(client.address)),
        (VIP_V6.into(), address_v6.into()),
    ] {
        let opened = open(&client.node, vip, servers.len());
        assert_eq!(opened.len(), servers.len(), "{:?}", opened.keys());
        for (identity, mut conversation) in opened {
            let backend = lab
                .backends
                .iter()
                .find(|backend| backend.identity() == identity)
                .expect("a server of that name");
            let before = route(backend, address, vip);
            assert!(!before.contains("mtu"), "{identity}: {before}");

            let start = Instant::now();
            let reply = client
                .node
                .run(move || conversation.exchange(&dns::large_query(7)))
                .unwrap_or_else(|error| panic!("{identity} to {address}: {error:#}"));
            assert!(reply.len() > 10_000, "{} octets", reply.len());
            let elapsed = start.elapsed();
            assert!(elapsed < Duration::from_secs(3), "{elapsed:?}");
            let after = route(backend, address, vip);
            assert!(
                after.contains(&format!("mtu {LOWERED}")),
                "{identity}: {after}"
            );
        }
    }
}
