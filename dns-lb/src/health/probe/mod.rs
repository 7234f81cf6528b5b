//! One probe: what is asked of a backend, on which ways, and what counts as an answer.
//!
//! `question` and `reply` are pure. `socket` asks by the kernel's sockets, [`super::link`] through
//! the VIP; `exchange` makes one of the two, and `round` makes a probe of many.

mod exchange;
mod outcome;
mod question;
mod reply;
mod round;
mod serials;
mod socket;
mod ways;

use std::{net::IpAddr, sync::Arc};

use super::{BackendKey, descriptors::Turns, link::LinkProber};
use crate::{config::HealthCheck, mac::MacAddress};

pub use outcome::{Ending, Operation, Outcome, OwnFault, Shortfall, Unreachable};
pub use question::Expected;
pub use reply::{Answer, Ignored, Reply, judge};

/// All that the probes of one agent share. Clones are handles of the same.
#[derive(Clone, Debug)]
pub struct Prober {
    link: LinkProber,
    /// Whose turn it is to open a socket.
    descriptors: Turns,
    serials: Arc<serials::Serials>,
    /// A MAC address that nobody has: locally administered, and random.
    foreign_mac: MacAddress,
}

/// What is to be probed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Whose probes these are.
    pub backend: BackendKey,
    /// The backend's own address.
    pub address: IpAddr,
    /// The service's port.
    pub port: u16,
    /// The service's VIPs.
    pub vips: Vec<IpAddr>,
    /// Whether the backend is this very host.
    pub local: bool,
}

/// How the backend is reached now, as far as the kernel says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Where the backend is.
    pub link: Option<LinkReach>,
    /// Why that is not known, such as "nobody on eth0 answers for it".
    pub unresolved: Option<String>,
    /// Whether the kernel has asked for it on the link in vain since it was last found.
    pub is_lost: bool,
    /// What this host lacks to reach it: nothing is said about the backend.
    pub own_fault: Option<String>,
    /// MAC addresses and names of the service's other backends.
    pub peers: Arc<[(MacAddress, Arc<str>)]>,
}

/// Where a backend is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkReach {
    /// Name of the interface that it is behind.
    pub interface: String,
    /// Index of that interface.
    pub ifindex: u32,
    /// The backend's MAC address.
    pub mac: MacAddress,
    /// The interface's own.
    pub source_mac: MacAddress,
    /// This host's addresses on that interface, without VIPs.
    pub sources: Vec<IpAddr>,
}

/// What a probe does beside its purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extra {
    /// Ask the backend's own address too, to tell a VIP that is missing from a server that is dead.
    /// Never makes a failure of a pass.
    pub diagnose: bool,
    /// Ask through the VIP in a frame from a foreign MAC address, to see if the server answers to
    /// that: see [`Ending::WrongMac`]. Silence says nothing, but the probe then takes its whole
    /// timeout.
    pub check_return: bool,
    /// Whether the backend's own address has answered before in the place of a VIP that cannot be asked
    /// from here. Then a failure there is the backend's; else it may not serve on that address at all.
    pub trusts_stand_in: bool,
    /// Ask who the server is, by a query of its own if the check says so. Never a failure, but where
    /// the server is silent the probe takes its whole timeout.
    pub ask_identity: bool,
}

impl Prober {
    /// A prober that has nothing open yet, and has seen no serial. How many sockets it opens at once
    /// depends on the limit of open files at this moment.
    #[must_use]
    pub fn new() -> Self {
        let mut foreign = rand::random::<[u8; 6]>();
        // Not a group's, and locally administered (IEEE 802, 8.2).
        foreign[0] = foreign[0] & 0xfc | 0x02;
        let descriptors = Turns::descriptors();
        Self {
            link: LinkProber::sharing(descriptors.clone()),
            descriptors,
            serials: Arc::default(),
            foreign_mac: MacAddress(foreign),
        }
    }

    /// Asks every question of the check, by each of its transports, on each of its ways, all at
    /// once, and waits at most the check's `timeout`; or up to as long again for a query that had to
    /// wait for a descriptor first.
    ///
    /// A way fails when fewer than `questions_to_pass` questions can still be answered by one
    /// transport; the first that fails is the outcome, at once. A fault on this side decides only
    /// where nothing fails.
    ///
    /// A backend that is this very host is asked from the VIP itself. That shows whether the host has
    /// it, but not what address a server that is bound to the wildcard answers others from.
    pub async fn probe(
        &self,
        target: &Target,
        check: &HealthCheck,
        reach: &Reach,
        extra: Extra,
    ) -> Outcome {
        round::run(self, target, check, reach, extra).await
    }

    /// From now on, the SOA serials that a backend has shown do not count for others.
    pub fn forget(&self, backend: &BackendKey) {
        self.serials.forget(backend);
    }
}

impl Default for Prober {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
