//! The HTTP server: `/status` and `/livez`, for reading only.
//!
//! Its clients may be slow, many or hostile and do no harm: a connection carries one request, its
//! headers must come soon, its whole life is short, and there are only so many at once; when more
//! come, the oldest must go.

use std::{collections::VecDeque, future::Future, io, pin::pin, time::Duration};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep, sleep_until, timeout},
};
use tracing::{debug, warn};

use super::status::Status;

/// Connections at once. Well below the 1,024 descriptors that a process commonly has.
const MAX_CONNECTIONS: usize = 256;
/// Until a request's headers must be there.
const HEADER_DEADLINE: Duration = Duration::from_secs(2);
/// Until a connection must be over, the reading of the answer included.
const CONNECTION_DEADLINE: Duration = Duration::from_secs(10);
/// What the oldest connection has at least when others wait for its place. An honest request takes
/// a millisecond.
const PATIENCE_WHEN_FULL: Duration = Duration::from_millis(100);
/// Octets of a request's headers; hyper wants no less.
const HEADER_SIZE: usize = 8_192;
/// Until the agent must have made a document.
const STATUS_DEADLINE: Duration = Duration::from_secs(1);
/// Until connections must be over once the server is told to stop.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(1);
/// Requests that may wait for the agent.
const STATUS_QUEUE: usize = 16;

/// Asks the agent for a status document. One who no longer waits has closed `reply`.
#[derive(Debug)]
pub struct StatusRequest {
    /// Where the document goes.
    pub reply: oneshot::Sender<Status>,
}

/// Where the server gets its documents from: each is made by the agent when it is asked for.
#[derive(Clone, Debug)]
pub struct StatusSource {
    requests: mpsc::Sender<StatusRequest>,
}

/// Why there is no document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatusError {
    /// The agent did not answer within a second.
    #[error("the agent is busy: try again")]
    Busy,
    /// The agent takes no more requests.
    #[error("the agent is stopping")]
    Stopping,
}

impl StatusSource {
    /// A source, and the requests that the agent must serve.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<StatusRequest>) {
        let (requests, served) = mpsc::channel(STATUS_QUEUE);
        (Self { requests }, served)
    }

    /// The state of things now.
    ///
    /// # Errors
    /// The agent is busy or stopping.
    pub async fn get(&self) -> Result<Status, StatusError> {
        let ask = async {
            let (reply, document) = oneshot::channel();
            self.requests
                .send(StatusRequest { reply })
                .await
                .map_err(|_| StatusError::Stopping)?;
            document.await.map_err(|_| StatusError::Stopping)
        };
        timeout(STATUS_DEADLINE, ask)
            .await
            .unwrap_or(Err(StatusError::Busy))
    }
}

/// Serves until `shutdown` is there, then gives open connections a second.
pub async fn serve(
    listener: TcpListener,
    source: StatusSource,
    shutdown: impl Future<Output = ()>,
) {
    let router = router(source);
    let mut tasks = JoinSet::new();
    // The oldest first.
    let mut open: VecDeque<Connection> = VecDeque::new();
    let mut shutdown = pin!(shutdown);
    loop {
        open.retain(|connection| !connection.task.is_finished());
        let is_full = open.len() >= MAX_CONNECTIONS;
        let oldest = open
            .front()
            .map_or_else(Instant::now, |oldest| oldest.since);
        tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept(), if !is_full => match accepted {
                Ok((stream, _)) => open.push_back(Connection {
                    since: Instant::now(),
                    task: tasks.spawn(serve_connection(stream, router.clone())),
                }),
                Err(error) => {
                    let pause = pause_after(&error);
                    tokio::select! {
                        () = &mut shutdown => break,
                        () = sleep(pause) => {}
                    }
                }
            },
            Some(_) = tasks.join_next() => {}
            () = sleep_until(oldest + PATIENCE_WHEN_FULL), if is_full => {
                if let Some(oldest) = open.pop_front() {
                    oldest.task.abort();
                }
            }
        }
    }
    drop(listener);
    let rest = async { while tasks.join_next().await.is_some() {} };
    if timeout(SHUTDOWN_DEADLINE, rest).await.is_err() {
        debug!(
            left = tasks.len(),
            "closing HTTP connections that are not over"
        );
    }
}

/// A connection that has been accepted.
struct Connection {
    since: Instant,
    task: AbortHandle,
}

/// How long to wait after a connection that could not be accepted: not at all where the client is
/// the cause, else until descriptors or memory may have become free.
fn pause_after(error: &io::Error) -> Duration {
    match error.kind() {
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset => Duration::ZERO,
        _ => {
            warn!(%error, "cannot accept an HTTP connection");
            Duration::from_millis(100)
        }
    }
}

async fn serve_connection(stream: TcpStream, router: Router) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_DEADLINE)
        .max_buf_size(HEADER_SIZE)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    match timeout(CONNECTION_DEADLINE, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "HTTP connection failed"),
        Err(_) => debug!("HTTP connection took too long"),
    }
}

fn router(source: StatusSource) -> Router {
    Router::new()
        .route("/status", get(status))
        .route("/livez", get(async || "ok\n"))
        .fallback(async || {
            (
                StatusCode::NOT_FOUND,
                "not found: there are /status and /livez\n",
            )
        })
        .method_not_allowed_fallback(async || {
            (
                StatusCode::METHOD_NOT_ALLOWED,
                "method not allowed: GET is\n",
            )
        })
        .with_state(source)
}

async fn status(State(source): State<StatusSource>) -> Response {
    let no_store = [(header::CACHE_CONTROL, "no-store")];
    match source.get().await {
        Ok(document) => (no_store, Json(document)).into_response(),
        Err(error) => {
            let text = format!("{error}\n");
            (StatusCode::SERVICE_UNAVAILABLE, no_store, text).into_response()
        }
    }
}

#[cfg(test)]
mod tests;
