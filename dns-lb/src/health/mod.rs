//! Whether a backend answers as a DNS server should.
//!
//! Knows probes and thresholds. Knows no maps, no tables and no HTTP.

mod checker;
mod descriptors;
pub mod link;
mod probe;
mod side_checks;
mod slow_start;
mod state;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use checker::{BackendKey, Checker, Checkers, LATE, Report};
pub use descriptors::raise_limit;
pub use probe::{
    Answer, Ending, Expected, Extra, Ignored, LinkReach, Operation, Outcome, OwnFault, Prober,
    Reach, Reply, Shortfall, Target, Unreachable, judge,
};
pub use slow_start::Warmth;
pub use state::{State, Transition};

/// What the probes say of a backend. What the operator wants of it is another matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Health {
    /// No verdict yet.
    #[default]
    Unknown,
    /// Answers.
    Up,
    /// Does not answer, or not as it should.
    Down,
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        })
    }
}

#[cfg(test)]
mod testing {
    //! What the tests of this module share.

    use crate::config::{Config, HealthCheck};

    /// What the configuration defaults to.
    pub(super) fn check() -> HealthCheck {
        check_with("")
    }

    /// The same with settings of `[service.health]`.
    pub(super) fn check_with(settings: &str) -> HealthCheck {
        let text = format!(
            "interfaces = [\"eth0\"]\n[[service]]\nname = \"s\"\nvips = [\"192.0.2.1\"]\n\
             [service.health]\n{settings}\n\
             [[service.backend]]\nname = \"b\"\naddress = \"192.0.2.2\"\n"
        );
        let mut config = Config::parse(&text).expect("a configuration");
        config.services.remove(0).health
    }
}
