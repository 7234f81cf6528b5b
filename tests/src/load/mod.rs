//! The load generator: so many queries a second, answered or not.
//!
//! Open loop: queries leave on time whatever comes back, so a server that stalls costs as many
//! queries as clients would have sent meanwhile. One thread sends, one receives. [`ClosedLoad`] is the
//! other kind, which finds out how much there is to be had.

mod closed;
mod ledger;
mod report;

use std::{
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    ops::RangeInclusive,
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use nix::{
    errno::Errno,
    sys::{
        epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
        resource::{Resource, getrlimit, setrlimit},
    },
};

pub use self::closed::ClosedLoad;
use self::ledger::Ledger;
pub use self::report::{LossWindow, Query, Report, Tally};
use crate::{dns, node::Node};

/// How long after it was sent a query may be answered; after that it is lost.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// The source ports of the queries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ports {
    /// A new one for each query, of the kernel's choice.
    Fresh,
    /// One for all.
    Fixed,
    /// These, one query each; then the load ends.
    Each(RangeInclusive<u16>),
}

/// A running load. Dropping it ends it.
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Result<()>>>,
}

/// What both threads work on.
struct Shared {
    target: SocketAddrV4,
    /// The socket of [`Ports::Fixed`].
    fixed: Option<UdpSocket>,
    epoll: Epoll,
    ledger: Ledger,
    stop: AtomicBool,
    /// Set when the sender has sent its last query.
    sent_all: AtomicBool,
}

/// What stands for the fixed socket in epoll's events; other sockets have the number of their query.
const FIXED: u64 = u64::MAX;

impl Load {
    /// Starts to ask `server` for its identity, `rate` times a second, from a host.
    ///
    /// # Errors
    /// No socket or epoll instance is to be had.
    pub fn start(node: &Node, server: Ipv4Addr, rate: u32, ports: Ports) -> Result<Self> {
        // A socket for each query on its way: more than the usual limit when servers are silent.
        let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, most, most)?;

        let fixed = match ports {
            Ports::Fixed => Some(node.run(|| open(0))?),
            Ports::Fresh | Ports::Each(_) => None,
        };
        let shared = Arc::new(Shared {
            fixed,
            target: SocketAddrV4::new(server, dns::PORT),
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            ledger: Ledger::new(),
            stop: AtomicBool::new(false),
            sent_all: AtomicBool::new(false),
        });
        let sender = Arc::clone(&shared);
        let receiver = Arc::clone(&shared);
        let sender = node.thread(move || {
            let result = sender.send(rate, ports);
            sender.sent_all.store(true, Ordering::Release);
            result
        });
        let receiver = thread::spawn(move || receiver.receive());
        Ok(Self {
            shared,
            threads: vec![sender, receiver],
        })
    }

    /// What has happened to the queries sent since `since`, so far.
    #[must_use]
    pub fn tally(&self, since: Instant) -> Tally {
        self.shared.ledger.report_since(since).tally()
    }

    /// Stops sending, waits for the answers on their way, and reports.
    ///
    /// # Errors
    /// A socket failed.
    pub fn stop(self) -> Result<Report> {
        self.shared.stop.store(true, Ordering::Release);
        self.join()
    }

    /// Waits until all ports of [`Ports::Each`] have had their query, and reports.
    ///
    /// # Errors
    /// A socket failed.
    pub fn join(mut self) -> Result<Report> {
        for thread in self.threads.drain(..) {
            thread
                .join()
                .map_err(|_| anyhow!("a thread of the load generator panicked"))??;
        }
        Ok(self.shared.ledger.report())
    }

    /// Sends for so long, then stops and reports.
    ///
    /// # Errors
    /// A socket failed.
    pub fn run_for(self, duration: Duration) -> Result<Report> {
        thread::sleep(duration);
        self.stop()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
    }
}

impl Shared {
    fn send(&self, rate: u32, ports: Ports) -> Result<()> {
        let mut ports: Box<dyn Iterator<Item = u16>> = match ports {
            Ports::Each(range) => Box::new(range),
            Ports::Fresh | Ports::Fixed => Box::new(std::iter::repeat(0)),
        };
        if let Some(socket) = &self.fixed {
            self.watch(socket, FIXED)?;
        }
        self.pace(rate, |number| {
            let Some(port) = ports.next() else {
                return Ok(false);
            };
            if let Some(socket) = &self.fixed {
                self.transmit(socket, self.ledger.enter(None));
            } else {
                let socket = Arc::new(open(port)?);
                self.watch(&socket, number)?;
                self.transmit(&socket, self.ledger.enter(Some(Arc::clone(&socket))));
            }
            Ok(true)
        })
    }

    /// Calls `send` with 0, 1, 2, … at that rate until it returns false or the load is stopped.
    fn pace(&self, rate: u32, mut send: impl FnMut(u64) -> Result<bool>) -> Result<()> {
        let start = Instant::now();
        for number in 0.. {
            if self.stop.load(Ordering::Acquire) || !send(number)? {
                break;
            }
            // Deadlines count from the start: a late query does not put off those after it.
            let next = start + Duration::from_secs(number + 1) / rate;
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        Ok(())
    }

    fn watch(&self, socket: &UdpSocket, data: u64) -> Result<()> {
        let event = EpollEvent::new(EpollFlags::EPOLLIN, data);
        Ok(self.epoll.add(socket.as_fd(), event)?)
    }

    fn transmit(&self, socket: &UdpSocket, id: u16) {
        // A full queue or a missing route loses the query here, as it would a client's.
        let _ = socket.send_to(&dns::identity_query(id), self.target);
    }

    fn receive(&self) -> Result<()> {
        let mut events = [EpollEvent::empty(); 64];
        let tick = EpollTimeout::from(20_u8);
        // Nothing is on its way any more when the sender had finished before the last look.
        loop {
            let finished = self.sent_all.load(Ordering::Acquire);
            if self.ledger.give_up() == 0 && finished {
                return Ok(());
            }
            let ready = match self.epoll.wait(&mut events, tick) {
                Ok(ready) => ready,
                Err(Errno::EINTR) => 0,
                Err(error) => return Err(error).context("waiting for answers"),
            };
            for event in &events[..ready] {
                if event.data() == FIXED {
                    self.fixed.iter().for_each(|socket| self.read(socket, None));
                } else if let Some(socket) = self.ledger.socket(event.data()) {
                    self.read(&socket, Some(event.data()));
                }
            }
        }
    }

    /// Takes all datagrams that wait at a socket.
    fn read(&self, socket: &UdpSocket, number: Option<u64>) {
        let mut octets = [0; 512];
        while let Ok((length, source)) = socket.recv_from(&mut octets) {
            let answered = Instant::now();
            if source == self.target.into()
                && let Some((id, identity)) = dns::identity_reply(&octets[..length])
            {
                self.ledger.answer(number, id, answered, &identity);
            }
        }
    }
}

fn open(port: u16) -> Result<UdpSocket> {
    // Not connected: a refusal (ICMP) then costs no more than the query that it answers.
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))
        .with_context(|| format!("taking source port {port}"))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}
