//! A thread that keeps what operators have set on the disk, so that a slow disk delays nothing else.

use std::{
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::Duration,
};

use tokio::{sync::oneshot, time::timeout};
use tracing::error;

use crate::admin::{Ledger, Store};

/// How long an answer waits for the disk.
const PATIENCE: Duration = Duration::from_secs(3);

/// The way to the thread. Ledgers are kept in their order.
pub(super) struct Keeper {
    ledgers: Sender<Task>,
}

/// A ledger to be kept, and whom to tell if it could not be.
struct Task {
    ledger: Ledger,
    failed: oneshot::Sender<Result<(), String>>,
}

/// What becomes of a ledger.
pub(super) struct Kept(oneshot::Receiver<Result<(), String>>);

impl Keeper {
    pub(super) fn spawn(store: Store) -> Self {
        let (ledgers, tasks) = channel();
        thread::Builder::new()
            .name("keeper".to_owned())
            .spawn(move || keep_all(&store, &tasks))
            .expect("a thread: without one the agent cannot work at all");
        Self { ledgers }
    }

    /// Has the next start know what operators have set.
    pub(super) fn keep(&self, ledger: Ledger) -> Kept {
        let (failed, kept) = oneshot::channel();
        // The thread ends only with this sender.
        let _ = self.ledgers.send(Task { ledger, failed });
        Kept(kept)
    }
}

impl Kept {
    /// Why the next start may not know; `None` if it will. What is set holds all the same: an
    /// operator who drains a server has a reason that a full disk does not outweigh.
    pub(super) async fn warning(self) -> Option<String> {
        let error = match timeout(PATIENCE, self.0).await {
            Ok(Ok(Ok(()))) => return None,
            Ok(Ok(Err(error))) => error,
            Ok(Err(_)) => "the thread that keeps it has died".to_owned(),
            Err(_) => format!("the disk has not taken it within {PATIENCE:?}"),
        };
        Some(format!("it may hold only until the agent ends: {error}"))
    }
}

fn keep_all(store: &Store, tasks: &Receiver<Task>) {
    while let Ok(Task { ledger, failed }) = tasks.recv() {
        let result = store.save(&ledger).map_err(|error| {
            error!(%error, "what operators have set holds until the agent ends");
            error.to_string()
        });
        // Nobody may be waiting for the disk any more.
        let _ = failed.send(result);
    }
}
