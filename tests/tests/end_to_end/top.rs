//! `dns-lb top` as an operator has it: on a terminal, with keys.

use std::{process::Output, time::Duration};

use dns_lb_tests::{Load, Ports, Software, Terminal, Topology, lab::VIP};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::stage::Stage;

/// How long anything may take to be seen.
const PATIENCE: Duration = Duration::from_secs(15);

fn stage() -> Stage {
    let servers = [Software::Nsd, Software::Knot, Software::Nsd];
    Stage::set(&Topology::of(&servers), "hash")
}

/// The line of a backend, if it is on the screen.
fn line<'s>(screen: &'s str, backend: &str) -> Option<&'s str> {
    let mut lines = screen.lines();
    lines.find(|line| line.split_whitespace().next() == Some(backend))
}

fn has(text: &'static str) -> impl Fn(&str) -> bool {
    move |screen| screen.contains(text)
}

/// A backend in the status document.
fn backend(stage: &Stage, place: usize) -> Value {
    let output = stage.agent.run(&["status", "--json"]).expect("a status");
    let status: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    status["services"][0]["backends"][place].clone()
}

#[test]
fn a_death_is_seen_a_server_drained_and_the_terminal_given_back() {
    let mut stage = stage();
    let mut top = stage.agent.command();
    top.arg("top").env_remove("NO_COLOR");
    let mut terminal = Terminal::start(&stage.lab.balancer, top, (80, 24)).expect("a terminal");
    let see = |terminal: &mut Terminal, text: &'static str| {
        terminal
            .wait_until(text, PATIENCE, has(text))
            .unwrap_or_else(|error| panic!("{error:#}"))
    };
    let first = see(&mut terminal, "3 of 3 up");
    for name in ["dns1", "dns2", "dns3"] {
        let line = line(&first, name).expect("a line");
        assert!(line.contains(" up ") && line.contains("33."), "{line}");
    }
    let client = &stage.lab.clients[0].node;
    let load = Load::start(client, VIP, 600, Ports::Fresh).expect("a load");
    load.run_for(Duration::from_secs(2)).expect("a report");
    // Whoever had the most in a second.
    let is_drawn = |screen: &str| screen.contains('█');
    terminal
        .wait_until("the rate is drawn", PATIENCE, is_drawn)
        .expect("queries were sent");

    stage.lab.backends[0].kill().expect("the server runs");
    let is_down = |screen: &str| {
        let line = line(screen, "dns1");
        line.is_some_and(|line| line.contains(" DOWN ") && line.contains(" 0.0%"))
    };
    let screen = terminal
        .wait_until("dns1 is down", PATIENCE, is_down)
        .expect("the death is seen");
    println!("{screen}");
    see(&mut terminal, "2 of 3 up");

    // One further down; nothing is changed before the question is answered.
    terminal.press("jd").expect("keys");
    let question = see(&mut terminal, "Drain resolvers/dns2?");
    println!("{question}");
    assert_eq!(backend(&stage, 1)["admin"], "enabled");
    terminal.press("new disk\r").expect("keys");
    see(&mut terminal, "resolvers/dns2: draining, weight 1");
    let drained = backend(&stage, 1);
    assert_eq!(drained["admin"], "draining");
    assert_eq!(drained["set_by"]["reason"], "new disk");
    let is_draining =
        |screen: &str| line(screen, "dns2").is_some_and(|line| line.contains(" draining "));
    terminal
        .wait_until("dns2 is draining", PATIENCE, is_draining)
        .expect("the change is seen");

    // The last one, by its own screen. The agent refuses, and no is no.
    terminal.press("\u{1b}[B\r").expect("keys");
    see(&mut terminal, "probes, the newest first");
    let screen = see(&mut terminal, "NOERROR, ");
    println!("{screen}");
    assert!(screen.contains("resolvers/dns3, 192.168.0.203"), "{screen}");
    terminal.press("x\r").expect("keys");
    see(&mut terminal, "disable it all the same (--force)");
    terminal.press("n").expect("keys");
    see(&mut terminal, "resolvers/dns3: left as it is");
    assert_eq!(backend(&stage, 2)["admin"], "enabled");
    terminal.press("\u{1b}").expect("keys");
    see(&mut terminal, "order: ");

    // An agent that hangs is said to, and what is old is said to be.
    stage.agent.freeze().expect("the agent runs");
    see(&mut terminal, "NO ANSWER, last heard ");
    stage.agent.thaw().expect("the agent is there");
    let is_live = |screen: &str| !screen.contains("NO ANSWER");
    terminal
        .wait_until("the agent is back", PATIENCE, is_live)
        .expect("it answers again");

    terminal.press("q").expect("keys");
    let status = terminal.wait_for_end(PATIENCE).expect("as it was");
    assert!(status.success(), "{status}");
    assert!(terminal.written().contains("\u{1b}[38;5;"), "no colours");
}

#[test]
fn a_signal_gives_the_terminal_back_and_nothing_is_changed_from_afar() {
    let stage = stage();
    let mut top = stage.agent.command();
    top.args(["top", "--url", "http://127.0.0.1:8053"]);
    top.env("NO_COLOR", "1");
    let mut terminal = Terminal::start(&stage.lab.balancer, top, (120, 30)).expect("a terminal");
    let up = "3 of 3 up";
    terminal
        .wait_until(up, PATIENCE, has(up))
        .unwrap_or_else(|error| panic!("{error:#}"));
    terminal.press("d").expect("keys");
    let why = "nothing can be changed by --url";
    terminal
        .wait_until(why, PATIENCE, has(why))
        .unwrap_or_else(|error| panic!("{error:#}"));
    terminal.signal(Signal::SIGTERM).expect("it runs");
    let status = terminal.wait_for_end(PATIENCE).expect("as it was");
    assert!(status.success(), "{status}");
    assert_eq!(backend(&stage, 0)["admin"], "enabled");
    assert!(!terminal.written().contains("38;5;"), "colours");

    // A connection that breaks leaves nothing behind.
    for verb in [&["top"][..], &["status", "--watch"]] {
        let mut command = stage.agent.command();
        command.args(verb);
        let balancer = &stage.lab.balancer;
        let mut terminal = Terminal::start(balancer, command, (120, 30)).expect("a terminal");
        terminal
            .wait_until("it is shown", PATIENCE, has("dns3"))
            .unwrap_or_else(|error| panic!("{error:#}"));
        let status = terminal.hang_up(PATIENCE).expect("it ends");
        assert!(status.success(), "{status}");
    }

    // Without a terminal there is nothing to draw on.
    let Output { status, stderr, .. } = stage.agent.run(&["top"]).expect("it starts");
    let said = String::from_utf8_lossy(&stderr).into_owned();
    assert_eq!(status.code(), Some(1));
    assert!(said.contains("try dns-lb status --watch"), "{said}");
}
