//! What the operator wants: the configuration file, and the types that it becomes.
//!
//! The types here cannot be invalid: what the file may say and what it may not is decided once,
//! on the way in. `reader` takes keys from a TOML document, which `syntax` has mended where it was
//! broken; `load`, `service` and `health` say which keys there are, `scalar` what a single value may be,
//! `defaults` what holds where the file is silent.

pub mod defaults;
mod difference;
mod faults;
mod health;
mod load;
mod reader;
mod scalar;
mod service;
mod syntax;
#[cfg(test)]
mod tests;
mod written;

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use serde::{Deserialize, Serialize};

pub use self::{
    difference::Difference,
    faults::{Fault, Faults},
    health::{
        HealthCheck, IdentityQuery, NameTemplate, ProbePath, Question, Transport, comparable,
    },
    load::{ConfigError, MAX_FILE_SIZE},
    service::{MAX_BACKENDS, MAX_SERVICES, MAX_VIPS},
};
pub(crate) use self::{
    health::MAX_QUESTIONS,
    scalar::{WrittenDuration, host_address, is_interface, parse_query, rcode_name, rcode_numbers},
};
use crate::mac::MacAddress;

/// A whole configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Interfaces that the XDP program is attached to; at least one, each once.
    pub interfaces: Vec<String>,
    /// How it is attached.
    pub xdp_mode: XdpMode,
    /// The secret that keys the flow hash; made on first start if absent.
    pub hash_key_file: PathBuf,
    /// TCP connections that are remembered, least recently used out first; 1,024 to 16,777,216.
    pub tcp_flows: u32,
    /// What operators have set by command, for the next start; made when there is something to keep.
    pub state_file: PathBuf,
    /// The agent's HTTP side.
    pub api: Api,
    /// Where routing daemons find the VIPs of services that are ready; `None`: they are not told.
    pub announce: Option<Announce>,
    /// At least one, at most [`MAX_SERVICES`]; names differ, and so do VIP, port and protocol taken
    /// together, of which there are at most [`MAX_VIPS`]. No backend's address is a VIP.
    pub services: Vec<Service>,
}

/// `[api]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Api {
    /// Where the read-only HTTP server listens.
    pub listen: SocketAddr,
    /// The Unix socket that takes commands; an absolute path of at most 96 octets.
    pub admin_socket: PathBuf,
    /// Permissions of that socket, 0o600 to 0o666; who may write to it may command.
    pub admin_mode: u32,
    /// Its group, by name or number; `None`: the group that the agent runs as.
    pub admin_group: Option<String>,
}

/// `[announce]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announce {
    /// The VIPs are addresses of this interface while their services are ready.
    pub interface: String,
    /// How long a service has to be ready before; 0 to 1 h.
    pub hold: Duration,
    /// Whether the agent takes them back when it stops.
    pub withdraw_first: bool,
    /// How long it then waits before it stops; 0 to 1 min.
    pub settle: Duration,
}

/// How the XDP program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpMode {
    /// Native if the driver can, else generic.
    Auto,
    /// In the driver, or not at all.
    Native,
    /// In the kernel's stack, after the driver: any device, slower.
    Generic,
}

/// A value that the file names by one of a few words.
trait Choice: Copy + PartialEq + Sized + 'static {
    /// The words, and what they stand for; each once.
    const CHOICES: &'static [(&'static str, Self)];

    /// The word for it.
    fn word(self) -> &'static str {
        let known = Self::CHOICES.iter().find(|(_, choice)| *choice == self);
        known.expect("every value has a word").0
    }
}

impl Choice for XdpMode {
    const CHOICES: &'static [(&'static str, Self)] = &[
        ("auto", Self::Auto),
        ("native", Self::Native),
        ("generic", Self::Generic),
    ];
}

impl Choice for Protocol {
    const CHOICES: &'static [(&'static str, Self)] = &[("udp", Self::Udp), ("tcp", Self::Tcp)];
}

impl Choice for Policy {
    const CHOICES: &'static [(&'static str, Self)] = &[
        ("hash", Self::Hash),
        ("source", Self::Source),
        ("qname", Self::Qname),
        ("round-robin", Self::RoundRobin),
    ];
}

impl Choice for OnNoBackend {
    const CHOICES: &'static [(&'static str, Self)] = &[
        ("fail-open", Self::FailOpen),
        ("pass", Self::Pass),
        ("drop", Self::Drop),
    ];
}

/// `[[service]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// What status and logs call it.
    pub name: String,
    /// Addresses that clients send to; at least one.
    pub vips: Vec<IpAddr>,
    /// Port that clients send to, from 1.
    pub port: u16,
    /// At least one, each once.
    pub protocols: Vec<Protocol>,
    /// How a packet's backend is chosen.
    pub policy: Policy,
    /// Most queries by name that a backend may get, in percent of what its weight gives it, 105 to
    /// 1,000; for [`Policy::Qname`] alone. `None`: as many as there are.
    pub max_load: Option<u32>,
    /// Whether queries over UDP are counted by type.
    pub count_queries: bool,
    /// What happens when no backend is usable.
    pub on_no_backend: OnNoBackend,
    /// Most of the backends that probes may take out of rotation, in percent of those that the
    /// operator wants in it, 0 to 100. When more are down, but not all, probes are not believed.
    pub max_ejected: u32,
    /// Backends that have to be usable for the service to be ready: one at least, all of them at the
    /// most.
    pub quorum: u32,
    /// How long a backend that has come up takes to reach its full weight; 0 to 1 h.
    pub slow_start: Duration,
    /// How backends are probed.
    pub health: HealthCheck,
    /// At least one; names and addresses differ within the service. All services together have at
    /// most [`MAX_BACKENDS`].
    pub backends: Vec<Backend>,
}

/// A transport protocol that a service takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Protocol {
    /// DNS over UDP (RFC 1035, 4.2.1).
    Udp,
    /// DNS over TCP (RFC 7766).
    Tcp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// How a packet's backend is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Policy {
    /// Keyed hash of addresses and ports: a flow stays on its backend.
    Hash,
    /// Keyed hash of the client's address: a client stays on its backend.
    Source,
    /// Keyed hash of the name that a query asks for: a name stays on its backend.
    Qname,
    /// One packet after the other to one backend after the other.
    RoundRobin,
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What happens to packets when no backend is usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnNoBackend {
    /// Steer to all backends with a weight, as if they were up.
    FailOpen,
    /// Give the packet to the host's own stack.
    Pass,
    /// Drop the packet.
    Drop,
}

/// `[[service.backend]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// What status and logs call it.
    pub name: String,
    /// Its own address, on which it is probed and found on the link.
    pub address: IpAddr,
    /// Share relative to the others, 0 to 1000; 0 takes no new queries.
    pub weight: u16,
    /// Its MAC address, if the kernel's neighbour table is not to be asked.
    pub mac: Option<MacAddress>,
    /// Whether it is on the balancer's own host.
    pub local: bool,
}
