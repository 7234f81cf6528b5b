//! Maps are replaced under a running farm: by a start whose configuration has outgrown them, by an
//! upgrade that has another layout, and in a running process. Queries and connections do not notice.

use std::{fmt::Write as _, path::Path, process::Command, thread, time::Duration};

use dns_lb::{
    config::Config,
    datapath::{DEFAULT_PIN_DIR, Datapath, Demand},
    health::Health,
    mac::MacAddress,
    steer::{
        Assignment, Knowledge, Known, Location, Plan, Recorded, Writer, assign,
        load_or_create_hash_key, mapped, plan,
    },
};
use dns_lb_tests::{
    Agent, Backend, Lab, Load, Ports, Software, Topology, agent,
    lab::{Client, VIP},
};

use crate::{
    stage::{RATE, Stage, binary},
    tcp::{open, stay},
};

const PATIENCE: Duration = Duration::from_secs(10);

/// The lab's service, and so many others of one backend each.
fn configuration(backends: &[&Backend], others: u8) -> String {
    let mut text = agent::configuration(&["eth0"], "hash", backends);
    for last in 1..=others {
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "\n[[service]]\nname = \"other{last}\"\nvips = [\"192.0.2.{last}\"]\n\
             [service.health]\npath = \"real\"\n\
             [[service.backend]]\nname = \"of{last}\"\naddress = \"{}\"\n",
            backends[0].address
        );
    }
    text
}

fn stage() -> Stage {
    Stage::set_configured(
        &Topology::of(&[Software::Nsd, Software::Knot]),
        |backends| configuration(backends, 0),
    )
}

fn grown(lab: &Lab) -> String {
    configuration(&lab.backends.iter().collect::<Vec<_>>(), 20)
}

/// Sets the first word of the pinned `control` map.
fn set_version(lab: &Lab, version: &str) {
    let control = "/sys/fs/bpf/dns-lb/control";
    let key = ["key", "0", "0", "0", "0"];
    let bpftool = |arguments: &[&str]| {
        let mut command = Command::new("bpftool");
        command.args(arguments);
        let output = lab.balancer.output(command);
        output.expect("bpftool (cargo xtask setup installs it)")
    };
    let lookup = ["--json", "map", "lookup", "pinned", control];
    let output = bpftool(&[&lookup[..], &key].concat());
    let entry: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let mut octets: Vec<String> = serde_json::from_value(entry["value"].clone()).expect("octets");
    octets[0] = version.to_owned();
    let mut update = ["map", "update", "pinned", control].to_vec();
    update.extend(key);
    update.push("value");
    update.extend(octets.iter().map(String::as_str));
    assert!(bpftool(&update).status.success());
}

/// Starts the agent again under queries and over connections, after this has been done.
fn restart_under_load(mut stage: Stage, between: impl FnOnce(&Lab)) -> (Stage, String) {
    let Client { node, .. } = &stage.lab.clients[0];
    let node = node.clone();
    let mut opened = open(&node, 20);
    let before = stage.agent.status().expect("a status");
    let load = Load::start(&node, VIP, RATE, Ports::Fresh).expect("a load");
    thread::sleep(Duration::from_millis(300));
    stage.agent.kill().expect("it runs");
    between(&stage.lab);
    stay(&mut opened, "without the agent");
    stage.agent.restart().expect("it starts");
    let after = stage.agent.wait_until_all_up(PATIENCE).expect("all up");
    stay(&mut opened, "with new maps");
    thread::sleep(Duration::from_millis(300));
    let report = load.stop().expect("a report");
    assert_eq!(report.lost(), 0, "{:?}", report.loss_windows());

    assert!(after.generation > before.generation, "{after:?}");
    let packets = |status: &agent::Status| {
        let backends = &status.services[0].backends;
        let packets: Vec<u64> = backends.iter().map(|backend| backend.packets).collect();
        (status.services[0].packets, packets)
    };
    let (before, after) = (packets(&before), packets(&after));
    assert!(
        after.0 > before.0
            && after
                .1
                .iter()
                .zip(&before.1)
                .all(|(after, before)| after > before),
        "counts went back: {before:?}, {after:?}"
    );
    let log = stage.agent.log();
    assert!(log.contains("replaced while steering"), "{log}");
    (stage, log)
}

