//! What operators ask of the running agent: changes to backends, and reloads.

use std::collections::BTreeSet;

use tokio::spawn;
use tracing::{error, warn};

use super::{Running, keeper::Kept};
use crate::{
    admin::{Change, Changed, apply},
    api::{
        Timestamp,
        admin::{AdminCommand, AdminError, AdminReply, AdminRequest, Changes, Peer},
    },
    health::Health,
};

impl Running {
    /// Does what a command asks for, and answers it. One whose asker has gone is left undone.
    pub(super) async fn serve(&mut self, command: AdminCommand) {
        let AdminCommand {
            request,
            peer,
            reply,
        } = command;
        if reply.is_closed() {
            return;
        }
        // An asker that has gone away meanwhile needs no answer.
        match request {
            AdminRequest::Change(change) => match self.change(&change, &peer).await {
                Ok((backends, kept)) => drop(spawn(async move {
                    let warning = match kept {
                        Some(kept) => kept.warning().await,
                        None => None,
                    };
                    reply.send(Ok(AdminReply::Changed(Changes { backends, warning })))
                })),
                Err(error) => drop(reply.send(Err(error))),
            },
            AdminRequest::Reload { dry_run } => {
                let report = self.reload(dry_run).await;
                drop(reply.send(report.map(AdminReply::Reloaded)));
            }
        }
    }

    /// Gives what holds now, and what becomes of it on the disk.
    async fn change(
        &mut self,
        change: &Change,
        peer: &Peer,
    ) -> Result<(Vec<Changed>, Option<Kept>), AdminError> {
        // With the probes not believed, whoever is there serves.
        let opened: BTreeSet<&str> = self
            .config
            .services
            .iter()
            .zip(&self.failed_open)
            .filter(|(_, opened)| **opened)
            .map(|(service, _)| service.name.as_str())
            .collect();
        let usable = |service: &str, backend: &str| {
            let state = self.knowledge.of(service, backend);
            state.is_some_and(|state| {
                (state.health != Health::Down || opened.contains(service))
                    && (state.is_local || state.location.is_some())
            })
        };
        let by = peer.to_string();
        let now = Timestamp::now();
        let (ledger, backends) = apply(&self.ledger, &self.config, usable, change, &by, now)?;
        if !backends.iter().any(|backend| backend.changed) {
            return Ok((backends, None));
        }
        self.ledger = ledger;
        let order = self.replan();
        let kept = self.keeper.keep(self.ledger.clone());
        self.await_written(order).await?;
        Ok((backends, Some(kept)))
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
