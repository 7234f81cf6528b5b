//! What an operator asks for, and what becomes of it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
};

use serde::{Deserialize, Serialize};

use super::{Admin, Entry, Ledger, Reason, Refusal, Selection, Weight, refusal::Names};
use crate::{
    api::Timestamp,
    config::{Backend, Config, Service},
};

/// What an operator asks for: one thing for a number of backends, all of them or none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// On which backends.
    #[serde(rename = "backends")]
    pub selection: Vec<Selection>,
    /// What.
    pub action: Action,
    /// Why; kept with what is set, and shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Even if a service is left without a backend that takes queries.
    #[serde(default)]
    pub force: bool,
}

/// What is done to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Let it have queries again.
    Enable,
    /// Send it no new queries; what is established stays.
    Drain,
    /// Send it nothing.
    Disable,
    /// Use this weight instead of the configured one.
    SetWeight(Weight),
    /// Use the configured weight again.
    ResetWeight,
}

/// What holds for a backend after a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// The service.
    pub service: String,
    /// The backend.
    pub backend: String,
    /// Whether it may have queries.
    pub admin: Admin,
    /// The weight that holds.
    pub weight: u16,
    /// The weight that the configuration states.
    pub configured_weight: u16,
    /// Whether anything, be it the reason, is other than before.
    pub changed: bool,
}

/// Decides on a change: gives the ledger that follows, and what holds then for each backend that was
/// named, each once. `usable` says whether a backend could serve if it were let: whether it is found
/// and not down.
///
/// # Errors
/// A backend that is not there or not clear, or a service that would be left without a backend that
/// takes queries although it has one now, unless the change is forced. Nothing is changed then.
pub fn apply(
    ledger: &Ledger,
    config: &Config,
    usable: impl Fn(&str, &str) -> bool,
    change: &Change,
    by: &str,
    at: Timestamp,
) -> Result<(Ledger, Vec<Changed>), Refusal> {
    let selected = select(config, &change.selection)?;
    let mut next = ledger.clone();
    let mut changed = Vec::with_capacity(selected.len());
    let mut touched: BTreeMap<&str, &Service> = BTreeMap::new();
    for (service, backend) in selected {
        touched.insert(&service.name, service);
        let is_new = set(&mut next, service, backend, change, by, at);
        changed.push(Changed {
            service: service.name.clone(),
            backend: backend.name.clone(),
            admin: next.admin(&service.name, &backend.name),
            weight: next.weight(&service.name, &backend.name, backend.weight),
            configured_weight: backend.weight,
            changed: is_new,
        });
    }
    if !change.force {
        let left: Vec<String> = touched
            .values()
            .filter(|service| serves(ledger, service, &usable) && !serves(&next, service, &usable))
            .map(|service| service.name.clone())
            .collect();
        if !left.is_empty() {
            return Err(Refusal::WouldLeaveNone { services: left });
        }
    }
    Ok((next, changed))
}

