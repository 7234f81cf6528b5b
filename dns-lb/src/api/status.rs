//! The status document: what `/status` and `dns-lb status --json` give, and `dns-lb status` reads.
//!
//! Others build on these names. Fields are added, never renamed, and their meaning stays.

use std::{collections::BTreeMap, net::IpAddr};

use dns_lb_common::{Ending, EndingCounters, QueryCounters, QueryType};
use serde::{Deserialize, Serialize};

use super::Timestamp;
pub(crate) use super::durations::micros;
pub use super::durations::{BOUNDS_US, Durations};
pub use crate::admin::Admin;
use crate::{
    config::{Policy, Protocol},
    datapath::AttachedMode,
    health::Health,
    mac::MacAddress,
};

/// The whole document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Status {
    /// Version of the agent.
    pub version: String,
    /// When the agent was started.
    pub started_at: Timestamp,
    /// How often the tables have been rewritten since the maps were made.
    pub generation: u64,
    /// The XDP program.
    pub dataplane: Dataplane,
    /// The writing of the tables.
    pub tables: Tables,
    /// In the order of the configuration.
    pub services: Vec<Service>,
    /// VIPs that routing daemons are told of now; none unless the configuration says where.
    #[serde(default)]
    pub announced: Vec<IpAddr>,
    /// The last changes of a backend's health since the agent started, the newest first, 100 at
    /// most.
    #[serde(default)]
    pub recent_transitions: Vec<Transition>,
}

/// The XDP program, where it runs and what it has counted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Dataplane {
    /// In the order of the configuration.
    pub interfaces: Vec<Interface>,
    /// Since the maps were made.
    pub counters: Counters,
}

/// The writing of what packets are steered by, since the agent started.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Tables {
    /// How long it took to build and write what had changed, until packets went by it.
    pub builds: Durations,
    /// The last of these in microseconds; null before the first.
    pub last_us: Option<u64>,
    /// How often it could not be done, so that packets were steered as before.
    pub failed: u64,
}

/// An interface that the program is attached to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// How the program is attached.
    pub mode: AttachedMode,
    /// Whether the program is still there: false after somebody has detached it.
    #[serde(default = "yes")]
    pub attached: bool,
    /// The kernel's id of the program, as `bpftool prog show id` takes it.
    pub program_id: u32,
    /// The kernel's id of the link, as `bpftool link show id` takes it.
    pub link_id: u32,
}

/// What holds in the documents of agents that do not say.
fn yes() -> bool {
    true
}

/// Packets by the way they ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Counters {
    /// All packets that the program has seen.
    pub total: Endings,
    /// Those of them that no service claims.
    pub no_service: Endings,
}

/// Packets by ending; every ending is there, under the name of its counter.
pub type Endings = BTreeMap<String, u64>;

/// The document's form of what the program counts.
#[must_use]
pub fn endings(counters: &EndingCounters) -> Endings {
    Ending::ALL
        .iter()
        .map(|&ending| (ending.name().to_owned(), counters.get(ending)))
        .collect()
}

/// A service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Service {
    /// As configured.
    pub name: String,
    /// Addresses that clients send to.
    pub vips: Vec<IpAddr>,
    /// Port that clients send to.
    pub port: u16,
    /// Transport protocols.
    pub protocols: Vec<Protocol>,
    /// How a packet's backend is chosen.
    pub policy: Policy,
    /// Packets for the service, however they ended.
    pub packets: u64,
    /// The same a second, over the last second; null while that is not known.
    #[serde(default)]
    pub packets_per_second: Option<f64>,
    /// Octets of the frames that were steered, Ethernet header included, without FCS.
    pub bytes: u64,
    /// Whether too few backends are up, so that probes are not believed and all that are enabled
    /// take queries.
    pub failed_open: bool,
    /// Backends that take queries and that, as far as can be told, answer them.
    #[serde(default)]
    pub usable: u32,
    /// So many of them make the service ready.
    #[serde(default)]
    pub quorum: u32,
    /// The packets by the way they ended.
    pub endings: Endings,
    /// TCP among the packets that were steered.
    pub tcp: Tcp,
    /// Queries over UDP by what they ask; null unless the service counts them.
    pub queries: Option<Queries>,
    /// In the order of the configuration.
    pub backends: Vec<Backend>,
}

/// TCP to a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Tcp {
    /// Segments that were steered.
    pub packets: u64,
    /// Those of them that open a connection, repetitions included.
    pub connections: u64,
}

