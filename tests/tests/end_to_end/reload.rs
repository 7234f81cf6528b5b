//! Another configuration for the running agent: all of it or nothing.

use std::{thread, time::Duration};

use dns_lb_tests::{Agent, Backend, Load, Ports, Software, Topology, agent, lab::VIP};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::stage::{RATE, Stage, two_segments};

const PATIENCE: Duration = Duration::from_secs(5);

/// Writes the configuration anew, without telling the agent.
fn write(stage: &Stage, configuration: &str) {
    let node = &stage.lab.balancer;
    node.write(agent::CONFIG, configuration).expect("a file");
}

/// `dns-lb reload --json` with more arguments: its exit code, the document, what it says.
fn reload(agent: &Agent, arguments: &[&str]) -> (Option<i32>, Value, String) {
    let arguments: Vec<&str> = ["reload", "--json"]
        .iter()
        .chain(arguments)
        .copied()
        .collect();
    let output = agent.run(&arguments).expect("the binary starts");
    let document = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), document, said)
}

fn configuration(backends: &[&Backend]) -> String {
    agent::configuration(&["eth0"], "hash", backends)
}

#[test]
fn backends_come_and_go_and_new_ones_have_to_prove_themselves() {
    let servers = [Software::Nsd, Software::Knot, Software::Nsd];
    let mut stage = Stage::set_configured(&Topology::of(&servers), |backends| {
        configuration(&backends[..2])
    });
    stage.lab.backends[2].kill().expect("the server runs");
    let all: Vec<&Backend> = stage.lab.backends.iter().collect();
    let (three, two) = (configuration(&all), configuration(&all[1..]));
    let client = stage.lab.clients[0].node.clone();
    let load = Load::start(&client, VIP, RATE, Ports::Fresh).expect("a load");

    write(&stage, &three);
    let (code, document, _) = reload(&stage.agent, &["--dry-run"]);
    assert_eq!(code, Some(0));
    let change = "+ backend resolvers/dns3, 192.168.0.203";
    assert_eq!(document["changes"], serde_json::json!([change]));
    assert_eq!(document["applied"], false);
    assert_eq!(
        stage.agent.status().expect("a status").services[0]
            .backends
            .len(),
        2
    );

    // It is dead, so it never takes a query; alive, it does.
    let (code, document, said) = reload(&stage.agent, &[]);
    assert_eq!(
        (code, &document["applied"]),
        (Some(0), &Value::Bool(true)),
        "{said}"
    );
    let status = stage.agent.status().expect("a status");
    let new = &status.services[0].backends[2];
    assert_eq!((new.health.as_str(), new.share), ("down", 0.0));
    stage.bring_back(2, PATIENCE);

    // Its packets go to others when it leaves the file; the rest goes on counting.
    let before = stage.agent.status().expect("a status").services[0].backends[1].packets;
    write(&stage, &two);
    let (code, ..) = reload(&stage.agent, &[]);
    assert_eq!(code, Some(0));
    let status = stage.agent.status().expect("a status");
    let names: Vec<&str> = status.services[0]
        .backends
        .iter()
        .map(|b| b.name.as_str())
        .collect();
    assert_eq!(names, ["dns2", "dns3"]);
    assert!(status.services[0].backends[0].packets >= before);
    let (code, document, _) = reload(&stage.agent, &[]);
    assert_eq!(
        (code, &document["changes"]),
        (Some(0), &serde_json::json!([]))
    );

    let report = load.run_for(Duration::from_millis(500)).expect("a report");
    assert_eq!(report.lost(), 0, "{:?}", report.loss_windows());
}

