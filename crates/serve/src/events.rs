//! Server-sent events: the status, whenever it has changed.

use crate::api::{Refusal, Shared, on_disk};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// Time between two looks at the store.
const PERIOD: Duration = Duration::from_secs(1);

/// One listener.
struct Listener {
    shared: Arc<Shared>,
    /// The status that was sent last.
    sent: String,
    _permit: OwnedSemaphorePermit,
}

pub(crate) async fn events(State(shared): State<Arc<Shared>>) -> Result<Response, Refusal> {
    let permit = shared.listeners.clone().try_acquire_owned().map_err(|_| {
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "too many pages are open: close one, or read /api/status")
    })?;
    let listener = Listener { shared, sent: String::new(), _permit: permit };
    let events = stream::unfold(listener, |mut listener| async move {
        let event = listener.next().await;
        Some((Ok::<_, Infallible>(event), listener))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()).into_response())
}

impl Listener {
    /// Waits for the next change.
    async fn next(&mut self) -> Event {
        loop {
            let (kind, text) = match on_disk(&self.shared, |shared| Ok(shared.status()?)).await {
                Ok(status) => ("status", serde_json::to_string(&*status)),
                Err(refusal) => ("failure", serde_json::to_string(&refusal)),
            };
            let text = text.unwrap_or_else(|error| error.to_string());
            let is_new = text != self.sent;
            if is_new {
                self.sent.clone_from(&text);
                return Event::default().event(kind).data(text);
            }
            tokio::time::sleep(PERIOD).await;
        }
    }
}
