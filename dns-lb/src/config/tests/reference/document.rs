//! Files for the reader: one in which a single key has a value, with what must be beside it.

use std::collections::BTreeSet;

use super::super::super::MAX_BACKENDS;

/// The tables, as faults name them without their numbers, and how they begin in a file.
pub(super) const TABLES: [(&str, &str); 7] = [
    ("", ""),
    ("api", "[api]"),
    ("announce", "[announce]"),
    ("service", "[[service]]"),
    ("service.health", "[service.health]"),
    ("service.health.queries", "[[service.health.queries]]"),
    ("service.backend", "[[service.backend]]"),
];

/// The table of queries, whose rules have their entries with those of the check.
pub(super) const QUERIES: &str = "service.health.queries";

/// What stands in a file for each key that has to be there.
const NEEDED: [&str; 5] = [
    "interfaces = [\"eth0\"]",
    "service.name = \"s\"",
    "service.vips = [\"192.0.2.1\"]",
    "service.backend.name = \"b\"",
    "service.backend.address = \"192.0.2.2\"",
];

/// Table and name of a key.
pub(super) fn parts(key: &str) -> (&str, &str) {
    key.rsplit_once('.').unwrap_or(("", key))
}

/// The key of a setting.
fn key_of(setting: &str) -> String {
    setting.split(" = ").next().unwrap().to_owned()
}

/// A file that lacks a key that has to be there.
pub(super) fn without(key: &str) -> String {
    let mut settings: Vec<&str> = NEEDED.to_vec();
    settings.retain(|setting| key_of(setting) != key);
    // A query that has something, but nothing to ask.
    settings.extend((parts(key).0 == QUERIES).then_some("service.health.queries.min_answers = 1"));
    arranged(&settings)
}

/// A file with these settings, each with the path of its key, besides what has to be there.
pub(super) fn document(settings: &[&str]) -> String {
    let set: BTreeSet<String> = settings.iter().map(|setting| key_of(setting)).collect();
    let needed = NEEDED
        .iter()
        .filter(|needed| !set.contains(&key_of(needed)));
    let all: Vec<&str> = needed.chain(settings).copied().collect();
    arranged(&all)
}

/// A file with these settings, by tables.
fn arranged(settings: &[&str]) -> String {
    let mut text = String::new();
    for (table, head) in TABLES {
        let lines = settings.iter().filter_map(|setting| {
            let (key, value) = setting.split_once(" = ").unwrap();
            let (its_table, name) = parts(key);
            (its_table == table).then(|| format!("{name} = {value}\n"))
        });
        let lines: String = lines.collect();
        if !lines.is_empty() {
            text += &format!("{head}\n{lines}");
        }
    }
    text
}

/// What else a file must say for a key to be of use in it, or for all of its range to be allowed.
pub(super) fn beside(key: &str) -> &'static [&'static str] {
    match key {
        "announce.hold" | "announce.withdraw_first" | "announce.settle" => {
            &["announce.interface = \"lo\""]
        }
        "service.max_load" => &["service.policy = \"qname\""],
        "service.health.max_serial_lag" => &["service.health.query = \"example.net. SOA\""],
        "service.health.fast_interval" => &["service.health.interval = \"1h\""],
        "service.health.edns_size" => &["service.health.path = \"real\""],
        _ => &[],
    }
}

/// A file in which a key has this value.
pub(super) fn with(key: &str, value: &str) -> String {
    let setting = format!("{key} = {value}");
    let mut settings = beside(key).to_vec();
    settings.push(&setting);
    let text = document(&settings);
    match key {
        // As many as there may be, so that all of the range is allowed.
        "service.health.queries_to_pass" => {
            let query = format!("[[{QUERIES}]]\nquery = \". NS\"\n");
            let backends = text.find("[[service.backend]]").unwrap();
            let (before, after) = text.split_at(backends);
            format!("{before}{}{after}", query.repeat(8))
        }
        "service.quorum" => (1..MAX_BACKENDS).fold(text, |text, number| {
            let [.., high, low] = number.to_be_bytes();
            format!(
                "{text}[[service.backend]]\nname = \"b{number}\"\naddress = \"198.18.{high}.{low}\"\n"
            )
        }),
        _ => text,
    }
}
