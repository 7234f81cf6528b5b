//! `/metrics`: the status document in Prometheus' text format (version 0.0.4).

mod document;
mod families;

use std::{fmt, time::Duration};

use axum::body::Bytes;
use prometheus_client::{encoding::prometheus_text, registry::Registry};
use tokio::{sync::Mutex, task::spawn_blocking, time::Instant};

use self::document::Document;
use super::{
    server::{StatusError, StatusSource},
    status::Status,
};

/// What the text is, for who asks.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Those who ask within this time get the same text. With 1,000 backends it has some megabytes: however
/// many clients ask and are slow to read, there are no more than a few at once.
const FRESH: Duration = Duration::from_secs(1);

/// The metrics, made when somebody asks.
#[derive(Debug, Default)]
pub(super) struct Page {
    last: Mutex<Option<(Instant, Bytes)>>,
}

impl Page {
    /// The metrics as they are now, or were within the last second.
    pub(super) async fn get(&self, source: &StatusSource) -> Result<Bytes, MetricsError> {
        // Held while the text is made: who comes meanwhile waits for it and makes none.
        let mut last = self.last.lock().await;
        if let Some((made, text)) = &*last
            && made.elapsed() < FRESH
        {
            return Ok(text.clone());
        }
        let asked = Instant::now();
        let status = source.get().await?;
        // Milliseconds, which probes do not have.
        let text = spawn_blocking(move || render(status))
            .await
            .map_err(|_| MetricsError::Unfit)?
            .map_err(|_| MetricsError::Unfit)?;
        let text = Bytes::from(text);
        *last = Some((asked, text.clone()));
        Ok(text)
    }
}

/// Why there are no metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum MetricsError {
    /// There is no document to make them of.
    #[error(transparent)]
    Status(#[from] StatusError),
    /// The document cannot be written as metrics, which is a fault of the agent.
    #[error("the metrics cannot be written: please report this")]
    Unfit,
}

fn render(status: Status) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("dns_lb");
    registry.register_collector(Box::new(Document(status)));
    let mut text = String::new();
    prometheus_text::encode(&mut text, &registry)?;
    Ok(text)
}

#[cfg(test)]
mod tests;
