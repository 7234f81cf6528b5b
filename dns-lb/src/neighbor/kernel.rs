//! Netlink: questions to the kernel, its notifications, and their messages as facts.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    net::IpAddr,
    time::Duration,
};

use futures_util::{Stream, TryStreamExt};
use rtnetlink::{
    MulticastGroup,
    packet_core::{NetlinkMessage, NetlinkPayload},
    packet_route::{
        AddressFamily, RouteNetlinkMessage,
        address::{AddressAttribute, AddressFlags, AddressMessage},
        link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage},
        neighbour::{
            NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
        },
        route::{RouteAddress, RouteAttribute, RouteMessage, RouteType, RouteVia},
    },
    sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket, protocols::NETLINK_ROUTE},
};
use tokio::time::timeout;

use super::{
    Addresses, Link, NeighborError,
    decide::{Entry, Route},
};
use crate::mac::MacAddress;

/// How long the kernel may take to answer. It answers at once; but an answer that does not parse is
/// thrown away by netlink-proto, and would be waited for without end.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// Octets of the largest notification that is read whole. The kernel allocates them for the
/// message's own size, at most a few KiB here; a longer one counts as lost.
const NOTIFICATION_OCTETS: usize = 64 * 1024;

/// Asks the kernel.
#[derive(Debug)]
pub(super) struct Kernel {
    handle: rtnetlink::Handle,
}

impl Kernel {
    pub(super) fn open() -> Result<Self, NeighborError> {
        // A socket of its own, apart from the notifications: a flood of those never makes the
        // kernel drop an answer.
        let (connection, handle, _) =
            rtnetlink::new_connection().map_err(|error| NeighborError::Open {
                purpose: "requests",
                error,
            })?;
        // Ends by itself when the handle is dropped.
        tokio::spawn(connection);
        Ok(Self { handle })
    }

    /// All interfaces, by index.
    pub(super) async fn links(&self) -> Result<BTreeMap<u32, Link>, NeighborError> {
        let messages = collect("list the interfaces", self.handle.link().get().execute()).await?;
        Ok(messages.iter().filter_map(read_link).collect())
    }

    /// This host's own addresses, by interface index.
    pub(super) async fn addresses(&self) -> Result<Addresses, NeighborError> {
        let dump = self.handle.address().get().execute();
        let mut addresses = Addresses::new();
        for message in &collect("list the addresses", dump).await? {
            if let Some(own) = read_address(message).filter(|own| own.usable) {
                let on_link = addresses.entry(own.ifindex).or_default();
                on_link.insert(own.address, own.prefix_length);
            }
        }
        Ok(addresses)
    }

    /// The neighbour entries of these addresses, by interface index and address.
    pub(super) async fn entries(
        &self,
        addresses: &BTreeSet<IpAddr>,
    ) -> Result<BTreeMap<(u32, IpAddr), Entry>, NeighborError> {
        let dump = self.handle.neighbours().get().execute();
        let messages = collect("list the neighbours", dump).await?;
        Ok(messages
            .iter()
            .filter_map(read_entry)
            .filter(|((_, address), _)| addresses.contains(address))
            .collect())
    }

    /// The way to this address.
    pub(super) async fn route(&self, address: IpAddr) -> Result<Route, NeighborError> {
        let mut question = RouteMessage::default();
        (
            question.header.address_family,
            question.header.destination_prefix_length,
        ) = match address {
            IpAddr::V4(_) => (AddressFamily::Inet, 32),
            IpAddr::V6(_) => (AddressFamily::Inet6, 128),
        };
        question
            .attributes
            .push(RouteAttribute::Destination(address.into()));

        let operation = || format!("look up the route to {address}");
        let mut answer = std::pin::pin!(self.handle.route().get(question).execute());
        match timeout(REQUEST_TIMEOUT, answer.try_next()).await {
            Ok(Ok(Some(message))) => Ok(read_route(&message)),
            // ENETUNREACH, or the error of a route that refuses: EHOSTUNREACH, EACCES, EINVAL.
            Ok(Err(rtnetlink::Error::NetlinkError(_))) => Ok(Route::None),
            Ok(Err(error)) => Err(request_error(operation(), error)),
            Ok(Ok(None)) | Err(_) => Err(request_error(operation(), "no answer")),
        }
    }

