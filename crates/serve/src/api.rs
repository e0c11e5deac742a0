//! JSON interface: status, history, collection, and what changes the store.

use crate::access::{Hosts, RateLimit};
use crate::images;
use crate::server::ServerOptions;
use crate::status::Status;
use crate::version_details::DetailsCache;
use crate::{ServeError, Token};
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use fieldfit_durable::read_bounded;
use fieldfit_store::{Store, StoreError};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Age at which a status is read again.
const FRESH: Duration = Duration::from_millis(250);
/// Time between two notes for runtimes that somebody watches.
const WATCH: Duration = Duration::from_secs(5);
/// Listeners to events at a time.
const MOST_LISTENERS: usize = 8;

/// What every request is answered from.
pub(crate) struct Shared {
    pub store: Store,
    pub collection: Option<PathBuf>,
    pub token: Token,
    pub hosts: Hosts,
    pub rate: RateLimit,
    pub listeners: Arc<Semaphore>,
    reading: Mutex<Reading>,
}

/// The last status that was read.
#[derive(Default)]
struct Reading {
    status: Option<(Instant, Arc<Status>)>,
    watched: Option<Instant>,
    details: DetailsCache,
}

impl Shared {
    pub fn new(store: Store, token: Token, hosts: Hosts, options: &ServerOptions) -> Self {
        Self {
            store,
            collection: options.collection.clone(),
            token,
            hosts,
            rate: RateLimit::new(Instant::now()),
            listeners: Arc::new(Semaphore::new(MOST_LISTENERS)),
            reading: Mutex::default(),
        }
    }

    /// Returns the status, read at most a fraction of a second ago, and lets runtimes know that somebody watches.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn status(&self) -> Result<Arc<Status>, StoreError> {
        let mut reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        if reading.watched.is_none_or(|at| at.elapsed() > WATCH) {
            reading.watched = Some(Instant::now());
            if let Err(error) = self.store.watch_runtimes() {
                log::debug!("processes that answer frames do not learn that somebody watches: {error}");
            }
        }
        if let Some((at, status)) = &reading.status
            && at.elapsed() < FRESH
        {
            return Ok(status.clone());
        }
        let status = Arc::new(Status::read(&self.store, self.collection.as_deref(), &mut reading.details)?);
        reading.status = Some((Instant::now(), status.clone()));
        Ok(status)
    }

    /// Forgets the last status, after a change.
    fn forget(&self) {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner).status = None;
    }
}

/// Error of a request, as it is answered.
#[derive(Debug, Serialize)]
pub(crate) struct Refusal {
    #[serde(skip)]
    status: StatusCode,
    error: String,
}

impl Refusal {
    pub fn new(status: StatusCode, error: impl ToString) -> Self {
        Self { status, error: error.to_string() }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(self)).into_response()
    }
}

/// What is wrong with the store is not the request's fault, what it does not allow is.
impl From<ServeError> for Refusal {
    fn from(error: ServeError) -> Self {
        let status = match &error {
            ServeError::Store(StoreError::Unknown { .. }) => StatusCode::NOT_FOUND,
            ServeError::Store(error) if !error.is_unusable_state() => StatusCode::CONFLICT,
            ServeError::Store(_)
            | ServeError::Collection(_)
            | ServeError::Listen { .. }
            | ServeError::Ended(_)
            | ServeError::Token { .. }
            | ServeError::OpenToken { .. }
            | ServeError::MalformedToken { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error)
    }
}

/// Reads or changes files away from the threads that answer.
pub(crate) async fn on_disk<T: Send + 'static>(
    shared: &Arc<Shared>,
    work: impl FnOnce(&Shared) -> Result<T, ServeError> + Send + 'static,
) -> Result<T, Refusal> {
    let shared = shared.clone();
    let done = tokio::task::spawn_blocking(move || work(&shared)).await;
    done.map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error))?.map_err(Refusal::from)
}

pub(crate) async fn status(State(shared): State<Arc<Shared>>) -> Result<Response, Refusal> {
    let status = on_disk(&shared, |shared| Ok(shared.status()?)).await?;
    Ok(Json(&*status).into_response())
}

pub(crate) async fn history(State(shared): State<Arc<Shared>>) -> Result<Response, Refusal> {
    let entries = on_disk(&shared, |shared| Ok(shared.store.history()?)).await?;
    #[derive(Serialize)]
    struct Entry {
        time: u64,
        text: String,
    }
    let entries = entries.into_iter().rev().map(|entry| Entry { time: entry.time, text: entry.change.to_string() });
    Ok(Json(entries.collect::<Vec<_>>()).into_response())
}

pub(crate) async fn collection(State(shared): State<Arc<Shared>>) -> Result<Response, Refusal> {
    let images = on_disk(&shared, |shared| {
        Ok(shared.collection.as_deref().map(images::newest).transpose()?.unwrap_or_default())
    });
    Ok(Json(images.await?).into_response())
}

pub(crate) async fn image(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Result<Response, Refusal> {
    let missing = || Refusal::new(StatusCode::NOT_FOUND, "the collection has no such image that a browser shows");
    let found = on_disk(&shared, move |shared| {
        let Some(collection) = shared.collection.as_deref() else { return Ok(None) };
        let Some((path, kind)) = images::file(collection, &id)? else { return Ok(None) };
        // It may have been evicted since.
        Ok(read_bounded(&path, images::MOST_BYTES).ok().map(|bytes| (bytes, kind)))
    });
    let (bytes, kind) = found.await?.ok_or_else(missing)?;
    Ok(([(header::CONTENT_TYPE, kind)], bytes).into_response())
}

/// Body of a request about a version.
#[derive(Deserialize)]
struct OfVersion {
    version: u32,
}

/// Result of a change: the active version.
#[derive(Serialize)]
struct Active {
    active: Option<u32>,
}

pub(crate) async fn confirm(State(shared): State<Arc<Shared>>, body: Bytes) -> Result<Response, Refusal> {
    let version = version_of(&body)?;
    change(&shared, move |store| store.confirm(version)).await
}

pub(crate) async fn activate(State(shared): State<Arc<Shared>>, body: Bytes) -> Result<Response, Refusal> {
    let version = version_of(&body)?;
    change(&shared, move |store| store.activate(version)).await
}

pub(crate) async fn rollback(State(shared): State<Arc<Shared>>) -> Result<Response, Refusal> {
    change(&shared, |store| store.rollback().map(drop)).await
}

pub(crate) async fn pause(State(shared): State<Arc<Shared>>) -> Result<Response, Refusal> {
    change(&shared, |store| store.pause_adaptation(true)).await
}

pub(crate) async fn resume(State(shared): State<Arc<Shared>>) -> Result<Response, Refusal> {
    change(&shared, |store| store.pause_adaptation(false)).await
}

fn version_of(body: &[u8]) -> Result<u32, Refusal> {
    let parsed: Result<OfVersion, _> = serde_json::from_slice(body);
    parsed.map(|of| of.version).map_err(|error| {
        Refusal::new(StatusCode::BAD_REQUEST, format!(r#"the body is not as {{"version":3}}: {error}"#))
    })
}

async fn change(
    shared: &Arc<Shared>,
    work: impl FnOnce(&Store) -> Result<(), StoreError> + Send + 'static,
) -> Result<Response, Refusal> {
    let active = on_disk(shared, move |shared| {
        let done = work(&shared.store);
        shared.forget();
        done?;
        Ok(shared.store.active()?)
    });
    Ok(Json(Active { active: active.await? }).into_response())
}
