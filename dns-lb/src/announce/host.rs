//! The addresses of the interface: over netlink, on a task of its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use futures_util::TryStreamExt as _;
use rtnetlink::{
    Handle,
    packet_route::address::{AddressAttribute, AddressFlags, AddressMessage},
};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tracing::{info, warn};

use crate::datapath::interface_index;

/// How often it is seen to that the addresses are still as they should be.
const LOOK: Duration = Duration::from_secs(1);
/// How long the kernel may take to answer. It answers at once.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// What the interface is to have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Order {
    interface: String,
    /// All VIPs that are configured: of the interface's addresses only these are ours.
    ours: BTreeSet<IpAddr>,
    /// Those of them that it is to have.
    wanted: BTreeSet<IpAddr>,
}

/// This host's interface that the VIPs are told on. The addresses stay when this is dropped.
#[derive(Debug)]
pub struct Host {
    orders: watch::Sender<Option<Order>>,
    told: watch::Receiver<BTreeSet<IpAddr>>,
}

/// Why nothing can be announced.
#[derive(Debug, thiserror::Error)]
pub enum AnnounceError {
    /// No socket.
    #[error("cannot open a netlink socket to announce VIPs: {0}")]
    Open(std::io::Error),
    /// There is no such interface.
    #[error("there is no interface {0} to announce VIPs on; `ip link` lists those that exist")]
    NoInterface(String),
    /// The kernel does not do what it is asked for.
    #[error("cannot {operation}: {reason}")]
    Request {
        /// What.
        operation: String,
        /// Its reason.
        reason: String,
    },
}

impl Host {
    /// Starts the task. It ends when this is dropped.
    ///
    /// # Errors
    ///
    /// If there is no netlink socket to be had.
    pub fn start() -> Result<Self, AnnounceError> {
        let handle = open()?;
        let (orders, ordered) = watch::channel(None);
        let (tell, told) = watch::channel(BTreeSet::new());
        tokio::spawn(follow(handle, ordered, tell));
        Ok(Self { orders, told })
    }

    /// Gives the interface these of the configured VIPs and no other of them, soon. Tried again until
    /// it is done.
    pub fn order(&self, interface: &str, ours: BTreeSet<IpAddr>, wanted: BTreeSet<IpAddr>) {
        let order = Some(Order {
            interface: interface.to_owned(),
            ours,
            wanted,
        });
        self.orders.send_if_modified(|last| match *last == order {
            true => false,
            false => {
                *last = order;
                true
            }
        });
    }

    /// Takes back whatever was given: nothing is to be told any more.
    pub fn release(&self) {
        self.orders.send_if_modified(|last| last.take().is_some());
    }

    /// The VIPs that the interface has, as last seen.
    #[must_use]
    pub fn told(&self) -> BTreeSet<IpAddr> {
        self.told.borrow().clone()
    }
}

/// Which of these addresses an interface has now; none if there is no such interface.
///
/// # Errors
///
/// If the kernel does not tell.
pub async fn present(
    interface: &str,
    of: &BTreeSet<IpAddr>,
) -> Result<BTreeSet<IpAddr>, AnnounceError> {
    let Ok(index) = interface_index(interface) else {
        return Ok(BTreeSet::new());
    };
    let there = addresses(&open()?, index).await?;
    let there = there.into_iter().map(|(address, _)| address);
    Ok(there.filter(|address| of.contains(address)).collect())
}

fn open() -> Result<Handle, AnnounceError> {
    let (connection, handle, _) = rtnetlink::new_connection().map_err(AnnounceError::Open)?;
    // Ends by itself when the handle is dropped.
    tokio::spawn(connection);
    Ok(handle)
}

async fn follow(
    handle: Handle,
    mut orders: watch::Receiver<Option<Order>>,
    tell: watch::Sender<BTreeSet<IpAddr>>,
) {
    let mut given = Given::new();
    // What was last complained of.
    let mut complaint = None;
    loop {
        let order = orders.borrow_and_update().clone();
        let (there, faults) = obey(&handle, &mut given, order.as_ref()).await;
        tell.send_if_modified(|told| std::mem::replace(told, there.clone()) != there);
        let now = faults.first().map(ToString::to_string);
        if now != complaint {
            // Once, not every second.
            match &now {
                Some(fault) => warn!("announcing is tried again every second: {fault}"),
                None => info!("announcing works again"),
            }
            complaint = now;
        }
        tokio::select! {
            changed = orders.changed() => if changed.is_err() {
                return;
            },
            () = sleep(LOOK) => {}
        }
    }
}

/// Which addresses interfaces may have of us, by the interface's name.
type Given = BTreeMap<String, BTreeSet<IpAddr>>;

