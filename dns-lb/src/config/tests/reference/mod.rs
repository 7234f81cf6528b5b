//! `docs/configuration.md` against the reader: what it says a key may be, the default, the example.
//!
//! The reader is asked itself: it lists its keys where it finds an unknown one, and says what it allows
//! where it finds something of no use. An entry of the page is a heading of the key, and facts:
//!
//! ```text
//! ### `service.port`
//!
//! - Allowed: an integer from 1 to 65535
//! - Default: `53`
//! - Example: `port = 5353`
//! ```
//!
//! `- Required` stands for a default where there is none. `- Change: …` stands where a reload does not
//! take the key up. Behind a default may be words, after a comma; `none` may be explained after a colon.

mod document;

use std::collections::{BTreeMap, BTreeSet};

use self::document::{QUERIES, TABLES, beside, document, parts, with, without};
use super::super::{Config, Faults, difference, scalar, written};

const PAGE: &str = include_str!("../../../../../docs/configuration.md");

/// Of no use for any key.
const DATE: &str = "1979-05-27";

/// An entry of the page.
#[derive(Debug, Default)]
struct Entry {
    facts: BTreeMap<String, String>,
}

impl Entry {
    #[track_caller]
    fn fact(&self, key: &str, name: &str) -> &str {
        let fact = self.facts.get(name);
        fact.unwrap_or_else(|| panic!("{key} has no line \"- {name}: …\""))
    }

    fn is_required(&self) -> bool {
        self.facts.contains_key("Required")
    }

    /// The line that the page gives as an example.
    #[track_caller]
    fn example(&self, key: &str) -> &str {
        let example = self.fact(key, "Example").strip_prefix('`');
        let example = example.and_then(|rest| rest.strip_suffix('`'));
        example.unwrap_or_else(|| panic!("{key}: an example is code"))
    }
}

/// The entries by key.
fn entries() -> BTreeMap<String, Entry> {
    let mut entries: BTreeMap<String, Entry> = BTreeMap::new();
    let mut current = None;
    for line in PAGE.lines() {
        if let Some(heading) = line.strip_prefix("### ") {
            let key = heading.trim_matches('`').to_owned();
            let twice = entries.insert(key.clone(), Entry::default()).is_some();
            assert!(!twice, "{key} has two entries");
            current = Some(key);
        } else if line.starts_with("## ") {
            current = None;
        } else if let (Some(key), Some(fact)) = (&current, line.strip_prefix("- ")) {
            let (name, value) = fact.split_once(": ").unwrap_or((fact, ""));
            let facts = &mut entries.get_mut(key).unwrap().facts;
            let twice = facts.insert(name.to_owned(), value.to_owned()).is_some();
            assert!(!twice, "{key} says {name} twice");
        }
    }
    entries
}

/// A fault's key without the numbers of services and backends.
fn unnumbered(key: &str) -> String {
    let mut pieces = key.split('[');
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |key, piece| {
        key + piece.split_once(']').map_or(piece, |(_, rest)| rest)
    })
}

/// What the reader says is allowed where a key has this value.
#[track_caller]
fn allowed(key: &str, value: &str) -> Option<String> {
    let faults = Config::parse(&with(key, value)).err()?;
    let mut own = faults.as_slice().iter();
    let fault = own.find(|fault| unnumbered(&fault.key) == key)?;
    Some(fault.allowed.clone())
}

/// All keys that a table takes.
fn keys_of(table: &str) -> BTreeSet<String> {
    let unknown = match table {
        "" => "zzzzzzzz".to_owned(),
        table => format!("{table}.zzzzzzzz"),
    };
    let said = allowed(&unknown, "1").expect("an unknown key is a fault");
    let keys = said.strip_prefix("the keys ").unwrap().split(", ");
    keys.map(str::to_owned).collect()
}

/// All keys that have a value, by their paths; without the rules of single queries.
fn keys() -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for (table, _) in TABLES {
        let names = keys_of(table);
        let names = names
            .into_iter()
            .filter(|name| table != QUERIES || name == "query");
        keys.extend(names.map(|name| match table {
            "" => name,
            table => format!("{table}.{name}"),
        }));
    }
    keys.retain(|key| TABLES.iter().all(|(table, _)| table != key));
    keys
}

/// What holds of all keys where a file says nothing but these settings: the value in TOML, or none.
fn holding(settings: &[&str]) -> BTreeMap<String, Option<String>> {
    let config = Config::parse(&document(settings)).unwrap();
    let service = &config.services[0];
    let below = |prefix: &str, settings: written::Settings| {
        let settings = settings.into_iter();
        let settings = settings.map(|(key, value)| (format!("{prefix}{key}"), value));
        settings.collect::<Vec<_>>()
    };
    let mut all = below("", written::top(&config));
    all.extend(below("service.", written::service(service)));
    all.extend(below(
        "service.backend.",
        written::backend(&service.backends[0]),
    ));
    all.into_iter().collect()
}

#[track_caller]
fn faults(text: &str) -> Option<Faults> {
    Config::parse(text).err()
}

#[test]
fn page_has_every_key_once() {
    let (shown, known): (BTreeSet<String>, _) = (entries().into_keys().collect(), keys());
    let missing: Vec<_> = known.difference(&shown).collect();
    assert!(
        missing.is_empty(),
        "docs/configuration.md lacks {missing:?}"
    );
    let unknown: Vec<_> = shown.difference(&known).collect();
    assert!(unknown.is_empty(), "there is no key {unknown:?}");
    assert!(known.len() > 35, "{known:?}");
}