    /// Makes the kernel ask on the link, as if it had a packet to send. Has no effect on an entry
    /// that the kernel finds usable or is asking about already, except that it takes `PERMANENT`
    /// from one (`__neigh_update` in `net/core/neighbour.c`): call it for unresolved ones only.
    pub(super) async fn resolve(&self, ifindex: u32, address: IpAddr) -> Result<(), NeighborError> {
        let request = self
            .handle
            .neighbours()
            .add(ifindex, address)
            .state(NeighbourState::None)
            .flags(NeighbourFlags::Use)
            // Without this flag the kernel would refuse where it has a failed entry.
            .replace()
            .execute();
        let operation = || format!("ask for {address} on the link of interface {ifindex}");
        match timeout(REQUEST_TIMEOUT, request).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(request_error(operation(), error)),
            Err(_) => Err(request_error(operation(), "no answer")),
        }
    }
}

async fn collect<T>(
    operation: &str,
    messages: impl Stream<Item = Result<T, rtnetlink::Error>>,
) -> Result<Vec<T>, NeighborError> {
    match timeout(REQUEST_TIMEOUT, messages.try_collect()).await {
        Ok(Ok(messages)) => Ok(messages),
        Ok(Err(error)) => Err(request_error(operation.to_owned(), error)),
        Err(_) => Err(request_error(operation.to_owned(), "no answer")),
    }
}

fn request_error(operation: String, reason: impl ToString) -> NeighborError {
    NeighborError::Request {
        operation,
        reason: reason.to_string(),
    }
}

/// An address of this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OwnAddress {
    pub(super) ifindex: u32,
    pub(super) address: IpAddr,
    pub(super) prefix_length: u8,
    /// Whether it can be sent from.
    pub(super) usable: bool,
}

/// What the kernel tells without being asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Notification {
    /// An interface is new, or not as it was.
    Link(u32, Link),
    /// An interface is gone.
    LinkGone(u32),
    /// A neighbour entry is new, or not as it was.
    Entry((u32, IpAddr), Entry),
    /// A neighbour entry is gone.
    EntryGone((u32, IpAddr)),
    /// An own address is new, not as it was, or gone: then it is not usable. The way to any address
    /// may be another.
    Address(OwnAddress),
    /// A route or a rule has changed: the way to any address may be another.
    Routing,
    /// Notifications were lost, or could not be read: only a dump tells what is now.
    Lost,
}

/// The kernel's notifications about links, neighbours, routes, rules and addresses.
///
/// Read straight from the socket, not through netlink-proto's task and its unbounded channel: the
/// socket's buffer is the bound, and the kernel says when it has overflowed.
pub(super) struct Notifications {
    socket: TokioSocket,
    buffer: Vec<u8>,
    read: VecDeque<Notification>,
}

impl Notifications {
    pub(super) fn subscribe() -> Result<Self, NeighborError> {
        const GROUPS: [MulticastGroup; 8] = [
            MulticastGroup::Link,
            MulticastGroup::Neigh,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv4Route,
            MulticastGroup::Ipv4Rule,
            MulticastGroup::Ipv6Ifaddr,
            MulticastGroup::Ipv6Route,
            MulticastGroup::Ipv6Rule,
        ];
        // The address of a netlink socket holds groups 1 to 32 as bits from 0.
        let groups = GROUPS
            .iter()
            .fold(0, |bits, group| bits | 1 << (*group as u32 - 1));
        let open = || {
            let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
            socket.socket_mut().bind(&SocketAddr::new(0, groups))?;
            Ok(socket)
        };
        let socket = open().map_err(|error| NeighborError::Open {
            purpose: "notifications",
            error,
        })?;
        Ok(Self {
            socket,
            buffer: Vec::with_capacity(NOTIFICATION_OCTETS),
            read: VecDeque::new(),
        })
    }

    /// The next notification. Cancel-safe: what was read is not lost.
    pub(super) async fn next(&mut self) -> Result<Notification, NeighborError> {
        loop {
            if let Some(notification) = self.read.pop_front() {
                return Ok(notification);
            }
            self.buffer.clear();
            match self.socket.recv_from(&mut self.buffer).await {
                // From the kernel, not from another process.
                Ok(sender) if sender.port_number() == 0 => {
                    read_notifications(&self.buffer, &mut self.read);
                }
                Ok(_) => {}
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    return Ok(Notification::Lost);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(NeighborError::Notifications(error)),
            }
        }
    }
}

fn read_notifications(mut datagram: &[u8], read: &mut VecDeque<Notification>) {
    while !datagram.is_empty() {
        let Ok(message) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(datagram) else {
            read.push_back(Notification::Lost);
            return;
        };
        // Messages are aligned to four octets (netlink(7)).
        let length = (message.header.length as usize).next_multiple_of(4);
        datagram = datagram.get(length..).unwrap_or_default();
        read.extend(read_notification(&message.payload));
    }
}

