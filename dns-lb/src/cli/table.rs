//! The status document as a table of at most 100 columns.

use std::{fmt::Write as _, net::IpAddr, time::Duration};

use dns_lb_common::Ending;

use crate::{
    api::{
        Timestamp,
        status::{Backend, Queries, Service, Status},
    },
    health::Health,
};

/// Headings, the widest that each column becomes, and whether it holds numbers, which stand to the
/// right. With indent and gaps: 100.
const COLUMNS: [(&str, usize, bool); 8] = [
    ("BACKEND", 16, false),
    ("ADMIN", 8, false),
    ("HEALTH", 7, false),
    ("WEIGHT", 6, true),
    ("SHARE", 6, true),
    ("PACKETS", 7, true),
    ("LAST PROBE", 28, false),
    ("SINCE", 6, true),
];

/// The document as text, as of `now`.
pub(super) fn render(status: &Status, now: Timestamp) -> String {
    let mut text = format!(
        "dns-lb {}, up {}, generation {}",
        status.version,
        age(status.started_at.until(now)),
        status.generation
    );
    for interface in &status.dataplane.interfaces {
        let _ = write!(
            text,
            "\n{}: {}, program {}, link {}",
            interface.name, interface.mode, interface.program_id, interface.link_id
        );
    }
    text.push('\n');
    for service in &status.services {
        text.push('\n');
        push_service(&mut text, service, now);
    }
    text
}

