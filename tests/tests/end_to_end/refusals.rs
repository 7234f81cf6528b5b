//! What cannot work is refused with a sentence that says why and what to do, and changes nothing.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output},
};

use dns_lb_tests::{Agent, Lab, Node, Topology, agent, process};

use crate::stage::{START_LIMIT, binary};

const GOOD: &str = r#"
interfaces = ["lo"]
[[service]]
name = "resolvers"
vips = ["192.168.0.200"]
[[service.backend]]
name = "dns1"
address = "192.168.0.201"
"#;

/// Runs the agent on a host of its own; what it says and how it ends. Every case here ends at once.
fn run(node: &Node, configuration: &str, arguments: &[&str]) -> Output {
    node.write(agent::CONFIG, configuration)
        .expect("a configuration file");
    let mut command = process::program("timeout");
    command.arg("5").arg(binary()).args(arguments);
    node.output(command).expect("the binary")
}

fn assert_refused(output: &Output, code: i32, wanted: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for wanted in wanted {
        assert!(said.contains(wanted), "{wanted:?} is not in: {said}");
    }
    assert!(!said.contains("panicked"), "{said}");
}

fn pins(node: &Node) -> bool {
    node.run(|| Path::new("/sys/fs/bpf/dns-lb").exists())
}

#[test]
fn every_fault_of_a_file_is_reported_and_nothing_is_attached() {
    let node = Node::new("faults").expect("a host");
    let faulty = GOOD.replace("192.168.0.201", "192.168.0.301").replace(
        "name = \"resolvers\"",
        "name = \"resolvers\"\nport = 0\npolicy = \"fastest\"",
    );
    for verb in ["run", "check-config"] {
        let output = run(&node, &faulty, &[verb]);
        assert_refused(
            &output,
            2,
            &[
                "dns-lb.toml:5",
                "dns-lb.toml:6",
                "dns-lb.toml:10",
                "round-robin",
            ],
        );
    }
    assert!(!pins(&node));
}

#[test]
fn a_missing_interface_is_named() {
    let node = Node::new("interface").expect("a host");
    let output = run(&node, &GOOD.replace("\"lo\"", "\"eth7\""), &["run"]);
    assert_refused(&output, 1, &["eth7", "ip link"]);
    assert!(!pins(&node), "a start that failed left its pins");
}

#[test]
fn a_driver_without_native_xdp_is_named() {
    // The loopback device has none.
    let node = Node::new("native").expect("a host");
    let output = run(&node, &format!("xdp_mode = \"native\"\n{GOOD}"), &["run"]);
    assert_refused(&output, 1, &["lo", "native", "xdp_mode = \"generic\""]);
    assert!(!pins(&node), "a start that failed left its pins");
}

#[test]
fn a_refused_mode_leaves_the_one_that_was_there() {
    let node = Node::new("mode").expect("a host");
    let generic = format!("xdp_mode = \"generic\"\n{GOOD}");
    let mut agent = agent::Agent::start(&node, binary(), &generic).expect("an agent");
    agent
        .wait_until("it answers", std::time::Duration::from_secs(10), |_| true)
        .expect("the agent");
    agent.terminate().expect("the agent ends");
    let output = run(&node, &format!("xdp_mode = \"native\"\n{GOOD}"), &["run"]);
    assert_refused(&output, 1, &["lo", "native"]);
    let mut command = Command::new("ip");
    command.args(["link", "show", "lo"]);
    let output = node.output(command).expect("ip");
    let output = String::from_utf8_lossy(&output.stdout);
    assert!(output.contains(" xdpgeneric "), "{output}");
    assert!(node.run(|| Path::new("/sys/fs/bpf/dns-lb/link_1_generic").exists()));
}

#[test]
fn a_missing_bpffs_is_named() {
    let node = Node::new("bpffs").expect("a host");
    let output = run(&node, GOOD, &["run", "--pin-dir", "/run/dns-lb-pins"]);
    assert_refused(
        &output,
        1,
        &["/run/dns-lb-pins", "mount -t bpf bpf /sys/fs/bpf"],
    );
}

