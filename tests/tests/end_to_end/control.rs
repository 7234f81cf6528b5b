//! What an operator does to a running agent, by the command line as he would.

use std::{process::Output, thread, time::Duration};

use dns_lb_tests::{Agent, Load, Ports, Software, Topology, agent, lab::VIP};
use serde_json::{Value, json};

use crate::{
    stage::{RATE, Stage},
    tcp::{open, stay},
};

const PATIENCE: Duration = Duration::from_secs(5);

fn stage() -> Stage {
    let servers = [Software::Nsd, Software::Knot, Software::Nsd];
    Stage::set(&Topology::of(&servers), "hash")
}

/// Runs a verb that is to succeed, and gives what it prints.
fn done(agent: &Agent, arguments: &[&str]) -> String {
    let output = agent.run(arguments).expect("the binary starts");
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// Runs a verb that is to be refused, and gives what it says.
fn refused(agent: &Agent, arguments: &[&str], code: i32) -> String {
    let Output { status, stderr, .. } = agent.run(arguments).expect("the binary starts");
    let text = String::from_utf8(stderr).expect("text");
    assert_eq!(status.code(), Some(code), "{arguments:?}: {text}");
    text
}

/// A backend in the status document, by its place.
fn backend(agent: &Agent, place: usize) -> Value {
    let text = done(agent, &["status", "--json"]);
    let status: Value = serde_json::from_str(&text).expect("JSON");
    status["services"][0]["backends"][place].clone()
}

#[test]
fn a_drained_server_keeps_its_connections_and_takes_no_new_queries() {
    let mut stage = stage();
    let client = stage.lab.clients[0].node.clone();
    let drained = stage.lab.backends[0].identity();
    let mut opened = open(&client, 40);
    assert!(opened.iter().any(|(_, who)| *who == drained));

    let said = done(
        &stage.agent,
        &["drain", "resolvers/dns1", "--reason", "new disk"],
    );
    assert_eq!(said, "resolvers/dns1: draining, weight 1\n");
    let load = Load::start(&client, VIP, RATE, Ports::Fresh).expect("a load");
    let report = load.run_for(Duration::from_secs(1)).expect("a report");
    assert_eq!(report.lost(), 0, "{:?}", report.loss_windows());
    assert!(!report.by_identity().contains_key(&drained));
    stay(&mut opened, "while a server is drained");
    assert!(open(&client, 30).iter().all(|(_, who)| *who != drained));

    let shown = backend(&stage.agent, 0);
    assert_eq!(shown["admin"], "draining");
    assert_eq!(shown["health"], "up");
    assert_eq!(shown["share"], 0.0);
    assert_eq!(shown["set_by"]["reason"], "new disk");
    let by = shown["set_by"]["by"].as_str().expect("who did it");
    assert!(by.starts_with("uid 0 (root), pid "), "{by}");
    let table = done(&stage.agent, &["status"]);
    assert!(
        table.contains("dns1 is draining, by uid 0 (root)"),
        "{table}"
    );

    // What an operator wants outlives the agent, by whichever end.
    stage.agent.kill().expect("the agent runs");
    stage.agent.restart().expect("the agent starts");
    let is_drained = |status: &agent::Status| status.services[0].backends[0].share == 0.0;
    stage
        .agent
        .wait_until("dns1 is drained still", PATIENCE, is_drained)
        .expect("the ledger is read");
    assert_eq!(backend(&stage.agent, 0)["set_by"]["reason"], "new disk");
    stay(&mut opened, "with another agent");

    let said = done(&stage.agent, &["enable", "dns1"]);
    assert_eq!(said, "resolvers/dns1: enabled, weight 1\n");
    stage
        .agent
        .wait_until_all_up(PATIENCE)
        .expect("dns1 takes queries");
    assert_eq!(backend(&stage.agent, 0)["set_by"], json!(null));
    stay(&mut opened, "with the server enabled again");
}

#[test]
fn a_disabled_server_has_nothing_and_a_weight_holds_at_once() {
    let mut stage = stage();
    done(&stage.agent, &["disable", "resolvers/dns2"]);
    done(&stage.agent, &["weight", "resolvers/dns3", "3"]);
    let client = &stage.lab.clients[0].node;
    let load = Load::start(client, VIP, RATE, Ports::Fresh).expect("a load");
    let report = load.run_for(Duration::from_secs(2)).expect("a report");
    assert_eq!(report.lost(), 0, "{:?}", report.loss_windows());
    let shares = report.by_identity();
    let part = |place: usize| {
        let answers = shares.get(&stage.lab.backends[place].identity());
        *answers.unwrap_or(&0) as f64 / report.answered() as f64
    };
    assert_eq!(part(1), 0.0);
    assert!((0.2..0.3).contains(&part(0)), "{shares:?}");
    assert!((0.7..0.8).contains(&part(2)), "{shares:?}");
    let shown = backend(&stage.agent, 2);
    assert_eq!(shown["weight"], 3);
    assert_eq!(shown["configured_weight"], 1);

    done(&stage.agent, &["weight", "dns3", "configured"]);
    done(&stage.agent, &["enable", "dns2"]);
    stage.agent.wait_until_all_up(PATIENCE).expect("as before");
}

#[test]
fn what_would_leave_nobody_asks_for_force() {
    let mut stage = stage();
    done(&stage.agent, &["drain", "dns1", "dns2"]);
    for verb in [
        &["drain", "dns3"] as &[&str],
        &["disable", "resolvers/dns3"],
        &["weight", "dns3", "0"],
    ] {
        let said = refused(&stage.agent, verb, 1);
        assert!(said.contains("--force"), "{said}");
    }
    let said = refused(&stage.agent, &["drain", "resolvers/dns9"], 1);
    assert!(said.contains("dns9") && said.contains("dns1"), "{said}");
    assert!(backend(&stage.agent, 2)["share"].as_f64() > Some(0.99));

    // One who is down is nobody's reserve.
    done(&stage.agent, &["enable", "dns1"]);
    stage.lab.backends[0].kill().expect("the server runs");
    stage.await_down("dns1");
    refused(&stage.agent, &["drain", "dns3"], 1);

    let all = ["drain", "dns1", "--all-services", "--force"];
    done(&stage.agent, &all);
    done(&stage.agent, &["drain", "dns3", "--force"]);
    // With nobody whom the operator lets, packets go to the host's own stack.
    assert_eq!(backend(&stage.agent, 2)["share"], 0.0);
    let client = &stage.lab.clients[0].node;
    let load = Load::start(client, VIP, 100, Ports::Fresh).expect("a load");
    let report = load.run_for(Duration::from_millis(300)).expect("a report");
    assert_eq!(report.answered(), 0);
    thread::sleep(Duration::from_millis(10));
    done(&stage.agent, &["enable", "dns2", "dns3"]);
    assert!(backend(&stage.agent, 1)["share"].as_f64() > Some(0.4));
}

/// A disk that hangs: the operator hears of it, and the agent goes on.
#[test]
fn a_disk_that_hangs_holds_up_no_verdict() {
    let mut stage = stage();
    // The draft of the state file, as a pipe that nobody reads.
    let pid = stage.agent.pid().expect("the agent runs");
    let draft = format!("/var/lib/dns-lb/state.json.{pid}");
    let mut mkfifo = dns_lb_tests::process::program("sh");
    mkfifo.args([
        "-ec",
        "mkdir -p /var/lib/dns-lb; mkfifo \"$1\"",
        "sh",
        &draft,
    ]);
    let made = stage.lab.balancer.output(mkfifo).expect("a shell");
    assert!(made.status.success(), "{made:?}");

    let mut drain = stage.agent.command();
    drain.args(["drain", "dns3"]);
    let node = stage.lab.balancer.clone();
    let draining = thread::spawn(move || node.output(drain));
    let is_drained = |status: &agent::Status| status.services[0].backends[2].share == 0.0;
    stage
        .agent
        .wait_until("dns3 is drained", PATIENCE, is_drained)
        .expect("the change does not wait for the disk");
    stage.lab.backends[0].kill().expect("the server runs");
    stage.await_down("dns1");
    let output = draining.join().expect("no panic").expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{output:?}");
    assert!(said.contains("only until the agent ends"), "{said}");
}