#[test]
fn page_names_the_rules_of_single_queries() {
    let start = "Each may have ";
    let paragraph = PAGE.split("\n\n").find(|text| text.starts_with(start));
    let (rules, _) = paragraph.unwrap().split_once(", with").unwrap();
    let named: BTreeSet<String> = rules
        .split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect();
    let mut known = keys_of(QUERIES);
    known.remove("query");
    assert_eq!(named, known);
}

#[test]
fn page_says_what_the_reader_allows() {
    for (key, entry) in entries() {
        let whole = allowed(&key, DATE).unwrap_or_else(|| panic!("{key} takes a date"));
        let wanted = match allowed(&key, &format!("[{DATE}]")) {
            Some(each) if each != whole => format!("{whole}; each: {each}"),
            _ => whole,
        };
        assert_eq!(entry.fact(&key, "Allowed"), wanted, "{key}");
    }
}

#[test]
fn all_that_the_page_allows_is_taken_and_no_more() {
    for (key, entry) in entries() {
        let said = entry.fact(&key, "Allowed");
        let (taken, refused) = edges(said);
        for value in taken {
            if let Some(faults) = faults(&with(&key, &value)) {
                panic!("{key} = {value}\n{faults}");
            }
        }
        for value in refused {
            assert!(
                faults(&with(&key, &value)).is_some(),
                "{key} = {value} is taken"
            );
        }
    }
}

/// Values that are just allowed by these words, and values that just are not.
fn edges(said: &str) -> (Vec<String>, Vec<String>) {
    let bounds = |prefix: &str| {
        let (from, rest) = said.strip_prefix(prefix)?.split_once(" to ")?;
        let to = rest.split_once(':').map_or(rest, |(to, _)| to);
        Some((
            from.trim_matches('"').to_owned(),
            to.trim_matches('"').to_owned(),
        ))
    };
    if let Some((from, to)) = bounds("an integer from ") {
        let (least, most): (i64, i64) = (from.parse().unwrap(), to.parse().unwrap());
        let outside = vec![(least - 1).to_string(), (most + 1).to_string()];
        (vec![from, to], outside)
    } else if let Some((from, to)) = bounds("a whole percentage from ") {
        let number = |text: &str| text.trim_end_matches('%').parse::<i64>().unwrap();
        let written = |number: i64| format!("\"{number}%\"");
        let outside = vec![written(number(&from) - 1), written(number(&to) + 1)];
        (vec![written(number(&from)), written(number(&to))], outside)
    } else if let Some((from, to)) = bounds("a duration from ") {
        let micros = |text: &str| {
            scalar::parse_duration(text)
                .unwrap()
                .as_micros()
                .cast_signed()
        };
        let written = |micros: i128| format!("\"{micros}us\"");
        let outside = vec![written(micros(&from) - 1), written(micros(&to) + 1)];
        (vec![written(micros(&from)), written(micros(&to))], outside)
    } else if said.starts_with('"') {
        let words = said.split(", ").map(str::to_owned).collect();
        (words, vec!["\"zzzzzzzz\"".to_owned()])
    } else if said == "true or false" {
        (
            vec!["true".to_owned(), "false".to_owned()],
            vec!["1".to_owned()],
        )
    } else {
        (vec![], vec![])
    }
}

#[test]
fn page_says_what_holds_without_a_key() {
    for (key, entry) in entries() {
        if entry.is_required() {
            assert!(!entry.facts.contains_key("Default"), "{key}");
            let found = faults(&without(&key)).unwrap_or_else(|| panic!("{key} may be left out"));
            let mut found = found.as_slice().iter();
            let missing = found.any(|f| unnumbered(&f.key) == key && f.problem == "missing");
            assert!(missing, "{key} may be left out");
            continue;
        }
        let said = entry.fact(&key, "Default");
        let holds = holding(beside(&key)).remove(&key);
        match holds.unwrap_or_else(|| panic!("{key} is not written")) {
            Some(value) => {
                let literal = format!("`{value}`");
                let good = said == literal || said.starts_with(&format!("{literal}, "));
                assert!(good, "{key}: the default is {literal}, not {said}");
            }
            None => assert!(said.starts_with("none: "), "{key} has no default: {said}"),
        }
    }
}

#[test]
fn examples_of_the_page_change_something() {
    for (key, entry) in entries() {
        let example = entry.example(&key);
        let (name, value) = example
            .split_once(" = ")
            .expect("an example is KEY = VALUE");
        assert_eq!(name, parts(&key).1, "the example of {key}");
        let text = match key.as_str() {
            "service.health.queries_to_pass" | "service.quorum" => with(&key, value),
            _ => document(&[&[format!("{key} = {value}").as_str()], beside(&key)].concat()),
        };
        let shown = Config::parse(&text).unwrap_or_else(|faults| panic!("{text}\n{faults}"));
        let silent = Config::parse(&document(beside(&key))).unwrap();
        assert_ne!(shown, silent, "the example of {key} says what holds anyway");
    }
}

#[test]
fn page_says_which_keys_a_reload_does_not_take_up() {
    let entries = entries();
    let said = entries
        .iter()
        .filter(|(_, entry)| entry.facts.contains_key("Change"));
    let said: BTreeSet<&str> = said.map(|(key, _)| key.as_str()).collect();
    let known = difference::AT_START_ONLY.map(|(key, _)| key);
    assert_eq!(said, BTreeSet::from(known));
    assert!(
        PAGE.contains("those of the six keys that\nhave a line \"Change\"") && known.len() == 6
    );
}
