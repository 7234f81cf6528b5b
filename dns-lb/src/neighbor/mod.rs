//! Where backends are on the link: IP address to MAC address and egress interface, read from the
//! kernel over netlink and kept fresh.
//!
//! The kernel routes and resolves; this module asks, listens and reports. It never changes a route,
//! an address or a resolved neighbour.

mod decide;
mod kernel;
mod watcher;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::IpAddr,
    sync::Arc,
};

use tokio::{sync::watch, task::JoinHandle};

use crate::mac::MacAddress;
use watcher::Watcher;

/// An address that the caller wants to send to.
///
/// An address wanted twice gets one answer; a MAC address that is given beats resolution, and among
/// two that are given the greater wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wanted {
    /// The address.
    pub address: IpAddr,
    /// Its MAC address, if the kernel is only to be asked for the egress interface.
    pub mac: Option<MacAddress>,
}

/// What is known, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Neighbors {
    /// An answer for each wanted address.
    pub by_address: BTreeMap<IpAddr, Result<Neighbor, Unresolved>>,
    /// All network interfaces, by index.
    pub links: BTreeMap<u32, Link>,
    /// This host's own addresses with the lengths of their prefixes, by interface index. Those that
    /// duplicate address detection (RFC 4862, 5.4) has not passed are not among them.
    pub addresses: Addresses,
}

/// Own addresses and the lengths of their prefixes, by interface index.
pub type Addresses = BTreeMap<u32, BTreeMap<IpAddr, u8>>;

/// How an address is reached: directly, over a link that is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbor {
    /// MAC address of the host that has the address.
    pub mac: MacAddress,
    /// Index of the egress interface; in [`Neighbors::links`], up and with a MAC address.
    pub ifindex: u32,
}

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// Its own address; `None` if it is no Ethernet interface.
    pub mac: Option<MacAddress>,
    /// Whether it is set up and operational (RFC 2863), for which it needs a carrier. The kernel
    /// may tell up to a second late (`net/core/link_watch.c`).
    pub up: bool,
}

/// Why an address cannot be sent to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unresolved {
    /// The kernel has no route, or one that refuses.
    #[error("no route to it")]
    NoRoute,
    /// The address belongs to this very host.
    #[error("it is an address of this host")]
    OwnAddress,
    /// There is a router in between: its host cannot be reached by MAC address.
    #[error("behind the gateway {gateway}, not on a shared link")]
    BehindGateway {
        /// The router.
        gateway: IpAddr,
    },
    /// The egress interface has gone; the route will follow.
    #[error("its interface (index {ifindex}) is gone")]
    InterfaceGone {
        /// Index of what was the interface.
        ifindex: u32,
    },
    /// The egress interface is not up, or has no carrier.
    #[error("interface {interface} is down")]
    InterfaceDown {
        /// The interface's name.
        interface: String,
    },
    /// The egress interface has no MAC addresses.
    #[error("interface {interface} is not Ethernet")]
    NotEthernet {
        /// The interface's name.
        interface: String,
    },
    /// The kernel has been asked to resolve the address, and has no answer yet.
    #[error("resolving on {interface}")]
    Resolving {
        /// The interface's name.
        interface: String,
    },
    /// The kernel has asked on the link, and nobody has answered. It is asked again from time to
    /// time.
    #[error("nobody on {interface} answers for it")]
    Failed {
        /// The interface's name.
        interface: String,
    },
}

impl Unresolved {
    /// Whether a host that was on the link may be there still, and this one lacks what it takes to
    /// ask it: the route or the address that goes with the link. Frames reach it all the same.
    #[must_use]
    pub fn is_own_loss(&self) -> bool {
        matches!(self, Self::NoRoute | Self::BehindGateway { .. })
    }
}

/// The kernel could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum NeighborError {
    /// No netlink socket.
    #[error("cannot open a netlink socket for {purpose}: {error}")]
    Open {
        /// What it is for.
        purpose: &'static str,
        /// Why not.
        error: io::Error,
    },
    /// Notifications cannot be read.
    #[error("cannot read netlink notifications: {0}")]
    Notifications(io::Error),
    /// A request failed.
    #[error("netlink: cannot {operation}: {reason}")]
    Request {
        /// What was asked for.
        operation: String,
        /// Why not.
        reason: String,
    },
}

/// Keeps answers fresh until it is dropped.
#[derive(Debug)]
pub struct Handle {
    wanted: watch::Sender<BTreeSet<Wanted>>,
    neighbors: watch::Receiver<Arc<Neighbors>>,
    task: JoinHandle<()>,
}

/// Asks the kernel about these addresses, then keeps listening. What the kernel knows already is in
/// [`Handle::neighbors`] when this returns; what it has to resolve first follows.
///
/// Belongs to the network namespace of the thread that calls it.
///
/// # Errors
/// If netlink sockets cannot be had or the first dump fails. Later failures are logged, and
/// everything is begun anew a second later; the last answers stay until then.
pub async fn start(wanted: BTreeSet<Wanted>) -> Result<Handle, NeighborError> {
    let (wanted_sender, wanted) = watch::channel(wanted);
    let (neighbors_sender, neighbors) = watch::channel(Arc::default());
    let watcher = Watcher::begin(wanted, neighbors_sender).await?;
    Ok(Handle {
        wanted: wanted_sender,
        neighbors,
        task: tokio::spawn(watcher.run()),
    })
}

impl Handle {
    /// Changes what is wanted. Answers for new addresses follow; those for addresses no longer
    /// wanted go.
    pub fn watch(&self, wanted: BTreeSet<Wanted>) {
        self.wanted.send_replace(wanted);
    }

    /// The answers, and every change of them.
    #[must_use]
    pub fn neighbors(&self) -> watch::Receiver<Arc<Neighbors>> {
        self.neighbors.clone()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.task.abort();
    }
}
