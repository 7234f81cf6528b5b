//! One thing at a time: values that are taken, and single faults.

use std::time::Duration;

use super::{super::*, file};

/// The one fault of a text, without its place.
#[track_caller]
fn only_fault(text: &str) -> String {
    let faults = Config::parse(text).expect_err(text);
    let [fault] = faults.as_slice() else {
        panic!("not one fault in\n{text}\nbut\n{faults}");
    };
    format!("{}: {}; {}", fault.key, fault.problem, fault.allowed)
}

#[test]
fn values_at_the_edge_are_taken() {
    let rows = [
        file("xdp_mode = \"generic\"", "", "", ""),
        file("api.listen = \"[::]:1\"", "", "", ""),
        file("api.admin_mode = \"0600\"", "", "", ""),
        file("api.admin_mode = \"0626\"", "", "", ""),
        file("api.admin_group = \"dns-lb\"", "", "", ""),
        file("state_file = \"/state\"", "", "", ""),
        file("announce.interface = \"lo\"", "", "", ""),
        file("announce.interface = \"dummy0\"", "", "", "local = true"),
        file(
            "announce.hold = \"1h\"\nannounce.settle = \"1m\"",
            "",
            "",
            "",
        ),
        file("", "port = 65535", "", ""),
        file("", "port = 0x35", "", ""),
        file("", "policy = \"round-robin\"", "", ""),
        file("", "on_no_backend = \"drop\"", "", ""),
        file("", "", "query = \". soa\"", ""),
        file("", "", "query = \"_x.example.net TXT\"", ""),
        file("", "", "interval = \"10ms\"", ""),
        file("", "", "query = \"%r.example.net A\"", ""),
        file("", "", "edns_size = 512\nmin_answers = 100", ""),
        file("", "", "edns_size = 1232\npath = \"both\"", ""),
        file("", "", "edns_size = 4096\npath = \"real\"", ""),
        file("", "", "flap_window = \"0s\"\ndown_interval = \"1h\"", ""),
        file("", "max_ejected = \"0%\"\nslow_start = \"1h\"", "", ""),
        file("", "", "interval = \"1h\"\nfast_interval = \"60m\"", ""),
        file("", "", "timeout = \"1000us\"", ""),
        file("", "", "fall = 100\nrise = 1", ""),
        file("", "", "", "weight = 0"),
        file("", "", "", "weight = 1000"),
        file("", "", "", "mac = \"02:00:00:00:00:0A\""),
    ];
    for text in rows {
        if let Err(faults) = Config::parse(&text) {
            panic!("{text}\n{faults}");
        }
    }
}

#[test]
fn fast_interval_follows_a_shorter_interval() {
    let config = Config::parse(&file("", "", "interval = \"20ms\"", "")).unwrap();
    let health = &config.services[0].health;
    assert_eq!(health.fast_interval, Duration::from_millis(20));
}

#[test]
fn several_queries_share_the_rules_beside_them() {
    let health = "accept_rcodes = [\"NOERROR\"]\nmax_serial_lag = 2\nqueries_to_pass = 1\n\
                  [[service.health.queries]]\nquery = \"example.net. SOA\"\nrequire_aa = true\n\
                  [[service.health.queries]]\nquery = \"%r.example.net. TXT\"\nexpect = '\"X  y\"'";
    let config = Config::parse(&file("", "", health, "")).unwrap();
    let check = &config.services[0].health;
    let [soa, txt] = check.questions.as_slice() else {
        panic!("two queries");
    };
    assert_eq!(check.questions_to_pass, 1);
    assert_eq!((soa.require_aa, txt.require_aa), (true, false));
    assert_eq!((soa.max_serial_lag, txt.max_serial_lag), (Some(2), None));
    assert_eq!([&soa.accept_rcodes, &txt.accept_rcodes], [&[0].into(); 2]);
    assert_eq!(txt.expect.as_deref(), Some("x y"));
    let (one, other) = (txt.name.draw(), txt.name.draw());
    assert_ne!(one, other);
    assert_eq!(one.num_labels(), 3);
    assert_eq!(one.base_name(), soa.name.draw());
}

