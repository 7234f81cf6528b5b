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
    plans: Sender<Plan>,
    results: mpsc::UnboundedReceiver<Result<Applied, DatapathError>>,
    finished: oneshot::Receiver<()>,
}

impl Applier {
    pub(super) fn spawn(writer: Writer, key: HashKey) -> Self {
        let (plans, plan_queue) = channel();
        // At most one result a plan, and the loop that submits plans is the one that takes them.
        let (result_sender, results) = mpsc::unbounded_channel();
        let (finish_sender, finished) = oneshot::channel();
        thread::Builder::new()
            .name("applier".to_owned())
            .spawn(move || {
                apply_all(writer, &key, &plan_queue, &result_sender);
                // Nobody waits if the agent is going down without a goodbye.
                let _ = finish_sender.send(());
            })
            .expect("a thread: without one the agent cannot work at all");
        Self {
            plans,
            results,
            finished,
        }
    }

    /// Hands a plan over. If others are waiting, the latest counts.
    pub(super) fn submit(&self, plan: Plan) {
        // The thread ends only with this sender.
        let _ = self.plans.send(plan);
    }

    /// What became of a plan; `None` if the thread has died.
    pub(super) async fn result(&mut self) -> Option<Result<Applied, DatapathError>> {
        self.results.recv().await
    }

    /// Waits until everything submitted has been written.
    pub(super) async fn finish(self) {
        drop(self.plans);
        let _ = self.finished.await;
    }
}

fn apply_all(
    mut writer: Writer,
    key: &HashKey,
    plans: &Receiver<Plan>,
    results: &mpsc::UnboundedSender<Result<Applied, DatapathError>>,
) {
    while let Ok(plan) = plans.recv() {
        let latest = plans.try_iter().last().unwrap_or(plan);
        if results.send(writer.apply(&latest, key)).is_err() {
            return;
        }
    }
}