#[test]
fn a_bad_file_changes_nothing_and_says_why() {
    let servers = [Software::Nsd, Software::Knot];
    let mut stage = Stage::set(&Topology::of(&servers), "hash");
    let all: Vec<&Backend> = stage.lab.backends.iter().collect();
    let good = configuration(&all);
    // The last verdict is in the maps when they say nothing new.
    let before = loop {
        let generation = || stage.agent.status().expect("a status").generation;
        let seen = generation();
        thread::sleep(Duration::from_millis(200));
        if generation() == seen {
            break seen;
        }
    };

    let bad = good.replace("\"hash\"", "\"rehash\"") + "wieght = 2\n";
    write(&stage, &bad);
    let (code, document, said) = reload(&stage.agent, &[]);
    assert_eq!((code, document), (Some(2), Value::Null));
    for fault in ["policy: \"rehash\" is not known", "perhaps weight is meant"] {
        assert!(said.contains(fault), "{said}");
    }
    // By signal the log says so.
    let socket = ["--socket", "/run/dns-lb/admin.sock"];
    stage.agent.signal(Signal::SIGHUP).expect("the agent runs");
    let (code, _, said) = reload(&stage.agent, &socket);
    assert_eq!(code, Some(2), "{said}");
    assert!(
        stage.agent.log().contains("not reloaded"),
        "{}",
        stage.agent.log()
    );

    write(&stage, &good.replace("\"eth0\"", "\"eth0\", \"eth7\""));
    let (code, _, said) = reload(&stage.agent, &[]);
    assert_eq!(code, Some(1));
    assert!(said.contains("there is no interface eth7"), "{said}");

    // More than the verifier of files can know: a driver that refuses leaves all as it was.
    stage
        .lab
        .balancer
        .ip("link add tun0 type bridge\nlink set tun0 up")
        .expect("a bridge");
    let native = good.replace("[\"eth0\"]", "[\"eth0\", \"tun0\"]\nxdp_mode = \"native\"");
    write(&stage, &native);
    let (code, _, said) = reload(&stage.agent, &[]);
    assert_eq!(code, Some(1));
    assert!(said.contains("cannot attach to tun0"), "{said}");
    assert!(
        stage.eth0().contains("prog/xdp"),
        "eth0 is no longer steered"
    );

    let status = stage.agent.status().expect("a status");
    assert_eq!(status.generation, before);
    write(&stage, &good.replace("\"hash\"", "\"round-robin\""));
    stage.agent.signal(Signal::SIGHUP).expect("the agent runs");
    stage
        .agent
        .wait_until("SIGHUP reloads", PATIENCE, |status| {
            status.generation > before
        })
        .expect("the agent reloads");
    stage
        .agent
        .wait_until_all_up(PATIENCE)
        .expect("all is well");
}

