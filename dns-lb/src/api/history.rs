//! The history documents: what has been lately, as `/history` and `/history/SERVICE/BACKEND` give it.
//!
//! For who draws. They hold what the status document would grow too large by.
//! Fields are added, never renamed, and their meaning stays.

use serde::{Deserialize, Serialize};

use super::status::LastProbe;

/// Rates of everything.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// Seconds from one rate to the next, and over which each is the mean.
    pub step_s: u32,
    /// In the order of the configuration.
    pub services: Vec<ServiceRates>,
}

/// Rates of a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceRates {
    /// As configured.
    pub name: String,
    /// Packets a second for the service, however they ended; the oldest first, a minute at most.
    pub packets_per_second: Vec<f64>,
    /// In the order of the configuration.
    pub backends: Vec<BackendRates>,
}

/// Rates of a backend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackendRates {
    /// As configured.
    pub name: String,
    /// Packets a second steered to it; the oldest first, a minute at most.
    pub packets_per_second: Vec<f64>,
}

/// What has been of one backend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackendHistory {
    /// Its service.
    pub service: String,
    /// As configured.
    pub backend: String,
    /// Packets a second steered to it; the oldest first, a minute at most.
    pub packets_per_second: Vec<f64>,
    /// Its last probes, the newest first, 64 at most.
    pub probes: Vec<LastProbe>,
}

#[cfg(test)]
impl History {
    /// A document that fits the sample of the status.
    pub(crate) fn sample() -> Self {
        let backend = |name: &str, rates: &[f64]| BackendRates {
            name: name.to_owned(),
            packets_per_second: rates.to_vec(),
        };
        Self {
            step_s: 1,
            services: vec![ServiceRates {
                name: "resolvers".to_owned(),
                packets_per_second: vec![1_900.0, 2_000.5],
                backends: vec![
                    backend("dns1", &[1_000.0, 2_000.5]),
                    backend("dns2", &[900.0, 0.0]),
                ],
            }],
        }
    }
}
