//! The HTTP server, for reading only: the page at `/`, `/status`, `/history`, `/metrics`, `/livez` and
//! `/readyz`.

use std::{future::Future, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{StatusCode, header},
    middleware,
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
    history::{BackendHistory, History},
    metrics::{self, MetricsError},
    page,
    readiness::Unready,
    rebinding,
    status::Status,
};

/// Well below the 1,024 descriptors that a process commonly has.
const LIMITS: Limits = Limits {
    connections: 256,
    deadline: Duration::from_secs(10),
};
/// Until the agent must have made a document.
const STATUS_DEADLINE: Duration = Duration::from_secs(1);
/// Requests that may wait where the agent takes them. It answers all of these at one go, and with 1,000
/// backends each takes it milliseconds, which probes do not have. The others wait for a place here.
const STATUS_QUEUE: usize = 1;

/// Asks the agent for a document. One who no longer waits has closed the channel that it goes to.
#[derive(Debug)]
pub enum StatusRequest {
    /// How things are now.
    Status(oneshot::Sender<Status>),
    /// The rates of everything.
    History(oneshot::Sender<History>),
    /// What has been of one backend.
    Backend {
        /// Its service.
        service: String,
        /// Its name.
        backend: String,
        /// Where the document goes; `None` if there is no such backend.
        reply: oneshot::Sender<Option<BackendHistory>>,
    },
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
        self.ask(StatusRequest::Status).await
    }

    /// The rates of everything.
    ///
    /// # Errors
    /// The agent is busy or stopping.
    pub async fn history(&self) -> Result<History, StatusError> {
        self.ask(StatusRequest::History).await
    }

    /// What has been of one backend; `None` if there is none of that name.
    ///
    /// # Errors
    /// The agent is busy or stopping.
    pub async fn backend_history(
        &self,
        service: String,
        backend: String,
    ) -> Result<Option<BackendHistory>, StatusError> {
        self.ask(|reply| StatusRequest::Backend {
            service,
            backend,
            reply,
        })
        .await
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> StatusRequest,
    ) -> Result<T, StatusError> {
        let ask = async {
            let (reply, document) = oneshot::channel();
            self.requests
                .send(request(reply))
                .await
                .map_err(|_| StatusError::Stopping)?;
            document.await.map_err(|_| StatusError::Stopping)
        };
        timeout(STATUS_DEADLINE, ask)
            .await
            .unwrap_or(Err(StatusError::Busy))
    }
}

/// Serves until `shutdown` is there, then gives open connections a second. On loopback, only requests
/// for this host.
pub async fn serve(
    listener: TcpListener,
    source: StatusSource,
    shutdown: impl Future<Output = ()>,
) {
    let mut router = router(source);
    let address = listener.local_addr();
    if address.is_ok_and(|address| address.ip().to_canonical().is_loopback()) {
        router = router.layer(middleware::from_fn(rebinding::refuse));
    }
    connections::serve(listener, LIMITS, |_| Ok(router.clone()), shutdown).await;
}

/// An answer is about now, and nobody is to keep it.
const NO_STORE: [(header::HeaderName, &str); 1] = [(header::CACHE_CONTROL, "no-store")];

fn router(source: StatusSource) -> Router {
    let page = Arc::new(metrics::Page::default());
    let metrics =
        move |State(source): State<StatusSource>| async move { metrics(&page, &source).await };
    Router::new()
        .route("/status", get(status))
        .route("/history", get(history))
        .route("/history/{service}/{backend}", get(backend_history))
        .route("/metrics", get(metrics))
        .route("/livez", get(async || (NO_STORE, "ok\n")))
        .route("/readyz", get(readyz))
        .route("/readyz/{service}", get(readyz_of))
        .merge(page::routes())
        .fallback(async || {
            (
                StatusCode::NOT_FOUND,
                "not found: there are /, /status, /history, /metrics, /livez and /readyz
",
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
    match source.get().await {
        Ok(document) => (NO_STORE, Json(document)).into_response(),
        Err(error) => unavailable(error),
    }
}

async fn history(State(source): State<StatusSource>) -> Response {
    match source.history().await {
        Ok(document) => (NO_STORE, Json(document)).into_response(),
        Err(error) => unavailable(error),
    }
}

async fn backend_history(
    State(source): State<StatusSource>,
    Path((service, backend)): Path<(String, String)>,
) -> Response {
    match source.backend_history(service, backend).await {
        Ok(Some(document)) => (NO_STORE, Json(document)).into_response(),
        Ok(None) => {
            let text = "not found: no service has such a backend\n";
            (StatusCode::NOT_FOUND, NO_STORE, text).into_response()
        }
        Err(error) => unavailable(error),
    }
}

async fn metrics(page: &metrics::Page, source: &StatusSource) -> Response {
    match page.get(source).await {
        Ok(text) => {
            let content_type = [(header::CONTENT_TYPE, metrics::CONTENT_TYPE)];
            (NO_STORE, content_type, text).into_response()
        }
        Err(MetricsError::Status(error)) => unavailable(error),
        Err(error @ MetricsError::Unfit) => {
            let text = format!("{error}\n");
            (StatusCode::INTERNAL_SERVER_ERROR, NO_STORE, text).into_response()
        }
    }
}

async fn readyz(State(source): State<StatusSource>) -> Response {
    match source.get().await {
        Ok(status) => ready_unless(&Unready::reasons(&status)),
        Err(error) => unavailable(error),
    }
}

async fn readyz_of(State(source): State<StatusSource>, Path(service): Path<String>) -> Response {
    let status = match source.get().await {
        Ok(status) => status,
        Err(error) => return unavailable(error),
    };
    match Unready::reasons_of(&status, &service) {
        Some(reasons) => ready_unless(&reasons),
        None => {
            let text = "not found: there is no service of this name\n";
            (StatusCode::NOT_FOUND, NO_STORE, text).into_response()
        }
    }
}

/// One reason a line, if it is not.
fn ready_unless(reasons: &[Unready]) -> Response {
    if reasons.is_empty() {
        return (NO_STORE, "ready\n").into_response();
    }
    let text: String = reasons.iter().map(|reason| format!("{reason}\n")).collect();
    (StatusCode::SERVICE_UNAVAILABLE, NO_STORE, text).into_response()
}

fn unavailable(error: StatusError) -> Response {
    let text = format!("{error}\n");
    (StatusCode::SERVICE_UNAVAILABLE, NO_STORE, text).into_response()
}

#[cfg(test)]
mod tests;
