//! Whether this balancer is of use to clients, for who decides where they are sent: `/readyz`.

use std::fmt;

use super::status::{Service, Status};
use crate::health::Health;

/// A reason not to send clients here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unready {
    /// No packet meets the program.
    NotAttached,
    /// Packets meet tables that say nothing.
    NoTables,
    /// No service has a backend that takes queries and is not down.
    NoBackend {
        /// Each by name.
        services: Vec<String>,
    },
}

impl Unready {
    /// All that there are; none: ready.
    pub(super) fn reasons(status: &Status) -> Vec<Self> {
        let mut reasons = Vec::new();
        if status.dataplane.interfaces.is_empty() {
            reasons.push(Self::NotAttached);
        }
        if status.generation == 0 {
            reasons.push(Self::NoTables);
        }
        if !status.services.iter().any(is_served) {
            let names = status.services.iter().map(|service| service.name.clone());
            let services = names.collect();
            reasons.push(Self::NoBackend { services });
        }
        reasons
    }
}

/// A service that steers to backends which are all down has failed open: that is hope, not health.
fn is_served(service: &Service) -> bool {
    let mut backends = service.backends.iter();
    backends.any(|backend| backend.share > 0.0 && backend.health != Health::Down)
}

impl fmt::Display for Unready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAttached => f.write_str("the program is not attached to any interface"),
            Self::NoTables => f.write_str("no steering table has been written yet"),
            Self::NoBackend { services } => {
                write!(
                    f,
                    "no service has a usable backend: {}",
                    services.join(", ")
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::status::Backend;

    fn backends(change: impl Fn(&mut Backend)) -> Status {
        let mut status = Status::sample();
        let services = status.services.iter_mut();
        services
            .flat_map(|service| &mut service.backends)
            .for_each(change);
        status
    }

    #[test]
    fn one_backend_that_takes_queries_and_is_not_down_is_enough() {
        assert_eq!(Unready::reasons(&Status::sample()), []);
        let at_start = backends(|backend| backend.health = Health::Unknown);
        assert_eq!(Unready::reasons(&at_start), []);

        let no_backend = [Unready::NoBackend {
            services: vec!["resolvers".to_owned()],
        }];
        let failed_open = backends(|backend| {
            backend.health = Health::Down;
            backend.share = 0.5;
        });
        assert_eq!(Unready::reasons(&failed_open), no_backend);
        let drained = backends(|backend| {
            backend.health = Health::Up;
            backend.share = 0.0;
        });
        assert_eq!(Unready::reasons(&drained), no_backend);
    }

    #[test]
    fn every_reason_is_said() {
        let mut status = backends(|backend| backend.share = 0.0);
        status.dataplane.interfaces.clear();
        status.generation = 0;
        let said: Vec<_> = Unready::reasons(&status)
            .iter()
            .map(ToString::to_string)
            .collect();
        let expected = [
            "the program is not attached to any interface",
            "no steering table has been written yet",
            "no service has a usable backend: resolvers",
        ];
        assert_eq!(said, expected);
    }
}
