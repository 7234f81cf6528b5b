//! Whole files in, configurations or reports out.

mod pages;
mod reference;
mod rows;

use std::{collections::BTreeSet, fs, time::Duration};

use hickory_proto::rr::RecordType;
use proptest::prelude::*;

use super::*;

const EXAMPLE: &str = include_str!("../../../../examples/dns-lb.toml");

/// A file of one service and one backend, with lines added at the top, to the service, its health
/// check and its backend.
fn file(top: &str, service: &str, health: &str, backend: &str) -> String {
    format!(
        "interfaces = [\"eth0\"]\n{top}\n\
         [[service]]\nname = \"s\"\nvips = [\"192.0.2.1\"]\n{service}\n\
         [service.health]\n{health}\n\
         [[service.backend]]\nname = \"b\"\naddress = \"192.0.2.2\"\n{backend}\n"
    )
}

/// The example with its commented settings in force.
fn uncommented_example() -> String {
    let setting = |line: &str| line.starts_with(|c: char| c.is_ascii_lowercase() || c == '[');
    EXAMPLE
        .lines()
        .map(|line| {
            line.strip_prefix('#')
                .filter(|rest| setting(rest))
                .unwrap_or(line)
        })
        .map(|line| format!("{line}\n"))
        .collect()
}

#[test]
fn example_states_the_defaults() {
    let silent = Config::parse(EXAMPLE).unwrap();
    let spoken = Config::parse(&uncommented_example()).unwrap();
    assert_eq!(silent, spoken);

    assert_eq!(silent.xdp_mode, XdpMode::Auto);
    assert_eq!(silent.hash_key_file, PathBuf::from("/etc/dns-lb/hash.key"));
    assert_eq!(silent.tcp_flows, 65_536);
    assert_eq!(
        silent.state_file,
        PathBuf::from("/var/lib/dns-lb/state.json")
    );
    let api = Api {
        listen: "127.0.0.1:8053".parse().unwrap(),
        admin_socket: "/run/dns-lb/admin.sock".into(),
        admin_mode: 0o660,
        admin_group: None,
    };
    assert_eq!(silent.api, api);
    let [service] = silent.services.as_slice() else {
        panic!("one service");
    };
    assert_eq!(service.port, 53);
    assert_eq!(service.protocols, [Protocol::Udp, Protocol::Tcp]);
    assert_eq!(service.max_load, None);
    assert!(!service.count_queries);
    assert_eq!(service.policy, Policy::Hash);
    assert_eq!(service.on_no_backend, OnNoBackend::FailOpen);
    assert_eq!(service.max_ejected, 100);
    assert_eq!(service.quorum, 1);
    assert_eq!(service.slow_start, Duration::ZERO);
    let expected = HealthCheck {
        questions: vec![Question {
            name: NameTemplate::parse("localhost.localnet.").unwrap(),
            record_type: RecordType::A,
            recursion_desired: true,
            edns_size: None,
            accept_rcodes: BTreeSet::from([0, 3]),
            min_answers: 0,
            expect: None,
            require_aa: false,
            max_serial_lag: None,
        }],
        questions_to_pass: 1,
        transport: Transport::Udp,
        path: ProbePath::Vip,
        identity: None,
        check_return: true,
        interval: Duration::from_millis(250),
        fast_interval: Duration::from_millis(50),
        down_interval: Duration::from_millis(250),
        timeout: Duration::from_millis(250),
        fall: 2,
        rise: 3,
        flap_window: Duration::from_secs(60),
    };
    assert_eq!(service.health, expected);
    let weights: Vec<u16> = service.backends.iter().map(|b| b.weight).collect();
    assert_eq!(weights, [1, 1]);
}

/// Asks the reader itself which keys there are: it lists them where it finds an unknown one.
#[test]
fn example_shows_every_key() {
    let unknown = "zzzzzzzz = 1";
    let text = file(
        &format!("{unknown}\napi.{unknown}\nannounce.{unknown}"),
        unknown,
        unknown,
        unknown,
    );
    let faults = Config::parse(&text).unwrap_err();
    assert_eq!(faults.as_slice().len(), 6, "{faults}");
    for fault in faults.as_slice() {
        let keys = fault.allowed.strip_prefix("the keys ").unwrap();
        for key in keys.split(", ") {
            let shown = EXAMPLE.lines().any(|line| {
                let line = line.trim_start_matches(['#', ' ', '[']);
                line.trim_start_matches("service.")
                    .trim_start_matches("health.")
                    .strip_prefix(key)
                    .is_some_and(|rest| rest.starts_with(" = ") || rest.starts_with(']'))
            });
            assert!(shown, "{} lacks {key}", fault.key);
        }
    }
}

