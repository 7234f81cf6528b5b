//! The admin socket: what may change something comes in here and nowhere else.
//!
//! HTTP on a Unix socket: `POST /change`, `POST /reload`, `GET /status`, all in JSON. Who may write to
//! the socket may command; the kernel says who that is, and each command is logged with it. The
//! agent's loop gets commands over a channel and answers each.

pub(crate) mod accounts;
mod command;
mod socket;

use std::{fmt, future::Future, io, time::Duration};

use axum::{
    Extension, Json, Router,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::UnixStream,
    task::spawn_blocking,
    time::timeout,
};
use tracing::{info, warn};

pub use self::{
    command::{
        AdminCommand, AdminError, AdminReply, AdminRequest, AdminSource, Changes, Peer,
        ReloadReport, Unanswered,
    },
    socket::{AdminSocket, SocketError},
};
use super::{
    connections::{self, Limits},
    server::StatusSource,
    status::Status,
};
use crate::admin::Change;

/// Few command. The deadline leaves room for headers, body, and the longest answer.
const LIMITS: Limits = Limits {
    connections: 32,
    deadline: Duration::from_secs(15),
};
/// Octets of a request's body.
const BODY_SIZE: usize = 64 * 1024;
/// Until a request's body must be there.
const BODY_DEADLINE: Duration = Duration::from_secs(2);
/// Characters of a text that a client sent and an answer repeats.
const REPEATED: usize = 300;

/// The body of `POST /reload`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reload {
    /// Only say what would change.
    #[serde(default)]
    pub dry_run: bool,
}

/// Every answer that is not what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorReport {
    /// What is wrong, and what to do; every fault of a configuration on a line of its own.
    pub error: String,
}

/// Serves until `shutdown` is there, then gives open connections a second. The socket's file goes
/// first.
pub async fn serve(
    socket: AdminSocket,
    status: StatusSource,
    commands: AdminSource,
    shutdown: impl Future<Output = ()>,
) {
    let router = router(status, commands);
    let identified = |stream: &UnixStream| -> io::Result<Router> {
        let credentials = stream.peer_cred()?;
        let peer = Peer {
            uid: credentials.uid(),
            gid: credentials.gid(),
            pid: credentials.pid(),
            user: None,
        };
        Ok(router.clone().layer(Extension(peer)))
    };
    connections::serve(socket, LIMITS, identified, shutdown).await;
}

/// Serves one connection as [`serve`] does with each, whatever it comes by; `peer` is who is at its
/// other end. Over after 15 s at the latest.
pub async fn serve_connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    status: StatusSource,
    commands: AdminSource,
) {
    let router = router(status, commands).layer(Extension(peer));
    connections::serve_connection(stream, router, LIMITS.deadline).await;
}

fn router(status: StatusSource, commands: AdminSource) -> Router {
    Router::new()
        .route("/change", post(change))
        .route("/reload", post(reload))
        .with_state(commands)
        .route("/status", get(give_status).with_state(status))
        .fallback(async || {
            let text = "not found: there are POST /change, POST /reload and GET /status";
            Failure::new(StatusCode::NOT_FOUND, text)
        })
        .method_not_allowed_fallback(async || {
            let text = "method not allowed: POST is for /change and /reload, GET for /status";
            Failure::new(StatusCode::METHOD_NOT_ALLOWED, text)
        })
}