#[test]
fn an_ordinary_user_is_told_what_is_missing() {
    let node = Node::new("user").expect("a host");
    node.write(agent::CONFIG, GOOD)
        .expect("a configuration file");
    node.run(|| std::fs::create_dir("/sys/fs/bpf/dns-lb"))
        .expect("a pin directory");
    // Every user may run the binary where it is mounted, whoever owns the tree that it was built in.
    node.write("/run/dns-lb-binary", "").expect("a mount point");
    let mut mount = process::program("mount");
    mount.arg("--bind").arg(binary()).arg("/run/dns-lb-binary");
    assert!(node.output(mount).expect("mount").status.success());
    let run = || {
        let mut command = process::program("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        command.args(["timeout", "5", "/run/dns-lb-binary", "run"]);
        node.output(command).expect("setpriv")
    };
    // The key, which is a secret, is what such a user meets first, be it there or not.
    assert_refused(&run(), 1, &["hash.key", "make it as root"]);
    node.write("/etc/dns-lb/hash.key", "00112233445566778899aabbccddeeff\n")
        .expect("a key");
    let mode = |mode| {
        node.run(move || {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions("/etc/dns-lb/hash.key", mode).expect("another mode");
        });
    };
    mode(0o600);
    assert_refused(&run(), 1, &["hash.key", "needs root"]);
    mode(0o644);
    assert_refused(&run(), 1, &["needs root", "CAP_NET_ADMIN"]);
}

#[test]
fn a_taken_port_is_named() {
    let node = Node::new("port").expect("a host");
    let listener = node.run(|| std::net::TcpListener::bind("127.0.0.1:8053"));
    let output = run(&node, GOOD, &["run"]);
    drop(listener.expect("a port"));
    assert_refused(&output, 1, &["127.0.0.1:8053", "set api.listen"]);
    assert!(!pins(&node));
}

#[test]
fn pins_of_others_are_neither_joined_nor_removed() {
    let node = Node::new("others").expect("a host");
    node.run(|| std::fs::create_dir("/sys/fs/bpf/others"))
        .expect("a directory of somebody else's");
    let map = "/sys/fs/bpf/others/theirs";
    let created = bpftool(
        &node,
        &[
            "map", "create", map, "type", "array", "key", "4", "value", "4", "entries", "1",
            "name", "theirs",
        ],
    );
    assert!(created.status.success(), "{created:?}");
    for (directory, wanted) in [
        ("/sys/fs/bpf/others", "not dns-lb's"),
        ("/sys/fs/bpf", "the root of a BPF file system"),
    ] {
        for arguments in [&["unload"][..], &["run", "--detach-on-exit"]] {
            let output = run(
                &node,
                GOOD,
                &[arguments, &["--pin-dir", directory]].concat(),
            );
            assert_refused(&output, 1, &[directory, wanted]);
        }
    }
    assert!(node.run(move || Path::new(map).exists()), "it was removed");
}

#[test]
fn a_second_agent_is_refused() {
    let (lab, _first, configuration) = lone_agent();
    let other_port = format!("{configuration}\n[api]\nlisten = \"127.0.0.1:8054\"\n");
    let output = run(&lab.balancer, &other_port, &["run"]);
    assert_refused(&output, 1, &["another dns-lb agent", "--pin-dir"]);
    let output = run(&lab.balancer, &configuration, &["unload"]);
    assert_refused(&output, 1, &["another dns-lb agent"]);
    assert!(pins(&lab.balancer));
}

#[test]
fn pins_of_another_version_are_refused_and_stay() {
    let (lab, mut agent, configuration) = lone_agent();
    agent.terminate().expect("the agent ends");

    // Another version, in the first word of the control map.
    let control = "/sys/fs/bpf/dns-lb/control";
    let output = bpftool(
        &lab.balancer,
        &[
            "--json", "map", "lookup", "pinned", control, "key", "0", "0", "0", "0",
        ],
    );
    let entry: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let mut octets: Vec<String> = serde_json::from_value(entry["value"].clone()).expect("octets");
    octets[0] = "0x63".to_owned();
    let mut update = vec![
        "map", "update", "pinned", control, "key", "0", "0", "0", "0", "value",
    ];
    update.extend(octets.iter().map(String::as_str));
    assert!(bpftool(&lab.balancer, &update).status.success());

    let output = run(&lab.balancer, &configuration, &["run"]);
    assert_refused(&output, 1, &["layout version 99", "dns-lb unload"]);
    assert!(pins(&lab.balancer));
    let output = run(&lab.balancer, &configuration, &["unload"]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(!pins(&lab.balancer));
}

#[test]
fn pins_of_a_removal_that_broke_off_are_no_obstacle() {
    let (lab, mut agent, _) = lone_agent();
    agent.terminate().expect("the agent ends");
    lab.balancer.run(|| {
        let pins = std::fs::read_dir("/sys/fs/bpf/dns-lb").expect("the pins");
        for pin in pins.map(|pin| pin.expect("a pin").path()) {
            let name = pin.file_name().and_then(|name| name.to_str()).unwrap();
            if name.starts_with("link_") || name == "vips" {
                std::fs::remove_file(&pin).expect("a pin removed");
            }
        }
    });
    agent.restart().expect("the agent starts");
    agent
        .wait_until("it answers", START_LIMIT, |_| true)
        .expect("the agent");
}

/// An agent at work in a lab without backends, and its configuration.
fn lone_agent() -> (Lab, Agent, String) {
    let lab = Lab::build(&Topology::of(&[])).expect("a lab");
    let configuration = GOOD.replace("\"lo\"", "\"eth0\"");
    let mut agent = Agent::start(&lab.balancer, binary(), &configuration).expect("an agent");
    agent
        .wait_until("it answers", START_LIMIT, |_| true)
        .expect("the agent");
    (lab, agent, configuration)
}

fn bpftool(node: &Node, arguments: &[&str]) -> Output {
    let mut command = Command::new("bpftool");
    command.args(arguments);
    node.output(command)
        .expect("bpftool (cargo xtask setup installs it)")
}
