//! What a `keepalived.conf` says of IPVS, typed, with lines.

use std::{net::IpAddr, time::Duration};

use hickory_proto::rr::RecordType;

use super::command::CommandLine;
use crate::import::problem::Place;

/// Something, and the line that says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct At<T> {
    pub(super) place: Place,
    pub(super) value: T,
}

/// A whole configuration.
#[derive(Debug, Default)]
pub(super) struct Configuration {
    pub(super) servers: Vec<VirtualServer>,
    pub(super) groups: Vec<Group>,
    /// Blocks that have nothing to do with IPVS: keyword and name.
    pub(super) others: Vec<At<String>>,
    /// Interfaces of VRRP instances.
    pub(super) interfaces: Vec<At<String>>,
}

/// `virtual_server_group`
#[derive(Debug)]
pub(super) struct Group {
    pub(super) name: At<String>,
    pub(super) entries: Vec<At<Entry>>,
}

/// Addresses of a group, the first and the last of them, and their port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) first: IpAddr,
    pub(super) last: IpAddr,
    pub(super) port: u16,
}

/// `virtual_server`
#[derive(Debug)]
pub(super) struct VirtualServer {
    pub(super) place: Place,
    pub(super) target: Target,
    pub(super) settings: Settings,
    pub(super) scheduler: Option<At<String>>,
    /// `ops`, `sh-port` and the like.
    pub(super) flags: Vec<At<String>>,
    pub(super) protocol: Option<At<Protocol>>,
    /// In seconds.
    pub(super) persistence: Option<At<u32>>,
    pub(super) granularity: Option<At<String>>,
    pub(super) sorry_server: Option<At<String>>,
    pub(super) real_servers: Vec<RealServer>,
}

/// What clients send to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Address { address: IpAddr, port: u16 },
    Group(String),
}

impl Target {
    /// The group that it names.
    pub(super) fn group(&self) -> Option<&str> {
        match self {
            Self::Address { .. } => None,
            Self::Group(name) => Some(name),
        }
    }
}

/// `protocol`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Udp,
    Tcp,
}

/// What virtual and real servers may both say.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    pub(super) method: Option<At<Method>>,
    pub(super) weight: Option<At<u32>>,
    pub(super) snmp_name: Option<At<String>>,
    pub(super) timing: Timing,
    /// Words that have no place in our configuration, with their arguments.
    pub(super) asides: Vec<Aside>,
}

/// `lvs_method`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Nat,
    DirectRouting,
    Tunnel,
}

/// A word that is dropped, with its arguments, and why it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Aside {
    pub(super) place: Place,
    pub(super) words: String,
    pub(super) why: &'static str,
}

/// When checks run. What a virtual server says holds for its real servers, and what those say for
/// their checks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Timing {
    pub(super) delay_loop: Option<At<Duration>>,
    pub(super) delay_before_retry: Option<At<Duration>>,
    pub(super) connect_timeout: Option<At<Duration>>,
    pub(super) retry: Option<At<u32>>,
}

/// `real_server`
#[derive(Debug)]
pub(super) struct RealServer {
    pub(super) place: Place,
    pub(super) address: IpAddr,
    /// `None`: the virtual server's.
    pub(super) port: Option<u16>,
    pub(super) settings: Settings,
    pub(super) checks: Vec<Check>,
    /// Whether it has a check that was not understood, and reported.
    pub(super) has_bad_check: bool,
}

/// A check of a real server.
#[derive(Debug)]
pub(super) struct Check {
    pub(super) place: Place,
    pub(super) kind: CheckKind,
    pub(super) connect_ip: Option<At<IpAddr>>,
    pub(super) connect_port: Option<At<u16>>,
    pub(super) settings: Settings,
}

/// What a check does.
#[derive(Debug)]
pub(super) enum CheckKind {
    /// `MISC_CHECK`
    Misc {
        command: At<CommandLine>,
        /// In seconds.
        timeout: Option<At<u32>>,
    },
    /// `DNS_CHECK`
    Dns {
        name: String,
        record_type: RecordType,
    },
    /// `TCP_CHECK`
    Tcp,
    /// `PING_CHECK` or `UDP_CHECK`: its keyword.
    Alive(&'static str),
}
