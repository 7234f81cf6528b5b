//! The octets of a state file.

use dns_lb::{admin::Ledger, config::MAX_BACKENDS};

/// Asserts what must hold; true: it says a ledger.
pub(crate) fn holds(octets: &[u8]) -> bool {
    match Ledger::from_json(octets) {
        Ok(ledger) => {
            assert!(ledger.len() <= MAX_BACKENDS);
            for (service, backend, entry) in ledger.iter() {
                for words in [service, backend, &entry.by] {
                    assert!(!words.contains(char::is_control), "{words:?}");
                }
            }
            let kept = ledger.to_json().expect("JSON");
            assert_eq!(Ledger::from_json(&kept), Ok(ledger));
            true
        }
        Err(fault) => {
            let shown = fault.to_string();
            assert!(!shown.contains(char::is_control), "{shown:?}");
            assert!(shown.chars().count() <= 200, "{shown:?}");
            false
        }
    }
}
