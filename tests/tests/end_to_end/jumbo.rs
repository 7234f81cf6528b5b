//! Links with an MTU of 9000: frames that do not fit into one buffer of the kernel's.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use dns_lb_tests::{
    Software, Topology, agent,
    dns::{self, Conversation},
    lab::{VIP, VIP_V6},
};

use crate::stage::Stage;

/// For an answer, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(5);

/// Octets of a query.
const LENGTH: usize = 8_000;

/// Queries over UDP to each VIP, each from a port of its own.
const DATAGRAMS: u64 = 60;

/// Connections to each VIP, and queries over each.
const CONNECTIONS: u64 = 30;
const QUERIES: u64 = 10;

#[test]
fn a_query_of_8000_octets_is_steered_in_one_frame() {
    // Knot asks for TCP segments of at most 1220 octets whatever the MTU.
    let servers = [Software::Nsd, Software::Unbound, Software::Nsd];
    let topology = Topology {
        mtu: 9000,
        ..Topology::dual_stack(&servers)
    };
    let stage = Stage::set_configured(&topology, |backends| {
        let configuration = agent::configuration(&["eth0"], "hash", backends);
        format!("xdp_mode = \"native\"\n{configuration}")
    });
    let client = &stage.lab.clients[0].node;
    let service = || stage.agent.status().expect("a status").services.remove(0);
    let vips = [IpAddr::from(VIP), VIP_V6.into()];
    for vip in vips {
        let before = service();
        let answered: BTreeSet<String> = client.run(move || {
            let answers = (0..DATAGRAMS)
                .map(|_| dns::ask_identity_padded(vip, LENGTH, PATIENCE).expect("an answer"));
            answers.collect()
        });
        assert_eq!(answered, stage.lab.identities(), "{vip}");
        let after = service();
        assert_eq!(after.packets - before.packets, DATAGRAMS, "{vip}: frames");
        assert!(after.bytes - before.bytes > DATAGRAMS * LENGTH as u64);
    }
    for vip in vips {
        let before = service();
        let answered: BTreeSet<String> = client.run(move || {
            let answers = (0..CONNECTIONS).flat_map(|_| {
                let mut conversation = Conversation::open(vip, PATIENCE).expect("a connection");
                (0..QUERIES).map(move |_| conversation.ask_padded(LENGTH).expect("an answer"))
            });
            answers.collect()
        });
        assert_eq!(answered, stage.lab.identities(), "{vip}");
        let after = service();
        // A segment for each query, perhaps an acknowledgement of each answer, and what opens and
        // closes the connection. In segments of 1460 octets, the queries alone would be six each.
        let most = CONNECTIONS * (2 * QUERIES + 6);
        let packets = after.tcp.packets - before.tcp.packets;
        assert!(packets < most, "{vip}: {packets} segments");
        assert!(after.bytes - before.bytes > CONNECTIONS * QUERIES * LENGTH as u64);
    }
}
