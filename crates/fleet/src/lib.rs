//! Fleet agent: shares signed deltas between robots of one base, over a carrier that nobody needs to trust.
//!
//! A [`Carrier`] is an engine that exists: a folder or a bucket ([`ObjectCarrier`], by `object_store`), or zenoh
//! ([`ZenohCarrier`]). It gives availability alone. Deltas are addressed by their hash and signed; cards and recalls are signed
//! statements; all of them are judged by the store's own `trust.toml`. A carrier can withhold, and nothing else.
//!
//! An [`Agent`] stands beside a robot's [`Store`](fieldfit_store::Store), which other processes run:
//!
//! - [`publish`](Agent::publish) sends a version that this robot's gate accepted, with a signed [`Card`];
//! - [`sync`](Agent::sync) obeys recalls, receives deltas as candidates, lets the robot's own gate judge them
//!   ([`Judge`]), and activates the best, on trial. No received delta runs untested;
//! - [`recall`](Agent::recall) takes a delta back on every robot that trusts the key.
//!
//! ```text
//! fleet/BASE/deltas/SHA256          the delta file as its robot's store has it, signed, in a zstd frame
//! fleet/BASE/cards/SHA256           signed statement: figures of the gate, classes, images, signer, expiry, canary share
//! fleet/BASE/recall/SHA256          signed statement: do not run that delta
//! fleet/BASE/robots/ID/status       what a robot runs; for people, unsigned, and nothing depends on it
//! ```
//!
//! BASE is the base's identity, SHA256 that of the signed delta file before compression: what the store calls the version's hash.

mod agent;
mod canary;
mod card;
mod carrier;
mod error;
mod judge;
mod key;
#[cfg(feature = "objects")]
mod object_carrier;
mod policy;
mod publish;
mod recall;
mod receive;
mod robot_status;
mod select;
mod state;
mod statement;
mod sync_report;
#[cfg(feature = "zenoh")]
mod zenoh_carrier;

pub use agent::{Agent, Clock};
pub use canary::is_canary;
pub use card::{Card, ImageCounts, MAX_CARD_BYTES, Offer};
pub use carrier::{Carrier, MAX_LISTED};
pub use error::{CarrierError, FleetError};
pub use judge::{Judge, LocalGate, Measurement, Score};
pub use key::{Digest, Folder, Key, RobotId};
#[cfg(feature = "objects")]
pub use object_carrier::ObjectCarrier;
pub use policy::{Activate, Policy};
pub use publish::Published;
pub use recall::{MAX_RECALL_BYTES, Recall};
pub use robot_status::{FleetStatus, MAX_STATUS_BYTES, OfferedDelta, RobotStatus};
pub use statement::StatementError;
pub use sync_report::{Deferred, Judged, Problem, Received, Stopped, SyncReport};
#[cfg(feature = "zenoh")]
pub use zenoh_carrier::ZenohCarrier;