fn push_service(text: &mut String, service: &Service, now: Timestamp) {
    let vips: Vec<String> = service.vips.iter().map(IpAddr::to_string).collect();
    let protocols: Vec<String> = service.protocols.iter().map(ToString::to_string).collect();
    let facts = [
        service.name.clone(),
        vips.join(" "),
        format!("port {} {}", service.port, protocols.join(" ")),
        service.policy.to_string(),
        format!("{} packets", short(service.packets)),
        format!("{}B", short(service.bytes)),
    ];
    push_wrapped(text, "", &facts);
    if service.failed_open {
        text.push_str("  too few backends are up: steering as if all were\n");
    }
    push_counts(text, service);

    let heading = COLUMNS.map(|(heading, _, _)| heading.to_owned());
    let rows: Vec<[String; COLUMNS.len()]> = std::iter::once(heading)
        .chain(service.backends.iter().map(|backend| row(backend, now)))
        .collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..COLUMNS.len()).map(width).collect();
    for row in &rows {
        let mut line = String::new();
        for ((cell, width), (_, _, number)) in row.iter().zip(&widths).zip(COLUMNS) {
            let _ = match number {
                true => write!(line, "  {cell:>width$}"),
                false => write!(line, "  {cell:<width$}"),
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    for note in service.backends.iter().flat_map(notes) {
        push_wrapped(text, " ", &[note]);
    }
}

/// What an operator should know of a backend that has no place in the table.
fn notes(backend: &Backend) -> Vec<String> {
    let name = &backend.name;
    let mut notes = Vec::new();
    if let Some(reason) = &backend.reason {
        notes.push(format!("{name} is down: {reason}"));
    }
    if let Some(fault) = &backend.frozen {
        notes.push(format!("{name} stays {}: {fault}", backend.health));
    }
    if let Some(set) = &backend.set_by {
        let mut note = format!("{name} is {}", backend.admin);
        if backend.weight != backend.configured_weight {
            let _ = write!(note, ", weight not {}", backend.configured_weight);
        }
        let _ = write!(note, ", by {}", set.by);
        if let Some(reason) = &set.reason {
            let _ = write!(note, ": {reason}");
        }
        notes.push(note);
    }
    match (&backend.mac, &backend.unresolved) {
        _ if backend.local => notes.push(format!("{name} is this host")),
        (Some(_), None) => {}
        (None, None) => notes.push(format!(
            "{name} gets nothing: its MAC address is not known yet"
        )),
        (None, Some(reason)) => notes.push(format!("{name} gets nothing: {reason}")),
        (Some(mac), Some(reason)) => {
            notes.push(format!("{name} was last found at {mac}: {reason}"));
        }
    }
    if backend.probes.late > 0 {
        let latest = round_trip(backend.probes.latest_us);
        notes.push(format!(
            "{name}: {} of {} probes late, by up to {latest}",
            backend.probes.late, backend.probes.total
        ));
    }
    notes
}

/// What else has been counted of a service: what there was none of is left out.
fn push_counts(text: &mut String, service: &Service) {
    let some = |(name, count): (&str, u64)| (count > 0).then(|| format!("{} {name}", short(count)));
    let tcp = [
        ("segments", service.tcp.packets),
        ("connections", service.tcp.connections),
    ];
    let tcp: Vec<String> = tcp.into_iter().filter_map(some).collect();
    let queries: Vec<String> = service
        .queries
        .iter()
        .flat_map(by_kind)
        .filter_map(some)
        .collect();
    let unsteered = service
        .endings
        .iter()
        .map(|(name, &count)| (name.as_str(), count));
    let unsteered: Vec<String> = unsteered
        .filter(|(name, _)| !is_steered(name))
        .filter_map(some)
        .collect();
    for (heading, counts) in [
        ("  tcp:", tcp),
        ("  queries:", queries),
        ("  not steered:", unsteered),
    ] {
        if !counts.is_empty() {
            push_wrapped(text, heading, &counts);
        }
    }
}

/// Queries by what they ask for, and those of them that carry EDNS.
fn by_kind(queries: &Queries) -> impl Iterator<Item = (&str, u64)> {
    let types = queries
        .types
        .iter()
        .map(|(name, &count)| (name.as_str(), count));
    types.chain([("with EDNS", queries.edns)])
}

/// Whether a backend has had the packets that ended so.
fn is_steered(ending: &str) -> bool {
    let steered = [Ending::Transmitted, Ending::Redirected, Ending::Delivered];
    steered.iter().any(|steered| steered.name() == ending)
}

/// Facts on one line, or on more where they do not fit.
fn push_wrapped(text: &mut String, heading: &str, facts: &[String]) {
    let mut line = heading.to_owned();
    for word in facts.join(", ").split(' ') {
        let word = fit(word, 98);
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > 100 {
            text.push_str(&line);
            text.push('\n');
            line = " ".to_owned();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&word);
    }
    text.push_str(&line);
    text.push('\n');
}

fn row(backend: &Backend, now: Timestamp) -> [String; COLUMNS.len()] {
    let health = match backend.health {
        Health::Unknown => "unknown",
        Health::Up => "up",
        Health::Down => "DOWN",
    };
    let probe = match &backend.last_probe {
        None => "none yet".to_owned(),
        Some(probe) => match probe.rtt_us {
            None => probe.outcome.clone(),
            Some(rtt_us) => format!("{}, {}", probe.outcome, round_trip(rtt_us)),
        },
    };
    let cells = [
        backend.name.clone(),
        backend.admin.to_string(),
        health.to_owned(),
        backend.weight.to_string(),
        format!("{:.1}%", 100.0 * backend.share),
        short(backend.packets),
        probe,
        age(backend.since.until(now)),
    ];
    let mut widths = COLUMNS.into_iter().map(|(_, width, _)| width);
    cells.map(|cell| fit(&cell, widths.next().unwrap_or(0)))
}

/// At most so many characters, none of which moves a terminal's cursor.
fn fit(text: &str, width: usize) -> String {
    let mut printable: Vec<char> = text.chars().filter(|c| !c.is_control()).collect();
    if printable.len() > width {
        printable.truncate(width - 1);
        printable.push('…');
    }
    printable.into_iter().collect()
}

/// A count in at most six characters: exact below a million, then to a tenth of a million, of a
/// thousand millions, and so on.
fn short(count: u64) -> String {
    let units = [
        ("E", 1_000_000_000_000_000_000),
        ("P", 1_000_000_000_000_000),
        ("T", 1_000_000_000_000),
        ("G", 1_000_000_000),
        ("M", 1_000_000),
    ];
    match units.into_iter().find(|(_, size)| count >= *size) {
        Some((unit, size)) => format!("{}.{}{unit}", count / size, count % size / (size / 10)),
        None => count.to_string(),
    }
}

fn round_trip(micros: u64) -> String {
    if micros < 1_000 {
        format!("{micros} us")
    } else {
        format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100)
    }
}

/// How long ago, in at most six characters: the two largest units.
fn age(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{}s", seconds % 60),
        (0, _, _) => format!("{hours}h{}m", minutes % 60),
        (1..100, _, _) => format!("{days}d{}h", hours % 24),
        _ => format!("{days}d"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-01-31T12:00:05Z".parse().unwrap()
    }

    #[test]
    fn shows_what_an_operator_looks_for() {
        let expected = "\
dns-lb 0.1.0, up 2h0m, generation 7
eth0: native, program 41, link 5

resolvers, 192.168.0.200, port 53 udp, hash, 1.2M packets, 92.5MB
  tcp: 70 segments, 10 connections
  queries: 1000 a, 900 with EDNS
  BACKEND  ADMIN    HEALTH  WEIGHT   SHARE  PACKETS  LAST PROBE                SINCE
  dns1     enabled  up           1  100.0%     1.2M  answered NOERROR, 213 us   1h0m
  dns2     enabled  DOWN         1    0.0%        0  timeout                    1h0m
  dns2 is down: timeout
  dns2 stays down: interface eth0 is down
  dns2 is enabled, weight not 2, by uid 0 (root), pid 42: new disk
  dns2 gets nothing: its MAC address is not known yet
  dns2: 2 of 10 probes late, by up to 21.0 ms
";
        assert_eq!(render(&Status::sample(), now()), expected);
    }

    #[test]
    fn says_why_a_backend_is_not_on_the_link() {
        let mut status = Status::sample();
        let [first, second] = status.services[0].backends.as_mut_slice() else {
            panic!("two backends");
        };
        first.unresolved = Some("nobody on eth0 answers for it".to_owned());
        second.unresolved = Some("no route to it".to_owned());
        let text = render(&status, now());
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
        let text = render(&status, now());
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
        backend.since = "1971-01-01T00:00:00Z".parse().unwrap();
        backend.unresolved = Some("u".repeat(200));
        backend.reason = Some("\u{1b}[31m refused by a firewall far, far away, it seems".repeat(4));
        let probe = backend.last_probe.as_mut().unwrap();
        probe.outcome = "\u{1b}[31m refused by a firewall far, far away, it seems".to_owned();
        let text = render(&status, now());
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
    fn numbers_stay_short() {
        for (count, expected) in [
            (0, "0"),
            (999_999, "999999"),
            (1_000_000, "1.0M"),
            (999_999_999, "999.9M"),
            (1_000_000_000, "1.0G"),
            (u64::MAX, "18.4E"),
        ] {
            assert_eq!(short(count), expected);
        }
        for (seconds, expected) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m0s"),
            (3_599, "59m59s"),
            (86_399, "23h59m"),
            (99 * 86_400 + 86_399, "99d23h"),
            (20_000 * 86_400, "20000d"),
        ] {
            assert_eq!(age(Duration::from_secs(seconds)), expected);
        }
        assert_eq!(round_trip(999), "999 us");
        assert_eq!(round_trip(12_345), "12.3 ms");
    }
}
