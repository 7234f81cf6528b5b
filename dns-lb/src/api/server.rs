//! The HTTP server: `/status` and `/livez`, for reading only.

use std::{future::Future, time::Duration};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{
    connections::{self, Limits},
    status::Status,
};

/// Well below the 1,024 descriptors that a process commonly has.
const LIMITS: Limits = Limits {
    connections: 256,
    deadline: Duration::from_secs(10),
};
/// Until the agent must have made a document.
const STATUS_DEADLINE: Duration = Duration::from_secs(1);
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
    connections::serve(listener, LIMITS, |_| Ok(router.clone()), shutdown).await;
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