#[test]
fn interfaces_services_vips_and_policies_change_live() {
    let mut stage =
        Stage::set_configured(&two_segments(), |backends| configuration(&backends[..1]));
    let all: Vec<&Backend> = stage.lab.backends.iter().collect();
    let both = agent::configuration(&["eth0", "eth1"], "qname", &all);
    let client = stage.lab.clients[0].node.clone();
    let load = Load::start(&client, VIP, RATE, Ports::Fresh).expect("a load");

    // A second interface with a backend, another policy, a second service beside.
    let second = "\n[[service]]\nname = \"other\"\nvips = [\"192.168.0.210\"]\nport = 5353\n\
                  [[service.backend]]\nname = \"x\"\naddress = \"192.168.0.201\"\n";
    write(&stage, &format!("{both}{second}"));
    let (code, _, said) = reload(&stage.agent, &[]);
    assert_eq!(code, Some(0), "{said}");
    stage
        .agent
        .wait_until("dns2 takes queries", PATIENCE, |status| {
            status.services[0].backends[1].share > 0.4
        })
        .expect("dns2 proves itself");
    let status = stage.agent.status().expect("a status");
    assert_eq!(status.services.len(), 2);

    write(&stage, &configuration(&all[..1]));
    let (code, _, said) = reload(&stage.agent, &[]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(stage.agent.status().expect("a status").services.len(), 1);
    let report = load.run_for(Duration::from_millis(300)).expect("a report");
    assert_eq!(report.lost(), 0, "{:?}", report.loss_windows());
    // One name: on one server, or on one after the other.
    assert!((1..=2).contains(&report.by_identity().len()));
}

#[test]
fn a_configuration_that_outgrows_the_maps_moves_nobody() {
    let servers = [Software::Nsd, Software::Knot];
    let mut stage = Stage::set(&Topology::of(&servers), "hash");
    let all: Vec<&Backend> = stage.lab.backends.iter().collect();
    let client = stage.lab.clients[0].node.clone();
    let mut opened = crate::tcp::open(&client, 20);
    let load = Load::start(&client, VIP, RATE, Ports::Fresh).expect("a load");

    // The maps hold 32 backends and 8 services: these are 40 and 10. Nobody is at those addresses.
    let mut large = configuration(&all);
    for number in 1..=9 {
        large += &format!("\n[[service]]\nname = \"s{number}\"\nvips = [\"192.0.2.{number}\"]\n");
        for place in 1..=5 {
            large += &format!(
                "[[service.backend]]\nname = \"b{place}\"\naddress = \"192.168.0.{}\"\n\
                 mac = \"02:00:00:00:00:77\"\n",
                100 + place
            );
        }
    }
    write(&stage, &large);
    let before = stage.agent.status().expect("a status");
    let (code, _, said) = reload(&stage.agent, &[]);
    assert_eq!(code, Some(0), "{said}");
    let after = stage.agent.status().expect("a status");
    assert_eq!(after.services.len(), 10);
    assert!(after.generation > before.generation);
    for (now, was) in after.services[0]
        .backends
        .iter()
        .zip(&before.services[0].backends)
    {
        assert!(now.packets >= was.packets, "counts go on");
    }
    crate::tcp::stay(&mut opened, "in the new maps");
    let report = load.run_for(Duration::from_millis(500)).expect("a report");
    assert_eq!(report.lost(), 0, "{:?}", report.loss_windows());

    // And so it is for an agent that starts.
    stage.agent.terminate().expect("it stops");
    stage.agent.restart().expect("it starts");
    stage
        .agent
        .wait_until("it has adopted the maps", PATIENCE, |status| {
            status.generation > after.generation && status.services[0].backends[1].share > 0.4
        })
        .expect("adopted");
    crate::tcp::stay(&mut opened, "with another agent");
}

/// A restart is how many a server is added; one that is not ready yet must not have queries by it.
#[test]
fn a_server_that_a_restart_adds_has_to_prove_itself_too() {
    let servers = [Software::Nsd, Software::Knot, Software::Nsd];
    let mut stage = Stage::set_configured(&Topology::of(&servers), |backends| {
        configuration(&backends[..2])
    });
    stage.lab.backends[2].kill().expect("the server runs");
    let all: Vec<&Backend> = stage.lab.backends.iter().collect();
    write(&stage, &configuration(&all));
    // The kernel knows where it is, so nothing else keeps it from having queries.
    let address = stage.lab.backends[2].address;
    let neighbor = format!(
        "neigh replace {address} lladdr {} dev eth0 nud reachable",
        stage.lab.backends[2].mac
    );
    stage.lab.balancer.ip(&neighbor).expect("a neighbour");
    let client = stage.lab.clients[0].node.clone();
    let load = Load::start(&client, VIP, RATE, Ports::Fresh).expect("a load");
    stage.agent.terminate().expect("it stops");
    stage.agent.restart().expect("it starts");
    stage.await_down("dns3");
    let report = load.run_for(Duration::from_millis(500)).expect("a report");
    assert_eq!(report.lost(), 0, "{:?}", report.loss_windows());
}

#[test]
fn another_name_of_a_service_changes_nothing_else() {
    let servers = [Software::Nsd, Software::Knot, Software::Nsd];
    let mut stage = Stage::set(&Topology::of(&servers), "hash");
    let drain = stage.agent.run(&["drain", "dns2"]).expect("it starts");
    assert!(drain.status.success(), "{drain:?}");
    stage.lab.backends[2].kill().expect("the server runs");
    stage.await_down("dns3");
    let all: Vec<&Backend> = stage.lab.backends.iter().collect();
    let renamed = configuration(&all).replace("\"resolvers\"", "\"dns\"");
    let client = stage.lab.clients[0].node.clone();
    let load = Load::start(&client, VIP, RATE, Ports::Fresh).expect("a load");
    write(&stage, &renamed);
    let (code, _, said) = reload(&stage.agent, &[]);
    assert_eq!(code, Some(0), "{said}");
    let report = load.run_for(Duration::from_millis(500)).expect("a report");
    assert_eq!(report.lost(), 0, "{:?}", report.loss_windows());
    let status = stage.agent.status().expect("a status");
    let backends = &status.services[0].backends;
    let seen: Vec<(&str, &str)> = backends
        .iter()
        .map(|backend| (backend.admin.as_str(), backend.health.as_str()))
        .collect();
    let expected = [("enabled", "up"), ("draining", "up"), ("enabled", "down")];
    assert_eq!(seen, expected);
}

/// What was set on a server goes with it, and does not come back with its name.
#[test]
fn a_drain_ends_when_its_server_leaves_the_file() {
    let servers = [Software::Nsd, Software::Knot, Software::Nsd];
    let mut stage = Stage::set(&Topology::of(&servers), "hash");
    let all: Vec<&Backend> = stage.lab.backends.iter().collect();
    let (three, two) = (configuration(&all), configuration(&all[..2]));
    let drain = stage.agent.run(&["drain", "dns3"]).expect("it starts");
    assert!(drain.status.success(), "{drain:?}");
    stage.agent.terminate().expect("it stops");
    write(&stage, &two);
    stage.agent.restart().expect("it starts");
    stage.agent.wait_until_all_up(PATIENCE).expect("adopted");
    stage.agent.terminate().expect("it stops");
    write(&stage, &three);
    stage.agent.restart().expect("it starts");
    let status = stage
        .agent
        .wait_until_all_up(PATIENCE)
        .expect("it is not drained");
    assert_eq!(status.services[0].backends[2].admin, "enabled");
}
