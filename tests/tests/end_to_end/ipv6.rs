//! One service with a VIP of each family, over UDP and TCP, with servers that are known by an
//! address of either.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use dns_lb_tests::{
    Agent, Host, Lab, Node, Segment, Software, Topology,
    dns::{self, Conversation},
    lab::{VIP, VIP_V6},
};

use crate::stage::{START_LIMIT, Stage, binary, ended};

/// For an answer, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who answers so many queries, each from a port of its own.
fn ask(client: &Node, server: impl Into<IpAddr>, count: usize) -> BTreeSet<String> {
    let server = server.into();
    client.run(move || {
        let answers = (0..count).map(|_| dns::ask_identity(server, PATIENCE).expect("an answer"));
        answers.collect()
    })
}

/// The same over TCP.
fn converse(client: &Node, server: impl Into<IpAddr>, count: usize) -> BTreeSet<String> {
    let server = server.into();
    client.run(move || {
        let answers = (0..count).map(|_| {
            let mut conversation = Conversation::open(server, PATIENCE).expect("a connection");
            conversation.ask().expect("an answer")
        });
        answers.collect()
    })
}

#[test]
fn both_families_reach_every_server_over_udp_and_tcp() {
    let servers = [Software::Nsd, Software::Knot, Software::Unbound];
    let mut lab = Lab::start(&Topology::dual_stack(&servers)).expect("a lab");
    let mut configuration = format!(
        "interfaces = [\"eth0\"]\n[[service]]\nname = \"resolvers\"\nvips = [\"{VIP}\", \"{VIP_V6}\"]\n"
    );
    for (place, backend) in lab.backends.iter().enumerate() {
        // One is known by its IPv4 address, and found by ARP; the others by their IPv6 addresses, and
        // found by neighbour discovery.
        let address = match place {
            0 => IpAddr::from(backend.address),
            _ => backend.address_v6.expect("a lab with IPv6").into(),
        };
        configuration += &format!(
            "[[service.backend]]\nname = \"{}\"\naddress = \"{address}\"\n",
            backend.name
        );
    }
    let mut agent = Agent::start(&lab.balancer, binary(), &configuration).expect("an agent");
    agent
        .wait_until_all_up(START_LIMIT)
        .expect("every backend up");

    let client = lab.clients[0].node.clone();
    let all = lab.identities();
    assert_eq!(ask(&client, VIP, 60), all);
    assert_eq!(ask(&client, VIP_V6, 60), all);
    assert_eq!(converse(&client, VIP, 40), all);
    assert_eq!(converse(&client, VIP_V6, 40), all);

    lab.backends[1].kill().expect("the server runs");
    let is_out = |status: &dns_lb_tests::agent::Status| status.services[0].backends[1].share == 0.0;
    agent
        .wait_until("dns2 is out", PATIENCE, is_out)
        .expect("the agent takes it out");
    let dead = lab.backends[1].identity();
    for answered in [
        ask(&client, VIP_V6, 60),
        converse(&client, VIP_V6, 40),
        ask(&client, VIP, 60),
    ] {
        assert_eq!(answered.len(), 2, "{answered:?}");
        assert!(!answered.contains(&dead), "{answered:?}");
    }
}

#[test]
fn every_server_answers_by_whichever_interface_a_query_comes_in() {
    let mut topology = Topology::dual_stack(&[Software::Nsd, Software::Knot]);
    for software in [Software::Unbound, Software::Nsd] {
        topology.backends.push(Host {
            software: Some(software),
            segment: Segment::Second,
        });
    }
    let stage = Stage::set_on(&["eth0", "eth1"], &topology, "hash");
    let client = &stage.lab.clients[0].node;
    let all = stage.lab.identities();
    for segment in [Segment::First, Segment::Second] {
        stage.lab.route_vips_by(segment).expect("routes");
        for vip in [IpAddr::from(VIP), VIP_V6.into()] {
            // What goes out by the interface that it came in by, what by the other, and what is for
            // servers on the segment that it came in from.
            let counts = || {
                let backends = stage
                    .agent
                    .status()
                    .expect("a status")
                    .services
                    .remove(0)
                    .backends;
                let near = backends.iter().zip(&topology.backends);
                let near = near.filter(|(_, host)| host.segment == segment);
                [
                    ended(&stage.agent, "transmitted"),
                    ended(&stage.agent, "redirected"),
                    near.map(|(backend, _)| backend.packets).sum(),
                ]
            };
            let before = counts();
            assert_eq!(ask(client, vip, 60), all, "{vip} by {segment:?}");
            let [transmitted, redirected, near] = counts();
            let transmitted = transmitted - before[0];
            assert_eq!(transmitted, near - before[2], "{vip} by {segment:?}");
            assert_eq!(transmitted + redirected - before[1], 60);
        }
    }
    // Only now: the last segments of a connection may be counted after its end.
    for segment in [Segment::First, Segment::Second] {
        stage.lab.route_vips_by(segment).expect("routes");
        for vip in [IpAddr::from(VIP), VIP_V6.into()] {
            assert_eq!(converse(client, vip, 40), all, "{vip} by {segment:?}");
        }
    }
}