/// Queries over UDP to a service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Queries {
    /// By the type that they ask for; every type that is counted is there, the rest as `other`.
    pub types: BTreeMap<String, u64>,
    /// Those that carry EDNS (RFC 6891).
    pub edns: u64,
}

/// The document's form of the queries that the program counts.
#[must_use]
pub fn queries(counters: &QueryCounters) -> Queries {
    let types = QueryType::ALL.iter();
    Queries {
        types: types
            .map(|&query_type| (query_type.name().to_owned(), counters.get(query_type)))
            .collect(),
        edns: counters.edns,
    }
}

/// A backend of a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Backend {
    /// As configured.
    pub name: String,
    /// Its own address.
    pub address: IpAddr,
    /// Whether it is on the balancer's own host.
    pub local: bool,
    /// Its MAC address; null while the neighbour is not resolved, when nothing can be sent to it,
    /// and for a backend on this host.
    pub mac: Option<MacAddress>,
    /// The interface that it is reached by; null while that is not known.
    pub interface: Option<String>,
    /// Why it cannot be found on the link now; null if it can. A MAC address beside it is the last
    /// that was known.
    pub unresolved: Option<String>,
    /// What the operator wants.
    pub admin: Admin,
    /// What the probes say.
    pub health: Health,
    /// What an operator has set on it and why; null if nothing.
    pub set_by: Option<SetBy>,
    /// The weight that holds.
    pub weight: u16,
    /// The weight that the configuration states.
    pub configured_weight: u16,
    /// Its part of the service's steering table, 0 to 1: the part of new queries that it gets.
    pub share: f64,
    /// Packets steered to it.
    pub packets: u64,
    /// The same a second, over the last second; null while that is not known.
    #[serde(default)]
    pub packets_per_second: Option<f64>,
    /// Octets of those frames, Ethernet header included, without FCS.
    pub bytes: u64,
    /// The newest probe that has ended; null before the first.
    pub last_probe: Option<LastProbe>,
    /// Since when `health` has been what it is.
    pub since: Timestamp,
    /// Why it is down; null if it is not, or has been since before the agent started.
    pub reason: Option<String>,
    /// How often `health` has changed since the agent has had this backend.
    pub transitions: Transitions,
    /// Why nothing can be found out about it from this host now, so that `health` stays as it is;
    /// null if it can.
    pub frozen: Option<String>,
    /// Passes in a row that bring it up: more than `rise` after it has flapped; null before the first
    /// probe.
    pub passes_to_rise: Option<u32>,
    /// What the server calls itself, by NSID or CHAOS; null if it is not asked or does not say.
    pub identity: Option<String>,
    /// Probes since the agent has had this backend.
    pub probes: Probes,
}

/// A change of a backend's health.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Transition {
    /// When.
    pub at: Timestamp,
    /// The backend's service.
    pub service: String,
    /// The backend.
    pub backend: String,
    /// What its health was.
    pub from: Health,
    /// What it became.
    pub to: Health,
    /// Why it went down; null if it did not.
    pub reason: Option<String>,
}

/// Changes of a backend's health.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Transitions {
    /// From anything else to up.
    pub up: u64,
    /// From anything else to down.
    pub down: u64,
}

/// What an operator has set on a backend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SetBy {
    /// Who, such as `uid 1000 (alice), pid 42`.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Why; null if that was not said.
    pub reason: Option<String>,
}

/// Probes of a backend, by how they went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Probes {
    /// All that have ended.
    pub total: u64,
    /// Those that the backend failed.
    pub failed: u64,
    /// Those that say nothing of the backend, for a fault of this host.
    pub own_faults: u64,
    /// Those that began more than 20 ms after they were due.
    pub late: u64,
    /// How much later than due the latest began, in microseconds.
    pub latest_us: u64,
    /// All by how they ended, in the words of `last_probe`'s `cause`; those that were not are absent.
    pub causes: BTreeMap<String, u64>,
    /// From query to the reply or refusal that decided, of those probes that had one.
    pub rtt: Durations,
}

/// A probe that has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LastProbe {
    /// When it began.
    pub at: Timestamp,
    /// How, in a few words: `NOERROR`, `REFUSED not accepted`, `timeout`, `port refused`.
    pub outcome: String,
    /// The same as one word of a fixed list, such as `passed`, `rcode`, `timeout`, `refused`,
    /// `wrong_source`, `wrong_mac`, `vip_missing`.
    pub cause: String,
    /// Microseconds from query to reply; null if there was no reply.
    pub rtt_us: Option<u64>,
}

#[cfg(test)]
mod tests;