async fn change(
    State(commands): State<AdminSource>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Changes>, Failure> {
    let change: Change = read(&headers, body).await?;
    let asked = change.to_string();
    match command(&commands, AdminRequest::Change(change), peer, &asked).await? {
        AdminReply::Changed(changes) => Ok(Json(changes)),
        AdminReply::Reloaded(_) => Err(Failure::confused()),
    }
}

async fn reload(
    State(commands): State<AdminSource>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<ReloadReport>, Failure> {
    let Reload { dry_run } = read(&headers, body).await?;
    let asked = if dry_run { "dry reload" } else { "reload" };
    match command(&commands, AdminRequest::Reload { dry_run }, peer, asked).await? {
        AdminReply::Reloaded(report) => Ok(Json(report)),
        AdminReply::Changed(_) => Err(Failure::confused()),
    }
}

async fn give_status(State(source): State<StatusSource>) -> Result<Json<Status>, Failure> {
    let unavailable =
        |error: super::server::StatusError| Failure::new(StatusCode::SERVICE_UNAVAILABLE, error);
    source.get().await.map(Json).map_err(unavailable)
}

/// Has the agent do something, and logs who asked and what became of it.
async fn command(
    commands: &AdminSource,
    request: AdminRequest,
    mut peer: Peer,
    asked: &str,
) -> Result<AdminReply, Failure> {
    // A file is read for the name. Without one the number must do.
    let uid = peer.uid;
    let name = spawn_blocking(move || accounts::user_name(uid)).await;
    peer.user = name.unwrap_or_default();
    let by = peer.to_string();
    let failure = match commands.ask(request, peer).await {
        Ok(Ok(reply)) => {
            info!(by, command = asked, "done for an operator");
            return Ok(reply);
        }
        Ok(Err(error)) => Failure::new(code_of(&error), error),
        Err(unanswered) => Failure::new(StatusCode::SERVICE_UNAVAILABLE, unanswered),
    };
    // One line of the log, however many faults a configuration has.
    let reason = failure.text.replace('\n', "; ");
    warn!(by, command = asked, reason, "not done for an operator");
    Err(failure)
}

/// The body as a document, if it comes whole, soon, and not too large.
async fn read<T: DeserializeOwned>(headers: &HeaderMap, body: Body) -> Result<T, Failure> {
    let too_large = || {
        let text = format!("the body must not be larger than {BODY_SIZE} octets");
        Failure::new(StatusCode::PAYLOAD_TOO_LARGE, text)
    };
    let bad = |text: String| Failure::new(StatusCode::BAD_REQUEST, text);
    let announced = headers.get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > BODY_SIZE as u64) {
        return Err(too_large());
    }
    let collect = async {
        let mut octets = Vec::new();
        let mut chunks = body.into_data_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|_| bad("the body is broken off".to_owned()))?;
            if octets.len() + chunk.len() > BODY_SIZE {
                return Err(too_large());
            }
            octets.extend_from_slice(&chunk);
        }
        Ok(octets)
    };
    let octets = timeout(BODY_DEADLINE, collect)
        .await
        .unwrap_or_else(|_| Err(bad(format!("the body must come within {BODY_DEADLINE:?}"))))?;
    serde_json::from_slice(&octets).map_err(|error| {
        // It may quote what the client sent.
        let text = error.to_string();
        let text: String = text.escape_debug().take(REPEATED).collect();
        bad(format!("the body is not what is wanted here: {text}"))
    })
}

fn code_of(error: &AdminError) -> StatusCode {
    use crate::admin::Refusal;
    match error {
        AdminError::Refused(refusal) => match refusal {
            Refusal::NothingSelected | Refusal::WhichService { .. } => StatusCode::BAD_REQUEST,
            Refusal::NoSuchService { .. } | Refusal::NoSuchBackend { .. } => StatusCode::NOT_FOUND,
            Refusal::WouldLeaveNone { .. } => StatusCode::CONFLICT,
        },
        AdminError::BadConfiguration(_) => StatusCode::BAD_REQUEST,
        AdminError::Impossible(_) => StatusCode::CONFLICT,
        AdminError::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// An answer that is not what was asked for.
struct Failure {
    code: StatusCode,
    text: String,
}

impl Failure {
    fn new(code: StatusCode, text: impl fmt::Display) -> Self {
        Self {
            code,
            text: text.to_string(),
        }
    }

    /// The agent answered another question.
    fn confused() -> Self {
        let text = "the agent gave an answer of the wrong kind; this is a bug";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, text)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.code, Json(ErrorReport { error: self.text })).into_response()
    }
}

#[cfg(test)]
mod tests;
