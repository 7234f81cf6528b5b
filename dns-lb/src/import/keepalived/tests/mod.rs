//! Whole files: what they become, what is wrong with them, and garbage.

mod faults;
mod random;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::*;
use crate::config::{OnNoBackend, Policy, ProbePath, Protocol, Transport};

/// One file.
struct Single<'t>(&'t [u8]);

impl Files for Single<'_> {
    fn read(&self, _: &Path, limit: u64, _: bool) -> io::Result<Vec<u8>> {
        Ok(self
            .0
            .iter()
            .copied()
            .take(usize::try_from(limit).unwrap())
            .collect())
    }

    fn list(&self, _: &Path) -> io::Result<Vec<String>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn identity(&self, path: &Path) -> PathBuf {
        path.to_owned()
    }
}

fn import_text(text: &str, keep_timing: bool) -> Result<Imported, Problems> {
    let options = Options { keep_timing };
    import(
        Path::new("keepalived.conf"),
        &Single(text.as_bytes()),
        options,
    )
}

fn config(text: &str) -> Config {
    let imported = import_text(text, false).unwrap_or_else(|problems| panic!("{problems}"));
    Config::parse(&imported.text).unwrap()
}

/// A virtual server with these lines in it, and servers whose blocks have these.
fn server(lines: &str, of_servers: &str) -> String {
    format!(
        "virtual_server 192.0.2.53 53 {{\nlvs_method DR\nprotocol UDP\n{lines}\n\
         real_server 192.0.2.1 53 {{\n{of_servers}\n}}\n\
         real_server 192.0.2.2 53 {{\n{of_servers}\n}}\n}}\n"
    )
}

/// The texts stand beside each other: with `BLESS=1` in the environment those of today are written.
#[test]
fn files_become_what_is_beside_them() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/import/keepalived/fixtures");
    for (name, keep_timing) in [
        ("textbook", false),
        ("textbook-kept", true),
        ("farm", false),
        ("groups", false),
    ] {
        let input = fixtures
            .join(name.trim_end_matches("-kept"))
            .with_extension("conf");
        let imported = import_text(&fs::read_to_string(&input).unwrap(), keep_timing);
        let text = imported
            .unwrap_or_else(|problems| panic!("{name}: {problems}"))
            .text;
        let expected = fixtures.join(name).with_extension("toml");
        if std::env::var_os("BLESS").is_some() {
            fs::write(&expected, &text).unwrap();
        }
        assert_eq!(text, fs::read_to_string(&expected).unwrap(), "{name}");
    }
}

#[test]
fn the_textbooks_farm_keeps_its_meaning() {
    let text = fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("src/import/keepalived/fixtures/textbook.conf"),
    );
    let config = config(&text.unwrap());
    let [service] = &config.services[..] else {
        panic!("{config:?}");
    };
    assert_eq!(
        service.vips,
        ["192.168.0.200".parse::<std::net::IpAddr>().unwrap()]
    );
    assert_eq!((service.port, service.policy), (53, Policy::RoundRobin));
    assert_eq!(service.protocols, [Protocol::Udp]);
    assert_eq!(service.on_no_backend, OnNoBackend::FailOpen);
    let [question] = &service.health.questions[..] else {
        panic!("{service:?}");
    };
    assert_eq!(question.name.to_string(), "localhost.localnet.");
    // dig is content with any answer.
    assert!((0..=10).all(|code| question.accept_rcodes.contains(&code)));
    assert_eq!(service.health.path, ProbePath::Vip);
    let backends: Vec<String> = service
        .backends
        .iter()
        .map(|backend| format!("{} {} {}", backend.name, backend.address, backend.weight))
        .collect();
    assert_eq!(backends, ["dns1 192.168.0.201 1", "dns2 192.168.0.202 1"]);
}

#[test]
fn schedulers_become_policies() {
    for (lines, policy) in [
        ("lvs_sched rr", Policy::RoundRobin),
        ("lb_algo wrr\nops", Policy::RoundRobin),
        ("lvs_sched sh", Policy::Source),
        ("lvs_sched sh\nsh-port", Policy::Hash),
        ("lvs_sched mh\nmh-fallback", Policy::Source),
        ("lvs_sched mh\nflag-2", Policy::Hash),
        ("lvs_sched lc", Policy::Hash),
        ("lvs_sched sed", Policy::Hash),
        ("lvs_sched nq", Policy::Hash),
        ("", Policy::Hash),
        ("lvs_sched rr\npersistence_timeout 50", Policy::Source),
        ("lvs_sched rr\npersistence_timeout", Policy::Source),
    ] {
        let config = config(&server(lines, ""));
        assert_eq!(config.services[0].policy, policy, "{lines}");
    }
}

#[test]
fn schedulers_without_weights_lose_them() {
    let weights = |scheduler: &str| -> Vec<u16> {
        let text = format!(
            "virtual_server 192.0.2.53 53 {{\nlvs_method DR\nweight 5\nlvs_sched {scheduler}\n\
             real_server 192.0.2.1 53 {{ weight 3000\n }}\nreal_server 192.0.2.2 53 {{ weight 0\n }}\n\
             real_server 192.0.2.3 53 {{ }}\nreal_server 192.0.2.4 53 {{ weight 1\n}}\n}}"
        );
        let config = config(&text);
        let backends = config.services[0].backends.iter();
        backends.map(|backend| backend.weight).collect()
    };
    assert_eq!(weights("rr"), [1, 0, 1, 1]);
    assert_eq!(weights("wrr"), [1_000, 0, 1, 1]);
}