fn read_notification(payload: &NetlinkPayload<RouteNetlinkMessage>) -> Option<Notification> {
    use RouteNetlinkMessage as Message;
    let NetlinkPayload::InnerMessage(message) = payload else {
        return None;
    };
    match message {
        Message::NewLink(link) => {
            read_link(link).map(|(ifindex, link)| Notification::Link(ifindex, link))
        }
        Message::DelLink(link) => {
            read_link(link).map(|(ifindex, _)| Notification::LinkGone(ifindex))
        }
        Message::NewNeighbour(entry) => {
            read_entry(entry).map(|(key, entry)| Notification::Entry(key, entry))
        }
        Message::DelNeighbour(entry) => {
            read_entry(entry).map(|(key, _)| Notification::EntryGone(key))
        }
        Message::NewAddress(address) => read_address(address).map(Notification::Address),
        Message::DelAddress(address) => read_address(address).map(|gone| {
            Notification::Address(OwnAddress {
                usable: false,
                ..gone
            })
        }),
        _ => Some(Notification::Routing),
    }
}

/// `None` for what is not about the interface itself: a bridge tells of its ports by messages of
/// the same type, and their deletion is not that of the interface.
fn read_link(message: &LinkMessage) -> Option<(u32, Link)> {
    if message.header.interface_family != AddressFamily::Unspec {
        return None;
    }
    let ethernet = message.header.link_layer_type == LinkLayerType::Ether;
    let mut link = Link {
        name: String::new(),
        mac: None,
        // IFF_RUNNING: RFC 2863's operational state, which wants a carrier.
        up: message
            .header
            .flags
            .contains(LinkFlags::Up | LinkFlags::Running),
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Address(octets) if ethernet => link.mac = read_mac(octets),
            _ => {}
        }
    }
    Some((message.header.index, link))
}

/// `None` for what is no IP address.
fn read_address(message: &AddressMessage) -> Option<OwnAddress> {
    let mut address = None;
    let mut flags = AddressFlags::empty();
    for attribute in &message.attributes {
        match attribute {
            // Of a point-to-point link this is the own end, and the other attribute the far one.
            AddressAttribute::Local(local) => address = Some(*local),
            AddressAttribute::Address(own) => address = address.or(Some(*own)),
            AddressAttribute::Flags(all) => flags = *all,
            _ => {}
        }
    }
    let undecided = AddressFlags::Tentative | AddressFlags::Dadfailed;
    let is_optimistic = flags.contains(AddressFlags::Optimistic);
    Some(OwnAddress {
        ifindex: message.header.index,
        address: address?,
        prefix_length: message.header.prefix_len,
        usable: is_optimistic || !flags.intersects(undecided),
    })
}

/// `None` for what is not an IP neighbour: entries of a bridge's forwarding table, proxies.
fn read_entry(message: &NeighbourMessage) -> Option<((u32, IpAddr), Entry)> {
    if message.header.flags.contains(NeighbourFlags::Proxy) {
        return None;
    }
    let mut address = None;
    let mut mac = None;
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => {
                address = Some(IpAddr::V4(*v4));
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => {
                address = Some(IpAddr::V6(*v6));
            }
            NeighbourAttribute::LinkLayerAddress(octets) => mac = read_mac(octets),
            _ => {}
        }
    }
    let entry = match (message.header.state, mac) {
        (
            NeighbourState::Reachable
            | NeighbourState::Stale
            | NeighbourState::Delay
            | NeighbourState::Probe
            | NeighbourState::Permanent
            | NeighbourState::Noarp,
            Some(mac),
        ) => Entry::Usable(mac),
        (NeighbourState::Failed, _) => Entry::Failed,
        _ => Entry::Incomplete,
    };
    Some(((message.header.ifindex, address?), entry))
}

fn read_route(message: &RouteMessage) -> Route {
    match message.header.kind {
        RouteType::Unicast => {}
        RouteType::Local | RouteType::Anycast => return Route::Own,
        _ => return Route::None,
    }
    let mut interface = None;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Gateway(RouteAddress::Inet(v4))
            | RouteAttribute::Via(RouteVia::Inet(v4)) => return Route::Gateway((*v4).into()),
            RouteAttribute::Gateway(RouteAddress::Inet6(v6))
            | RouteAttribute::Via(RouteVia::Inet6(v6)) => return Route::Gateway((*v6).into()),
            RouteAttribute::Oif(ifindex) => interface = Some(*ifindex),
            _ => {}
        }
    }
    interface.map_or(Route::None, Route::OnLink)
}

fn read_mac(octets: &[u8]) -> Option<MacAddress> {
    octets.try_into().ok().map(MacAddress)
}
