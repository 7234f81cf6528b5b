//! A thread that owns the maps, so that waiting for the kernel delays nothing else.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Instant,
};

use dns_lb_common::HashKey;
use tokio::sync::{mpsc, oneshot};

use crate::{
    datapath::DatapathError,
    steer::{Applied, Plan, Writer},
};

/// The way to the thread that writes the maps.
pub(super) struct Applier {
    desk: Arc<Desk>,
    results: mpsc::UnboundedReceiver<Written>,
    finished: oneshot::Receiver<Writer>,
    /// The number of the last order.
    submitted: u64,
    /// The number of the last order that something has become of.
    written: u64,
}

/// Where the thread finds what to do.
#[derive(Default)]
struct Desk {
    next: Mutex<Next>,
    changed: Condvar,
}

#[derive(Default)]
struct Next {
    /// The last order: those before it that were not begun are of no use any more.
    order: Option<Order>,
    is_closed: bool,
}

/// What the maps are to say.
struct Order {
    number: u64,
    given: Instant,
    plan: Plan,
    key: HashKey,
}

/// What became of an order, and of all before it.
pub(super) struct Written {
    pub(super) number: u64,
    pub(super) result: Result<Applied, DatapathError>,
}

impl Applier {
    pub(super) fn spawn(writer: Writer) -> Self {
        let desk = Arc::new(Desk::default());
        // At most one result an order, and the loop that gives orders is the one that takes results.
        let (result_sender, results) = mpsc::unbounded_channel();
        let (finish_sender, finished) = oneshot::channel();
        let watched = Arc::clone(&desk);
        thread::Builder::new()
            .name("applier".to_owned())
            .spawn(move || {
                let writer = apply_all(writer, &watched, &result_sender);
                // Nobody waits if the agent is going down without a goodbye.
                let _ = finish_sender.send(writer);
            })
            .expect("a thread: without one the agent cannot work at all");
        Self {
            desk,
            results,
            finished,
            submitted: 0,
            written: 0,
        }
    }

    /// Whether it is at work on the last order, so that what changes meanwhile may as well wait. While the
    /// order is only waiting, another can still take its place.
    pub(super) fn is_busy(&self) -> bool {
        self.written < self.submitted && self.desk.next().order.is_none()
    }

    /// Hands a plan over, and gives the order's number. If another is waiting, the later counts.
    pub(super) fn submit(&mut self, plan: Plan, key: HashKey) -> u64 {
        self.submitted += 1;
        self.desk.next().order = Some(Order {
            number: self.submitted,
            given: Instant::now(),
            plan,
            key,
        });
        self.desk.changed.notify_one();
        self.submitted
    }

    /// What became of an order; `None` if the thread has died.
    pub(super) async fn result(&mut self) -> Option<Written> {
        let written = self.results.recv().await?;
        self.written = written.number;
        Some(written)
    }

    /// Waits until everything ordered has been written, and no packet goes by what was before, and gives
    /// the maps back; `None` if the thread has died. Nothing is written any more until another is spawned.
    pub(super) async fn pause(&mut self) -> Option<Writer> {
        self.desk.close();
        (&mut self.finished).await.ok()
    }
}

impl Drop for Applier {
    fn drop(&mut self) {
        self.desk.close();
    }
}

impl Desk {
    fn next(&self) -> MutexGuard<'_, Next> {
        // Nothing that holds it can panic half-way through a change.
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        self.next().is_closed = true;
        self.changed.notify_one();
    }

    /// The next order; `None` when there will be none any more.
    fn wait(&self) -> Option<Order> {
        let mut next = self.next();
        loop {
            if let Some(order) = next.order.take() {
                return Some(order);
            }
            if next.is_closed {
                return None;
            }
            next = self
                .changed
                .wait(next)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn apply_all(mut writer: Writer, desk: &Desk, results: &mpsc::UnboundedSender<Written>) -> Writer {
    loop {
        // Now, while nobody waits for it. On a busy host it takes up to seconds, and the next order may be
        // about a server's death.
        writer.await_readers();
        let Some(order) = desk.wait() else {
            break;
        };
        let mut result = writer.apply(&order.plan, &order.key);
        if let Ok(Applied {
            took: Some(took), ..
        }) = &mut result
        {
            // With what it has waited for.
            *took = order.given.elapsed();
        }
        let number = order.number;
        if results.send(Written { number, result }).is_err() {
            break;
        }
    }
    writer
}
