//! How a change names backends, on the command line and in JSON.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Backends that a change is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "Written", try_from = "Written")]
pub enum Selection {
    /// A backend of a service: `resolvers/dns1`.
    Backend {
        /// The service.
        service: String,
        /// The backend.
        backend: String,
    },
    /// The backends of this name in all services.
    AllServices {
        /// The backend.
        backend: String,
    },
    /// The backend of this name; refused unless there is only one service.
    OnlyService {
        /// The backend.
        backend: String,
    },
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Backend { service, backend } => write!(f, "{service}/{backend}"),
            Self::AllServices { backend } => write!(f, "{backend} of all services"),
            Self::OnlyService { backend } => f.write_str(backend),
        }
    }
}

/// A selection as JSON writes it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    backend: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    all_services: bool,
}

impl From<Selection> for Written {
    fn from(selection: Selection) -> Self {
        let all_services = matches!(selection, Selection::AllServices { .. });
        let (service, backend) = match selection {
            Selection::Backend { service, backend } => (Some(service), backend),
            Selection::AllServices { backend } | Selection::OnlyService { backend } => {
                (None, backend)
            }
        };
        Self {
            service,
            backend,
            all_services,
        }
    }
}

impl TryFrom<Written> for Selection {
    type Error = InvalidSelection;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let Written {
            service,
            backend,
            all_services,
        } = written;
        check_name(&backend)?;
        match service {
            Some(_) if all_services => Err(InvalidSelection::Both),
            Some(service) => {
                check_name(&service)?;
                Ok(Self::Backend { service, backend })
            }
            None if all_services => Ok(Self::AllServices { backend }),
            None => Ok(Self::OnlyService { backend }),
        }
    }
}

/// `SERVICE/BACKEND`, or a backend alone.
impl FromStr for Selection {
    type Err = InvalidSelection;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (service, backend) = match text.split_once('/') {
            Some((service, backend)) => (Some(service.to_owned()), backend.to_owned()),
            None => (None, text.to_owned()),
        };
        Self::try_from(Written {
            service,
            backend,
            all_services: false,
        })
    }
}

/// Why something names no backend, whatever the configuration says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSelection {
    /// No configuration can have a service or a backend of this name.
    #[error("a name has 1 to 63 letters, digits, '.', '_' and '-', such as resolvers/dns1")]
    Name,
    /// One service and all of them.
    #[error("either a service or all services, not both")]
    Both,
}

/// By the rules of the configuration.
fn check_name(name: &str) -> Result<(), InvalidSelection> {
    let good = |octet: u8| octet.is_ascii_alphanumeric() || b"._-".contains(&octet);
    if (1..=63).contains(&name.len()) && name.bytes().all(good) {
        Ok(())
    } else {
        Err(InvalidSelection::Name)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn backend(service: &str, backend: &str) -> Selection {
        Selection::Backend {
            service: service.to_owned(),
            backend: backend.to_owned(),
        }
    }

    #[test]
    fn is_a_service_and_a_backend_or_a_backend_alone() {
        assert_eq!("s/b-1".parse(), Ok(backend("s", "b-1")));
        let alone = Selection::OnlyService {
            backend: "dns1".to_owned(),
        };
        assert_eq!("dns1".parse(), Ok(alone));
        let long = "x".repeat(64);
        for bad in ["", "/", "s/", "/b", "a/b/c", "a b", "ä", "b\n", &long] {
            let found = bad.parse::<Selection>();
            assert_eq!(found, Err(InvalidSelection::Name), "{bad:?}");
        }
    }

    #[test]
    fn json_says_which_services() {
        let all = Selection::AllServices {
            backend: "b".to_owned(),
        };
        let only = Selection::OnlyService {
            backend: "b".to_owned(),
        };
        for (selection, written) in [
            (backend("s", "b"), json!({"service": "s", "backend": "b"})),
            (all, json!({"backend": "b", "all_services": true})),
            (only, json!({"backend": "b"})),
        ] {
            assert_eq!(serde_json::to_value(&selection).unwrap(), written);
            let read: Selection = serde_json::from_value(written).unwrap();
            assert_eq!(read, selection);
        }
        for bad in [
            json!({"service": "s", "backend": "b", "all_services": true}),
            json!({"service": "s"}),
            json!({"backend": "b\n"}),
            json!({"backend": "b", "servise": "s"}),
            json!("s/b"),
        ] {
            serde_json::from_value::<Selection>(bad).unwrap_err();
        }
    }
}
