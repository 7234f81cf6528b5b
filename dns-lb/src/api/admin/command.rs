//! What the socket's server and the agent's loop say to each other.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::admin::{Change, Changed, Refusal};

/// Commands that may wait for the agent.
const QUEUE: usize = 16;
/// Until the agent must have made a change, and the disk must have it.
const CHANGE_DEADLINE: Duration = Duration::from_secs(5);
/// Until the agent must have reloaded.
const RELOAD_DEADLINE: Duration = Duration::from_secs(10);

/// A command for the agent. One who no longer waits has closed `reply`; a command that is not begun by
/// then is best forgotten.
#[derive(Debug)]
pub struct AdminCommand {
    /// What is asked for.
    pub request: AdminRequest,
    /// Who asks.
    pub peer: Peer,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Result<AdminReply, AdminError>>,
}

/// What an operator asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminRequest {
    /// To change what is set on backends.
    Change(Change),
    /// To read the configuration again.
    Reload {
        /// Only to say what would change.
        dry_run: bool,
    },
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminReply {
    /// Backends were changed.
    Changed(Changes),
    /// The configuration was read.
    Reloaded(ReloadReport),
}

/// What holds after a change; the answer to `POST /change`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// The backends that were named, in their order, and what holds for them.
    pub backends: Vec<Changed>,
    /// What the operator should know beside: that it will not outlive the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// What a reload changes, or would.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadReport {
    /// One line a difference; none if the file says what holds already.
    pub changes: Vec<String>,
    /// What the operator should know beside, one line each.
    pub warnings: Vec<String>,
    /// Whether the changes are made; not on a dry run.
    pub applied: bool,
    /// How often the tables have been rewritten since the maps were made.
    pub generation: u64,
}

/// Why nothing was done. The text is for the operator; it may have several lines.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// The change is not one that can be made.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The file cannot be read or is not valid: every fault, on a line of its own.
    #[error("{0}")]
    BadConfiguration(String),
    /// The file is valid, but cannot hold as things are now.
    #[error("{0}")]
    Impossible(String),
    /// The agent tried and could not.
    #[error("{0}")]
    Failed(String),
}

/// Who is at the other end of the socket, by the word of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Number of the user.
    pub uid: u32,
    /// Number of the user's group.
    pub gid: u32,
    /// The process, if it is in sight.
    pub pid: Option<i32>,
    /// Name of the user, if the host's own files have one.
    pub user: Option<String>,
}

/// As the ledger keeps it: `uid 1000 (alice), pid 42`.
impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "uid {}", self.uid)?;
        if let Some(user) = &self.user {
            write!(f, " ({user})")?;
        }
        if let Some(pid) = self.pid {
            write!(f, ", pid {pid}")?;
        }
        Ok(())
    }
}

/// Where the server takes its commands to.
#[derive(Clone, Debug)]
pub struct AdminSource {
    commands: mpsc::Sender<AdminCommand>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// The agent did not answer in time.
    #[error(
        "the agent did not answer within {0:?} and may yet do it: look at `dns-lb status`, and try again"
    )]
    Busy(Duration),
    /// The agent takes no more commands.
    #[error("the agent is stopping")]
    Stopping,
}

impl AdminSource {
    /// A source, and the commands that the agent must serve.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<AdminCommand>) {
        let (commands, served) = mpsc::channel(QUEUE);
        (Self { commands }, served)
    }

    /// Has the agent do something.
    ///
    /// # Errors
    /// The agent is busy or stopping; within that, why it does not do it.
    pub async fn ask(
        &self,
        request: AdminRequest,
        peer: Peer,
    ) -> Result<Result<AdminReply, AdminError>, Unanswered> {
        let deadline = match request {
            AdminRequest::Change(_) => CHANGE_DEADLINE,
            AdminRequest::Reload { .. } => RELOAD_DEADLINE,
        };
        let ask = async {
            let (reply, answer) = oneshot::channel();
            let command = AdminCommand {
                request,
                peer,
                reply,
            };
            self.commands
                .send(command)
                .await
                .map_err(|_| Unanswered::Stopping)?;
            answer.await.map_err(|_| Unanswered::Stopping)
        };
        timeout(deadline, ask)
            .await
            .unwrap_or(Err(Unanswered::Busy(deadline)))
    }
}
