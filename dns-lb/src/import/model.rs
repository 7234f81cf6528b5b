//! The part of our configuration that other balancers have a word for, with remarks. What is not in
//! it stays at its default.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use super::remark::Remarks;
use crate::config::{Policy, Protocol, Transport};

/// A configuration, as it is to be written.
#[derive(Clone, Debug)]
pub(super) struct Document {
    /// What the file begins with: a line a paragraph.
    pub(super) head: Vec<String>,
    /// On what is not of a service.
    pub(super) remarks: Remarks,
    pub(super) interfaces: Vec<String>,
    pub(super) services: Vec<Service>,
}

impl Document {
    /// How many remarks there are.
    pub(super) fn remarks(&self) -> usize {
        let services = self.services.iter().flat_map(|service| {
            let backends = service.backends.iter().map(|backend| &backend.remarks);
            backends.chain([&service.remarks, &service.health.remarks])
        });
        let all = services.chain([&self.remarks]);
        all.map(|remarks| remarks.as_slice().len()).sum()
    }
}

/// `[[service]]`
#[derive(Clone, Debug)]
pub(super) struct Service {
    pub(super) name: String,
    pub(super) vips: Vec<IpAddr>,
    pub(super) port: u16,
    pub(super) protocols: Vec<Protocol>,
    pub(super) policy: Policy,
    pub(super) remarks: Remarks,
    pub(super) health: Health,
    pub(super) backends: Vec<Backend>,
}

/// `[service.health]`
#[derive(Clone, Debug)]
pub(super) struct Health {
    pub(super) remarks: Remarks,
    /// At least one.
    pub(super) queries: Vec<Query>,
    /// `None`: the service's default.
    pub(super) transport: Option<Transport>,
    /// `None`: ours.
    pub(super) timing: Option<Timing>,
}

/// A query, and what counts as an answer to it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Query {
    /// Name and type.
    pub(super) query: String,
    pub(super) recursion_desired: bool,
    /// 0: no EDNS.
    pub(super) edns_size: u16,
    /// `None`: those of our default.
    pub(super) accept_rcodes: Option<BTreeSet<u16>>,
}

/// When probes are sent, and how many decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Timing {
    pub(super) interval: Duration,
    pub(super) fast_interval: Duration,
    pub(super) timeout: Duration,
    pub(super) fall: u32,
}

/// `[[service.backend]]`
#[derive(Clone, Debug)]
pub(super) struct Backend {
    pub(super) name: String,
    pub(super) address: IpAddr,
    pub(super) weight: u16,
    pub(super) remarks: Remarks,
}
