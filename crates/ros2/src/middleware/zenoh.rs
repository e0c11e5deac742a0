//! zenoh by the conventions of rmw_zenoh_cpp: keys with type hashes, CDR payloads, attachments, liveliness tokens.

use super::listeners::Listeners;
use super::{Heard, Middleware, MiddlewareError, Publish, Qos, answer, domain};
use crate::gate::Gate;
use crate::msg::{Interface, Service, TypeName};
use crate::names::Names;
use byteorder::{BigEndian, LittleEndian};
use cdr_encoding::{from_bytes, to_vec};
use futures::executor::block_on;
use futures::future::{self, Either, LocalBoxFuture};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::env;
use std::mem::take;
use std::pin::pin;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use zenoh::handlers::RingChannel;
use zenoh::liveliness::LivelinessToken;
use zenoh::qos::CongestionControl;
use zenoh::query::Query;
use zenoh::{Config, Session, Wait};

/// Bytes before a message: little-endian CDR, without options.
const LITTLE_ENDIAN: [u8; 4] = [0, 1, 0, 0];
/// Length of an attachment: sequence number, time, length of the identity, identity.
const ATTACHMENT: usize = 33;
/// Images that wait while one is read.
const DEPTH: usize = 5;

/// zenoh session with the names of the node.
pub struct Zenoh {
    network: Arc<Network>,
    services: Vec<LocalBoxFuture<'static, ()>>,
    listeners: Listeners,
}

/// What publishers, subscriptions and services share.
struct Network {
    session: Session,
    domain: u16,
    namespace: String,
    node: String,
    entities: AtomicU64,
    /// What tells the other nodes of this one, for as long as it lives.
    tokens: Mutex<Vec<LivelinessToken>>,
}

/// Kind of an entity in its token.
#[derive(Clone, Copy)]
enum Kind {
    Publisher,
    Subscription,
    Service,
}

impl Zenoh {
    /// Joins the network as a node of these names. `ZENOH_SESSION_CONFIG_URI` and `ZENOH_CONFIG_OVERRIDE` configure the session as
    /// that of rmw_zenoh_cpp; without them, it connects to a router on this machine.
    ///
    /// # Errors
    /// If the domain or the configuration is invalid, or no session can be opened.
    pub fn join(names: &Names) -> Result<Self, MiddlewareError> {
        let join = |error: zenoh::Error| MiddlewareError::Join { reason: error.to_string() };
        let session = zenoh::open(configuration().map_err(join)?).wait().map_err(join)?;
        let network = Network {
            session,
            domain: domain()?,
            namespace: names.namespace().into(),
            node: names.base_name().into(),
            entities: AtomicU64::new(1),
            tokens: Mutex::default(),
        };
        let Network { domain, namespace, node, .. } = &network;
        let key =
            format!("@ros2_lv/{domain}/{}/0/0/NN/%/{}/{}", network.session.zid(), mangled(namespace), mangled(node));
        network.declare(key).map_err(join)?;
        Ok(Self { network: Arc::new(network), services: Vec::new(), listeners: Listeners::default() })
    }
}

impl Middleware for Zenoh {
    fn publisher<M: Interface>(&self, topic: &str, qos: Qos) -> Result<Publish<M>, MiddlewareError> {
        let network = &self.network;
        let created = (|| {
            let congestion = match qos {
                Qos::SensorData | Qos::Reliable => CongestionControl::Drop,
            };
            let key = network.key(topic, M::TYPE, "msg", M::TYPE.hash_name());
            let publisher = network.session.declare_publisher(key).congestion_control(congestion).wait()?;
            Ok((publisher, network.tell(Kind::Publisher, topic, M::TYPE, qos)?))
        })();
        let (publisher, identity) = created.map_err(|error| failed(topic, &error))?;
        let (sequence, topic) = (AtomicI64::new(1), topic.to_owned());
        Ok(Arc::new(move |message| {
            let attachment = attachment(sequence.fetch_add(1, Ordering::Relaxed), identity);
            let sent = encoded(&message).and_then(|payload| {
                publisher.put(payload).attachment(attachment).wait().map_err(|error| error.to_string())
            });
            if let Err(reason) = sent {
                log::warn!("a message on {topic} is not sent: {reason}");
            }
        }))
    }

