//! Zenoh carrier: robot to robot, or through a router with a storage.

use crate::{
    carrier::{Carrier, MAX_LISTED},
    error::CarrierError,
    key::{Digest, Folder, Key, base_path},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use zenoh::{
    Config, Session, Wait,
    query::{ConsolidationMode, Query, QueryTarget},
    sample::{Sample, SampleKind},
};

/// How long a query waits for answers.
const QUERY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long opening waits for a router, in milliseconds.
const CONNECT_TIMEOUT_MS: u32 = 10_000;

/// Objects that this process holds for its peers, by name.
type Held = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// Carrier over zenoh.
///
/// A [client](Self::client) of a router depends on a storage there: it has what was put while it is connected, also for robots
/// that join later. A [peer](Self::peer) answers for what it put itself, as long as it is there.
pub struct ZenohCarrier {
    session: Session,
    /// What a peer answers for.
    held: Option<Held>,
}

impl ZenohCarrier {
    /// Connects to a router, `HOST:PORT`.
    ///
    /// # Errors
    /// [`CarrierError::Url`] if no router answers there.
    pub fn client(router: &str) -> Result<Self, CarrierError> {
        let connect = endpoints(&[router]);
        let options = [
            ("mode", "\"client\"".to_owned()),
            ("connect/endpoints", connect),
            ("connect/timeout_ms", CONNECT_TIMEOUT_MS.to_string()),
            ("scouting/multicast/enabled", "false".to_owned()),
        ];
        Ok(Self { session: open(router, &options)?, held: None })
    }

    /// Joins as a peer that listens at `HOST:PORT` and connects to others, as they come and go. Without others it finds those of its
    /// local network by multicast.
    ///
    /// # Errors
    /// [`CarrierError::Url`] if the address cannot be listened at.
    pub fn peer(listen: &str, others: &[&str]) -> Result<Self, CarrierError> {
        let options = [
            ("mode", "\"peer\"".to_owned()),
            ("listen/endpoints", endpoints(&[listen])),
            ("connect/endpoints", endpoints(others)),
            ("scouting/multicast/enabled", others.is_empty().to_string()),
        ];
        let session = open(listen, &options)?;
        let held = Held::default();
        let answers = held.clone();
        session
            .declare_queryable("fleet/**")
            .callback(move |query| answer(&answers, &query))
            .background()
            .wait()
            .map_err(|error| unusable(listen, error))?;
        Ok(Self { session, held: Some(held) })
    }

    /// Refuses to take silence for an empty fleet.
    fn require_connected(&self, action: &'static str, key: &str) -> Result<(), CarrierError> {
        let info = self.session.info();
        let is_alone = info.routers_zid().wait().next().is_none() && info.peers_zid().wait().next().is_none();
        match is_alone && self.held.is_none() {
            true => Err(unavailable(action, key, "no router is connected")),
            false => Ok(()),
        }
    }

    /// Asks everybody, and calls `on_sample` with each answer.
    fn query(
        &self,
        action: &'static str,
        selector: &str,
        mut on_sample: impl FnMut(Sample) -> Result<(), CarrierError>,
    ) -> Result<(), CarrierError> {
        self.require_connected(action, selector)?;
        let replies = self
            .session
            .get(selector)
            .target(QueryTarget::All)
            .consolidation(ConsolidationMode::None)
            .timeout(QUERY_TIMEOUT)
            .wait()
            .map_err(|error| unavailable(action, selector, error))?;
        for reply in replies.iter() {
            match reply.into_result() {
                Ok(sample) if sample.kind() == SampleKind::Put => on_sample(sample)?,
                Ok(_) => {}
                Err(error) => {
                    let text = String::from_utf8_lossy(&error.payload().to_bytes()).into_owned();
                    return Err(unavailable(action, selector, text));
                }
            }
        }
        // A connection that was lost meanwhile ends a query as if all had answered.
        self.require_connected(action, selector)
    }
}

impl Carrier for ZenohCarrier {
    fn put(&self, key: &Key, bytes: &[u8]) -> Result<(), CarrierError> {
        let name = key.to_string();
        if let Some(held) = &self.held {
            held.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), bytes.to_vec());
        }
        self.require_connected("store", &name)?;
        self.session.put(&name, bytes).wait().map_err(|error| unavailable("store", &name, error))
    }

    fn get(&self, key: &Key, limit: usize) -> Result<Vec<Vec<u8>>, CarrierError> {
        let name = key.to_string();
        let (mut found, mut too_large) = (BTreeSet::new(), None);
        let asked = self.query("get", &name, |sample| {
            match sample.payload().len() {
                length if length <= limit => drop(found.insert(sample.payload().to_bytes().into_owned())),
                length => too_large = Some(length as u64),
            }
            Ok(())
        });
        match (asked, too_large) {
            // One peer's silence does not take another one's answer away.
            (Err(error), _) if found.is_empty() => Err(error),
            (_, Some(found_bytes)) if found.is_empty() => {
                Err(CarrierError::TooLarge { key: name, found: found_bytes, limit })
            }
            _ => Ok(found.into_iter().collect()),
        }
    }

    fn list(&self, base: &Digest, folder: Folder) -> Result<Vec<Key>, CarrierError> {
        let name = folder.path(base);
        let mut keys = BTreeSet::new();
        self.query("list", &format!("{name}/**"), |sample| {
            keys.extend(Key::parse(sample.key_expr().as_str()).filter(|key| key.folder() == folder));
            match keys.len() > MAX_LISTED {
                true => Err(CarrierError::TooMany { folder: name.clone(), limit: MAX_LISTED }),
                false => Ok(()),
            }
        })?;
        Ok(keys.into_iter().collect())
    }

    fn wait(&self, base: &Digest, timeout: Duration) {
        let heard = self.session.declare_subscriber(format!("{}/**", base_path(base))).wait();
        match heard {
            Ok(heard) => drop(heard.recv_timeout(timeout)),
            Err(error) => {
                log::warn!("changes are not watched: {error}");
                std::thread::sleep(timeout);
            }
        }
    }
}

/// Answers a query with what this peer holds.
fn answer(held: &Held, query: &Query) {
    let held = held.lock().unwrap_or_else(PoisonError::into_inner).clone();
    for (name, bytes) in held {
        let Ok(name) = zenoh::key_expr::KeyExpr::try_from(name) else { continue };
        if query.key_expr().intersects(&name)
            && let Err(error) = query.reply(name, bytes).wait()
        {
            log::warn!("a query is not answered: {error}");
        }
    }
}

fn open(address: &str, options: &[(&str, String)]) -> Result<Session, CarrierError> {
    let mut config = Config::default();
    for (name, value) in options {
        config.insert_json5(name, value).map_err(|error| unusable(address, error))?;
    }
    zenoh::open(config).wait().map_err(|error| unusable(address, error))
}

/// Returns the configuration's text of TCP endpoints.
fn endpoints(addresses: &[&str]) -> String {
    let endpoints: Vec<String> = addresses.iter().map(|address| format!("tcp/{address}")).collect();
    serde_json::Value::from(endpoints).to_string()
}

fn unusable(address: &str, error: impl std::fmt::Display) -> CarrierError {
    let reason = format!("zenoh: {error}; expected a reachable HOST:PORT");
    CarrierError::Url { url: address.to_owned(), reason }
}

fn unavailable(
    action: &'static str,
    key: &str,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> CarrierError {
    CarrierError::Unavailable { action, key: key.to_owned(), source: source.into() }
}
