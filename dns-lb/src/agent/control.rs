//! What operators ask of the running agent: changes to backends, and reloads.

use tokio::task::spawn_blocking;
use tracing::{error, warn};

use super::Running;
use crate::{
    admin::{Change, apply},
    api::{
        Timestamp,
        admin::{AdminCommand, AdminError, AdminReply, AdminRequest, Changes, Peer},
    },
    health::Health,
};

impl Running {
    /// Does what a command asks for, and answers it. One whose asker has gone is left undone.
    pub(super) async fn serve(&mut self, command: AdminCommand) {
        if command.reply.is_closed() {
            return;
        }
        let answer = match command.request {
            AdminRequest::Change(change) => self.change(&change, &command.peer).await,
            AdminRequest::Reload { dry_run } => {
                self.reload(dry_run).await.map(AdminReply::Reloaded)
            }
        };
        // An asker that has gone away meanwhile needs no answer.
        let _ = command.reply.send(answer);
    }

    async fn change(&mut self, change: &Change, peer: &Peer) -> Result<AdminReply, AdminError> {
        let usable = |service: &str, backend: &str| {
            let state = self.knowledge.of(service, backend);
            state.is_some_and(|state| {
                state.health != Health::Down && (state.is_local || state.location.is_some())
            })
        };
        let by = peer.to_string();
        let now = Timestamp::now();
        let (ledger, backends) = apply(&self.ledger, &self.config, usable, change, &by, now)?;
        if !backends.iter().any(|backend| backend.changed) {
            return Ok(AdminReply::Changed(Changes {
                backends,
                warning: None,
            }));
        }
        self.ledger = ledger;
        let order = self.replan();
        // On the disk while the maps are being written.
        let warning = self.keep_ledger().await.err();
        self.await_written(order).await?;
        Ok(AdminReply::Changed(Changes { backends, warning }))
    }

    /// Waits until the maps say what was ordered.
    pub(super) async fn await_written(&mut self, order: u64) -> Result<(), AdminError> {
        loop {
            let Some(written) = self.applier.result().await else {
                let text = "the thread that writes the maps has died";
                return Err(AdminError::Failed(text.to_owned()));
            };
            let number = written.number;
            let result = self.take_in(written.result);
            if number >= order {
                return result.map_err(|error| {
                    let text = format!("not yet in force, and tried again: {error}");
                    AdminError::Failed(text)
                });
            }
        }
    }

    /// Has the next start know what operators have set.
    ///
    /// # Errors
    ///
    /// Says that it will not. What is set holds all the same: an operator who drains a server has a
    /// reason that a full disk does not outweigh.
    pub(super) async fn keep_ledger(&self) -> Result<(), String> {
        let (store, ledger) = (self.store.clone(), self.ledger.clone());
        let error = match spawn_blocking(move || store.save(&ledger)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        error!(error, "what operators have set holds until the agent ends");
        Err(format!("it holds until the agent ends: {error}"))
    }

    /// What SIGHUP asks for.
    pub(super) async fn reload_by_signal(&mut self) {
        match self.reload(false).await {
            Ok(report) => report
                .warnings
                .iter()
                .for_each(|text| warn!(text, "reload")),
            Err(error) => {
                for line in error.to_string().lines() {
                    error!(line, "not reloaded: everything stays as it was");
                }
            }
        }
    }
}
