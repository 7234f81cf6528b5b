//! Connections that last: DNS over TCP, a query a second on each.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};

use crate::{dns::Conversation, node::Node};

/// Between two queries of a connection.
const PACE: Duration = Duration::from_secs(1);

/// Connections that one thread sees to. They wait for one another's answers.
const THREADFUL: usize = 50;

/// For a connection, and for an answer, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(5);

/// How it goes with a connection.
#[derive(Clone, Debug)]
pub struct Talk {
    /// Whom it has reached.
    pub identity: String,
    /// Queries answered, the first included.
    pub answered: usize,
    /// What is wrong with it, if anything: it is broken, or another has answered. It then asks no
    /// more.
    pub failure: Option<String>,
}

/// Connections that are open and talk.
pub struct Talks {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    talks: Mutex<Vec<Talk>>,
    stop: AtomicBool,
}

impl Talks {
    /// Opens so many connections to a server, spread over these hosts, and starts to talk on them.
    ///
    /// # Errors
    /// Not every connection opens, or gets a first answer, within 5 s.
    pub fn open(clients: &[Node], server: Ipv4Addr, count: usize) -> Result<Self> {
        ensure!(!clients.is_empty(), "there is no host to connect from");
        let shared = Arc::new(Shared::default());
        let (opened, all_open) = mpsc::channel();
        let firsts = (0..count).step_by(THREADFUL);
        let threads = firsts.zip(clients.iter().cycle()).map(|(first, client)| {
            let (shared, opened) = (Arc::clone(&shared), opened.clone());
            let count = THREADFUL.min(count - first);
            client.thread(move || {
                let conversations = shared.open(server, count);
                let result = conversations
                    .as_ref()
                    .map(drop)
                    .map_err(|error| anyhow!("{error:#}"));
                // Whoever waited for it may have seen another fail, and gone.
                let _ = opened.send(result);
                drop(opened);
                if let Ok(conversations) = conversations {
                    shared.talk(conversations);
                }
            })
        });
        let talks = Self {
            threads: threads.collect(),
            shared,
        };
        drop(opened);
        for result in all_open {
            result?;
        }
        Ok(talks)
    }

    /// How it goes with each.
    #[must_use]
    pub fn so_far(&self) -> Vec<Talk> {
        self.shared.lock().clone()
    }

    /// Number of connections by whom they have reached.
    #[must_use]
    pub fn reached(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for talk in self.shared.lock().iter() {
            *counts.entry(talk.identity.clone()).or_default() += 1;
        }
        counts
    }

    /// Asks once more on each, closes them all, and tells how it went.
    ///
    /// # Errors
    /// A thread panicked.
    pub fn stop(mut self) -> Result<Vec<Talk>> {
        self.shared.stop.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            thread
                .join()
                .map_err(|_| anyhow!("a thread that talks panicked"))?;
        }
        Ok(self.so_far())
    }
}

impl Drop for Talks {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            // Its panic has been printed, and who drops it has given up on it already.
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// Connections, each with its place in the list.
    fn open(&self, server: Ipv4Addr, count: usize) -> Result<Vec<(usize, Conversation)>> {
        let open_one = || {
            let mut conversation = Conversation::open(server, PATIENCE)?;
            let identity = conversation.ask().context("no first answer")?;
            let mut talks = self.lock();
            talks.push(Talk {
                identity,
                answered: 1,
                failure: None,
            });
            Ok((talks.len() - 1, conversation))
        };
        (0..count).map(|_| open_one()).collect()
    }

    /// Asks on one after the other, on each once a second, and after the end once more on all.
    fn talk(&self, mut conversations: Vec<(usize, Conversation)>) {
        let start = Instant::now();
        for round in 0.. {
            let is_last = self.stop.load(Ordering::Acquire);
            let share = PACE / u32::try_from(conversations.len().max(1)).unwrap_or(u32::MAX);
            let mut due = start + PACE * round;
            conversations.retain_mut(|(place, conversation)| {
                if !self.stop.load(Ordering::Acquire) {
                    thread::sleep(due.saturating_duration_since(Instant::now()));
                }
                due += share;
                self.ask(*place, conversation)
            });
            if is_last || conversations.is_empty() {
                return;
            }
        }
    }

    /// Asks once. False: it is no good any more.
    fn ask(&self, place: usize, conversation: &mut Conversation) -> bool {
        let answer = conversation.ask();
        let talk = &mut self.lock()[place];
        match answer {
            Ok(identity) if identity == talk.identity => talk.answered += 1,
            Ok(identity) => talk.failure = Some(format!("answered by {identity}")),
            Err(error) => talk.failure = Some(format!("{error:#}")),
        }
        talk.failure.is_none()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Talk>> {
        // The list is in order after each statement, so a panic elsewhere does not spoil it.
        self.talks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