#[test]
fn refuses_single_faults() {
    let top = |line| file(line, "", "", "");
    let service = |line| file("", line, "", "");
    let health = |line| file("", "", line, "");
    let backend = |line| file("", "", "", line);
    let long_socket = format!(r#"api.admin_socket = "/{}""#, "x".repeat(96));
    let rows = [
        (
            top(r#"announce.settle = "61s""#),
            r#"announce.settle: "61s" is out of range"#,
        ),
        (
            file(r#"announce.interface = "lo""#, "", "", "local = true"),
            "announce.interface: is where a backend on this host has its VIP for good",
        ),
        (
            service("quorum = 2"),
            "quorum: more than there are backends",
        ),
        (service("quorum = 0"), "quorum: 0 is out of range"),
        (
            service("quorum = 1_0\u{7f}0"),
            r#"quorum: "10\u{7f}0" is out of range"#,
        ),
        (
            top(r#"api.listen = "[::]:0""#),
            r#"api.listen: "[::]:0" has port 0"#,
        ),
        (
            top("api.listen = 8053"),
            "api.listen: an integer is of no use here",
        ),
        (
            top(r#"api.admin_socket = "/""#),
            "api.admin_socket: names no file",
        ),
        (
            top(&long_socket),
            "api.admin_socket: too long; an absolute path of at most 96",
        ),
        (
            top(r#"api.admin_mode = "0777""#),
            r#"api.admin_mode: "0777" is not a mode"#,
        ),
        (
            top(r#"api.admin_mode = "0460""#),
            r#"api.admin_mode: "0460" is not a mode"#,
        ),
        (
            top("api.admin_mode = 432"),
            "api.admin_mode: an integer is of no use here",
        ),
        (
            top(r#"api.admin_group = """#),
            r#"api.admin_group: "" is not a group's name"#,
        ),
        (
            top(r#"state_file = "state.json""#),
            r#"state_file: "state.json" is not absolute"#,
        ),
        (top("api = 1"), "api: an integer is of no use here"),
        (
            top(r#"hash_key_file = "/\u0007""#),
            r#"hash_key_file: "/\u{7}" has a control"#,
        ),
        (top(r#""a\nb" = 1"#), r#""a\nb": unknown key"#),
        (service("port = 0"), "port: 0 is out of range"),
        (service("port = -1"), "port: -1 is out of range"),
        (
            service("port = 99999999999999999999"),
            "port: 99999999999999999999 is out of range",
        ),
        (service("port = 53.0"), "port: a float is of no use here"),
        (service("protocols = []"), "protocols: empty"),
        (
            service(r#"protocols = ["udp", "udp"]"#),
            r#"protocols[2]: "udp" is on line 6 already"#,
        ),
        (
            service(r#"protocols = "udp""#),
            "protocols: a string is of no use here",
        ),
        (
            service(r#"max_load = "125%""#),
            "max_load: of no use with this policy",
        ),
        (
            service("policy = \"qname\"\nmax_load = \"100%\""),
            r#"max_load: "100%" is out of range"#,
        ),
        (
            service("policy = \"qname\"\nmax_load = \"1.25\""),
            r#"max_load: "1.25" is not a whole percentage"#,
        ),
        (
            service("policy = \"qname\"\nmax_load = \"99999999999%\""),
            r#"max_load: "99999999999%" is out of range"#,
        ),
        (
            service("count_queries = 1"),
            "count_queries: an integer is of no use here",
        ),
        (top("tcp_flows = 1023"), "tcp_flows: 1023 is out of range"),
        (
            backend("local = true\nmac = \"02:00:00:00:00:01\""),
            "mac: of no use for a backend on this host",
        ),
        (
            service(r#"policy = "Hash""#),
            r#"policy: "Hash" is not known"#,
        ),
        (
            health(r#"query = "a..b. A""#),
            r#"query: "a..b. A" has no valid name"#,
        ),
        (
            health(r#"query = "b. BOGUS""#),
            r#"query: "b. BOGUS" has no known type"#,
        ),
        (
            health(r#"query = "b. AXFR""#),
            r#"query: "b. AXFR" asks for a type"#,
        ),
        (
            health(r#"query = "b. IN A""#),
            r#"query: "b. IN A" is not a name and a type"#,
        ),
        (
            health(r#"query = "%r.%r.%r.%r.%r.%r.%r.%r.%r.%r.%r.%r.%r.%r.%r.%r.%r.%r.%r.%r. A""#),
            r#"query: "%r.%r.%r.%r.%r.%r.%r.%r.%r.%r.%r.%r.%r.%r.%r.%r.%r.%r.%r.%r. A" has no valid"#,
        ),
        (
            health("edns_size = 511"),
            "edns_size: 511 is out of range; 0 for no EDNS, or 512 to 4096",
        ),
        (
            health("edns_size = 1233"),
            "edns_size: 1233 is too much through the VIP; at most 1232, since longer replies may come \
             in fragments, which are not seen there, or path = \"real\"",
        ),
        (
            health("[[service.health.queries]]\nquery = \". NS\"\nedns_size = 4096"),
            "queries[1].edns_size: 4096 is too much through the VIP; at most 1232",
        ),
        (
            health("path = \"both\"\nedns_size = 4096"),
            "edns_size: 4096 is too much through the VIP; at most 1232",
        ),
        (
            health("max_serial_lag = 3"),
            "max_serial_lag: of no use with this type",
        ),
        (
            health("queries_to_pass = 2"),
            "queries_to_pass: 2 is out of range; an integer from 1 to 1",
        ),
        (health(r#"expect = " ""#), r#"expect: " " is empty"#),
        (
            health("query = \". SOA\"\n[[service.health.queries]]\nquery = \". NS\""),
            "query: there are [[service.health.queries]] already",
        ),
        (
            health("[[service.health.queries]]\nquery = \". NS\"\nmax_serial_lag = 1"),
            "queries[1].max_serial_lag: of no use with this type",
        ),
        (
            health(&"[[service.health.queries]]\nquery = \". NS\"\n".repeat(9)),
            "queries: too many; at most 8 queries",
        ),
        (
            service(r#"slow_start = "2h""#),
            r#"slow_start: "2h" is out of range"#,
        ),
        (
            health(r#"accept_rcodes = ["OK"]"#),
            r#"accept_rcodes[1]: "OK" is not known"#,
        ),
        (
            health(r#"accept_rcodes = ["YXRRSET", "YXRRSET"]"#),
            r#"accept_rcodes[2]: "YXRRSET" is on"#,
        ),
        (
            health(r#"interval = "2h""#),
            r#"interval: "2h" is out of range"#,
        ),
        (
            health(r#"interval = "-1s""#),
            r#"interval: "-1s" is not a duration"#,
        ),
        (
            health(r#"interval = "1.5s""#),
            r#"interval: "1.5s" is not a duration"#,
        ),
        (
            health(r#"interval = "250""#),
            r#"interval: "250" is not a duration"#,
        ),
        (
            health(r#"interval = "99999999999999999h""#),
            r#"interval: "99999999999999999h" is not"#,
        ),
        (
            health(r#"fast_interval = "300ms""#),
            r#"fast_interval: "300ms" is out of range"#,
        ),
        (
            health(r#"timeout = "500us""#),
            r#"timeout: "500us" is out of range"#,
        ),
        (
            health(r#"timeout = "61s""#),
            r#"timeout: "61s" is out of range"#,
        ),
        (health("rise = 101"), "rise: 101 is out of range"),
        (
            backend("weight = true"),
            "weight: a boolean is of no use here",
        ),
        (
            backend(r#"mac = "00:00:00:00:00:00""#),
            r#"mac: "00:00:00:00:00:00" is not a unicast"#,
        ),
        (
            backend(r#"mac = "2:0:0:0:0:1""#),
            r#"mac: "2:0:0:0:0:1" is not a MAC address"#,
        ),
        (
            backend(r#"adress = "192.0.2.9""#),
            "adress: unknown key, perhaps address is meant",
        ),
    ];
    for (text, expected) in rows {
        let fault = only_fault(&text);
        let tables = [
            "service[1].health.",
            "service[1].backend[1].",
            "service[1].",
            "",
        ];
        let key = tables.iter().find_map(|table| fault.strip_prefix(table));
        assert!(
            key.unwrap().starts_with(expected),
            "{fault}\nshould be\n{expected}"
        );
    }
}

#[test]
fn refuses_addresses_that_no_host_has() {
    for address in [
        "0.0.0.0",
        "127.0.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "192.0.2",
        "",
        "::1",
        "::",
        "ff02::1",
        "fe80::1",
        "::ffff:192.0.2.9",
    ] {
        let good = file("", "", "", "");
        for (right, key) in [
            ("192.0.2.1", "service[1].vips[1]: "),
            ("192.0.2.2", "service[1].backend[1].address: "),
        ] {
            let fault = only_fault(&good.replace(right, address));
            assert!(fault.starts_with(key), "{fault}");
        }
    }
}

#[test]
fn refuses_names_that_are_no_names() {
    let long = "x".repeat(64);
    for name in ["", "a b", "a/b", "ä", "a\\tb", long.as_str()] {
        let text = file("", "", "", "").replace("\"b\"", &format!("\"{name}\""));
        let fault = only_fault(&text);
        assert!(fault.starts_with("service[1].backend[1].name: "), "{fault}");
    }
    for interface in ["", ".", "..", "a b", "a/b", "a:b", "sixteen-octets-x"] {
        let text = file("", "", "", "").replace("eth0", interface);
        let fault = only_fault(&text);
        assert!(fault.starts_with("interfaces[1]: "), "{fault}");
    }
}

#[test]
fn refuses_what_services_must_not_share() {
    let one = file("", "", "", "");
    let other = one.split_once("[[service]]").unwrap().1;
    let other = format!("{one}[[service]]{other}");
    let renamed = |vip: &str, address: &str| {
        let (first, second) = other.rsplit_once("[[service]]").unwrap();
        let second = second
            .replace("\"s\"", "\"t\"")
            .replace("192.0.2.2", address)
            .replace("\"192.0.2.1\"]", &format!("\"{vip}\"]"));
        format!("{first}[[service]]{second}")
    };
    // The same server under two VIPs is a common arrangement.
    Config::parse(&renamed("192.0.2.3", "192.0.2.2")).unwrap();
    // So is one VIP with two ports.
    Config::parse(&renamed("192.0.2.1", "192.0.2.2").replacen(
        "[service.health]",
        "port = 5353\n[service.health]",
        1,
    ))
    .unwrap();
    let rows = [
        (
            renamed("192.0.2.1", "192.0.2.2"),
            "service[2].vips[1]: \"192.0.2.1:53/udp\" is on line 5",
        ),
        (
            renamed("192.0.2.2", "192.0.2.3"),
            "service[1].backend[1].address: \"192.0.2.2\" is a VIP",
        ),
        (
            renamed("192.0.2.3", "192.0.2.1"),
            "service[2].backend[1].address: \"192.0.2.1\" is a VIP",
        ),
        (
            renamed("192.0.2.3", "192.0.2.4").replace("\"t\"", "\"s\""),
            "service[2].name: \"s\" is on line 4",
        ),
    ];
    for (text, expected) in rows {
        let fault = only_fault(&text);
        assert!(
            fault.starts_with(expected),
            "{fault}\nshould be\n{expected}"
        );
    }
}

#[test]
fn refuses_more_than_the_maps_hold() {
    let backends: String = (0..=MAX_BACKENDS)
        .map(|i| {
            format!(
                "[[service.backend]]\nname = \"b{i}\"\naddress = \"10.0.{}.{}\"\n",
                i / 256,
                i % 256
            )
        })
        .collect();
    let head = "interfaces = [\"eth0\"]\n[[service]]\nname = \"s\"\nvips = [\"192.0.2.1\"]\n";
    let fault = only_fault(&format!("{head}{backends}"));
    assert_eq!(
        fault,
        "service[1].backend[4097]: one too many; at most 4096 backends of all services"
    );

    let vips: Vec<String> = (0..=MAX_VIPS)
        .map(|i| format!("\"10.0.{}.{}\"", i / 256, i % 256))
        .collect();
    let text = file("", "", "", "").replace("\"192.0.2.1\"", &vips.join(", "));
    let fault = only_fault(&text);
    assert!(
        fault.starts_with("service[1].vips[513]: one too many; at most 1024"),
        "{fault}"
    );

    let services: String = (0..=MAX_SERVICES)
        .map(|i| format!("[[service]]\nname = \"s{i}\"\nvips = [\"10.0.0.{i}\"]\n[[service.backend]]\nname = \"b\"\naddress = \"10.0.1.1\"\n"))
        .collect();
    let text = format!("interfaces = [\"eth0\"]\n{services}").replace("10.0.0.0", "10.0.2.1");
    let fault = only_fault(&text);
    assert_eq!(fault, "service[129]: one too many; at most 128 services");
}
