//! Which queries are on their way, and what became of the others.

use std::{
    collections::VecDeque,
    net::UdpSocket,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use super::{
    ANSWER_LIMIT,
    report::{Answer, Query, Report},
};

/// The books of one load, shared by its two threads and by who watches.
///
/// Query number `n` has the id `first_id + n`, modulo 65,536: far more than are ever on their way.
pub(super) struct Ledger {
    first_id: u16,
    books: Mutex<Books>,
}

#[derive(Default)]
struct Books {
    report: Report,
    /// The last queries of the report, from the oldest that may still be answered.
    pending: VecDeque<Pending>,
}

enum Pending {
    /// On its way; with its socket, unless all queries share one.
    Open(Option<Arc<UdpSocket>>),
    Answered,
}

impl Books {
    /// Number of the first pending query.
    fn first_pending(&self) -> u64 {
        (self.report.queries.len() - self.pending.len()) as u64
    }
}

impl Ledger {
    pub(super) fn new() -> Self {
        Self {
            first_id: rand::random(),
            books: Mutex::default(),
        }
    }

    /// Enters a query that is about to be sent, and returns its id.
    pub(super) fn enter(&self, socket: Option<Arc<UdpSocket>>) -> u16 {
        let mut books = self.lock();
        let number = books.report.queries.len() as u64;
        books.pending.push_back(Pending::Open(socket));
        books.report.queries.push(Query {
            sent: Instant::now(),
            answer: None,
        });
        self.id(number)
    }

    /// The socket of a query that is on its way.
    pub(super) fn socket(&self, number: u64) -> Option<Arc<UdpSocket>> {
        let books = self.lock();
        let place = number.checked_sub(books.first_pending())?;
        match books.pending.get(usize::try_from(place).ok()?)? {
            Pending::Open(socket) => socket.clone(),
            Pending::Answered => None,
        }
    }

    /// Enters the first answer to a query. What answers no open query is ignored, and so is what
    /// came to another query's socket.
    pub(super) fn answer(&self, socket: Option<u64>, id: u16, at: Instant, identity: &str) {
        let mut books = self.lock();
        let first = books.first_pending();
        let place = id.wrapping_sub(self.id(first));
        let number = first + u64::from(place);
        if socket.is_some_and(|owner| owner != number) {
            return;
        }
        let Some(pending) = books.pending.get_mut(usize::from(place)) else {
            return;
        };
        if matches!(pending, Pending::Answered) {
            return;
        }
        *pending = Pending::Answered;
        let place = books.report.queries.len() - books.pending.len() + usize::from(place);
        let by = books.report.identity(identity);
        let query = &mut books.report.queries[place];
        query.answer = Some(Answer {
            after: at.saturating_duration_since(query.sent),
            by,
        });
    }

    /// Gives up queries that have waited too long, and returns how many are still pending.
    pub(super) fn give_up(&self) -> usize {
        let mut books = self.lock();
        while let Some(pending) = books.pending.front() {
            let place = books.report.queries.len() - books.pending.len();
            let late = books.report.queries[place].sent.elapsed() > ANSWER_LIMIT;
            if !late && matches!(pending, Pending::Open(_)) {
                break;
            }
            books.pending.pop_front();
        }
        books.pending.len()
    }

    /// What has happened so far to the queries sent since `since`.
    pub(super) fn report_since(&self, since: Instant) -> Report {
        self.lock().report.between(since..Instant::now())
    }

    /// What has happened so far to all queries.
    pub(super) fn report(&self) -> Report {
        self.lock().report.clone()
    }

    /// The id of a query, by its number.
    const fn id(&self, number: u64) -> u16 {
        self.first_id.wrapping_add(number as u16)
    }

    fn lock(&self) -> MutexGuard<'_, Books> {
        // The books are in order after each statement, so a panic elsewhere does not spoil them.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
