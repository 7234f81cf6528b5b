//! Everything at once: reloads, growth, drains, weights and signals side by side, and an agent that is
//! killed in the middle of it.

use std::{fmt::Write as _, process::Output, thread, thread::JoinHandle, time::Duration};

use dns_lb_tests::{Backend, agent};
use nix::sys::signal::Signal;

use super::Traffic;

/// What is asked for side by side, in each round.
const COMMANDS: [&[&str]; 5] = [
    &["reload"],
    &["drain", "resolvers/dns2"],
    &["weight", "resolvers/dns3", "5"],
    &["enable", "resolvers/dns2"],
    &["weight", "resolvers/dns3", "configured"],
];

/// The service that is asked, and so many beside it whose servers nobody asks for.
fn with_others(base: &str, services: usize) -> String {
    let mut text = base.to_owned();
    for number in 1..=services {
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "\n[[service]]\nname = \"s{number}\"\nvips = [\"192.0.2.{number}\"]\n\
             [service.health]\npath = \"real\"\ninterval = \"30s\"\n"
        );
        for place in 1..=9 {
            let _ = write!(
                text,
                "[[service.backend]]\nname = \"b{place}\"\naddress = \"192.168.0.{}\"\n\
                 mac = \"02:00:00:00:00:77\"\n",
                100 + place
            );
        }
    }
    text
}

/// The file of a round: most rounds change what the service is, some outgrow the maps.
fn file(base: &str, round: usize) -> String {
    match round % 5 {
        0 => base.to_owned(),
        1 => with_others(base, 3),
        2 => base.replace("policy = \"hash\"", "policy = \"source\""),
        3 => with_others(base, 4 + round),
        _ => base.replace(
            "policy = \"hash\"",
            "policy = \"hash\"\nslow_start = \"3s\"",
        ),
    }
}

#[test]
fn by_everything_that_an_operator_does_at_once() {
    let configuration =
        |backends: &[&Backend]| agent::configuration(&["eth0"], "hash", &backends[..3]);
    let mut traffic = Traffic::start(configuration);
    let backends: Vec<&Backend> = traffic.stage.lab.backends.iter().collect();
    let base = configuration(&backends);
    let rounds = 40;
    for round in 1..=rounds {
        traffic.await_part(round, rounds + 1);
        let round = round as usize;
        let balancer = traffic.stage.lab.balancer.clone();
        balancer
            .write(agent::CONFIG, &file(&base, round))
            .expect("a file");
        let runs = COMMANDS.map(|arguments| -> JoinHandle<Output> {
            let mut command = traffic.stage.agent.command();
            command.args(arguments);
            let balancer = balancer.clone();
            let run = thread::spawn(move || balancer.output(command).expect("it can be run"));
            if round.is_multiple_of(2) {
                let told = traffic.stage.agent.signal(Signal::SIGHUP);
                told.expect("the agent runs");
            }
            thread::sleep(Duration::from_millis(37 * round as u64 % 50));
            run
        });
        let is_killed = round.is_multiple_of(8);
        if is_killed {
            traffic.stage.agent.kill().expect("the agent runs");
        }
        for (arguments, run) in COMMANDS.iter().zip(runs) {
            let output = run.join().expect("no panic");
            let said = String::from_utf8_lossy(&output.stderr);
            // A killed agent answers nobody.
            let is_done = output.status.success() || is_killed;
            assert!(is_done, "round {round}, {arguments:?}: {said}");
        }
        if is_killed {
            traffic.stage.agent.restart().expect("the agent starts");
            traffic.await_status("it has adopted the maps", |status| {
                status.backend("dns1").is_some_and(|dns1| dns1.share > 0.0)
            });
        }
        traffic.assert_talks_stay(None, "in the middle of it");
    }
    let log = traffic.stage.agent.log();
    assert!(!log.contains("panicked"), "{log}");
    traffic.finish(None);
}
