//! DNS over TCP: connections stay where they are, whoever else comes and goes.

use std::{collections::BTreeSet, time::Duration};

use dns_lb_tests::{Node, Software, Topology, dns::Conversation, lab::VIP};

use crate::stage::Stage;

/// For a connection, and for an answer, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(5);

/// Connections with the one whom they have reached.
pub(crate) fn open(client: &Node, count: usize) -> Vec<(Conversation, String)> {
    client.run(move || {
        let opened = (0..count).map(|_| {
            let mut conversation = Conversation::open(VIP, PATIENCE).expect("a connection");
            let identity = conversation.ask().expect("an answer");
            (conversation, identity)
        });
        opened.collect()
    })
}

/// Asks once more over each; whom it has reached answers.
pub(crate) fn stay(opened: &mut [(Conversation, String)], when: &str) {
    for (conversation, identity) in opened {
        let answer = conversation
            .ask()
            .unwrap_or_else(|error| panic!("{when}: {error:#}"));
        assert_eq!(answer, *identity, "{when}");
    }
}

#[test]
fn connections_outlive_the_death_and_return_of_another_server() {
    let servers = [Software::Nsd, Software::Knot, Software::Nsd];
    let mut stage = Stage::set(&Topology::of(&servers), "hash");
    let client = stage.lab.clients[0].node.clone();
    let dead = stage.lab.backends[0].identity();
    let opened = open(&client, 40);
    let reached: BTreeSet<String> = opened.iter().map(|(_, who)| who.clone()).collect();
    assert_eq!(reached.len(), 3, "every server is reached: {reached:?}");
    let (broken, mut kept): (Vec<_>, Vec<_>) =
        opened.into_iter().partition(|(_, who)| *who == dead);
    assert!(!broken.is_empty());

    stage.lab.backends[0].kill().expect("the server runs");
    stage.await_down("dns1");
    stay(&mut kept, "when another has died");
    let mut later = open(&client, 20);
    assert!(
        later.iter().all(|(_, who)| *who != dead),
        "the dead takes no connection"
    );

    stage.bring_back(0, PATIENCE);
    // The table gives back to the returned what was its own; whoever talks to another goes on.
    stay(&mut kept, "when another has come back");
    stay(&mut later, "of those that were opened meanwhile");
    let again = open(&client, 40);
    assert!(
        again.iter().any(|(_, who)| *who == dead),
        "the returned takes connections"
    );

    let status = stage.agent.status().expect("a status");
    let tcp = &status.services[0].tcp;
    assert!(
        tcp.connections >= 100 && tcp.packets > 3 * tcp.connections,
        "{tcp:?}"
    );
}

/// A restart of the agent changes nothing for connections either.
#[test]
fn connections_outlive_the_agent() {
    let mut stage = Stage::set(
        &Topology::of(&[Software::Nsd, Software::Knot]),
        "round-robin",
    );
    let client = stage.lab.clients[0].node.clone();
    let mut opened = open(&client, 20);
    stage.agent.terminate().expect("it stops");
    stay(&mut opened, "without the agent");
    stage.agent.restart().expect("it starts again");
    stage
        .agent
        .wait_until_all_up(PATIENCE)
        .expect("every server up");
    stay(&mut opened, "with the agent again");
}
