//! Server: listens, and answers until it is stopped.

use crate::access::{self, Hosts, MOST_BODY};
use crate::api::{self, Shared};
use crate::connection::{BoundedListener, MOST_CONNECTIONS, SILENCE};
use crate::events::events;
use crate::metrics::metrics;
use crate::{ServeError, Token};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::response::Html;
use axum::routing::{get, post};
use fieldfit_store::Store;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::runtime::Runtime;
use tokio::sync::{Notify, Semaphore};

/// The page: one file.
const PAGE: &str = include_str!("page.html");
/// Threads that read and write files.
const DISK_THREADS: usize = 4;

/// Options of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerOptions {
    /// Address that is listened at; the port 0 takes a free one. By default `127.0.0.1:7878`, which no other machine reaches.
    pub listen: SocketAddr,
    /// Further names of this machine that the page is opened under.
    pub hosts: Vec<String>,
    /// Collection of images that is shown.
    pub collection: Option<PathBuf>,
}

impl ServerOptions {
    /// Sets the address that is listened at.
    #[must_use]
    pub const fn with_listen(mut self, address: SocketAddr) -> Self {
        self.listen = address;
        self
    }

    /// Sets further names of this machine.
    #[must_use]
    pub fn with_hosts(mut self, hosts: Vec<String>) -> Self {
        self.hosts = hosts;
        self
    }

    /// Sets the collection.
    #[must_use]
    pub fn with_collection(mut self, collection: Option<PathBuf>) -> Self {
        self.collection = collection;
        self
    }
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self { listen: (Ipv4Addr::LOCALHOST, 7878).into(), hosts: Vec::new(), collection: None }
    }
}

/// Server of a store's page, listening.
pub struct Server {
    runtime: Runtime,
    listener: tokio::net::TcpListener,
    address: SocketAddr,
    shared: Arc<Shared>,
    stopped: Arc<Notify>,
}

/// Stops a server from another thread, or from a signal's.
#[derive(Clone)]
pub struct Stopper(Arc<Notify>);

impl Stopper {
    /// Ends [`Server::run`].
    pub fn stop(&self) {
        self.0.notify_one();
    }
}

impl Server {
    /// Listens, and creates the store's token if there is none. Nothing is answered before [`run`](Self::run).
    ///
    /// # Errors
    /// [`ServeError::Listen`], or those of [`Token::of_store`].
    pub fn bind(store: Store, options: ServerOptions) -> Result<Self, ServeError> {
        let token = Token::of_store(store.path())?;
        let failed = |source| ServeError::Listen { address: options.listen, source };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(DISK_THREADS)
            .thread_name("fieldfit-serve")
            .build()
            .map_err(failed)?;
        let listener = TcpListener::bind(options.listen).map_err(failed)?;
        let (address, listener) =
            (listener.local_addr().map_err(failed)?, tokio_listener(&runtime, listener).map_err(failed)?);
        let hosts = Hosts::new(address, options.hosts.clone());
        let shared = Arc::new(Shared::new(store, token, hosts, &options));
        Ok(Self { runtime, listener, address, shared, stopped: Arc::default() })
    }

    /// Returns the address that is listened at.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the page's address with the token, which the browser keeps to itself: it follows the `#`.
    pub fn url(&self) -> String {
        let ip = if self.address.ip().is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { self.address.ip() };
        let address = SocketAddr::new(ip, self.address.port());
        format!("http://{address}/#token={}", self.shared.token.as_str())
    }

    /// Returns what stops the server.
    pub fn stopper(&self) -> Stopper {
        Stopper(self.stopped.clone())
    }

    /// Answers requests on this thread until the server is stopped.
    ///
    /// # Errors
    /// [`ServeError::Ended`] if the system ends it.
    pub fn run(self) -> Result<(), ServeError> {
        let Self { runtime, listener, shared, stopped, .. } = self;
        let listener = BoundedListener::new(listener, Arc::new(Semaphore::new(MOST_CONNECTIONS)), SILENCE);
        let served = runtime.block_on(async {
            tokio::select! {
                served = async { axum::serve(listener, routes(shared)).await } => served,
                () = stopped.notified() => Ok(()),
            }
        });
        // Requests and listeners in progress end here.
        runtime.shutdown_background();
        served.map_err(ServeError::Ended)
    }
}

fn tokio_listener(runtime: &Runtime, listener: TcpListener) -> io::Result<tokio::net::TcpListener> {
    listener.set_nonblocking(true)?;
    let _entered = runtime.enter();
    tokio::net::TcpListener::from_std(listener)
}

fn routes(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/", get(async || Html(PAGE)))
        .route("/api/status", get(api::status))
        .route("/api/history", get(api::history))
        .route("/api/collection", get(api::collection))
        .route("/api/images/{id}", get(api::image))
        .route("/api/confirm", post(api::confirm))
        .route("/api/activate", post(api::activate))
        .route("/api/rollback", post(api::rollback))
        .route("/api/pause", post(api::pause))
        .route("/api/resume", post(api::resume))
        .route("/events", get(events))
        .route("/metrics", get(metrics))
        .layer(DefaultBodyLimit::max(MOST_BODY as usize))
        .layer(from_fn_with_state(shared.clone(), access::check))
        .with_state(shared)
}
