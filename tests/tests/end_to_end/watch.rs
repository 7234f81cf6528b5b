//! `dns-lb status --watch`, on a terminal and on a pipe, while the agent comes and goes.

use std::{
    thread,
    time::{Duration, Instant},
};

use dns_lb_tests::{Process, Software, Terminal, Topology, node::Stdout};
use serde_json::Value;

use crate::stage::Stage;

/// How long anything may take to be seen.
const PATIENCE: Duration = Duration::from_secs(15);

fn stage() -> Stage {
    Stage::set(&Topology::of(&[Software::Nsd, Software::Knot]), "hash")
}

#[test]
fn on_a_terminal_the_table_stays_in_its_place() {
    let mut stage = stage();
    let mut watch = stage.agent.command();
    watch.args(["status", "--watch", "0.2"]);
    let mut terminal = Terminal::start(&stage.lab.balancer, watch, (100, 24)).expect("a terminal");
    let mut see = |what: &str, wanted: &dyn Fn(&str) -> bool| {
        terminal
            .wait_until(what, PATIENCE, wanted)
            .unwrap_or_else(|error| panic!("{error:#}"))
    };
    let is_live = |screen: &str| screen.starts_with("dns-lb ");
    let both_up = |screen: &str| is_live(screen) && screen.matches(" up  ").count() == 2;
    see("both are up", &both_up);
    stage.lab.backends[1].kill().expect("the server runs");
    let screen = see("dns2 is down", &|screen| screen.contains("  DOWN  "));
    // The same table, not another below it.
    assert_eq!(screen.matches("LAST PROBE").count(), 1, "{screen}");

    stage.agent.kill().expect("the agent runs");
    let screen = see("the agent is gone", &|screen| {
        screen.starts_with("NO ANSWER, last heard ")
    });
    println!("{screen}");
    assert!(screen.contains("what follows is of "), "{screen}");
    assert!(
        screen.contains("  DOWN  "),
        "what is known is still to be seen: {screen}"
    );
    stage.agent.restart().expect("the agent starts");
    see("the agent is back", &is_live);
    terminal.press("q").expect("keys");
    let status = terminal.wait_for_end(PATIENCE).expect("as it was");
    assert!(status.success(), "{status}");
}

/// Waits until a process has said something of which this is true.
fn wait_for(process: &Process, what: &str, wanted: impl Fn(&str) -> bool) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let log = process.log();
        if wanted(&log) {
            return log;
        }
        assert!(Instant::now() < deadline, "not {what}: {log}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn on_a_pipe_one_follows_another() {
    let mut stage = stage();
    let start = |stage: &Stage, arguments: &[&str]| {
        let mut watch = stage.agent.command();
        watch.args(arguments);
        let balancer = &stage.lab.balancer;
        let process = balancer.spawn("dns-lb", watch, Stdout::Log);
        process.expect("it starts")
    };
    let tables = start(&stage, &["status", "--watch", "0.1"]);
    let documents = start(&stage, &["status", "--json", "--watch", "0.1"]);
    let three = |log: &str| log.matches("\n\ndns-lb ").count() >= 3;
    let log = wait_for(&tables, "three tables", three);
    assert!(!log.contains('\u{1b}'), "{log}");
    let log = wait_for(&documents, "three documents", |log| {
        log.lines().count() >= 4
    });
    for line in log.lines().take(3) {
        let status: Value = serde_json::from_str(line).expect("a document a line");
        assert_eq!(status["services"][0]["name"], "resolvers");
    }
    stage.agent.kill().expect("the agent runs");
    // The log is of both outputs: here standard error's.
    for process in [&tables, &documents] {
        let is_said = |log: &str| log.contains("NO ANSWER, last heard ");
        wait_for(process, "that the agent is gone", is_said);
    }
    let is_last = |log: &str| log.rfind("NO ANSWER") > log.rfind("BACKEND");
    wait_for(&tables, "no table of what is old", is_last);
    stage.agent.restart().expect("the agent starts");
    wait_for(&tables, "a table again", |log| {
        log.rfind("NO ANSWER") < log.rfind("BACKEND")
    });
    for process in [tables, documents] {
        let status = process.terminate(PATIENCE).expect("it ends");
        assert!(status.success(), "{status}");
    }
}
