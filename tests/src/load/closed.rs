//! The load generator that goes as fast as answers come: so many queries are on their way at any time.

use std::{
    net::{Ipv4Addr, UdpSocket},
    os::fd::AsFd as _,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use nix::{
    errno::Errno,
    sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
};

use crate::{dns, node::Node};

/// How long a query is waited for. After that it is lost, and the next is sent.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);

/// How often lost queries are looked for.
const LOOK: Duration = Duration::from_millis(100);

/// A query that has waited so long when the load ends is lost as well.
const OVERDUE: Duration = Duration::from_millis(250);

/// A running load. Dropping it ends it.
pub struct ClosedLoad {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<u64>>>,
}

#[derive(Default)]
struct Shared {
    answered: AtomicU64,
    stop: AtomicBool,
}

/// A socket, and the query that is on its way from it.
struct Asker {
    socket: UdpSocket,
    query: Vec<u8>,
    sent: Instant,
}

impl ClosedLoad {
    /// Has one thread of a host ask for the identity from so many sockets, each of which sends its next
    /// query as soon as the last is answered. Sockets take these servers in turn, and stay with theirs.
    ///
    /// # Errors
    /// No socket or epoll instance is to be had, or a server cannot be reached from the host.
    pub fn start(node: &Node, servers: &[Ipv4Addr], sockets: usize) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let mut askers = Vec::with_capacity(sockets);
        for (number, server) in (0..sockets).zip(servers.iter().cycle().copied()) {
            let socket = node.run(move || connect(server))?;
            let event = EpollEvent::new(EpollFlags::EPOLLIN, number as u64);
            epoll.add(socket.as_fd(), event)?;
            askers.push(Asker {
                socket,
                query: dns::identity_query(number as u16),
                sent: Instant::now(),
            });
        }
        let thread_shared = Arc::clone(&shared);
        let thread = node.thread(move || thread_shared.ask(&epoll, &mut askers));
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Queries answered so far.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::Acquire)
    }

    /// Ends it, and returns how many queries were lost.
    ///
    /// # Errors
    /// Waiting for answers failed.
    pub fn stop(mut self) -> Result<u64> {
        self.shared.stop.store(true, Ordering::Release);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(lost)) => lost,
            _ => Err(anyhow!("the thread of the load generator panicked")),
        }
    }
}

impl Drop for ClosedLoad {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
    }
}

impl Shared {
    fn ask(&self, epoll: &Epoll, askers: &mut [Asker]) -> Result<u64> {
        askers.iter_mut().for_each(Asker::ask);
        let mut events = [EpollEvent::empty(); 64];
        let tick = EpollTimeout::from(20_u8);
        let (mut lost, mut looked) = (0, Instant::now());
        while !self.stop.load(Ordering::Acquire) {
            let ready = match epoll.wait(&mut events, tick) {
                Ok(ready) => ready,
                Err(Errno::EINTR) => 0,
                Err(error) => return Err(error).context("waiting for answers"),
            };
            let mut answered = 0;
            for event in &events[..ready] {
                let asker = usize::try_from(event.data()).ok();
                if let Some(asker) = asker.and_then(|place| askers.get_mut(place))
                    && asker.is_answered()
                {
                    answered += 1;
                    asker.ask();
                }
            }
            self.answered.fetch_add(answered, Ordering::Release);
            if looked.elapsed() > LOOK {
                looked = Instant::now();
                for asker in &mut *askers {
                    if asker.sent.elapsed() > ANSWER_LIMIT {
                        lost += 1;
                        asker.ask();
                    }
                }
            }
        }
        let overdue = askers.iter().filter(|it| it.sent.elapsed() > OVERDUE);
        Ok(lost + overdue.count() as u64)
    }
}

impl Asker {
    /// Sends a query of another id than the last.
    fn ask(&mut self) {
        if let [high, low, ..] = &mut self.query[..] {
            let id = u16::from_be_bytes([*high, *low]).wrapping_add(1);
            [*high, *low] = id.to_be_bytes();
        }
        self.sent = Instant::now();
        // What cannot be sent is lost, as any client's would be.
        let _ = self.socket.send(&self.query);
    }

    /// Whether what has come is a positive answer to the query. It is looked at no closer: that the servers
    /// say what they should is for tests to see, and here it would cost more than all that is measured.
    fn is_answered(&self) -> bool {
        const RESPONSE: u8 = 0x80;
        const RESPONSE_CODE: u8 = 0x0f;
        let mut octets = [0; 512];
        let Ok(length) = self.socket.recv(&mut octets) else {
            return false; // Nothing any more, or an ICMP error for an earlier query.
        };
        octets[..length].starts_with(&self.query[..2])
            && length > self.query.len()
            && octets[2] & RESPONSE != 0
            && octets[3] & RESPONSE_CODE == 0
    }
}

fn connect(server: Ipv4Addr) -> Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).context("taking a source port")?;
    socket.connect((server, dns::PORT))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}