    fn listen<M: Interface>(
        &mut self,
        topic: &str,
        qos: Qos,
        gate: Gate,
        hear: impl Fn(Heard<M>) + Send + 'static,
    ) -> Result<(), MiddlewareError> {
        let (network, name) = (self.network.clone(), topic.to_owned());
        self.listeners.start(topic, gate, move |gate| {
            network.hear_until::<M>(&name, qos, gate, &hear).map_err(|error| failed(&name, &error))
        })
    }

    fn serve<S: Service>(
        &mut self,
        name: &str,
        mut answer: impl FnMut(S::Request) -> S::Response + 'static,
    ) -> Result<(), MiddlewareError> {
        let network = &self.network;
        let created = (|| {
            let key = network.key(name, S::TYPE, "srv", S::TYPE.hash_name());
            let queryable = network.session.declare_queryable(key).complete(true).wait()?;
            network.tell(Kind::Service, name, S::TYPE, Qos::Reliable)?;
            Ok(queryable)
        })();
        let queryable = created.map_err(|error| failed(name, &error))?;
        let name = name.to_owned();
        self.services.push(Box::pin(async move {
            while let Ok(query) = queryable.recv_async().await {
                if let Err(reason) = respond::<S>(&query, &mut answer).await {
                    log::warn!("a request of {name} is not answered: {reason}");
                }
            }
        }));
        Ok(())
    }

    fn run(&mut self, until: &Gate) {
        answer(take(&mut self.services), until);
        self.listeners.join();
    }
}

impl Network {
    /// Subscribes a topic, of whatever hash, until the gate is shut.
    fn hear_until<M: Interface>(
        &self,
        topic: &str,
        qos: Qos,
        gate: &Gate,
        hear: &impl Fn(Heard<M>),
    ) -> zenoh::Result<()> {
        let key = self.key(topic, M::TYPE, "msg", "*".into());
        let subscriber = self.session.declare_subscriber(key).with(RingChannel::new(DEPTH)).wait()?;
        let token = self.token(Kind::Subscription, topic, M::TYPE, qos);
        let token = self.session.liveliness().declare_token(token).wait()?;
        block_on(async {
            let mut shut = pin!(gate.shut());
            loop {
                let sample = pin!(subscriber.recv_async());
                match future::select(sample, &mut shut).await {
                    Either::Left((Ok(sample), _)) => hear(decoded(&sample.payload().to_bytes())),
                    Either::Left((Err(_), _)) | Either::Right(_) => return,
                }
            }
        });
        token.undeclare().wait()
    }

    /// The key of a topic or service.
    fn key(&self, name: &str, of: TypeName, kind: &str, hash: String) -> String {
        format!("{}/{}/{}/{hash}", self.domain, name.trim_matches('/'), dds_type(of, kind))
    }

    /// Tells the other nodes of an entity, and returns its identity.
    fn tell(&self, kind: Kind, name: &str, of: TypeName, qos: Qos) -> zenoh::Result<[u8; 16]> {
        let token = self.token(kind, name, of, qos);
        let identity = xxhash_rust::xxh3::xxh3_128(token.as_bytes()).to_le_bytes();
        self.declare(token)?;
        Ok(identity)
    }

    fn declare(&self, key: String) -> zenoh::Result<()> {
        let token = self.session.liveliness().declare_token(key).wait()?;
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).push(token);
        Ok(())
    }

    /// The key of an entity's token, which is its alone.
    fn token(&self, kind: Kind, name: &str, of: TypeName, qos: Qos) -> String {
        let (code, of_kind) = match kind {
            Kind::Publisher => ("MP", "msg"),
            Kind::Subscription => ("MS", "msg"),
            Kind::Service => ("SS", "srv"),
        };
        // What is not at its default: best effort is 2.
        let qos = match qos {
            Qos::SensorData => "2::,5:,:,:,,",
            Qos::Reliable => "::,10:,:,:,,",
        };
        format!(
            "@ros2_lv/{}/{}/0/{}/{code}/%/{}/{}/{}/{}/{}/{qos}",
            self.domain,
            self.session.zid(),
            self.entities.fetch_add(1, Ordering::Relaxed),
            mangled(&self.namespace),
            mangled(&self.node),
            mangled(name),
            dds_type(of, of_kind),
            of.hash_name(),
        )
    }
}