#[test]
fn checks_keep_what_counts_as_healthy() {
    let any: Vec<u16> = (0..=10).collect();
    for (check, query, codes, transport) in [
        ("DNS_CHECK {\n}", ". SOA", vec![0], Transport::Udp),
        (
            "DNS_CHECK {\ntype aaaa\nname www.example\n}",
            "www.example. AAAA",
            vec![0],
            Transport::Udp,
        ),
        (
            "TCP_CHECK {\n}",
            "localhost.localnet. A",
            any.clone(),
            Transport::Tcp,
        ),
        (
            "PING_CHECK {\n}",
            "localhost.localnet. A",
            any.clone(),
            Transport::Udp,
        ),
        (
            "UDP_CHECK {\npayload 00 01\nrequire_reply 00\n}",
            "localhost.localnet. A",
            any.clone(),
            Transport::Udp,
        ),
        ("", "localhost.localnet. A", any.clone(), Transport::Udp),
        (
            "DNS_CHECK {\n}\nTCP_CHECK {\n}",
            ". SOA",
            vec![0],
            Transport::Both,
        ),
    ] {
        let config = config(&server("", check));
        let health = &config.services[0].health;
        let [question] = &health.questions[..] else {
            panic!("{check}: {health:?}");
        };
        let asked = format!("{} {}", question.name, question.record_type);
        assert_eq!(asked, query, "{check}");
        assert_eq!(
            question.accept_rcodes.iter().copied().collect::<Vec<_>>(),
            codes,
            "{check}"
        );
        assert_eq!(health.transport, transport, "{check}");
    }
}

#[test]
fn several_checks_are_several_queries() {
    let config = config(
        "virtual_server 192.0.2.53 53 {\nlvs_method DR\nreal_server 192.0.2.1 53 {\nMISC_CHECK {\n\
         misc_path \"dig +norec +noedns @192.0.2.1 example.net soa\"\n}\nDNS_CHECK {\nname example.org\n}\n}\n}",
    );
    let health = &config.services[0].health;
    assert_eq!(health.questions.len(), 2);
    assert_eq!(health.questions_to_pass, 2);
    let of = |name: &str| {
        let mut questions = health.questions.iter();
        questions
            .find(|question| question.name.to_string() == name)
            .unwrap()
    };
    assert!(!of("example.net.").recursion_desired);
    assert!(of("example.net.").accept_rcodes.contains(&2));
    assert_eq!(of("example.net.").edns_size, None);
    assert!(!of("example.org.").accept_rcodes.contains(&2));
}

#[test]
fn kept_timing_is_keepalived_s() {
    let text = |lines: &str, check: &str| {
        let text = server(lines, check);
        let imported = import_text(&text, true).unwrap_or_else(|problems| panic!("{problems}"));
        let health = Config::parse(&imported.text).unwrap().services[0]
            .health
            .clone();
        let millis = |duration: std::time::Duration| duration.as_millis();
        (
            millis(health.interval),
            millis(health.fast_interval),
            millis(health.timeout),
            health.fall,
            health.rise,
        )
    };
    // DNS_CHECK: every 60 s, 5 s for an answer, three more after 60 s each.
    assert_eq!(text("", "DNS_CHECK {\n}"), (60_000, 60_000, 5_000, 4, 1));
    let lines = "delay_loop 2\nconnect_timeout 0.5\nretry 2\ndelay_before_retry 0.25";
    assert_eq!(text(lines, "DNS_CHECK {\n}"), (2_000, 250, 500, 3, 1));
    // What a check says itself goes first.
    let check = "DNS_CHECK {\nretry 1\n}";
    assert_eq!(text(lines, check), (2_000, 250, 500, 2, 1));
    assert_eq!(
        text("delay_loop 6", "TCP_CHECK {\n}"),
        (6_000, 1_000, 5_000, 2, 1)
    );
}

#[test]
fn udp_and_tcp_become_one_service_if_the_rest_agrees() {
    let both = |udp: &str, tcp: &str| {
        let one = server(udp, "DNS_CHECK {\n}");
        let other = server(tcp, "DNS_CHECK {\n}").replace("UDP", "TCP");
        config(&(one + &other)).services
    };
    let services = both("lvs_sched rr", "lvs_sched rr");
    assert_eq!(services.len(), 1);
    assert_eq!(services[0].protocols, [Protocol::Udp, Protocol::Tcp]);
    let services = both("lvs_sched rr", "lvs_sched sh");
    let names: Vec<&str> = services
        .iter()
        .map(|service| service.name.as_str())
        .collect();
    assert_eq!(names, ["192.0.2.53-udp", "192.0.2.53-tcp"]);
    assert_eq!(services[0].backends[0].name, services[1].backends[0].name);
}

#[test]
fn what_has_no_place_in_ours_is_said() {
    let lines = "alpha\nomega\nha_suspend\nquorum 2\nhysteresis 1\nquorum_up \"x y\"\nquorum_down z\n\
                 sorry_server 192.0.2.9 53\nsorry_server_inhibit\nsmtp_alert off\nwarmup 1\n\
                 inhibit_on_failure\nip_family inet";
    let of_servers = "uthreshold 9\nlthreshold 1\nnotify_up \"/x up\"\nnotify_down \"/x down\"";
    let imported = import_text(&server(lines, of_servers), false).unwrap();
    for line in lines.lines().chain(of_servers.lines()) {
        let word = line.split(' ').next().unwrap();
        let said = imported
            .text
            .lines()
            .any(|line| line.starts_with("# dropped, line") && line.contains(&format!(": {word}")));
        assert!(said, "{word}: {}", imported.text);
    }
}
