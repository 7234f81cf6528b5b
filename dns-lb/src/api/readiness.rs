//! Whether this balancer is of use to clients, for who decides where they are sent: `/readyz`.

use std::fmt;

use super::status::{Service, Status};

/// A reason not to send clients here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unready {
    /// No packet meets the program on this interface; without a name: on none at all.
    NotAttached {
        /// Its name.
        interface: Option<String>,
    },
    /// Packets meet tables that say nothing.
    NoTables,
    /// None of the services has as many usable backends as it has to have.
    NoQuorum {
        /// Each by name, with how many it has, and how many it has to have.
        services: Vec<(String, u32, u32)>,
    },
}

impl Unready {
    /// All that there are, against any of the services being asked for; none: ready.
    pub(super) fn reasons(status: &Status) -> Vec<Self> {
        Self::of(status, &status.services.iter().collect::<Vec<_>>())
    }

    /// The same for one service; `None` if there is none of this name.
    pub(super) fn reasons_of(status: &Status, service: &str) -> Option<Vec<Self>> {
        let service = status.services.iter().find(|each| each.name == service)?;
        Some(Self::of(status, &[service]))
    }

    fn of(status: &Status, services: &[&Service]) -> Vec<Self> {
        let mut reasons = Vec::new();
        let interfaces = &status.dataplane.interfaces;
        if interfaces.is_empty() {
            reasons.push(Self::NotAttached { interface: None });
        }
        for interface in interfaces.iter().filter(|interface| !interface.attached) {
            let interface = Some(interface.name.clone());
            reasons.push(Self::NotAttached { interface });
        }
        if status.generation == 0 {
            reasons.push(Self::NoTables);
        }
        if !services.iter().any(|service| service.has_quorum()) {
            let services = services.iter();
            let services = services
                .map(|service| (service.name.clone(), service.usable, service.quorum))
                .collect();
            reasons.push(Self::NoQuorum { services });
        }
        reasons
    }
}

impl Service {
    /// Whether it has as many usable backends as it has to have.
    #[must_use]
    pub fn has_quorum(&self) -> bool {
        self.usable >= self.quorum
    }
}

impl fmt::Display for Unready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAttached { interface: None } => {
                f.write_str("the program is not attached to any interface")
            }
            Self::NotAttached {
                interface: Some(name),
            } => write!(f, "the program has been detached from {name}"),
            Self::NoTables => f.write_str("no steering table has been written yet"),
            Self::NoQuorum { services } => {
                f.write_str("too few usable backends:")?;
                for (place, (name, usable, quorum)) in services.iter().enumerate() {
                    let comma = if place == 0 { "" } else { "," };
                    write!(f, "{comma} {name} has {usable} of at least {quorum}")?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(usable: u32, quorum: u32) -> Status {
        let mut status = Status::sample();
        status.services[0].usable = usable;
        status.services[0].quorum = quorum;
        status
    }

    #[test]
    fn one_service_with_its_quorum_is_enough() {
        assert_eq!(Unready::reasons(&with(2, 2)), []);
        let too_few = [Unready::NoQuorum {
            services: vec![("resolvers".to_owned(), 1, 2)],
        }];
        assert_eq!(Unready::reasons(&with(1, 2)), too_few);

        let mut two = with(1, 2);
        let other = Service {
            name: "zones".to_owned(),
            ..with(3, 1).services[0].clone()
        };
        two.services.push(other);
        assert_eq!(Unready::reasons(&two), []);
        assert_eq!(Unready::reasons_of(&two, "zones"), Some(vec![]));
        assert_eq!(Unready::reasons_of(&two, "resolvers"), Some(too_few.into()));
        assert_eq!(Unready::reasons_of(&two, "nobody"), None);
    }

    #[test]
    fn every_reason_is_said() {
        let mut status = with(0, 1);
        status.dataplane.interfaces[0].attached = false;
        status.generation = 0;
        let said = |status: &Status| -> Vec<_> {
            let reasons = Unready::reasons(status);
            reasons.iter().map(ToString::to_string).collect()
        };
        let expected = [
            "the program has been detached from eth0",
            "no steering table has been written yet",
            "too few usable backends: resolvers has 0 of at least 1",
        ];
        assert_eq!(said(&status), expected);
        status.dataplane.interfaces.clear();
        let nowhere = "the program is not attached to any interface";
        assert_eq!(said(&status)[0], nowhere);
    }
}
