//! What the program itself has to say.

use std::{
    process::Command,
    thread,
    time::{Duration, Instant},
};

use dns_lb_common::Backend;
use dns_lb_tests::{Load, Node, Ports, Software, Topology, lab::VIP};

use crate::stage::Stage;

/// Takes all backends away while the tables still name them, behind the agent's back.
pub(crate) fn empty_backends(balancer: &Node) {
    let zeros = vec!["0"; size_of::<Backend>()];
    // Two banks of room for 32 backends each, ids from 1; a lab with more than two needs more.
    for entry in ["1", "2", "34", "35"] {
        let mut command = Command::new("bpftool");
        command.args(["map", "update", "pinned", "/sys/fs/bpf/dns-lb/backends"]);
        command
            .args(["key", entry, "0", "0", "0", "value"])
            .args(&zeros);
        let output = balancer.output(command).expect("bpftool");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// Nobody but the agent writes the maps, so this takes a hand in them: all backends are removed
/// while the tables still name them.
#[test]
fn a_table_that_names_nobody_is_counted_and_logged() {
    let mut stage = Stage::set(&Topology::of(&[Software::Nsd]), "hash");
    // A frozen agent mends nothing.
    stage.agent.freeze().expect("the agent runs");
    empty_backends(&stage.lab.balancer);

    let client = &stage.lab.clients[0].node;
    let load = Load::start(client, VIP, 200, Ports::Fresh).expect("a load");
    let report = load.run_for(Duration::from_millis(500)).expect("a report");
    assert_eq!(report.answered(), 0);
    stage.agent.thaw().expect("the agent runs");
    stage
        .agent
        .wait_until("it answers", Duration::from_secs(5), |_| true)
        .expect("the agent goes on");
    let output = stage.agent.run(&["status", "--json"]).expect("a status");
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let dropped = status["services"][0]["endings"]["unknown_backend"]
        .as_u64()
        .expect("a counter");
    assert_eq!(dropped, report.sent() as u64);

    // At each CPU's first, second, fourth … packet: far fewer lines than packets.
    let lines = || {
        let log = stage.agent.log();
        let said = |line: &&str| line.contains("steering table: no such backend");
        log.lines().filter(said).count()
    };
    let deadline = Instant::now() + Duration::from_secs(5);
    while lines() == 0 && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(10));
    }
    let (lines, log) = (lines(), stage.agent.log());
    assert!(
        (1..=20).contains(&lines),
        "{lines} lines for {dropped} packets:\n{log}"
    );
}
