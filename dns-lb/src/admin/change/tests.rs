//! Changes in, ledgers or refusals out.

use proptest::prelude::*;
use serde_json::json;

use super::*;

/// Services by name, each with backends by name and weight.
fn config(services: &[(&str, &[(&str, u16)])]) -> Config {
    use std::fmt::Write as _;
    let mut text = "interfaces = [\"eth0\"]\n".to_owned();
    for (i, (service, backends)) in services.iter().enumerate() {
        write!(
            text,
            "[[service]]\nname = \"{service}\"\nvips = [\"192.0.2.{}\"]\n",
            i + 1
        )
        .unwrap();
        for (j, (backend, weight)) in backends.iter().enumerate() {
            write!(
                text,
                "[[service.backend]]\nname = \"{backend}\"\naddress = \"198.51.100.{}\"\nweight = {weight}\n",
                j + 1
            )
            .unwrap();
        }
    }
    Config::parse(&text).unwrap()
}

fn two_services() -> Config {
    config(&[
        ("resolvers", &[("dns1", 1), ("dns2", 1), ("spare", 0)]),
        ("zones", &[("dns1", 5)]),
    ])
}

fn change(backends: &[&str], action: Action) -> Change {
    Change {
        selection: backends
            .iter()
            .map(|text| match text.strip_prefix("*/") {
                Some(backend) => Selection::AllServices {
                    backend: backend.to_owned(),
                },
                None => text.parse().unwrap(),
            })
            .collect(),
        action,
        reason: None,
        force: false,
    }
}

fn weight(number: u16) -> Action {
    Action::SetWeight(number.try_into().unwrap())
}

/// Applies a change where every backend is usable.
fn on(
    ledger: &Ledger,
    config: &Config,
    change: &Change,
) -> Result<(Ledger, Vec<Changed>), Refusal> {
    let at = "2026-01-31T12:00:00Z".parse().unwrap();
    apply(ledger, config, |_, _| true, change, "uid 0 (root)", at)
}

#[track_caller]
fn applied(ledger: &Ledger, change: &Change) -> (Ledger, Vec<String>) {
    let (ledger, changed) = on(ledger, &two_services(), change).unwrap();
    let lines = changed.iter().map(|changed| {
        format!(
            "{}/{} {} {} {}",
            changed.service, changed.backend, changed.admin, changed.weight, changed.changed
        )
    });
    (ledger, lines.collect())
}

#[track_caller]
fn refused(change: &Change) -> String {
    let refusal = on(&Ledger::default(), &two_services(), change).unwrap_err();
    refusal.to_string()
}

#[test]
fn states_and_weights_come_and_go() {
    let empty = Ledger::default();
    let drain = change(&["resolvers/dns1"], Action::Drain);
    let (ledger, lines) = applied(&empty, &drain);
    assert_eq!(lines, ["resolvers/dns1 draining 1 true"]);
    let (same, lines) = applied(&ledger, &drain);
    assert_eq!(lines, ["resolvers/dns1 draining 1 false"]);
    assert_eq!(same, ledger);

    let (ledger, lines) = applied(&ledger, &change(&["resolvers/dns1"], weight(7)));
    assert_eq!(lines, ["resolvers/dns1 draining 7 true"]);
    let (ledger, lines) = applied(&ledger, &change(&["resolvers/dns1"], Action::Disable));
    assert_eq!(lines, ["resolvers/dns1 disabled 7 true"]);
    let (ledger, lines) = applied(&ledger, &change(&["resolvers/dns1"], Action::Enable));
    assert_eq!(lines, ["resolvers/dns1 enabled 7 true"]);
    assert_eq!(ledger.len(), 1);
    let (ledger, lines) = applied(&ledger, &change(&["resolvers/dns1"], Action::ResetWeight));
    assert_eq!(lines, ["resolvers/dns1 enabled 1 true"]);
    assert!(ledger.is_empty());
    let (ledger, lines) = applied(&ledger, &change(&["resolvers/dns1"], Action::Enable));
    assert_eq!(lines, ["resolvers/dns1 enabled 1 false"]);
    assert!(ledger.is_empty());
}

