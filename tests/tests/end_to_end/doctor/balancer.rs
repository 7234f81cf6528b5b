//! What is wrong with the balancer itself, without an agent and with one.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use dns_lb_tests::{
    Agent, Lab, Load, Node, Ports, Software, Topology, agent, lab, node::Stdout, process,
};

use super::Practice;
use crate::stage::{START_LIMIT, binary};

const KEY: &str = "/etc/dns-lb/hash.key";
const VIP: &str = "192.168.0.200";

/// Severity, id and subject.
type Row = (&'static str, &'static str, &'static str);

fn ethtool(node: &Node, arguments: &[&str]) {
    let mut command = process::program("ethtool");
    command.args(arguments);
    let output = node.output(command).expect("ethtool");
    assert!(output.status.success(), "{output:?}");
}

fn set_mode(node: &Node, path: &'static str, mode: u32) {
    node.run(move || fs::set_permissions(path, fs::Permissions::from_mode(mode)))
        .expect("a mode");
}

/// Waits until the kernel says that the second interface has a carrier, which it does a moment late.
fn await_up(node: &Node) {
    let is_up = || {
        let state = fs::read_to_string("/sys/class/net/spare/operstate");
        state.is_ok_and(|state| state.trim() == "up")
    };
    let deadline = Instant::now() + START_LIMIT;
    while !node.run(is_up) {
        assert!(Instant::now() < deadline, "the interface stays down");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn each_thing_that_is_wrong_with_the_balancer_is_named() {
    let lab = Lab::start(&Topology::of(&[Software::Nsd])).expect("a lab");
    let balancer = &lab.balancer;
    // A second interface, to do to what would take the first from everything.
    balancer
        .ip("link add spare type veth peer name other\nlink set spare up\nlink set other up")
        .unwrap();
    ethtool(balancer, &["-K", "other", "gro", "on"]);
    await_up(balancer);
    let backends: Vec<_> = lab.backends.iter().collect();
    let configuration = agent::configuration(&["eth0", "spare"], "hash", &backends);
    balancer.write(agent::CONFIG, &configuration).unwrap();

    let practice = Practice::open(
        balancer,
        &[
            ("info", "agent-not-running", "host"),
            ("info", "hash-key-missing", KEY),
            ("info", "xdp-not-attached", "eth0"),
            ("info", "xdp-not-attached", "spare"),
        ],
    );

    let not_asked = ("skipped", "vip-answered-by-backend", VIP);
    let down = [("error", "interface-down", "spare"), not_asked];
    let broken: [(&str, &str, &str, &[Row]); 5] = [
        (
            "the interface is down",
            "link set spare down",
            "link set spare up",
            &down,
        ),
        (
            "no carrier",
            "link set other down",
            "link set other up",
            &down,
        ),
        (
            "promiscuous",
            "link set spare promisc on",
            "link set spare promisc off",
            &[("warning", "promiscuous", "spare")],
        ),
        (
            "frames that do not fit where servers are",
            "link set spare mtu 3000",
            "link set spare mtu 1500",
            &[("warning", "mtu-mismatch", "eth0")],
        ),
        (
            "nobody has the VIP",
            "addr del 192.168.0.200/32 dev lo",
            "addr add 192.168.0.200/32 dev lo",
            &[("info", "vip-unanswered", VIP)],
        ),
    ];
    for (what, change, undo, found) in broken {
        balancer.ip(change).unwrap();
        practice.expect(what, found, &[]);
        balancer.ip(undo).unwrap();
        await_up(balancer);
    }

    balancer
        .ip("link set spare down\nlink set spare name gone")
        .unwrap();
    let found = [("error", "interface-missing", "spare")];
    let unseen = [("xdp-not-attached", "spare")];
    practice.expect("an interface that is not there", &found, &unseen);
    balancer
        .ip("link set gone name spare\nlink set spare up")
        .unwrap();
    await_up(balancer);

    ethtool(balancer, &["-K", "other", "gro", "off"]);
    let found = [("info", "xdp-cannot-send", "spare")];
    practice.expect("the other end drops", &found, &[]);
    ethtool(balancer, &["-K", "other", "gro", "on"]);

    balancer
        .sysctl(&["net/ipv4/conf/eth0/rp_filter=1"])
        .unwrap();
    let found = [("warning", "rp-filter-strict", "eth0")];
    practice.expect("rp_filter is strict", &found, &[]);
    balancer
        .sysctl(&["net/ipv4/conf/eth0/rp_filter=0"])
        .unwrap();

    let pins = "/run/dns-lb-pins";
    let arguments = ["--pin-dir", pins];
    let found = [("error", "bpffs-missing", pins)];
    practice.expect_with("no bpffs", &arguments, &found, &[]);

    for (text, mode, found) in [
        (
            "0123456789abcdef0123456789abcdef",
            0o644,
            "hash-key-exposed",
        ),
        ("0123", 0o600, "hash-key-malformed"),
    ] {
        balancer.write(KEY, text).unwrap();
        set_mode(balancer, KEY, mode);
        let more: &[_] = match found {
            "hash-key-exposed" => &[
                ("warning", "hash-key-exposed", KEY),
                ("info", "hash-key-fingerprint", KEY),
            ],
            _ => &[("error", "hash-key-malformed", KEY)],
        };
        practice.expect(found, more, &[("hash-key-missing", KEY)]);
    }
    balancer.run(|| fs::remove_file(KEY)).unwrap();
    practice.expect("all is mended", &[], &[]);
}

#[test]
fn a_program_that_is_not_ours_is_named() {
    let lab = Lab::start(&Topology::of(&[Software::Nsd])).expect("a lab");
    let balancer = &lab.balancer;
    let backends: Vec<_> = lab.backends.iter().collect();
    let configuration = agent::configuration(&["eth0"], "hash", &backends);
    let mut agent = Agent::start(balancer, binary(), &configuration).expect("an agent");
    agent.wait_until_all_up(START_LIMIT).expect("a server up");
    let fingerprint = ("info", "hash-key-fingerprint", KEY);
    let practice = Practice::open(balancer, &[fingerprint]);

    // The agent has it, and this command does not know by the pins.
    let elsewhere = ["--pin-dir", "/sys/fs/bpf/elsewhere"];
    practice.expect_with("pins elsewhere", &elsewhere, &[], &[]);

    agent.terminate().expect("the agent ends");
    let stopped = ("info", "agent-not-running", "host");
    practice.expect("no agent", &[stopped], &[]);
    let found = [stopped, ("error", "xdp-foreign", "eth0")];
    practice.expect_with("whose is it?", &elsewhere, &found, &[]);

    // It starts, and cannot probe.
    let mut weak = process::program("setpriv");
    weak.arg("--bounding-set=-net_raw").arg(binary()).arg("run");
    let weak = balancer
        .spawn("dns-lb", weak, Stdout::Log)
        .expect("an agent");
    agent
        .wait_until("it answers", START_LIMIT, |_| true)
        .expect("an agent");
    let lacks = [("error", "capability-missing", "agent")];
    practice.expect("the agent lacks CAP_NET_RAW", &lacks, &[]);
    weak.terminate(Duration::from_secs(5)).expect("it ends");

    agent.restart().expect("an agent");
    agent.wait_until_all_up(START_LIMIT).expect("a server up");
    practice.expect("an agent again", &[], &[]);
    agent.freeze().expect("an agent that hangs");
    let found = [("error", "http-unreachable", "127.0.0.1:8053")];
    practice.expect("it hangs", &found, &[]);
    agent.thaw().expect("an agent that goes on");

    // What the agent holds on to is gone.
    balancer
        .run(|| fs::remove_file("/run/dns-lb/admin.sock"))
        .unwrap();
    let found = [(
        "warning",
        "admin-socket-unreachable",
        "/run/dns-lb/admin.sock",
    )];
    practice.expect("nobody takes commands", &found, &[]);
    let mut off = process::program("bpftool");
    let link = balancer.run(|| {
        let pins = fs::read_dir("/sys/fs/bpf/dns-lb").expect("pins");
        let mut names = pins.map(|pin| pin.expect("a pin").file_name());
        names.find(|name| name.to_string_lossy().starts_with("link_"))
    });
    let link = Path::new("/sys/fs/bpf/dns-lb").join(link.expect("a link"));
    off.args(["link", "detach", "pinned"]).arg(link);
    let output = balancer.output(off).expect("bpftool");
    assert!(output.status.success(), "{output:?}");
    let found = [found[0], ("error", "xdp-not-attached", "eth0")];
    practice.expect("the program is gone", &found, &[]);
}

#[test]
fn findings_come_before_the_number_of_what_passed() {
    let node = Node::new("text").expect("a host");
    let text = "interfaces = [\"eth0\"]\n[[service]]\nname = \"s\"\nvips = [\"192.0.2.200\"]\n\
                [[service.backend]]\nname = \"b\"\naddress = \"192.0.2.1\"\n";
    node.write(agent::CONFIG, text).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new(binary());
        command.arg("doctor").args(arguments);
        let output = node.output(command).expect("the doctor");
        let said = String::from_utf8(output.stdout).expect("text");
        (output.status.code(), said)
    };
    let (code, said) = run(&[]);
    assert_eq!(code, Some(1), "{said}");
    let first = "error    interface-missing  eth0\n         there is no such interface\n";
    assert!(said.starts_with(first), "{said}");
    assert!(said.contains("backend-not-found  s/b"), "{said}");
    assert!(!said.contains("ok       "), "{said}");
    let last = said.lines().last().expect("a line");
    assert!(
        last.starts_with("2 errors, ") && last.contains(" passed; "),
        "{said}"
    );
    assert!(
        run(&["--all"]).1.contains("ok       bpffs-missing"),
        "{said}"
    );

    node.write(agent::CONFIG, "interfaces = []").unwrap();
    assert_eq!(run(&[]).0, Some(2));
}

/// A host whose address is on a bridge, as one for virtual machines is: the bridge has to be named.
#[test]
fn a_bridge_takes_nothing_from_native_xdp() {
    let lab = Lab::start(&Topology::of(&[Software::Nsd])).expect("a lab");
    let balancer = &lab.balancer;
    balancer
        .ip(
            "link add br0 address 02:00:00:00:00:01 type bridge mcast_snooping 0\n\
             link set br0 up\naddr del 192.168.0.1/24 dev eth0\nlink set eth0 master br0\n\
             addr add 192.168.0.1/24 dev br0\nroute add default via 192.168.0.254",
        )
        .unwrap();
    let backends: Vec<_> = lab.backends.iter().collect();
    let client = &lab.clients[0].node;
    let answered = || {
        let load = Load::start(client, lab::VIP, 100, Ports::Fresh).expect("a load");
        let report = load.run_for(Duration::from_secs(1)).expect("a report");
        (report.answered() > 0, report.lost() > 0)
    };

    let configuration = agent::configuration(&["eth0"], "hash", &backends);
    let mut agent = Agent::start(balancer, binary(), &configuration).expect("an agent");
    agent.wait_until_all_up(START_LIMIT).expect("a server up");
    assert_eq!(answered(), (false, true), "by the port");
    let practice = Practice::open(
        balancer,
        &[
            ("info", "hash-key-fingerprint", KEY),
            ("error", "xdp-cannot-send", "br0"),
        ],
    );

    agent.terminate().expect("the agent ends");
    let configuration = agent::configuration(&["br0"], "hash", &backends);
    balancer.write(agent::CONFIG, &configuration).unwrap();
    agent.restart().expect("an agent");
    agent.wait_until_all_up(START_LIMIT).expect("a server up");
    assert_eq!(answered(), (true, false), "by the bridge");
    let slow = [
        ("warning", "interface-above", "br0"),
        ("warning", "xdp-generic", "br0"),
    ];
    practice.expect("the bridge is named", &slow, &[("xdp-cannot-send", "br0")]);
}
