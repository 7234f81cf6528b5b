//! Queries that are too large for a packet.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use dns_lb_tests::{
    Software, Topology, dns,
    lab::{VIP, VIP_V6},
};

use crate::stage::Stage;

/// For an answer, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(5);

/// Octets of a query: at an MTU of 1500 its datagram is in three fragments, so that there is a first,
/// a last, and one that is neither.
const LENGTH: usize = 4_000;

/// Queries to each VIP.
const COUNT: u16 = 60;

#[test]
fn a_query_in_fragments_reaches_one_server_as_a_whole() {
    let servers = [Software::Nsd, Software::Knot, Software::Unbound];
    let stage = Stage::set(&Topology::dual_stack(&servers), "hash");
    for vip in [IpAddr::from(VIP), VIP_V6.into()] {
        let steered = || stage.agent.status().expect("a status").services[0].packets;
        let before = steered();
        let answered: BTreeSet<String> = stage.lab.clients[0].node.run(move || {
            let answers = (0..COUNT)
                .map(|_| dns::ask_identity_padded(vip, LENGTH, PATIENCE).expect("an answer"));
            answers.collect()
        });
        assert_eq!(answered, stage.lab.identities(), "{vip}");
        assert_eq!(steered() - before, 3 * u64::from(COUNT), "{vip}: fragments");
    }
}
