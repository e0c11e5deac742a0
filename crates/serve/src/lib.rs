//! Server of a store's page: live status, history and buttons, a JSON interface, server-sent events, and metrics.
//!
//! A [`Server`] reads a store, and a collection of images, beside the processes that use them: it maps no weights and is in no
//! frame's path. What it changes, it changes through the store, as any process does: confirm, roll back, activate, pause. Runtimes
//! notice at their next `poll`.
//!
//! Every request but that of the page itself needs the store's token ([`Token`]), and one that changes something must come from
//! that page. Bodies, rates and the number of listeners are bounded.
//!
//! | path | answer |
//! |---|---|
//! | `GET /` | the page: one file, without scripts or fonts from elsewhere |
//! | `GET /api/status` | [`Status`]: what runs, trains and is stored |
//! | `GET /api/history` | the store's last operations |
//! | `GET /api/collection` | numbers of the collection, and its newest images of each class |
//! | `GET /api/images/ID` | one image of the collection |
//! | `GET /events` | `status` events, one for each change |
//! | `GET /metrics` | figures in OpenMetrics' text format |
//! | `POST /api/confirm`, `/api/activate` | `{"version":3}` |
//! | `POST /api/rollback`, `/api/pause`, `/api/resume` | no body |
//!
//! ```no_run
//! use fieldfit_serve::{Server, ServerOptions};
//! use fieldfit_store::Store;
//!
//! let server = Server::bind(Store::open("robot.store")?, ServerOptions::default())?;
//! println!("open {}", server.url());
//! server.run()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod access;
mod api;
mod connection;
mod error;
mod events;
mod images;
mod metrics;
mod server;
mod status;
mod token;
mod version_details;

pub use error::ServeError;
pub use server::{Server, ServerOptions, Stopper};
pub use status::{RuntimeFigures, Status, VersionStatus};
pub use token::Token;
pub use version_details::VersionDetails;
