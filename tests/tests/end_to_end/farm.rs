//! The smallest farm there is: two hosts, each balancer and DNS server at once.

use std::{collections::BTreeSet, time::Duration};

use dns_lb_tests::{Agent, Lab, Load, Ports, Software, Topology, agent, lab::VIP};

use crate::stage::{START_LIMIT, binary, ended};

#[test]
fn two_hosts_balance_over_each_other_whichever_has_the_address() {
    let servers = [Software::Nsd, Software::Knot];
    let mut lab = Lab::start(&Topology::of(&servers)).expect("a lab");
    let mut agents = Vec::new();
    for place in 0..2 {
        lab.let_forward(place).expect("a pass program");
        let configuration = agent::farm_configuration(&lab.backends, place);
        let node = &lab.backends[place].node;
        node.write("/etc/dns-lb/hash.key", &"0123456789abcdef".repeat(2))
            .expect("a key");
        agents.push(Agent::start(node, binary(), &configuration).expect("an agent"));
    }
    for agent in &mut agents {
        agent
            .wait_until_all_up(START_LIMIT)
            .expect("every backend up");
    }

    let everybody = lab.identities();
    for first in 0..2 {
        lab.route_vip_to(first).expect("a neighbour entry");
        let client = &lab.clients[0].node;
        let guarded = ended(&agents[1 - first], "already_steered");
        let load = Load::start(client, VIP, 1_000, Ports::Fresh).expect("a load");
        let report = load.run_for(Duration::from_secs(2)).expect("a report");
        assert_eq!(report.lost(), 0, "{:?}", report.loss_windows());
        let answered: BTreeSet<String> = report.by_identity().into_keys().collect();
        assert_eq!(answered, everybody);

        // What the first sent on, the second delivered; neither sent anything back.
        let sent = ended(&agents[first], "transmitted");
        assert!(sent > 100 && ended(&agents[first], "delivered") > 100);
        assert!(ended(&agents[1 - first], "already_steered") - guarded > 100);
        for agent in &agents {
            assert_eq!(ended(agent, "hop_limit"), 0);
        }
    }
}