#[test]
fn reports_every_fault_in_the_order_of_lines() {
    let text = r#"interfaces = ["eth0", "eth0", "a/b"]
xdp_mode = "fast"
hash_key_file = "hash.key"
colour = "red"
[api]
listen = "localhost"
admin_socket = "admin.sock"
[[service]]
name = "a b"
vips = ["192.0.2.1", "fe80::1", "224.0.0.1"]
port = 70000
protocols = ["sctp"]
policy = "random"
on_no_backend = "explode"
max_ejected = "101%"
[service.health]
query = "example.net."
transport = "quic"
path = "vpi"
accept_rcodes = []
interval = "1ms"
timeuot = "1s"
fall = 0
rise = "3"
[[service.backend]]
name = "b1"
address = "192.0.2.1"
weight = 1001
mac = "01:00:00:00:00:01"
[[service.backend]]
name = "b1"
[[service]]
vips = []
"#;
    let report = Config::parse(text).unwrap_err().to_string();
    let expected = r#"1:23: interfaces[2]: "eth0" is on line 1 already; allowed: each once
1:31: interfaces[3]: "a/b" is not an interface's name; allowed: an interface's name: 1 to 15 printable characters of ASCII without '/' and ':'
2:12: xdp_mode: "fast" is not known; allowed: "auto", "native", "generic"
3:17: hash_key_file: "hash.key" is not absolute; allowed: an absolute path
4:1: colour: unknown key; allowed: the keys interfaces, xdp_mode, hash_key_file, tcp_flows, state_file, api, announce, service
6:10: api.listen: "localhost" is not an address and a port; allowed: an address and a port from 1, such as "127.0.0.1:8053" or "[::1]:8053"
7:16: api.admin_socket: "admin.sock" is not absolute; allowed: an absolute path
9:8: service[1].name: "a b" has a character that no name has; allowed: 1 to 63 letters, digits, '.', '_' and '-'
10:22: service[1].vips[2]: "fe80::1" is a link-local address; allowed: a unicast address such as "192.168.0.200" or "2001:db8::53"
10:33: service[1].vips[3]: "224.0.0.1" is a multicast address; allowed: a unicast address such as "192.168.0.200" or "2001:db8::53"
11:8: service[1].port: 70000 is out of range; allowed: an integer from 1 to 65535
12:14: service[1].protocols[1]: "sctp" is not known; allowed: "udp", "tcp"
13:10: service[1].policy: "random" is not known; allowed: "hash", "source", "qname", "round-robin"
14:17: service[1].on_no_backend: "explode" is not known; allowed: "fail-open", "pass", "drop"
15:15: service[1].max_ejected: "101%" is out of range; allowed: a whole percentage from "0%" to "100%"
17:9: service[1].health.query: "example.net." is not a name and a type; allowed: a name and a type that one query can ask for, such as "example.net. SOA"
18:13: service[1].health.transport: "quic" is not known; allowed: "udp", "tcp", "both"
19:8: service[1].health.path: "vpi" is not known; allowed: "vip", "real", "both"
20:17: service[1].health.accept_rcodes: empty; allowed: a list of response codes such as "NOERROR"
21:12: service[1].health.interval: "1ms" is out of range; allowed: a duration from "10ms" to "1h": a whole number and one of us, ms, s, m, h
22:1: service[1].health.timeuot: unknown key, perhaps timeout is meant; allowed: the keys path, query, recursion_desired, edns_size, accept_rcodes, min_answers, expect, require_aa, max_serial_lag, queries, queries_to_pass, transport, identity, check_return, interval, fast_interval, down_interval, timeout, fall, rise, flap_window
23:8: service[1].health.fall: 0 is out of range; allowed: an integer from 1 to 100
24:8: service[1].health.rise: a string is of no use here; allowed: an integer from 1 to 100
28:10: service[1].backend[1].weight: 1001 is out of range; allowed: an integer from 0 to 1000
29:7: service[1].backend[1].mac: "01:00:00:00:00:01" is not a unicast address; allowed: a unicast MAC address such as "02:00:00:00:00:01"
30:1: service[1].backend[2].address: missing; allowed: such as address = "192.168.0.201"
31:8: service[1].backend[2].name: "b1" is on line 26 already; allowed: each once
32:1: service[2].name: missing; allowed: such as name = "resolvers"
32:1: service[2].backend: missing; allowed: such as a table [[service.backend]]
33:8: service[2].vips: empty; allowed: a list of addresses"#;
    assert_eq!(report, expected);
}

