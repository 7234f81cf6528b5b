//! The bodies of the admin socket's requests, one a line. The first octet says which backends could
//! serve, a bit each.

use std::collections::BTreeSet;

use dns_lb::{
    admin::{Action, Admin, Change, Changed, Ledger, Refusal, apply},
    api::{Timestamp, admin::Reload},
};

use super::two_services::CONFIG;

const BY: &str = "uid 1000 (alice), pid 42";

/// Asserts what must hold; true: a change was made.
pub(crate) fn holds(octets: &[u8]) -> bool {
    let Some((&usable, bodies)) = octets.split_first() else {
        return false;
    };
    let mut ledger = Ledger::default();
    for body in bodies.split(|&octet| octet == b'\n') {
        if let Ok(reload) = serde_json::from_slice::<Reload>(body) {
            let written = serde_json::to_vec(&reload).expect("JSON");
            let read: Reload = serde_json::from_slice(&written).expect("what we wrote");
            assert_eq!(read, reload);
        }
        if let Ok(change) = serde_json::from_slice::<Change>(body) {
            let written = serde_json::to_vec(&change).expect("JSON");
            let read: Change = serde_json::from_slice(&written).expect("what we wrote");
            assert_eq!(read, change);
            let logged = change.to_string();
            assert!(!logged.contains(char::is_control), "{logged:?}");
            ledger = change_holds(ledger, usable, &change);
        }
    }
    !ledger.is_empty()
}

/// What follows from a change; the ledger as it was if there is nothing.
fn change_holds(ledger: Ledger, usable: u8, change: &Change) -> Ledger {
    let decide = |ledger: &Ledger, change: &Change| {
        let at: Timestamp = "2026-01-31T12:00:00.250Z".parse().expect("a time");
        let usable = |service: &str, backend: &str| is_usable(usable, service, backend);
        apply(ledger, &CONFIG, usable, change, BY, at)
    };
    let forced = Change {
        force: true,
        ..change.clone()
    };
    let (next, changed) = match decide(&ledger, change) {
        Ok(decided) => decided,
        Err(refusal) => {
            let shown = refusal.to_string();
            assert!(!shown.contains(char::is_control), "{shown:?}");
            let by_force = decide(&ledger, &forced);
            if matches!(refusal, Refusal::WouldLeaveNone { .. }) {
                assert!(!change.force && by_force.is_ok());
            } else {
                assert_eq!(by_force, Err(refusal));
            }
            return ledger;
        }
    };
    assert!(!changed.is_empty());
    let mut touched = BTreeSet::new();
    for changed in &changed {
        is_as_asked(&next, change.action, changed);
        let names = (changed.service.as_str(), changed.backend.as_str());
        assert!(touched.insert(names), "each once");
    }
    for (service, backend) in configured() {
        if !touched.contains(&(service, backend)) {
            assert_eq!(next.get(service, backend), ledger.get(service, backend));
        }
    }
    for (service, backend, _) in next.iter() {
        assert!(configured().any(|known| known == (service, backend)));
    }
    for service in &CONFIG.services {
        let serves = |ledger: &Ledger| {
            service.backends.iter().any(|backend| {
                let (service, name) = (service.name.as_str(), backend.name.as_str());
                ledger.admin(service, name) == Admin::Enabled
                    && ledger.weight(service, name, backend.weight) > 0
                    && is_usable(usable, service, name)
            })
        };
        assert!(change.force || !serves(&ledger) || serves(&next));
    }
    let (same, again) = decide(&next, change).expect("what was possible once");
    assert_eq!(same, next);
    assert!(again.iter().all(|changed| !changed.changed));

    let kept = next.to_json().expect("JSON");
    assert_eq!(Ledger::from_json(&kept).as_ref(), Ok(&next));
    next
}

fn is_as_asked(next: &Ledger, action: Action, changed: &Changed) {
    let Changed {
        service,
        backend,
        admin,
        weight,
        configured_weight,
        ..
    } = changed;
    assert_eq!(next.admin(service, backend), *admin);
    assert_eq!(next.weight(service, backend, *configured_weight), *weight);
    match action {
        Action::Enable => assert_eq!(*admin, Admin::Enabled),
        Action::Drain => assert_eq!(*admin, Admin::Draining),
        Action::Disable => assert_eq!(*admin, Admin::Disabled),
        Action::SetWeight(wanted) => assert_eq!(*weight, wanted.get()),
        Action::ResetWeight => assert_eq!(weight, configured_weight),
    }
}

fn configured() -> impl Iterator<Item = (&'static str, &'static str)> {
    CONFIG.services.iter().flat_map(|service| {
        let backends = service.backends.iter();
        backends.map(|backend| (service.name.as_str(), backend.name.as_str()))
    })
}

fn is_usable(usable: u8, service: &str, backend: &str) -> bool {
    let place = configured().position(|known| known == (service, backend));
    place.is_some_and(|place| usable >> place & 1 == 1)
}
