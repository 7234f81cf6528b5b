//! The agent comes and goes; queries do not notice.

use std::{thread, time::Duration};

use dns_lb_tests::{Load, Ports, Software, Topology, lab::VIP};

use crate::stage::{RATE, Stage};

fn pair() -> Topology {
    Topology::of(&[Software::Nsd, Software::Knot])
}

#[test]
fn a_killed_agent_that_starts_again_loses_nothing() {
    let mut stage = Stage::set(&pair(), "hash");
    let client = &stage.lab.clients[0].node;
    let load = Load::start(client, VIP, RATE, Ports::Fresh).expect("a load");
    for _ in 0..5 {
        thread::sleep(Duration::from_millis(300));
        let before = stage.agent.status().expect("a status").generation;
        stage.agent.kill().expect("the agent runs");
        thread::sleep(Duration::from_millis(300));
        stage.agent.restart().expect("the agent starts");
        let status = stage
            .agent
            .wait_until_all_up(Duration::from_secs(5))
            .expect("adopted");
        assert!(
            status.generation > before,
            "new maps instead of the old: {status:?}"
        );
    }
    thread::sleep(Duration::from_millis(300));
    let report = load.stop().expect("a report");
    assert_eq!(report.lost(), 0, "{:?}", report.loss_windows());
    assert!(report.sent() > 5 * 600 * RATE as usize / 1000);
}

#[test]
fn a_restarted_agent_remembers_who_is_dead() {
    let mut stage = Stage::set(&pair(), "hash");
    stage.lab.backends[0].kill().expect("the server runs");
    stage.await_down("dns1");

    let client = &stage.lab.clients[0].node;
    let load = Load::start(client, VIP, RATE, Ports::Fresh).expect("a load");
    thread::sleep(Duration::from_millis(200));
    stage.agent.kill().expect("the agent runs");
    stage.agent.restart().expect("the agent starts");
    thread::sleep(Duration::from_secs(1));
    let report = load.stop().expect("a report");
    assert_eq!(report.lost(), 0, "{:?}", report.loss_windows());
}

#[test]
fn a_stopped_agent_leaves_traffic_flowing_until_unload() {
    let mut stage = Stage::set(&pair(), "hash");
    let client = &stage.lab.clients[0].node;
    let load = Load::start(client, VIP, RATE, Ports::Fresh).expect("a load");
    thread::sleep(Duration::from_millis(300));
    let status = stage.agent.terminate().expect("the agent ends");
    assert!(status.success(), "{status}");
    thread::sleep(Duration::from_millis(500));
    let report = load.stop().expect("a report");
    assert_eq!(report.lost(), 0, "{:?}", report.loss_windows());

    let unload = stage.agent.run(&["unload"]).expect("dns-lb unload");
    assert!(
        unload.status.success(),
        "{}",
        String::from_utf8_lossy(&unload.stderr)
    );
    stage.assert_unloaded();
    let load = Load::start(client, VIP, 100, Ports::Fresh).expect("a load");
    let report = load.run_for(Duration::from_millis(300)).expect("a report");
    assert_eq!(report.answered(), 0, "somebody still steers");
}

#[test]
fn detach_on_exit_leaves_nothing() {
    let mut stage = Stage::set(&pair(), "hash");
    stage.agent.terminate().expect("the agent ends");
    let mut command = stage.agent.command();
    command.args(["run", "--detach-on-exit"]);
    let process = stage
        .lab
        .balancer
        .spawn("dns-lb", command, dns_lb_tests::node::Stdout::Log)
        .expect("the agent starts");
    stage
        .agent
        .wait_until_all_up(Duration::from_secs(5))
        .expect("adopted");
    let status = process
        .terminate(Duration::from_secs(5))
        .expect("the agent ends");
    assert!(status.success(), "{status}");
    stage.assert_unloaded();
}
