//! Interfaces change mode, go away and come back.

use std::{
    thread,
    time::{Duration, Instant},
};

use dns_lb_tests::{Backend, Load, Ports, Software, Topology, agent, lab::VIP};

use crate::stage::{RATE, Stage, two_segments};

const LIMIT: Duration = Duration::from_secs(10);

/// Asks for a second; every query is answered, and both backends answer.
fn assert_both_serve(stage: &Stage) {
    let client = &stage.lab.clients[0].node;
    let load = Load::start(client, VIP, RATE, Ports::Fresh).expect("a load");
    let report = load.run_for(Duration::from_secs(1)).expect("a report");
    assert_eq!(report.lost(), 0, "{:?}", report.loss_windows());
    assert_eq!(report.by_identity().len(), 2, "{:?}", report.by_identity());
}

/// The program on `eth0` alone, so that `eth1` only leads out.
fn set_two_segments() -> Stage {
    Stage::set(&two_segments(), "round-robin")
}

#[test]
fn the_mode_changes_with_a_restart() {
    let mut stage = Stage::set(
        &Topology::of(&[Software::Nsd, Software::Knot]),
        "round-robin",
    );
    let backends: Vec<&Backend> = stage.lab.backends.iter().collect();
    let configuration = agent::configuration(&["eth0"], "round-robin", &backends);
    for (mode, shown) in [("generic", "xdpgeneric"), ("native", "xdp")] {
        stage.agent.terminate().expect("the agent ends");
        let configuration = format!("xdp_mode = \"{mode}\"\n{configuration}");
        let balancer = &stage.lab.balancer;
        balancer
            .write(agent::CONFIG, &configuration)
            .expect("a file");
        stage.agent.restart().expect("the agent starts");
        stage.agent.wait_until_all_up(LIMIT).expect("adopted");
        let output = stage.eth0();
        assert!(output.contains(&format!(" {shown} ")), "{mode}: {output}");
        assert_both_serve(&stage);
    }
}

#[test]
fn an_egress_made_anew_while_the_agent_was_down_is_used() {
    let mut stage = set_two_segments();
    stage.agent.terminate().expect("the agent ends");
    let balancer = &stage.lab.balancer;
    balancer.ip("link del eth1").expect("ip");
    let tid = balancer.tid();
    stage
        .lab
        .router
        .ip(&format!(
            "link add lb1 type veth peer name eth1 address 02:00:00:00:01:01 netns /proc/{tid}/ns/net\n\
             link set lb1 master br1 up"
        ))
        .expect("ip");
    balancer
        .ip("addr add 192.168.1.1/24 dev eth1\nlink set eth1 up")
        .expect("ip");

    stage.agent.restart().expect("the agent starts");
    stage.agent.wait_until_all_up(LIMIT).expect("both up");
    // Frames from XDP need the far end's program to get through a veth: the new one has none. So
    // the program's own account has to do.
    let before = stage.agent.status().expect("a status");
    let client = &stage.lab.clients[0].node;
    let load = Load::start(client, VIP, RATE, Ports::Fresh).expect("a load");
    load.run_for(Duration::from_millis(500)).expect("a report");
    let after = stage.agent.status().expect("a status");
    for (before, after) in before.services[0]
        .backends
        .iter()
        .zip(&after.services[0].backends)
    {
        assert!(after.packets > before.packets, "{}", after.name);
    }
}

#[test]
fn an_egress_that_comes_back_under_its_index_is_used() {
    let mut stage = set_two_segments();
    let away = stage.lab.clients[0].node.tid();
    stage
        .lab
        .balancer
        .ip(&format!("link set eth1 netns /proc/{away}/ns/net"))
        .expect("ip");
    stage
        .agent
        .wait_until("dns2 is off the link", LIMIT, |status| {
            status.services[0].backends[1].share == 0.0
        })
        .expect("the agent sees it");
    stage.lab.clients[0]
        .node
        .ip(&format!(
            "link set eth1 netns /proc/{}/ns/net",
            stage.lab.balancer.tid()
        ))
        .expect("ip");
    stage
        .lab
        .balancer
        .ip("addr add 192.168.1.1/24 dev eth1\nlink set eth1 up")
        .expect("ip");
    stage
        .agent
        .wait_until("dns2 has its share", LIMIT, |status| {
            status.all_up() && status.services[0].backends[1].share > 0.4
        })
        .expect("the agent sees it");
    assert_both_serve(&stage);
}

#[test]
fn an_interface_made_anew_is_steered_again() {
    let mut stage = set_two_segments();
    let balancer = &stage.lab.balancer;
    balancer.ip("link del eth0").expect("ip");
    stage
        .agent
        .wait_until("dns1 is off the link", LIMIT, |status| {
            status.services[0].backends[0].share == 0.0
        })
        .expect("the agent sees it");
    balancer
        .ip("link add eth0 type veth peer name far\nlink set far up\nlink set eth0 up")
        .expect("ip");
    let deadline = Instant::now() + LIMIT;
    while !stage.eth0().contains("prog/xdp") {
        assert!(
            Instant::now() < deadline,
            "no program on the new eth0:\n{}",
            stage.agent.log()
        );
        thread::sleep(Duration::from_millis(20));
    }
}
