//! The agent's log for machines: JSON, and the journal.

use std::{
    fs,
    os::unix::net::UnixDatagram,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use dns_lb_tests::{Load, Node, Ports, Process, Software, Topology, lab::VIP, node::Stdout};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::kernel_log::empty_backends;
use crate::stage::{START_LIMIT, Stage};

/// Where programs look for the journal.
const JOURNAL: &str = "/run/systemd/journal/socket";
const PATIENCE: Duration = Duration::from_secs(10);

/// A stage whose agent has been started again with this form of log, and has seen a server die.
fn log_a_death(format: &str) -> (Stage, Process) {
    let servers = Topology::of(&[Software::Nsd, Software::Knot]);
    let mut stage = Stage::set(&servers, "hash");
    stage.agent.terminate().expect("the agent ends");
    let mut command: Command = stage.agent.command();
    command.args(["run", "--log-format", format]);
    command.env_remove("RUST_LOG");
    let process = stage
        .lab
        .balancer
        .spawn("dns-lb", command, Stdout::Log)
        .expect("the agent starts");
    stage.agent.wait_until_all_up(START_LIMIT).expect("adopted");
    stage.lab.backends[0].kill().expect("the server runs");
    stage.await_down("dns1");
    (stage, process)
}

#[test]
fn json_is_an_object_a_line_and_a_transition_has_its_reason() {
    let (stage, process) = log_a_death("json");
    // The program has something to say too.
    process.freeze().expect("the agent runs");
    empty_backends(&stage.lab.balancer);
    let client = &stage.lab.clients[0].node;
    let load = Load::start(client, VIP, 200, Ports::Fresh).expect("a load");
    load.run_for(Duration::from_millis(200)).expect("a report");
    process.signal(Signal::SIGCONT).expect("the agent runs");
    let of_the_program = "steering table: no such backend";
    let deadline = Instant::now() + PATIENCE;
    while !process.log().contains(of_the_program) {
        assert!(Instant::now() < deadline, "{}", process.log());
        thread::sleep(Duration::from_millis(10));
    }
    let log = process.log();
    // The last line may be on its way.
    let log = log.rsplit_once('\n').expect("a line").0.to_owned();
    let objects: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    for object in &objects {
        for field in ["timestamp", "level", "message"] {
            assert!(object[field].is_string(), "no {field}: {object}");
        }
    }
    let said = objects.iter().find(|object| {
        let message = object["message"].as_str();
        message.is_some_and(|message| message.contains(of_the_program))
    });
    assert_eq!(said.expect("the program's word")["level"], "WARN");

    let deaths: Vec<_> = objects
        .iter()
        .filter(|object| object["message"] == "health" && object["to"] == "down")
        .collect();
    let [death] = deaths[..] else {
        panic!("one line a transition: {log}");
    };
    assert_eq!(death["level"], "WARN");
    assert_eq!(death["backend"], "resolvers/dns1");
    assert_eq!(death["from"], "up");
    assert!(
        death["reason"]
            .as_str()
            .is_some_and(|reason| !reason.is_empty()),
        "{death}"
    );
}

/// A journal on the host that takes entries in.
fn open_journal(node: &Node) -> UnixDatagram {
    node.run(|| {
        fs::create_dir_all("/run/systemd/journal").expect("a directory");
        let socket = UnixDatagram::bind(JOURNAL).expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a limit");
        socket
    })
}

#[test]
fn the_journal_has_each_event_with_its_priority() {
    let servers = Topology::of(&[Software::Nsd, Software::Knot]);
    let mut stage = Stage::set(&servers, "hash");
    stage.agent.terminate().expect("the agent ends");
    let run = |stage: &Stage| {
        let mut command: Command = stage.agent.command();
        command.args(["run", "--log-format", "journald"]);
        command.env_remove("RUST_LOG");
        let balancer = &stage.lab.balancer;
        balancer
            .spawn("dns-lb", command, Stdout::Log)
            .expect("the agent starts")
    };

    // Without a journal there is nothing to log to, and it says so.
    let mut process = run(&stage);
    let deadline = Instant::now() + PATIENCE;
    let error = loop {
        if let Err(error) = process.fail_if_ended() {
            break error.to_string();
        }
        assert!(Instant::now() < deadline, "it runs");
        thread::sleep(Duration::from_millis(10));
    };
    assert!(error.contains(JOURNAL), "{error}");
    assert!(error.contains("--log-format text"), "{error}");

    let journal = open_journal(&stage.lab.balancer);
    let process = run(&stage);
    stage.agent.wait_until_all_up(START_LIMIT).expect("adopted");
    stage.lab.backends[0].kill().expect("the server runs");
    let mut octets = [0; 65_536];
    let mut entries = Vec::new();
    loop {
        let length = journal.recv(&mut octets).unwrap_or_else(|error| {
            panic!("no word of the death: {error}\n{entries:#?}");
        });
        let entry = String::from_utf8_lossy(&octets[..length]).into_owned();
        assert!(
            entry.starts_with("SYSLOG_IDENTIFIER=dns-lb\nPRIORITY="),
            "{entry}"
        );
        let is_death = entry.contains("health backend=resolvers/dns1 from=up to=down reason=");
        entries.push(entry);
        if is_death {
            break;
        }
    }
    let death = entries.last().expect("the last");
    assert!(death.contains("\nPRIORITY=4\n"), "{death}");
    let steering = entries.iter().find(|entry| entry.contains("steering"));
    let steering = steering.expect("what it does is said at the start");
    assert!(steering.contains("\nPRIORITY=6\n"), "{steering}");
    assert_eq!(process.log(), "", "nothing is said twice");
}
