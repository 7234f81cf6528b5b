//! Who has set what on which backend.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
};

use serde::{Deserialize, Serialize};

use super::{Reason, Weight};
use crate::{api::Timestamp, config::Config};

/// What operators have set. A backend on which nothing is set has no entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// By service, then by backend.
    services: BTreeMap<String, BTreeMap<String, Entry>>,
}

/// What is set on a backend, and how that came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Whether it may have queries.
    pub admin: Admin,
    /// Weight instead of the configured one; `None`: as configured.
    pub weight: Option<Weight>,
    /// Why the last change was made.
    pub reason: Option<Reason>,
    /// Who made the last change, such as `uid 1000 (alice), pid 42`.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// An entry that a ledger no longer has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// The service.
    pub service: String,
    /// The backend.
    pub backend: String,
    /// What was set on it.
    pub entry: Entry,
}

/// What the operator wants of a backend. What the probes say is another matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Admin {
    /// New queries, as long as it is not down.
    #[default]
    Enabled,
    /// No new queries; what is established stays.
    Draining,
    /// Nothing.
    Disabled,
}

impl fmt::Display for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Enabled => "enabled",
            Self::Draining => "draining",
            Self::Disabled => "disabled",
        })
    }
}

impl Entry {
    /// Whether it says nothing that would not hold without it.
    fn is_void(&self) -> bool {
        self.admin == Admin::Enabled && self.weight.is_none()
    }
}

impl Ledger {
    /// What is set on a backend.
    #[must_use]
    pub fn get(&self, service: &str, backend: &str) -> Option<&Entry> {
        self.services.get(service)?.get(backend)
    }

    /// Whether a backend may have queries.
    #[must_use]
    pub fn admin(&self, service: &str, backend: &str) -> Admin {
        self.get(service, backend)
            .map_or(Admin::Enabled, |entry| entry.admin)
    }

    /// The weight that holds for a backend: the one that is set, else the configured one.
    #[must_use]
    pub fn weight(&self, service: &str, backend: &str, configured: u16) -> u16 {
        self.get(service, backend)
            .and_then(|entry| entry.weight)
            .map_or(configured, Weight::get)
    }

    /// Every entry with its service and backend, in the order of names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, &Entry)> {
        self.services.iter().flat_map(|(service, backends)| {
            let service = service.as_str();
            backends
                .iter()
                .map(move |(backend, entry)| (service, backend.as_str(), entry))
        })
    }

    /// How many backends have something set on them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.services.values().map(BTreeMap::len).sum()
    }

    /// Whether nothing is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.services.is_empty()
    }

    /// Gives entries to the backends that go by other names now, by service and name. Who is not known
    /// keeps his.
    pub fn rename(&mut self, name: impl Fn(&str, &str) -> Option<(String, String)>) {
        let mut services: BTreeMap<String, BTreeMap<String, Entry>> = BTreeMap::new();
        for (service, backends) in std::mem::take(&mut self.services) {
            for (backend, entry) in backends {
                let known = name(&service, &backend);
                let (service, backend) = known.unwrap_or((service.clone(), backend));
                services.entry(service).or_default().insert(backend, entry);
            }
        }
        self.services = services;
    }

    /// Drops the entries of backends that are not in the configuration, and returns them.
    pub fn retain(&mut self, config: &Config) -> Vec<Removed> {
        let configured: HashMap<&str, HashSet<&str>> = config
            .services
            .iter()
            .map(|service| {
                let backends = service.backends.iter();
                let names = backends.map(|backend| backend.name.as_str()).collect();
                (service.name.as_str(), names)
            })
            .collect();
        let mut removed = Vec::new();
        for (service, backends) in &mut self.services {
            let known = configured.get(service.as_str());
            let gone = backends.extract_if(.., |backend, _| {
                known.is_none_or(|known| !known.contains(backend.as_str()))
            });
            removed.extend(gone.map(|(backend, entry)| Removed {
                service: service.clone(),
                backend,
                entry,
            }));
        }
        self.services.retain(|_, backends| !backends.is_empty());
        removed
    }

    /// Sets what holds for a backend; an entry that says nothing is dropped.
    pub(super) fn set(&mut self, service: &str, backend: &str, entry: Entry) {
        if !entry.is_void() {
            let backends = self.services.entry(service.to_owned()).or_default();
            backends.insert(backend.to_owned(), entry);
        } else if let Some(backends) = self.services.get_mut(service) {
            backends.remove(backend);
            if backends.is_empty() {
                self.services.remove(service);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(backends: &[&str]) -> Config {
        let backends: String = backends
            .iter()
            .enumerate()
            .map(|(i, name)| {
                format!(
                    "[[service.backend]]\nname = \"{name}\"\naddress = \"192.0.2.{}\"\n",
                    i + 10
                )
            })
            .collect();
        let text = format!(
            "interfaces = [\"eth0\"]\n[[service]]\nname = \"s\"\nvips = [\"192.0.2.1\"]\n{backends}"
        );
        Config::parse(&text).unwrap()
    }

    fn entry(admin: Admin, weight: Option<u16>) -> Entry {
        Entry {
            admin,
            weight: weight.map(|weight| weight.try_into().unwrap()),
            reason: None,
            by: "uid 0 (root)".to_owned(),
            at: Timestamp::now(),
        }
    }

    #[test]
    fn silence_is_enabled_at_the_configured_weight() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.admin("s", "a"), Admin::Enabled);
        assert_eq!(ledger.weight("s", "a", 7), 7);
        ledger.set("s", "a", entry(Admin::Draining, Some(0)));
        assert_eq!(ledger.admin("s", "a"), Admin::Draining);
        assert_eq!(ledger.weight("s", "a", 7), 0);
        assert_eq!(ledger.admin("t", "a"), Admin::Enabled);
        assert_eq!(ledger.len(), 1);
        ledger.set("s", "a", entry(Admin::Enabled, None));
        assert_eq!(ledger, Ledger::default());
        assert!(ledger.is_empty());
    }

    #[test]
    fn what_is_no_longer_configured_is_dropped_and_named() {
        let mut ledger = Ledger::default();
        for (service, backend) in [("s", "a"), ("s", "b"), ("gone", "a")] {
            ledger.set(service, backend, entry(Admin::Disabled, None));
        }
        let removed = ledger.retain(&config(&["a", "c"]));
        let removed: Vec<(&str, &str)> = removed
            .iter()
            .map(|removed| (removed.service.as_str(), removed.backend.as_str()))
            .collect();
        assert_eq!(removed, [("gone", "a"), ("s", "b")]);
        let left: Vec<(&str, &str)> = ledger.iter().map(|(s, b, _)| (s, b)).collect();
        assert_eq!(left, [("s", "a")]);
        assert_eq!(ledger.retain(&config(&["a"])), []);
    }
}
