//! HTTP connections, whatever they come in by.
//!
//! Clients may be slow, many or hostile and do no harm: a connection carries one request, its
//! headers must come soon, its whole life is short, and there are only so many at once; when more
//! come, the oldest must go.

use std::{collections::VecDeque, future::Future, io, pin::pin, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep, sleep_until, timeout},
};
use tracing::{debug, warn};

/// Until a request's headers must be there.
pub(super) const HEADER_DEADLINE: Duration = Duration::from_secs(2);
/// Octets of a request's headers; hyper wants no less.
pub(super) const HEADER_SIZE: usize = 8_192;
/// Until connections must be over once the server is told to stop.
pub(super) const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(1);
/// What the oldest connection has at least when others wait for its place. An honest request takes
/// a millisecond.
const PATIENCE_WHEN_FULL: Duration = Duration::from_millis(100);

/// What a server grants to its clients.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Connections at once.
    pub(super) connections: usize,
    /// Until a connection must be over, the reading of the answer included.
    pub(super) deadline: Duration,
}

/// What connections come in by.
pub(super) trait Listener {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    async fn accept(&self) -> io::Result<Self::Stream>;
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<TcpStream> {
        let (stream, _) = TcpListener::accept(self).await?;
        Ok(stream)
    }
}

/// Serves until `shutdown` is there, then gives open connections a second. `router` says what a
/// client may ask for; one that it fails for is sent away.
pub(super) async fn serve<L: Listener>(
    listener: L,
    limits: Limits,
    router: impl Fn(&L::Stream) -> io::Result<Router>,
    shutdown: impl Future<Output = ()>,
) {
    let mut tasks = JoinSet::new();
    // The oldest first.
    let mut open: VecDeque<Connection> = VecDeque::new();
    let mut shutdown = pin!(shutdown);
    loop {
        open.retain(|connection| !connection.task.is_finished());
        let is_full = open.len() >= limits.connections;
        let oldest = open
            .front()
            .map_or_else(Instant::now, |oldest| oldest.since);
        tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept(), if !is_full => match accepted {
                Ok(stream) => match router(&stream) {
                    Ok(router) => open.push_back(Connection {
                        since: Instant::now(),
                        task: tasks.spawn(serve_connection(stream, router, limits.deadline)),
                    }),
                    Err(error) => debug!(%error, "HTTP client of no known identity"),
                },
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

/// Serves one connection until it is over, which it is at the deadline.
pub(super) async fn serve_connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    deadline: Duration,
) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_DEADLINE)
        .max_buf_size(HEADER_SIZE)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    match timeout(deadline, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "HTTP connection failed"),
        Err(_) => debug!("HTTP connection took too long"),
    }
}