#[test]
fn the_reason_is_that_of_the_last_change() {
    let reason = |ledger: &Ledger| {
        let entry = ledger.get("resolvers", "dns1").unwrap();
        entry.reason.as_ref().map(ToString::to_string)
    };
    let mut drain = change(&["resolvers/dns1"], Action::Drain);
    drain.reason = Some("disk".parse().unwrap());
    let (first, _) = applied(&Ledger::default(), &drain);
    assert_eq!(reason(&first).as_deref(), Some("disk"));
    let (same, lines) = applied(&first, &change(&["resolvers/dns1"], Action::Drain));
    assert_eq!(lines, ["resolvers/dns1 draining 1 false"]);
    assert_eq!(reason(&same).as_deref(), Some("disk"));
    drain.reason = Some("disk and fan".parse().unwrap());
    let (better, lines) = applied(&first, &drain);
    assert_eq!(lines, ["resolvers/dns1 draining 1 true"]);
    assert_eq!(reason(&better).as_deref(), Some("disk and fan"));
    let (other, _) = applied(&better, &change(&["resolvers/dns1"], Action::Disable));
    assert_eq!(reason(&other), None);

    let mut enable = change(&["resolvers/dns2"], Action::Enable);
    enable.reason = Some("nothing to enable".parse().unwrap());
    let (ledger, lines) = applied(&Ledger::default(), &enable);
    assert_eq!(lines, ["resolvers/dns2 enabled 1 false"]);
    assert!(ledger.is_empty());
}

#[test]
fn names_several_backends_each_once() {
    let all = change(&["*/dns1", "resolvers/dns2", "zones/dns1"], Action::Enable);
    let (_, lines) = applied(&Ledger::default(), &all);
    assert_eq!(
        lines,
        [
            "resolvers/dns1 enabled 1 false",
            "zones/dns1 enabled 5 false",
            "resolvers/dns2 enabled 1 false",
        ]
    );
    let alone = change(&["b"], Action::Disable);
    let one_service = config(&[("s", &[("a", 1), ("b", 1)])]);
    let (ledger, _) = on(&Ledger::default(), &one_service, &alone).unwrap();
    assert_eq!(ledger.admin("s", "b"), Admin::Disabled);
}

#[test]
fn refusals_say_what_there_is() {
    for (backends, expected) in [
        (
            &["resolver/dns1"][..],
            "there is no service resolver; perhaps resolvers is meant; there are: resolvers, zones",
        ),
        (
            &["resolvers/dns2", "x/dns1"],
            "there is no service x; there are: resolvers, zones",
        ),
        (
            &["zones/dns2"],
            "there is no backend dns2 in service zones; perhaps dns1 is meant; there are: dns1",
        ),
        (
            &["*/SPARE1"],
            "there is no backend SPARE1 in any service; perhaps spare is meant; \
             there are: dns1, dns2, spare",
        ),
        (
            &["dns1"],
            "there are several services: say resolvers/dns1, or --all-services for dns1 of \
             resolvers, zones",
        ),
        (
            &["x"],
            "there are several services, and none has a backend x: say SERVICE/BACKEND",
        ),
        (&[], "no backend is named: name one, such as resolvers/dns1"),
    ] {
        assert_eq!(refused(&change(backends, Action::Drain)), expected);
    }
    let names: Vec<String> = (0..100).map(|i| format!("b{i}")).collect();
    let names: Vec<(&str, u16)> = names.iter().map(|name| (name.as_str(), 1)).collect();
    let large = config(&[("s", &names)]);
    let missing = change(&["s/zzz"], Action::Drain);
    let refusal = on(&Ledger::default(), &large, &missing).unwrap_err();
    assert!(
        refusal.to_string().ends_with("b19 and 88 more"),
        "{refusal}"
    );
}

#[test]
fn no_service_is_left_without_a_backend_unless_forced() {
    let expected = "would be left without a backend that takes queries; with --force it is done \
                    all the same";
    for (backends, action, services) in [
        (&["zones/dns1"][..], Action::Drain, "zones"),
        (&["zones/dns1"], Action::Disable, "zones"),
        (&["zones/dns1"], weight(0), "zones"),
        (
            &["*/dns1", "resolvers/dns2"],
            Action::Drain,
            "resolvers, zones",
        ),
    ] {
        let mut change = change(backends, action);
        assert_eq!(refused(&change), format!("{services} {expected}"));
        change.force = true;
        applied(&Ledger::default(), &change);
    }

    // What counts is who could serve: one that is down is no reason to keep the other.
    let at = Timestamp::now();
    let drain = change(&["resolvers/dns1"], Action::Drain);
    let only = |usable: &'static str| {
        apply(
            &Ledger::default(),
            &two_services(),
            |_, backend| backend == usable,
            &drain,
            "",
            at,
        )
    };
    only("dns1").unwrap_err();
    only("dns2").unwrap();
    // Where none serves already there is none to lose.
    only("").unwrap();

    // A weight that is set keeps a service alive that the configuration would not.
    let spare = config(&[("s", &[("a", 0)])]);
    let (ledger, _) = on(&Ledger::default(), &spare, &change(&["s/a"], weight(1))).unwrap();
    on(&ledger, &spare, &change(&["s/a"], Action::ResetWeight)).unwrap_err();
}

