//! What the table shows, and that it fits.

use super::*;
use crate::health::Health;

fn now() -> Timestamp {
    "2026-01-31T12:00:05Z".parse().unwrap()
}

#[test]
fn shows_what_an_operator_looks_for() {
    let expected = "\
dns-lb 0.1.0, up 2h0m, generation 7
eth0: native, program 41, link 5

resolvers, 192.168.0.200, port 53 udp, hash, 2001 q/s, 1.2M packets, 92.5MB
  tcp: 70 segments, 10 connections
  queries: 1000 a, 900 with EDNS
  BACKEND  ADMIN    HEALTH  WEIGHT   SHARE   Q/S  LAST PROBE                SINCE
  dns1     enabled  up           1  100.0%  2001  answered NOERROR, 213 us   1h0m
  dns2     enabled  DOWN         1    0.0%     -  timeout                    1h0m
  dns2 is down: timeout
  dns2 stays down: interface eth0 is down
  dns2 is enabled, weight not 2, by uid 0 (root), pid 42: new disk
  dns2 gets nothing: its MAC address is not known yet
  dns2: 2 of 10 probes late, by up to 21.0 ms
";
    assert_eq!(render(&Status::sample(), now(), Palette::Plain), expected);
}

#[test]
fn says_why_a_backend_is_not_on_the_link() {
    let mut status = Status::sample();
    let [first, second] = status.services[0].backends.as_mut_slice() else {
        panic!("two backends");
    };
    first.unresolved = Some("nobody on eth0 answers for it".to_owned());
    second.unresolved = Some("no route to it".to_owned());
    let text = render(&status, now(), Palette::Plain);
    for note in [
        "  dns1 was last found at 02:00:00:00:00:01: nobody on eth0 answers for it\n",
        "  dns2 gets nothing: no route to it\n",
    ] {
        assert!(text.contains(note), "{text}");
    }
}

#[test]
fn says_what_was_not_steered_and_who_is_this_host() {
    let mut status = Status::sample();
    let service = &mut status.services[0];
    for (ending, count) in [(Ending::MalformedUdp, 3), (Ending::Delivered, 5)] {
        service.endings.insert(ending.name().to_owned(), count);
    }
    service.backends[1].local = true;
    let text = render(&status, now(), Palette::Plain);
    assert!(
        text.contains("\n  not steered: 3 malformed_udp\n"),
        "{text}"
    );
    assert!(text.contains("\n  dns2 is this host\n"), "{text}");
}

#[test]
fn fits_a_hundred_columns_whatever_is_in_it() {
    let mut status = Status::sample();
    let service = &mut status.services[0];
    service.name = "s".repeat(63);
    service.vips = (0..40).map(|n| [203, 0, 113, n].into()).collect();
    service.packets = u64::MAX;
    service.bytes = u64::MAX;
    service
        .endings
        .values_mut()
        .for_each(|count| *count = u64::MAX);
    let backend = &mut service.backends[0];
    backend.name = "b".repeat(63);
    backend.admin = crate::api::status::Admin::Disabled;
    backend.health = Health::Unknown;
    backend.weight = 1_000;
    backend.packets = u64::MAX;
    backend.packets_per_second = Some(f64::MAX);
    backend.since = "1971-01-01T00:00:00Z".parse().unwrap();
    backend.unresolved = Some("u".repeat(200));
    backend.reason = Some("\u{1b}[31m refused by a firewall far, far away, it seems".repeat(4));
    let probe = backend.last_probe.as_mut().unwrap();
    probe.outcome = "\u{1b}[31m refused by a firewall far, far away, it seems".to_owned();
    let text = render(&status, now(), Palette::Plain);
    assert!(text.contains("18.4E"), "{text}");
    for line in text.lines() {
        assert!(
            line.chars().count() <= 100,
            "{}: {line}",
            line.chars().count()
        );
        assert!(!line.contains('\u{1b}'), "{line}");
    }
}

#[test]
fn servers_with_long_names_are_told_apart() {
    let mut status = Status::sample();
    let names = ["resolver-1.fra.example.net", "resolver-2.fra.example.net"];
    for (backend, name) in status.services[0].backends.iter_mut().zip(names) {
        backend.name = name.to_owned();
    }
    let text = render(&status, now(), Palette::Plain);
    for name in names {
        assert!(text.contains(&format!("\n  {name}  enabled ")), "{text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= WIDTH));
}

#[test]
fn colours_change_no_word_and_say_what_is_wrong() {
    let mut status = Status::sample();
    let service = &mut status.services[0];
    service.failed_open = true;
    service.backends[0].share = 0.0;
    service.backends[0].admin = crate::api::status::Admin::Draining;
    let coloured = render(&status, now(), Palette::Colours);
    for painted in [
        "\u{1b}[32mup\u{1b}[0m",
        "\u{1b}[1m\u{1b}[31mDOWN\u{1b}[0m",
        "\u{1b}[33mdraining\u{1b}[0m",
        "\u{1b}[33m0.0%\u{1b}[0m",
        "\u{1b}[31mtoo few backends are up",
    ] {
        assert!(coloured.contains(painted), "{painted:?}: {coloured}");
    }
    let stripped = anstream::adapter::strip_str(&coloured).to_string();
    assert_eq!(stripped, render(&status, now(), Palette::Plain));
}