/// Answers one request.
async fn respond<S: Service>(query: &Query, answer: &mut impl FnMut(S::Request) -> S::Response) -> Result<(), String> {
    let payload = query.payload().ok_or("it has no payload")?;
    let asked = query.attachment().map(|attachment| attachment.to_bytes().into_owned()).unwrap_or_default();
    let Ok(asked) = <[u8; ATTACHMENT]>::try_from(asked) else { return Err("it has no attachment of a client".into()) };
    let response = encoded(&answer(decoded(&payload.to_bytes())?))?;
    // The client's number and identity, at another time.
    let mut echoed = asked;
    echoed[8..16].copy_from_slice(&now().to_le_bytes());
    let reply = query.reply(query.key_expr().clone(), response).attachment(echoed.to_vec());
    reply.await.map_err(|error| error.to_string())
}

fn attachment(sequence: i64, identity: [u8; 16]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(ATTACHMENT);
    bytes.extend(sequence.to_le_bytes());
    bytes.extend(now().to_le_bytes());
    bytes.push(identity.len() as u8);
    bytes.extend(identity);
    bytes
}

/// Nanoseconds since the epoch.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_nanos().try_into().unwrap_or(i64::MAX)
}

fn encoded<M: Serialize>(message: &M) -> Result<Vec<u8>, String> {
    let body = to_vec::<M, LittleEndian>(message).map_err(|error| error.to_string())?;
    Ok([&LITTLE_ENDIAN[..], &body].concat())
}

fn decoded<M: DeserializeOwned>(bytes: &[u8]) -> Result<M, String> {
    let (header, body) = bytes.split_at_checked(4).ok_or_else(|| format!("it has {} bytes", bytes.len()))?;
    let message = match header {
        [0, 1, ..] => from_bytes::<M, LittleEndian>(body),
        [0, 0, ..] => from_bytes::<M, BigEndian>(body),
        other => return Err(format!("expected CDR, found the encoding {:02x}{:02x}", other[0], other[1])),
    };
    message.map(|(message, _)| message).map_err(|error| error.to_string())
}

/// The session's configuration, as rmw_zenoh_cpp's.
fn configuration() -> zenoh::Result<Config> {
    let mut config = match env::var("ZENOH_SESSION_CONFIG_URI") {
        Ok(file) if !file.trim().is_empty() => Config::from_file(file.trim())?,
        _ => {
            let mut config = Config::default();
            config.insert_json5("mode", r#""peer""#)?;
            config.insert_json5("connect/endpoints", r#"["tcp/localhost:7447"]"#)?;
            config.insert_json5("listen/endpoints", r#"["tcp/localhost:0"]"#)?;
            config.insert_json5("scouting/multicast/enabled", "false")?;
            config
        }
    };
    let overrides = env::var("ZENOH_CONFIG_OVERRIDE").unwrap_or_default();
    for entry in overrides.split(';').map(str::trim).filter(|entry| !entry.is_empty()) {
        let (key, value) = entry
            .split_once('=')
            .ok_or_else(|| format!("ZENOH_CONFIG_OVERRIDE: expected KEY=VALUE, found `{}`", fieldfit::escape(entry)))?;
        config.insert_json5(key.trim(), value.trim())?;
    }
    Ok(config)
}

/// A name in a token, whose parts `/` separates.
fn mangled(name: &str) -> String {
    name.replace('/', "%")
}

fn dds_type(TypeName { package, name, .. }: TypeName, kind: &str) -> String {
    format!("{package}::{kind}::dds_::{name}_")
}

fn failed(name: &str, error: &zenoh::Error) -> MiddlewareError {
    MiddlewareError::Create { name: name.to_owned(), reason: error.to_string() }
}