#[test]
fn json_is_strict() {
    let written = json!({
        "backends": [{"service": "s", "backend": "b"}],
        "action": {"set_weight": 5},
        "reason": "disk",
        "force": true,
    });
    let mut expected = change(&["s/b"], weight(5));
    expected.reason = Some("disk".parse().unwrap());
    expected.force = true;
    let read: Change = serde_json::from_value(written.clone()).unwrap();
    assert_eq!(read, expected);
    assert_eq!(serde_json::to_value(&expected).unwrap(), written);
    assert_eq!(
        expected.to_string(),
        "weight 5 s/b, reason \"disk\", forced"
    );

    let short = json!({"backends": [{"backend": "b"}], "action": "reset_weight"});
    let read: Change = serde_json::from_value(short).unwrap();
    assert_eq!(read, change(&["b"], Action::ResetWeight));

    for (key, value) in [
        ("action", json!("explode")),
        ("action", json!({"set_weight": 1_001})),
        ("reason", json!("a\nb")),
        ("force", json!(1)),
        ("later", json!(1)),
        ("backends", json!([{"backend": ""}])),
    ] {
        let mut bad = written.clone();
        bad[key] = value;
        serde_json::from_value::<Change>(bad).unwrap_err();
    }
}

fn any_action() -> impl Strategy<Value = Action> {
    prop_oneof![
        Just(Action::Enable),
        Just(Action::Drain),
        Just(Action::Disable),
        Just(Action::ResetWeight),
        (0..=1_000_u16).prop_map(weight),
    ]
}

fn any_selection() -> impl Strategy<Value = Selection> {
    ("[st]|resolvers", "[abcd]", 0..8).prop_map(|(service, backend, kind)| match kind {
        0 => Selection::AllServices { backend },
        1 => Selection::OnlyService { backend },
        _ => Selection::Backend { service, backend },
    })
}

fn any_change() -> impl Strategy<Value = Change> {
    let selection = prop::collection::vec(any_selection(), 0..4);
    let reason = prop::option::of("[a-c]{1,2}".prop_map(|text| text.parse().unwrap()));
    (selection, any_action(), reason, any::<bool>()).prop_map(
        |(selection, action, reason, force)| Change {
            selection,
            action,
            reason,
            force,
        },
    )
}

proptest! {
    /// A run of changes: each is made for all that it names, or for none.
    #[test]
    fn a_change_is_made_whole_or_not_at_all(
        changes in prop::collection::vec(any_change(), 1..12),
        usable in prop::collection::btree_set(("[st]", "[abc]"), 0..6),
    ) {
        let config = config(&[
            ("s", &[("a", 1), ("b", 0), ("c", 10)]),
            ("t", &[("a", 1), ("c", 1_000)]),
        ]);
        let usable = |service: &str, backend: &str| {
            usable.contains(&(service.to_owned(), backend.to_owned()))
        };
        let mut ledger = Ledger::default();
        for (number, change) in changes.iter().enumerate() {
            let by = format!("uid {number}");
            let Ok((next, changed)) =
                apply(&ledger, &config, usable, change, &by, Timestamp::now())
            else {
                continue;
            };
            let mut named = BTreeSet::new();
            for one in &changed {
                prop_assert!(named.insert((one.service.as_str(), one.backend.as_str())));
                let entry = next.get(&one.service, &one.backend);
                match change.action {
                    Action::Enable => prop_assert_eq!(one.admin, Admin::Enabled),
                    Action::Drain => prop_assert_eq!(one.admin, Admin::Draining),
                    Action::Disable => prop_assert_eq!(one.admin, Admin::Disabled),
                    Action::SetWeight(weight) => prop_assert_eq!(one.weight, weight.get()),
                    Action::ResetWeight => prop_assert_eq!(one.weight, one.configured_weight),
                }
                prop_assert_eq!(one.admin, next.admin(&one.service, &one.backend));
                prop_assert_eq!(one.changed, entry != ledger.get(&one.service, &one.backend));
            }
            // Who is not named is not touched.
            for (service, backend, entry) in ledger.iter().chain(next.iter()) {
                if !named.contains(&(service, backend)) {
                    prop_assert_eq!(Some(entry), ledger.get(service, backend));
                    prop_assert_eq!(Some(entry), next.get(service, backend));
                }
            }
            if !change.force {
                for service in &config.services {
                    prop_assert!(
                        !serves(&ledger, service, usable) || serves(&next, service, usable)
                    );
                }
            }
            ledger = next;
        }
    }
}
