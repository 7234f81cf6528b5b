//! The agent is killed, and replaced by another.

use dns_lb_tests::agent;
use serde_json::Value;

use super::Traffic;

/// How often the agent is killed.
const KILLS: u32 = 20;

#[test]
fn by_an_agent_that_is_killed_and_starts_again_20_times() {
    let mut traffic = start();
    for kill in 1..=KILLS {
        traffic.await_part(kill, KILLS + 1);
        let before = traffic.stage.agent.status().expect("a status").generation;
        traffic.stage.agent.kill().expect("the agent runs");
        traffic.stage.agent.restart().expect("it starts again");
        let status = traffic.await_status("adopted", |status| {
            status.all_up() && status.generation > before
        });
        assert!(status.generation > before, "new maps instead of the old");
        traffic.assert_talks_stay(None, "after the agent was killed");
    }
    traffic.finish(None);
}

/// A new version of the agent brings a program of its own, and puts it on the links that there are.
#[test]
fn by_an_upgrade_of_the_program() {
    let mut traffic = start();
    let mut programs = vec![interface(&traffic)];
    for upgrade in 1..=4 {
        traffic.await_part(upgrade, 5);
        traffic.stage.agent.terminate().expect("the agent ends");
        traffic.stage.agent.restart().expect("it starts again");
        traffic.await_status("adopted", agent::Status::all_up);
        programs.push(interface(&traffic));
    }
    for pair in programs.windows(2) {
        let ((program, link), (next_program, next_link)) = (pair[0], pair[1]);
        assert_ne!(program, next_program, "the program is the agent's own");
        assert_eq!(link, next_link, "it is put on the link that there is");
    }
    traffic.finish(None);
}

fn start() -> Traffic {
    Traffic::start(|backends| agent::configuration(&["eth0"], "hash", &backends[..3]))
}

/// The kernel's ids of program and link on the first interface.
fn interface(traffic: &Traffic) -> (u64, u64) {
    let text = traffic.run(&["status", "--json"]);
    let status: Value = serde_json::from_str(&text).expect("JSON");
    let interface = &status["dataplane"]["interfaces"][0];
    let id = |name: &str| interface[name].as_u64().expect("an id");
    (id("program_id"), id("link_id"))
}