/// Makes the interface have what it should, and no other what is no longer ordered. Gives what of ours
/// it then has, and what went wrong: one address that cannot be had keeps no other from being told.
async fn obey(
    handle: &Handle,
    given: &mut Given,
    order: Option<&Order>,
) -> (BTreeSet<IpAddr>, Vec<AnnounceError>) {
    let (mut there, mut faults) = (BTreeSet::new(), Vec::new());
    if let Some(order) = order {
        // Before anything is given, so that it is found again whatever fails.
        let ours = given.entry(order.interface.clone()).or_default();
        ours.extend(&order.ours);
        match interface_index(&order.interface) {
            Ok(index) => {
                let left = give(handle, index, order, &mut faults).await;
                let left = left.unwrap_or_else(|error| {
                    faults.push(error);
                    BTreeSet::new()
                });
                there = left.intersection(&order.ours).copied().collect();
            }
            Err(_) => faults.push(AnnounceError::NoInterface(order.interface.clone())),
        }
    }
    // Last: whoever is told on another interface from now on is told without a gap.
    let mut rest = Given::new();
    for (interface, mut addresses) in std::mem::take(given) {
        let keeps = order.filter(|order| order.interface == interface);
        let gone: BTreeSet<IpAddr> = match keeps {
            Some(order) => addresses.difference(&order.ours).copied().collect(),
            None => addresses.clone(),
        };
        // An interface that is gone has taken its addresses with it.
        if let Ok(index) = interface_index(&interface)
            && !gone.is_empty()
            && let Err(error) = take_away(handle, index, &interface, &gone).await
        {
            faults.push(error);
        } else {
            addresses.retain(|address| !gone.contains(address));
        }
        if !addresses.is_empty() {
            rest.insert(interface, addresses);
        }
    }
    *given = rest;
    (there, faults)
}

/// Gives an interface what is wanted and takes off what of ours is not. Gives what it then has.
async fn give(
    handle: &Handle,
    index: u32,
    order: &Order,
    faults: &mut Vec<AnnounceError>,
) -> Result<BTreeSet<IpAddr>, AnnounceError> {
    let interface = &order.interface;
    let unwanted = order.ours.difference(&order.wanted).copied().collect();
    let mut there = take_away(handle, index, interface, &unwanted).await?;
    for &vip in &order.wanted {
        if there.contains(&vip) {
            continue;
        }
        match add(handle, index, interface, vip).await {
            Ok(()) => {
                info!(%vip, interface, "announced");
                there.insert(vip);
            }
            Err(error) => faults.push(error),
        }
    }
    Ok(there)
}

/// Takes these addresses off the interface. Gives those that it has left.
async fn take_away(
    handle: &Handle,
    index: u32,
    interface: &str,
    unwanted: &BTreeSet<IpAddr>,
) -> Result<BTreeSet<IpAddr>, AnnounceError> {
    let mut left = BTreeSet::new();
    for (address, message) in addresses(handle, index).await? {
        if !unwanted.contains(&address) {
            left.insert(address);
            continue;
        }
        let operation = || format!("take {address} off {interface}");
        let request = handle.address().del(message).execute();
        wait(operation, request).await?;
        info!(vip = %address, interface, "withdrawn");
    }
    Ok(left)
}

async fn add(
    handle: &Handle,
    index: u32,
    interface: &str,
    vip: IpAddr,
) -> Result<(), AnnounceError> {
    let prefix_length = if vip.is_ipv4() { 32 } else { 128 };
    let mut request = handle.address().add(index, vip, prefix_length);
    if vip.is_ipv6() {
        // Several balancers have it: none of them is to object to another.
        let flags = AddressAttribute::Flags(AddressFlags::Nodad);
        request.message_mut().attributes.push(flags);
    }
    wait(
        || format!("give {interface} the address {vip}"),
        request.execute(),
    )
    .await
}

/// The addresses of an interface that stand alone, as VIPs do, and how the kernel tells of them.
async fn addresses(
    handle: &Handle,
    index: u32,
) -> Result<Vec<(IpAddr, AddressMessage)>, AnnounceError> {
    let dump = handle
        .address()
        .get()
        .set_link_index_filter(index)
        .execute()
        .try_collect::<Vec<_>>();
    let messages = wait(|| "list the addresses".to_owned(), dump).await?;
    Ok(messages.into_iter().filter_map(alone).collect())
}

fn alone(message: AddressMessage) -> Option<(IpAddr, AddressMessage)> {
    let mut attributes = message.attributes.iter();
    let address = attributes.find_map(|attribute| match attribute {
        AddressAttribute::Address(address) => Some(*address),
        _ => None,
    })?;
    let whole = if address.is_ipv4() { 32 } else { 128 };
    (message.header.prefix_len == whole).then_some((address, message))
}

async fn wait<T>(
    operation: impl Fn() -> String,
    request: impl Future<Output = Result<T, rtnetlink::Error>>,
) -> Result<T, AnnounceError> {
    let failed = |reason: String| AnnounceError::Request {
        operation: operation(),
        reason,
    };
    match timeout(REQUEST_TIMEOUT, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_) => Err(failed("no answer".to_owned())),
    }
}