#[test]
fn reports_what_else_is_wrong_beside_faults_of_syntax() {
    let text = "interfaces = [\"eth0\"]\n\
                no value here\n\
                xdp_mode = \"fast\"\n\
                [[service]]\n\
                name = \"s\n\
                vips = [\"192.0.2.1\"]\n\
                vips = [\"192.0.2.3\"]\n\
                port = 5x3\n\
                [service.health\n\
                fall = 0\n\
                [[service.backend]]\n\
                name = \"b\"\n\
                address = \"127.0.0.1\"\n";
    let faults = Config::parse(text).unwrap_err();
    let lines: Vec<(usize, bool)> = faults
        .as_slice()
        .iter()
        .map(|fault| (fault.line, fault.key == "syntax"))
        .collect();
    let expected = [
        (2, true),
        (3, false),
        (5, true),
        (7, true),
        (8, true),
        (9, true),
        (10, false),
        (13, false),
    ];
    assert_eq!(lines, expected, "{faults}");
}

/// A forgotten bracket makes the parser stumble over all that follows, several times a line.
#[test]
fn reports_one_fault_of_syntax_a_line() {
    let text = format!("interfaces = [\n{EXAMPLE}");
    let faults = Config::parse(&text).unwrap_err();
    let mut lines: Vec<usize> = faults
        .as_slice()
        .iter()
        .filter(|fault| fault.key == "syntax")
        .map(|fault| fault.line)
        .collect();
    assert!(!lines.is_empty(), "{faults}");
    let before = lines.len();
    lines.dedup();
    assert_eq!(lines.len(), before, "{faults}");
}

#[test]
fn says_in_one_sentence_why_a_file_is_none() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("dns-lb.toml");
    let message = |path: &std::path::Path| Config::load(path).unwrap_err().to_string();

    assert!(message(&path).ends_with("No such file or directory (os error 2)"));
    assert!(message(directory.path()).ends_with("Is a directory (os error 21)"));
    fs::write(&path, b"a = 1\n\xff").unwrap();
    assert!(message(&path).ends_with("is not UTF-8 text: octet 6 is wrong"));
    fs::File::create(&path)
        .unwrap()
        .set_len(MAX_FILE_SIZE + 1)
        .unwrap();
    assert!(message(&path).ends_with("is larger than 4 MiB"));
    fs::write(&path, "interfaces = 1\nxdp_mode = 2\n").unwrap();
    let report = message(&path);
    assert_eq!(report.lines().count(), 3, "{report}");
    for line in report.lines() {
        assert!(line.starts_with(&format!("{}:", path.display())), "{line}");
    }
    fs::write(&path, EXAMPLE).unwrap();
    assert_eq!(
        Config::load(&path).unwrap(),
        Config::parse(EXAMPLE).unwrap()
    );
}

proptest! {
    /// Whatever the text, there is a configuration or a report whose places lie in it.
    #[test]
    fn arbitrary_text_does_not_panic(text in any::<String>()) {
        check_report(&text);
    }

    #[test]
    fn arbitrary_toml_like_text_does_not_panic(text in r#"([a-z_]{1,10}|[\[\]{}=.,"'#\n\\ 0-9]){0,80}"#) {
        check_report(&text);
    }

    /// The example with a piece replaced reaches deeper than arbitrary text does.
    #[test]
    fn mutated_examples_do_not_panic(
        start in any::<prop::sample::Index>(),
        length in 0_usize..40,
        piece in r#"([a-z]|[\[\]{}=.,"'#\n\\ 0-9]|ä){0,12}"#,
    ) {
        let mut text = uncommented_example();
        let start = start.index(text.len());
        let end = (start + length).min(text.len());
        text.replace_range(start..end, &piece);
        check_report(&text);
    }
}

fn check_report(text: &str) {
    if let Err(faults) = Config::parse(text) {
        assert!(!faults.as_slice().is_empty());
        let lines = text.split('\n').count();
        for fault in faults.as_slice() {
            assert!((1..=lines).contains(&fault.line), "{fault}");
            let line = text.split('\n').nth(fault.line - 1).unwrap();
            assert!(
                (1..=line.chars().count() + 2).contains(&fault.column),
                "{fault}"
            );
            assert!(!fault.to_string().contains('\n'), "{fault}");
        }
    }
}
