//! The file on a real disk.

use std::os::unix::fs::PermissionsExt as _;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn sample() -> Ledger {
    let mut ledger = Ledger::default();
    let entry = |admin, weight: Option<u16>, reason: Option<&str>| Entry {
        admin,
        weight: weight.map(|weight| weight.try_into().unwrap()),
        reason: reason.map(|reason| reason.parse().unwrap()),
        by: "uid 1000 (alice), pid 42".to_owned(),
        at: "2026-01-31T12:00:00.250Z".parse().unwrap(),
    };
    ledger.set(
        "resolvers",
        "dns1",
        entry(Admin::Draining, None, Some("disk")),
    );
    ledger.set("resolvers", "dns2", entry(Admin::Enabled, Some(0), None));
    ledger
}

/// What others may read, and what a later version must still understand.
fn written() -> Value {
    json!({
        "version": 1,
        "backends": [
            {
                "service": "resolvers",
                "backend": "dns1",
                "admin": "draining",
                "weight": null,
                "reason": "disk",
                "by": "uid 1000 (alice), pid 42",
                "at": "2026-01-31T12:00:00.250Z",
            },
            {
                "service": "resolvers",
                "backend": "dns2",
                "admin": "enabled",
                "weight": 0,
                "reason": null,
                "by": "uid 1000 (alice), pid 42",
                "at": "2026-01-31T12:00:00.250Z",
            },
        ],
    })
}

#[test]
fn what_is_saved_is_there_again() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::new(directory.path().join("below/state.json"));
    assert_eq!(store.load().unwrap(), Ledger::default());
    store.save(&sample()).unwrap();
    assert_eq!(store.load().unwrap(), sample());
    let text = fs::read(store.path()).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&text).unwrap(), written());

    store.save(&Ledger::default()).unwrap();
    assert_eq!(store.load().unwrap(), Ledger::default());
    let below = directory.path().join("below");
    let files = fs::read_dir(&below).unwrap().count();
    assert_eq!(files, 1, "no draft is left");
    let mode = fs::metadata(&below).unwrap().permissions().mode();
    assert_eq!(mode & 0o022, 0, "only the owner writes");
}

#[test]
fn says_what_to_do_where_nothing_can_be_kept() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::new(directory.path().join("not/there/state.json"));
    let error = store.save(&sample()).unwrap_err().to_string();
    assert!(
        error.starts_with("cannot write the state file /"),
        "{error}"
    );
    assert!(
        error.ends_with("set state_file to another place"),
        "{error}"
    );

    let store = Store::new(directory.path());
    let error = store.load().unwrap_err().to_string();
    assert!(error.starts_with("cannot read the state file /"), "{error}");
}

#[test]
fn a_save_that_fails_leaves_the_old_file_and_no_draft() {
    let directory = tempfile::tempdir().unwrap();
    // A directory in the place of the file cannot be replaced by one.
    let path = directory.path().join("state.json");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("x"), "").unwrap();
    Store::new(&path).save(&sample()).unwrap_err();
    assert!(path.is_dir());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn a_broken_file_is_set_aside() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::new(directory.path().join("state.json"));
    fs::write(store.path(), "{").unwrap();
    let error = store.load().unwrap_err().to_string();
    assert!(error.contains("is broken: EOF while parsing"), "{error}");
    assert!(error.contains("`dns-lb drain`"), "{error}");
    let aside = store.set_aside().unwrap();
    assert_eq!(aside, directory.path().join("state.json.broken"));
    assert_eq!(fs::read(aside).unwrap(), b"{");
    assert_eq!(store.load().unwrap(), Ledger::default());
}

#[test]
fn refuses_what_it_would_not_write() {
    let broken = |change: &dyn Fn(&mut Value)| {
        let mut document = written();
        change(&mut document);
        parse(document.to_string().as_bytes()).unwrap_err()
    };
    let line = |key: &'static str, value: Value| {
        broken(&move |document| document["backends"][0][key] = value.clone())
    };
    for (fault, expected) in [
        (
            broken(&|document| document["version"] = 2.into()),
            "its version is 2, and this dns-lb knows 1",
        ),
        (
            broken(&|document| document["later"] = 1.into()),
            "unknown field `later`",
        ),
        (
            broken(&|document| {
                let first = document["backends"][0].clone();
                document["backends"].as_array_mut().unwrap().push(first);
            }),
            "resolvers/dns1 is there twice",
        ),
        (
            broken(&|document| {
                let many = vec![document["backends"][0].clone(); MAX_BACKENDS + 1];
                document["backends"] = many.into();
            }),
            "it has more than 4096 entries",
        ),
        (line("later", 1.into()), "unknown field `later`"),
        (line("admin", "gone".into()), "unknown variant `gone`"),
        (line("weight", 1_001.into()), "a weight is a whole number"),
        (line("reason", "a\nb".into()), "control characters"),
        (line("by", "x\u{1b}".into()), "is too long or not one line"),
        (line("backend", "x".repeat(201).into()), "\\\"xxxx"),
        (line("at", "yesterday".into()), "failed to parse"),
    ] {
        assert!(fault.contains(expected), "{fault}\nshould say\n{expected}");
        assert!(!fault.contains(char::is_control), "{fault:?}");
    }
    let large = vec![b' '; MAX_SIZE as usize + 1];
    assert_eq!(parse(&large).unwrap_err(), "it is larger than 8 MiB");
}

proptest! {
    #[test]
    fn garbage_does_not_panic(octets in any::<Vec<u8>>()) {
        let _ = parse(&octets);
    }

    /// A file with a piece replaced reaches deeper than garbage does.
    #[test]
    fn mutated_files_do_not_panic(
        start in any::<prop::sample::Index>(),
        length in 0_usize..20,
        piece in prop::collection::vec(any::<u8>(), 0..8),
    ) {
        let mut octets = written().to_string().into_bytes();
        let start = start.index(octets.len());
        let end = (start + length).min(octets.len());
        octets.splice(start..end, piece);
        if let Err(fault) = parse(&octets) {
            prop_assert!(!fault.contains(char::is_control), "{fault:?}");
        }
    }
}
