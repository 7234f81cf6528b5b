//! Why a change is not made, and what would be.

use std::fmt;

/// Why a change is not made. Displays as one line that says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No backend is named.
    #[error("no backend is named: name one, such as resolvers/dns1")]
    NothingSelected,
    /// There is no such service.
    #[error("there is no service {service}; {known}")]
    NoSuchService {
        /// What was asked for.
        service: String,
        /// What there is.
        known: Names,
    },
    /// There is no such backend in the service, or in any.
    #[error("there is no backend {backend}{}; {known}", within(service.as_deref()))]
    NoSuchBackend {
        /// The service that was named.
        service: Option<String>,
        /// What was asked for.
        backend: String,
        /// What there is.
        known: Names,
    },
    /// A backend is named without its service, and there are several services.
    #[error("{}", which(backend, services))]
    WhichService {
        /// The backend.
        backend: String,
        /// Services that have a backend of this name.
        services: Vec<String>,
    },
    /// Services would have no backend left that takes queries, and have one now.
    #[error(
        "{} would be left without a backend that takes queries; with --force it is done all the same",
        listed(services)
    )]
    WouldLeaveNone {
        /// The services.
        services: Vec<String>,
    },
}

fn within(service: Option<&str>) -> String {
    match service {
        Some(service) => format!(" in service {service}"),
        None => " in any service".to_owned(),
    }
}

fn which(backend: &str, services: &[String]) -> String {
    match services.first() {
        Some(service) => format!(
            "there are several services: say {service}/{backend}, or --all-services for {backend} \
             of {}",
            listed(services)
        ),
        None => format!(
            "there are several services, and none has a backend {backend}: say SERVICE/BACKEND"
        ),
    }
}

/// The names that there are, and those of them that may have been meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// Those that are near to what was asked for, the nearest first; at most three.
    pub near: Vec<String>,
    /// All, each once, in order. Only a few are displayed.
    pub known: Vec<String>,
}

impl Names {
    /// Most names that are said to be near.
    const NEAR: usize = 3;

    /// The names, and which of them are near to `asked`.
    pub(super) fn near<'n>(asked: &str, names: impl Iterator<Item = &'n String>) -> Self {
        let mut known: Vec<String> = names.cloned().collect();
        known.sort_unstable();
        known.dedup();
        let asked = asked.to_ascii_lowercase();
        let distance = |name: &str| {
            let most = 1 + name.len() / 5;
            // The distance costs the product of the lengths.
            if name.len().abs_diff(asked.len()) > most {
                return None;
            }
            let distance = strsim::damerau_levenshtein(&asked, &name.to_ascii_lowercase());
            (distance <= most).then_some(distance)
        };
        let mut near: Vec<(usize, &String)> = known
            .iter()
            .filter_map(|name| Some((distance(name)?, name)))
            .collect();
        near.sort_unstable();
        near.truncate(Self::NEAR);
        Self {
            near: near.into_iter().map(|(_, name)| name.clone()).collect(),
            known,
        }
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.near.is_empty() {
            write!(f, "perhaps {} is meant; ", self.near.join(" or "))?;
        }
        write!(f, "there are: {}", listed(&self.known))
    }
}

/// The first names of a list, and how many more there are.
fn listed(names: &[String]) -> String {
    const SHOWN: usize = 12;
    let mut text = names[..names.len().min(SHOWN)].join(", ");
    if let Some(more @ 1..) = names.len().checked_sub(SHOWN) {
        text.push_str(&format!(" and {more} more"));
    }
    text
}