#[test]
fn a_configuration_that_has_outgrown_the_maps_starts_and_loses_nothing() {
    let (stage, log) = restart_under_load(stage(), |lab| {
        lab.balancer
            .write(agent::CONFIG, &grown(lab))
            .expect("a configuration");
    });
    assert!(!log.contains("not known to this version"), "{log}");
    assert_eq!(stage.agent.status().expect("a status").services.len(), 21);
}

#[test]
fn an_upgrade_of_the_layout_loses_nothing() {
    let (mut stage, log) = restart_under_load(stage(), |lab| set_version(lab, "0x03"));
    assert!(log.contains("found_layout=3"), "{log}");
    assert!(!log.contains("not known to this version"), "{log}");
    // And from there it goes on as ever.
    stage.lab.backends[0].kill().expect("the server runs");
    stage.await_down("dns1");
}

/// A plan by what the maps say of the backends: they are where they were, and up.
fn plan_of(config: &Config, assignment: &Assignment, recorded: &Recorded) -> Plan {
    plan(config, assignment, |service, backend| {
        let backend = &config.services[service].backends[backend];
        let mut entries = recorded.backends.values();
        let entry = entries.find(|entry| entry.address == mapped(backend.address));
        Knowledge {
            health: Health::Up,
            location: entry.map(|entry| Location {
                mac: MacAddress(entry.destination_mac),
                ifindex: entry.ifindex,
                source_mac: MacAddress(entry.source_mac),
            }),
            ..Knowledge::new(backend.weight)
        }
    })
}

/// What a reload does in a running agent.
fn grow_in_one_process(configuration: &str, grown: &str) {
    let config = Config::parse(configuration).expect("a configuration");
    let key = load_or_create_hash_key(&config.hash_key_file).expect("the agent's key");
    let demand = Demand::of(&config);
    let (mut datapath, maps) = Datapath::load(Path::new(DEFAULT_PIN_DIR), demand).expect("loaded");
    let mut writer = Writer::new(maps).expect("a writer");
    let assignment = assign(&config, &Known::from(writer.recorded()));
    datapath
        .attach(&config.interfaces, config.xdp_mode)
        .expect("adopted");
    let first = plan_of(&config, &assignment, writer.recorded());
    writer.apply(&first, &key).expect("applied");
    thread::sleep(Duration::from_millis(300));

    let larger = Config::parse(grown).expect("a configuration");
    let demand = Demand::of(&larger);
    assert!(!datapath.holds(demand));
    let maps = datapath.grow(demand).expect("larger maps");
    let known = Known::of(&config, &assignment, maps.capacity());
    let assignment = assign(&larger, &known);
    let mut grown = writer.grown(maps).expect("a writer");
    let next = plan_of(&larger, &assignment, grown.recorded());
    grown.apply(&next, &key).expect("applied");
    // Both sets of maps are whole, and the old ones steer.
    thread::sleep(Duration::from_millis(300));
    datapath
        .attach(&larger.interfaces, larger.xdp_mode)
        .expect("switched");
    thread::sleep(Duration::from_millis(300));
}

#[test]
fn a_running_process_grows_its_maps_and_loses_nothing() {
    let mut stage = stage();
    let client = stage.lab.clients[0].node.clone();
    let mut opened = open(&client, 20);
    stage.agent.terminate().expect("it ends");
    let load = Load::start(&client, VIP, RATE, Ports::Fresh).expect("a load");
    let backends: Vec<&Backend> = stage.lab.backends.iter().collect();
    let (before, after) = (configuration(&backends, 0), grown(&stage.lab));
    let grown = after.clone();
    stage
        .lab
        .balancer
        .run(move || grow_in_one_process(&before, &grown));
    stay(&mut opened, "in larger maps");
    let report = load.stop().expect("a report");
    assert_eq!(report.lost(), 0, "{:?}", report.loss_windows());

    // An agent takes over from there.
    let mut agent = Agent::start(&stage.lab.balancer, binary(), &after).expect("an agent");
    agent.wait_until_all_up(PATIENCE).expect("every backend up");
    stay(&mut opened, "with an agent again");
    assert!(!agent.log().contains("replaced while steering"));
}
