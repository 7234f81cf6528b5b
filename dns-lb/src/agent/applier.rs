//! A thread that owns the maps, so that waiting for the kernel delays nothing else.

use std::{
    sync::mpsc::{Receiver, Sender, channel},
    thread,
};

use dns_lb_common::HashKey;
use tokio::sync::{mpsc, oneshot};

use crate::{
    datapath::DatapathError,
    steer::{Applied, Plan, Writer},
};

/// The way to the thread that writes the maps.
pub(super) struct Applier {
    orders: Sender<Order>,
    results: mpsc::UnboundedReceiver<Written>,
    finished: oneshot::Receiver<Writer>,
    /// The number of the last order.
    submitted: u64,
}

/// What the maps are to say.
struct Order {
    number: u64,
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
        let (orders, order_queue) = channel();
        // At most one result an order, and the loop that gives orders is the one that takes results.
        let (result_sender, results) = mpsc::unbounded_channel();
        let (finish_sender, finished) = oneshot::channel();
        thread::Builder::new()
            .name("applier".to_owned())
            .spawn(move || {
                let writer = apply_all(writer, &order_queue, &result_sender);
                // Nobody waits if the agent is going down without a goodbye.
                let _ = finish_sender.send(writer);
            })
            .expect("a thread: without one the agent cannot work at all");
        Self {
            orders,
            results,
            finished,
            submitted: 0,
        }
    }

    /// Hands a plan over, and gives the order's number. If others are waiting, the latest counts.
    pub(super) fn submit(&mut self, plan: Plan, key: HashKey) -> u64 {
        self.submitted += 1;
        // The thread ends only with this sender.
        let _ = self.orders.send(Order {
            number: self.submitted,
            plan,
            key,
        });
        self.submitted
    }

    /// What became of an order; `None` if the thread has died.
    pub(super) async fn result(&mut self) -> Option<Written> {
        self.results.recv().await
    }

    /// Waits until everything ordered has been written, and gives the maps back; `None` if the
    /// thread has died. Nothing is written any more until another is spawned.
    pub(super) async fn pause(&mut self) -> Option<Writer> {
        // The thread ends when nobody can give orders.
        (self.orders, _) = channel();
        (&mut self.finished).await.ok()
    }
}

fn apply_all(
    mut writer: Writer,
    orders: &Receiver<Order>,
    results: &mpsc::UnboundedSender<Written>,
) -> Writer {
    while let Ok(order) = orders.recv() {
        let Order { number, plan, key } = orders.try_iter().last().unwrap_or(order);
        let result = writer.apply(&plan, &key);
        if results.send(Written { number, result }).is_err() {
            break;
        }
    }
    writer
}
