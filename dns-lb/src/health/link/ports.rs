//! The ports that probes of one interface are sent from.
//!
//! Datagrams share a few ports of each source address, which are replaced one after the other; a
//! connection has a port for itself. A port that is done with is held a while longer, since the
//! kernel would refuse what comes late.

use std::{
    collections::{HashMap, VecDeque},
    io::ErrorKind,
    mem,
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::{
    error::{LinkError, Operation},
    socket::{HeldPort, Transport},
};

/// Ports that the datagrams of a source address are sent from.
const POOL: usize = 32;

/// How long the ports of a source address are held, and a packet socket is open, that no probe
/// uses.
const IDLE: Duration = Duration::from_secs(60);

/// How long after its last probe a port is held for late replies. A resolver that has to ask others
/// may take longer, but then a stray ICMP error is all.
const UDP_LINGER: Duration = Duration::from_secs(5);
/// As long as a peer that did not get our reset is likely to send a segment again.
const TCP_LINGER: Duration = Duration::from_secs(2);

/// Ports that are held for late replies at most: each is an open file.
const LINGERING: usize = 256;

/// The ports of one interface.
#[derive(Debug)]
pub(super) struct Ports {
    last_used: Instant,
    pools: HashMap<IpAddr, Pool>,
    connections: Vec<Arc<HeldPort>>,
    /// Those that are done with, of either kind, and until when they are held.
    lingering: VecDeque<Lingering>,
}

#[derive(Debug)]
struct Pool {
    ports: Vec<Arc<HeldPort>>,
    /// The place of the one to be replaced next, which is the oldest.
    oldest: usize,
    last_used: Instant,
}

#[derive(Debug)]
struct Lingering {
    port: Arc<HeldPort>,
    transport: Transport,
    until: Instant,
}

impl Ports {
    /// None yet.
    pub(super) fn new() -> Self {
        Self {
            last_used: Instant::now(),
            pools: HashMap::new(),
            connections: Vec::new(),
            lingering: VecDeque::new(),
        }
    }

    /// A port for a datagram from this address: a random one of those that the caller may use.
    /// Says too whether the ports to be listened to have changed.
    ///
    /// # Errors
    /// Not an address of this host, or no port or file is left, or the caller may use none.
    pub(super) fn for_datagram(
        &mut self,
        source: IpAddr,
        ifindex: u32,
        may_use: impl Fn(u16) -> bool,
    ) -> Result<(Arc<HeldPort>, bool), LinkError> {
        let now = Instant::now();
        self.last_used = now;
        let is_new = !self.pools.contains_key(&source);
        if is_new {
            let take = |_| HeldPort::take(Transport::Udp, source, ifindex).map(Arc::new);
            let pool = Pool {
                ports: (0..POOL).map(take).collect::<Result<_, _>>()?,
                oldest: 0,
                last_used: now,
            };
            self.pools.insert(source, pool);
        }
        let chosen = self.pools.get_mut(&source).and_then(|pool| {
            pool.last_used = now;
            let (before, after) = pool.ports.split_at(rand::random_range(0..pool.ports.len()));
            let mut candidates = after.iter().chain(before);
            candidates.find(|port| may_use(port.number)).cloned()
        });
        match chosen {
            Some(port) => Ok((port, is_new)),
            // The same id is under way from every port.
            None => Err(Operation::HoldPort.failed(ErrorKind::AddrInUse.into())),
        }
    }

    /// A port for a connection from this address, until [`Ports::end_connection`].
    ///
    /// # Errors
    /// Not an address of this host, or no port or file is left.
    pub(super) fn for_connection(
        &mut self,
        source: IpAddr,
        ifindex: u32,
    ) -> Result<Arc<HeldPort>, LinkError> {
        self.last_used = Instant::now();
        let port = Arc::new(HeldPort::take(Transport::Tcp, source, ifindex)?);
        self.connections.push(Arc::clone(&port));
        Ok(port)
    }

    /// Holds a connection's port only for what comes late.
    pub(super) fn end_connection(&mut self, port: &Arc<HeldPort>) {
        let place = self
            .connections
            .iter()
            .position(|other| Arc::ptr_eq(other, port));
        if let Some(place) = place {
            let port = self.connections.swap_remove(place);
            self.let_linger(port, Transport::Tcp, Instant::now());
        }
    }

    /// To be called about once a second: replaces a port of each source address, so that none can
    /// be learnt and used for long, and lets go of what is of no more use, and of addresses that
    /// this host has lost. Says whether the ports to be listened to have changed.
    pub(super) fn renew(&mut self, ifindex: u32) -> bool {
        let now = Instant::now();
        let mut changed = false;
        let mut replaced = Vec::new();
        self.pools.retain(|_, pool| {
            let is_used = now - pool.last_used < IDLE;
            changed |= !is_used;
            is_used
        });
        self.pools.retain(|source, pool| {
            match HeldPort::take(Transport::Udp, *source, ifindex) {
                Ok(fresh) => {
                    let old = &mut pool.ports[pool.oldest];
                    replaced.push(mem::replace(old, Arc::new(fresh)));
                    pool.oldest = (pool.oldest + 1) % pool.ports.len();
                    true
                }
                // The next probe from this address shall fail for it, rather than get no reply.
                Err(LinkError { error, .. }) if error.kind() == ErrorKind::AddrNotAvailable => {
                    changed = true;
                    false
                }
                // For want of files, say. The old one serves on.
                Err(_) => true,
            }
        });
        changed |= !replaced.is_empty();
        for port in replaced {
            self.let_linger(port, Transport::Udp, now);
        }
        self.lingering
            .retain(|Lingering { port, until, .. }| *until > now || is_awaited(port));
        changed
    }

    fn let_linger(&mut self, port: Arc<HeldPort>, transport: Transport, now: Instant) {
        let linger = match transport {
            Transport::Udp => UDP_LINGER,
            Transport::Tcp => TCP_LINGER,
        };
        self.lingering.push_back(Lingering {
            port,
            transport,
            until: now + linger,
        });
        if self.lingering.len() > LINGERING {
            // A probe that still waits at it holds it.
            self.lingering.pop_front();
        }
    }

    /// Whether there has been no probe for so long that nothing needs to be open.
    pub(super) fn is_unused(&self) -> bool {
        self.pools.is_empty() && self.connections.is_empty() && self.last_used.elapsed() >= IDLE
    }

    /// The ports that replies may be awaited at. Lingering ones have no probe any more, but for
    /// datagrams that were sent before their port was replaced.
    pub(super) fn awaited(&self, transport: Transport) -> Vec<u16> {
        let pools = self.pools.values().flat_map(|pool| &pool.ports);
        let current: Vec<_> = match transport {
            Transport::Udp => pools.collect(),
            Transport::Tcp => self.connections.iter().collect(),
        };
        let lingering = self
            .lingering
            .iter()
            .filter(|lingering| lingering.transport == transport && is_awaited(&lingering.port));
        let ports = current
            .into_iter()
            .chain(lingering.map(|lingering| &lingering.port));
        ports.map(|port| port.number).collect()
    }
}

/// Whether a probe holds a lingering port too.
fn is_awaited(port: &Arc<HeldPort>) -> bool {
    Arc::strong_count(port) > 1
}

#[cfg(test)]
mod tests;
