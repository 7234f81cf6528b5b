//! Probes through the VIP: a query leaves for the VIP in a frame to the backend's MAC address, as a
//! client's does that the balancer steers, and the reply is read off the link.
//!
//! So a probe sees what clients see: whether the backend has the VIP at all, whether its server
//! answers from there, and to which MAC address. The host's own stack has no part in it but to keep
//! silent: it may own the VIP or not. Queries leave from ports that sockets hold which take
//! nothing, since the kernel sees the replies too and would refuse them.
//!
//! Knows links and addresses; of DNS, only that a message begins with an id. What a reply says is
//! for the caller to judge.
//!
//! Linux counts what the holding sockets drop as `InErrors` of UDP, one for each reply.

mod error;
mod filter;
mod frame;
mod mailbox;
mod overhear;
mod ports;
mod socket;
mod solicit;
mod tap;
mod tcp;

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    task::AbortHandle,
    time::{Instant, timeout_at},
};

use self::{mailbox::Heard, tap::Tap};
use super::descriptors::Turns;
use crate::{health::Ignored, mac::MacAddress};

pub use error::{LinkError, Operation};
pub use overhear::{Overheard, overhear};
pub use solicit::{Claim, solicit};
pub use tcp::converse;

/// Sends probes through the VIP. Clones are handles of the same.
///
/// Opens a packet socket for an interface, and sockets that hold ports, when the first probe needs
/// them, and closes those of interfaces and addresses that are gone or have had no probe for a
/// minute. Reads in a task for each interface, in the runtime of the probe that came first; with
/// the last handle the tasks end.
#[derive(Clone)]
pub struct LinkProber {
    taps: Arc<Taps>,
    /// Whose turn it is to open a socket.
    descriptors: Turns,
}

/// The way of a probe and its reply. Both addresses are of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// The interface that the backend is behind.
    pub ifindex: u32,
    /// Where a reply may go that ignores routes. Mostly the interface's own; for any other, the
    /// interface receives frames to it from then on.
    pub source_mac: MacAddress,
    /// The backend's.
    pub destination_mac: MacAddress,
    /// An address of this host that the backend answers to by that interface.
    pub source: IpAddr,
    /// Where the service is.
    pub vip: SocketAddr,
}

/// What came of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival<T> {
    /// A reply that was taken.
    Reply {
        /// What the judge made of it.
        reply: T,
        /// Who sent it. Where that is not the VIP, clients do not take it for a reply.
        source: SocketAddr,
        /// Whose frame it came in.
        source_mac: MacAddress,
        /// Whom that frame was for.
        destination_mac: MacAddress,
        /// From query to reply; with TCP, from the first segment.
        rtt: Duration,
    },
    /// Nobody listens: ICMP port unreachable, or a reset in answer to the first segment.
    Refused {
        /// From query to refusal.
        rtt: Duration,
    },
    /// The query did not get there: any other ICMP error of the kinds destination unreachable and
    /// time exceeded, about our packet.
    Unreachable {
        /// Who says so.
        source: IpAddr,
        /// The type of the message: 3 or 11 of ICMP (RFC 792), 1 or 3 of ICMPv6 (RFC 4443).
        icmp_type: u8,
        /// Its code.
        code: u8,
        /// From query to message.
        rtt: Duration,
    },
    /// The server took the connection, and ended it before it replied. Never with UDP.
    Closed {
        /// What came before, the last of it.
        ignored: Option<Ignored>,
        /// From the first segment to the end.
        rtt: Duration,
    },
    /// No reply in time that the judge took.
    Nothing {
        /// What did come, the last of it.
        ignored: Option<Ignored>,
    },
}

impl LinkProber {
    /// A prober that has nothing open yet.
    #[must_use]
    pub fn new() -> Self {
        Self::sharing(Turns::descriptors())
    }

    /// The same, with others that open sockets.
    pub(super) fn sharing(descriptors: Turns) -> Self {
        Self {
            taps: Arc::default(),
            descriptors,
        }
    }

    /// Sends a query by UDP, once, and hands to `judge` what comes to its port under its id (the
    /// first two octets), from whomever, until `judge` takes a reply or the deadline has passed.
    ///
    /// # Errors
    /// A fault of this side: no CAP_NET_RAW, no such interface, or it is down, a source that is no
    /// address of this host, a query that is too short for an id or too long for the link.
    pub async fn exchange_udp<T>(
        &self,
        way: &Way,
        query: &[u8],
        deadline: Instant,
        mut judge: impl FnMut(&[u8]) -> Result<T, Ignored>,
    ) -> Result<Arrival<T>, LinkError> {
        way.check()?;
        let id = u16::from_be_bytes(id(query)?);
        let tap = self.taps.tap(way.ifindex)?;
        let (probe, frame) = tap.address_datagram(way, id, query)?;
        let sent_at = Instant::now();
        tap.send(&frame)?;

        let mut ignored = None;
        while let Ok(event) = timeout_at(deadline, probe.next()).await {
            let rtt = event.at.saturating_duration_since(sent_at);
            match event.heard {
                Heard::Datagram {
                    link,
                    source,
                    payload,
                } => match judge(&payload) {
                    Ok(reply) => {
                        return Ok(Arrival::Reply {
                            reply,
                            source,
                            source_mac: link.source_mac,
                            destination_mac: link.destination_mac,
                            rtt,
                        });
                    }
                    Err(why) => ignored = Some(why),
                },
                Heard::Icmp { source, error } => return Ok(Arrival::of_icmp(source, error, rtt)),
                Heard::Fault(errno) => return Err(fault(errno)),
                // A datagram's mailbox gets none.
                Heard::Segment { .. } => {}
            }
        }
        Ok(Arrival::Nothing { ignored })
    }