/// The backends that are meant, each once, in the order in which they were named.
fn select<'c>(
    config: &'c Config,
    selection: &[Selection],
) -> Result<Vec<(&'c Service, &'c Backend)>, Refusal> {
    if selection.is_empty() {
        return Err(Refusal::NothingSelected);
    }
    let mut by_name: HashMap<&str, Vec<(&Service, &Backend)>> = HashMap::new();
    for service in &config.services {
        for backend in &service.backends {
            by_name
                .entry(&backend.name)
                .or_default()
                .push((service, backend));
        }
    }
    let all_names = || config.services.iter().flat_map(|service| &service.backends);
    let mut asked = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let mut selected = Vec::new();
    for selection in selection {
        // What is asked for a thousand times costs no more than once.
        if !asked.insert(selection) {
            continue;
        }
        let found = match selection {
            Selection::Backend { service, backend } => {
                let known = config.services.iter().find(|known| known.name == *service);
                let known = known.ok_or_else(|| Refusal::NoSuchService {
                    service: service.clone(),
                    known: Names::near(service, config.services.iter().map(|s| &s.name)),
                })?;
                let mut backends = known.backends.iter();
                let found = backends.find(|known| known.name == *backend);
                found
                    .map(|found| vec![(known, found)])
                    .ok_or_else(|| Refusal::NoSuchBackend {
                        service: Some(service.clone()),
                        backend: backend.clone(),
                        known: Names::near(backend, known.backends.iter().map(|b| &b.name)),
                    })?
            }
            Selection::OnlyService { backend } if config.services.len() != 1 => {
                let services = by_name.get(backend.as_str()).into_iter().flatten();
                return Err(Refusal::WhichService {
                    backend: backend.clone(),
                    services: services.map(|(service, _)| service.name.clone()).collect(),
                });
            }
            Selection::AllServices { backend } | Selection::OnlyService { backend } => {
                let found = by_name.get(backend.as_str()).cloned();
                found.ok_or_else(|| Refusal::NoSuchBackend {
                    service: None,
                    backend: backend.clone(),
                    known: Names::near(backend, all_names().map(|b| &b.name)),
                })?
            }
        };
        for (service, backend) in found {
            if seen.insert((&service.name, &backend.name)) {
                selected.push((service, backend));
            }
        }
    }
    Ok(selected)
}

/// Sets on one backend what the change asks for. True: something is other than before.
fn set(
    ledger: &mut Ledger,
    service: &Service,
    backend: &Backend,
    change: &Change,
    by: &str,
    at: Timestamp,
) -> bool {
    let before = ledger.get(&service.name, &backend.name);
    let (old_admin, old_weight) =
        before.map_or((Admin::Enabled, None), |entry| (entry.admin, entry.weight));
    let old_reason = before.and_then(|entry| entry.reason.as_ref());
    let (mut admin, mut weight) = (old_admin, old_weight);
    match change.action {
        Action::Enable => admin = Admin::Enabled,
        Action::Drain => admin = Admin::Draining,
        Action::Disable => admin = Admin::Disabled,
        Action::SetWeight(new) => weight = Some(new),
        Action::ResetWeight => weight = None,
    }
    // The reason is that of the last change. Asking again for what holds is none, but may give a
    // better reason for it; where nothing is set there is nothing to keep one for.
    let is_other = (admin, weight) != (old_admin, old_weight);
    let is_explained =
        before.is_some() && change.reason.is_some() && change.reason.as_ref() != old_reason;
    if !is_other && !is_explained {
        return false;
    }
    let entry = Entry {
        admin,
        weight,
        reason: change.reason.clone(),
        by: by.to_owned(),
        at,
    };
    ledger.set(&service.name, &backend.name, entry);
    true
}

/// Whether a service has a backend that takes queries.
fn serves(ledger: &Ledger, service: &Service, usable: impl Fn(&str, &str) -> bool) -> bool {
    service.backends.iter().any(|backend| {
        ledger.admin(&service.name, &backend.name) == Admin::Enabled
            && ledger.weight(&service.name, &backend.name, backend.weight) > 0
            && usable(&service.name, &backend.name)
    })
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Enable => f.write_str("enable"),
            Self::Drain => f.write_str("drain"),
            Self::Disable => f.write_str("disable"),
            Self::SetWeight(weight) => write!(f, "weight {weight}"),
            Self::ResetWeight => f.write_str("weight as configured"),
        }
    }
}

/// For the log: `drain resolvers/dns1, reason "disk", forced`.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// A change may name thousands.
        const SHOWN: usize = 8;
        write!(f, "{}", self.action)?;
        for selection in self.selection.iter().take(SHOWN) {
            write!(f, " {selection}")?;
        }
        if let Some(more @ 1..) = self.selection.len().checked_sub(SHOWN) {
            write!(f, " and {more} more")?;
        }
        if let Some(reason) = &self.reason {
            write!(f, ", reason \"{reason}\"")?;
        }
        if self.force {
            f.write_str(", forced")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
