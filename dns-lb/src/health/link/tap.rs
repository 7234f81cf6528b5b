//! One interface: its packet socket, the probes that are under way on it, and the task that reads.

use std::{
    collections::BTreeSet,
    future::poll_fn,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::{
    io::{Interest, unix::AsyncFd},
    task::yield_now,
    time::{Instant, MissedTickBehavior, interval},
};

use super::{
    Taps, Way,
    error::{LinkError, Operation},
    filter, frame,
    mailbox::{Event, Key, Mailboxes, Message, Sent},
    ports::Ports,
    socket::{HeldPort, PacketSocket, Transport},
};
use crate::{health::descriptors::Turns, mac::MacAddress};

/// Octets of the largest frame: what the kernel makes of a row of segments (GRO).
const FRAME: usize = (1 << 16) + 256;

/// Frames that are read before other tasks may run.
const BATCH: usize = 64;

/// Connections at once, each with a port that the filter has to know.
const CONNECTIONS: usize = 512;
const _: () = assert!(CONNECTIONS < filter::LISTED);

/// How often ports are renewed and a gone interface is noticed at the latest.
const UPKEEP: Duration = Duration::from_secs(1);

/// An interface that probes are sent on.
pub(super) struct Tap {
    ifindex: u32,
    socket: AsyncFd<PacketSocket>,
    /// Whose turn it is to open one.
    pub(super) connections: Turns,
    state: Mutex<State>,
}

struct State {
    mailboxes: Mailboxes,
    ports: Ports,
    /// The interface's MAC address, as last asked for.
    own_mac: Option<MacAddress>,
    /// Others that frames are received for.
    foreign_macs: BTreeSet<MacAddress>,
}

impl Tap {
    /// Opens the packet socket. Nobody reads it until [`Tap::run`].
    ///
    /// # Errors
    /// No CAP_NET_RAW, or no such interface.
    pub(super) fn open(ifindex: u32) -> Result<Self, LinkError> {
        let socket = PacketSocket::open(ifindex, &filter::program(&[], &[]))?;
        let own_mac = socket.mac();
        let interest = Interest::READABLE | Interest::ERROR;
        // SAFETY: a packet socket's file is one from open to drop, and the `AsyncFd` keeps it open.
        let socket = unsafe { AsyncFd::register_with_interest(socket, interest) }
            .map_err(|error| Operation::OpenPacketSocket.failed(error.into()))?;
        Ok(Self {
            ifindex,
            socket,
            connections: Turns::new(CONNECTIONS),
            state: Mutex::new(State {
                mailboxes: Mailboxes::default(),
                ports: Ports::new(),
                own_mac,
                foreign_macs: BTreeSet::new(),
            }),
        })
    }

    /// Writes a query by UDP, and opens a mailbox for what comes back.
    ///
    /// # Errors
    /// See [`LinkError`].
    pub(super) fn address_datagram(
        self: &Arc<Self>,
        way: &Way,
        id: u16,
        query: &[u8],
    ) -> Result<(Reservation, Vec<u8>), LinkError> {
        let key = |port| Key {
            local: way.source,
            port,
            message: Message::Udp { id },
        };
        let state = &mut *self.lock();
        self.hear(state, way.source_mac)?;
        let State {
            mailboxes, ports, ..
        } = state;
        let is_free = |port| !mailboxes.is_open(&key(port));
        let (port, changed) = ports.for_datagram(way.source, self.ifindex, is_free)?;
        if changed {
            self.listen(ports)?;
        }
        let query = frame::udp_query(way, port.number, query)?;
        let sent = Sent {
            vip: way.vip,
            checksum: query.checksum,
        };
        let key = key(port.number);
        mailboxes.open(key, sent);
        Ok((self.reservation(key, port), query.frame))
    }

    /// Takes a port for a connection, and opens a mailbox for what comes to it.
    ///
    /// # Errors
    /// See [`LinkError`].
    pub(super) fn reserve_connection(
        self: &Arc<Self>,
        way: &Way,
    ) -> Result<Reservation, LinkError> {
        let state = &mut *self.lock();
        self.hear(state, way.source_mac)?;
        let port = state.ports.for_connection(way.source, self.ifindex)?;
        if let Err(error) = self.listen(&state.ports) {
            state.ports.end_connection(&port);
            return Err(error);
        }
        let key = Key {
            local: way.source,
            port: port.number,
            message: Message::Tcp,
        };
        let sent = Sent {
            vip: way.vip,
            checksum: 0,
        };
        state.mailboxes.open(key, sent);
        Ok(self.reservation(key, port))
    }

    fn reservation(self: &Arc<Self>, key: Key, port: Arc<HeldPort>) -> Reservation {
        Reservation {
            tap: Arc::clone(self),
            key,
            port,
        }
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// The interface is down or gone, its queue is full, or the frame is too long for it.
    pub(super) fn send(&self, frame: &[u8]) -> Result<(), LinkError> {
        let sent = self.socket.get_ref().send(frame);
        sent.map_err(|error| Operation::Send.failed(error))
    }

    /// Has the socket receive frames to a MAC address, if it does not yet.
    fn hear(&self, state: &mut State, mac: MacAddress) -> Result<(), LinkError> {
        if state.own_mac == Some(mac) || state.foreign_macs.contains(&mac) {
            return Ok(());
        }
        // An interface may get a new address at any time.
        let socket = self.socket.get_ref();
        state.own_mac = socket.mac();
        if state.own_mac != Some(mac) {
            socket.join(self.ifindex, mac)?;
            state.foreign_macs.insert(mac);
        }
        Ok(())
    }

    /// Has the socket receive what is for these ports.
    fn listen(&self, ports: &Ports) -> Result<(), LinkError> {
        let program = filter::program(
            &ports.awaited(Transport::Udp),
            &ports.awaited(Transport::Tcp),
        );
        self.socket.get_ref().filter(&program)
    }

    /// Hands what is received to the probes, until the interface is gone or has had no probe for a
    /// while.
    pub(super) async fn run(self: Arc<Self>, taps: Weak<Taps>) {
        let mut buffer = vec![0; FRAME];
        let mut upkeep = interval(UPKEEP);
        upkeep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                ready = self.socket.ready(Interest::READABLE | Interest::ERROR) => {
                    let Ok(mut ready) = ready else { break };
                    if self.read_batch(&mut buffer) {
                        ready.clear_ready();
                    } else {
                        yield_now().await;
                    }
                }
                _ = upkeep.tick() => {
                    let is_gone = self.socket.get_ref().mac().is_none();
                    if is_gone {
                        self.fail(libc::ENODEV);
                        break;
                    }
                    let is_idle = {
                        let state = &mut *self.lock();
                        if state.ports.renew(self.ifindex) && let Err(error) = self.listen(&state.ports) {
                            tracing::warn!(ifindex = self.ifindex, "{error}");
                        }
                        state.ports.is_unused()
                    };
                    if is_idle && taps.upgrade().is_none_or(|taps| taps.close_unused(self.ifindex, &self)) {
                        return;
                    }
                }
            }
        }
        if let Some(taps) = taps.upgrade() {
            taps.close(self.ifindex, &self);
        }
    }

    /// Reads what there is, up to a limit. Says whether all was read.
    fn read_batch(&self, buffer: &mut [u8]) -> bool {
        for _ in 0..BATCH {
            match self.socket.get_ref().receive(buffer) {
                Ok(length) => {
                    let at = Instant::now();
                    let octets = buffer.get(..length).unwrap_or_default();
                    if let Some(received) = frame::read(octets) {
                        self.lock().mailboxes.deliver(&received, at);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The kernel says once that the interface has gone down (ENETDOWN), and then
                // receives again when it comes up.
                Err(error) => self.fail(error.raw_os_error().unwrap_or(libc::EIO)),
            }
        }
        false
    }

    fn fail(&self, errno: i32) {
        self.lock().mailboxes.fail(errno, Instant::now());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Whoever panicked held it for a moment, and left nothing that others could not bear.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A probe's port and mailbox, until dropped.
pub(super) struct Reservation {
    tap: Arc<Tap>,
    key: Key,
    port: Arc<HeldPort>,
}

impl Reservation {
    /// The port that the probe is sent from.
    pub(super) fn port(&self) -> u16 {
        self.port.number
    }

    /// The interface that it is sent on.
    pub(super) fn tap(&self) -> &Tap {
        &self.tap
    }

    /// Waits for what comes for the probe. Nothing is lost if the wait is given up.
    pub(super) async fn next(&self) -> Event {
        poll_fn(|context| self.tap.lock().mailboxes.poll(&self.key, context)).await
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let state = &mut *self.tap.lock();
        state.mailboxes.close(&self.key);
        if self.key.message == Message::Tcp {
            // The filter passes it until it is next replaced; nothing is made of what comes.
            state.ports.end_connection(&self.port);
        }
    }
}