    /// Opens a connection, sends a query with its length before it (RFC 1035, 4.2.2), and hands each
    /// reply to `judge` until it takes one, the connection ends or the deadline has passed. Then
    /// resets the connection, also when the future is dropped: the server has nothing to keep. Where too
    /// many are under way, it waits for its turn, and the deadline is later by so long.
    ///
    /// The connection is not the kernel's, which knows nothing of it.
    ///
    /// # Errors
    /// A fault of this side, as with [`LinkProber::exchange_udp`].
    pub async fn exchange_tcp<T>(
        &self,
        way: &Way,
        query: &[u8],
        deadline: Instant,
        judge: impl FnMut(&[u8]) -> Result<T, Ignored>,
    ) -> Result<Arrival<T>, LinkError> {
        way.check()?;
        let tap = self.taps.tap(way.ifindex)?;
        let none = |what: &str| Operation::HoldPort.failed(io::Error::other(what));
        let turn = tap.connections.wait(deadline).await;
        let turn = turn.ok_or_else(|| none("too many connections on the interface"))?;
        let descriptor = self.descriptors.wait(turn.deadline).await;
        let descriptor = descriptor.ok_or_else(|| {
            none("no descriptor free; raise the limit of open files (LimitNOFILE=)")
        })?;
        tcp::exchange(&tap, way, query, descriptor.deadline, judge).await
    }
}

impl Default for LinkProber {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for LinkProber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let interfaces: Vec<_> = self.taps.lock().keys().copied().collect();
        f.debug_struct("LinkProber")
            .field("interfaces", &interfaces)
            .finish()
    }
}

impl Way {
    /// Refuses addresses that no reply can come to or from.
    fn check(&self) -> Result<(), LinkError> {
        let is_one_hosts = |address: IpAddr| {
            let is_broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
            !address.is_unspecified() && !address.is_multicast() && !is_broadcast
        };
        if self.source.is_ipv4() != self.vip.is_ipv4() {
            Err(LinkError::invalid("source and VIP are of two families"))
        } else if !is_one_hosts(self.source) || !is_one_hosts(self.vip.ip()) || self.vip.port() == 0
        {
            Err(LinkError::invalid(
                "source and VIP must be one host's, and the port not 0",
            ))
        } else if !self.source_mac.is_unicast() || !self.destination_mac.is_unicast() {
            Err(LinkError::invalid("both MAC addresses must be one host's"))
        } else {
            Ok(())
        }
    }
}

/// The id of a DNS message (RFC 1035, 4.1.1).
fn id(query: &[u8]) -> Result<[u8; 2], LinkError> {
    let id = query.first_chunk().copied();
    id.ok_or_else(|| LinkError::invalid("a query begins with an id of two octets"))
}

impl<T> Arrival<T> {
    fn of_icmp(source: IpAddr, error: frame::IcmpError, rtt: Duration) -> Self {
        if error.port_unreachable {
            return Self::Refused { rtt };
        }
        Self::Unreachable {
            source,
            icmp_type: error.kind,
            code: error.code,
            rtt,
        }
    }
}

fn fault(errno: i32) -> LinkError {
    Operation::Receive.failed(io::Error::from_raw_os_error(errno))
}

/// The interfaces that probes are sent on, by index.
#[derive(Default)]
struct Taps(Mutex<HashMap<u32, OpenTap>>);

struct OpenTap {
    tap: Arc<Tap>,
    reader: AbortHandle,
}

impl Drop for OpenTap {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Taps {
    fn tap(self: &Arc<Self>, ifindex: u32) -> Result<Arc<Tap>, LinkError> {
        match self.lock().entry(ifindex) {
            Entry::Occupied(open) => Ok(Arc::clone(&open.get().tap)),
            Entry::Vacant(place) => {
                let tap = Arc::new(Tap::open(ifindex)?);
                let reader = tokio::spawn(Arc::clone(&tap).run(Arc::downgrade(self)));
                place.insert(OpenTap {
                    tap: Arc::clone(&tap),
                    reader: reader.abort_handle(),
                });
                Ok(tap)
            }
        }
    }

    /// Forgets an interface.
    fn close(&self, ifindex: u32, tap: &Arc<Tap>) {
        let mut taps = self.lock();
        if taps
            .get(&ifindex)
            .is_some_and(|open| Arc::ptr_eq(&open.tap, tap))
        {
            taps.remove(&ifindex);
        }
    }

    /// Forgets an interface unless a probe is about to use it. Says whether it did.
    fn close_unused(&self, ifindex: u32, tap: &Arc<Tap>) -> bool {
        let mut taps = self.lock();
        // One handle is here and one the reader's. Probes get theirs here, so none can come
        // meanwhile.
        let is_unused = Arc::strong_count(tap) <= 2;
        if is_unused {
            taps.remove(&ifindex);
        }
        is_unused
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, OpenTap>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
