//! DDS by RustDDS: speaks with nodes on Fast DDS and Cyclone DDS.

use super::listeners::Listeners;
use super::{Heard, Middleware, MiddlewareError, Publish, Qos, answer, domain};
use crate::gate::Gate;
use crate::msg::{Interface, Service, TypeName};
use crate::names::Names;
use futures::StreamExt;
use futures::executor::block_on;
use futures::future::{self, Either, LocalBoxFuture};
use ros2_client::dds::{Context, ContextOptions, Node, Publisher, ServiceMapping, Subscription};
use ros2_client::qos::{History, WhenFull};
use ros2_client::{
    CreateError, Message, MessageTypeName, Name, NodeName, NodeOptions, QosProfile, ReadError, ServiceTypeName,
};
use serde::{Deserialize, Serialize};
use std::mem::take;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// DDS participant with its node.
pub struct Dds {
    node: Arc<Mutex<Node>>,
    mapping: ServiceMapping,
    services: Vec<LocalBoxFuture<'static, ()>>,
    listeners: Listeners,
}

/// Request or response as a message of the client library.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
struct Wire<T>(T);

impl<T: Serialize + serde::de::DeserializeOwned> Message for Wire<T> {}

impl Dds {
    /// Joins the network as a node of these names. Services are mapped as the other nodes' middleware maps them.
    ///
    /// # Errors
    /// If the domain or a name is invalid, or no participant can be created.
    pub fn join(names: &Names) -> Result<Self, MiddlewareError> {
        let join = |reason: String| MiddlewareError::Join { reason };
        let context = Context::with_options(ContextOptions::new().domain_id(domain()?));
        let context = context.map_err(|error| join(error.to_string()))?;
        let name = NodeName::new(names.namespace(), names.base_name()).map_err(|error| join(error.to_string()))?;
        // The node has parameter services of its own, with ranges and what is read-only.
        let options = NodeOptions::new().enable_rosout(false).start_parameter_services(false);
        let mut node = context.new_node(name, options).map_err(|error| join(error.to_string()))?;
        let spinner = node.spinner().map_err(|error| join(error.to_string()))?;
        let spin = move || {
            if let Err(error) = block_on(spinner.spin()) {
                log::error!("discovery has ended: {error}");
            }
        };
        let spinning = thread::Builder::new().name("fieldfit-spin".into()).spawn(spin);
        spinning.map_err(|source| MiddlewareError::Thread { name: names.node(), source })?;
        Ok(Self {
            node: Arc::new(Mutex::new(node)),
            mapping: mapping(),
            services: Vec::new(),
            listeners: Listeners::default(),
        })
    }
}

impl Middleware for Dds {
    fn publisher<M: Interface>(&self, topic: &str, qos: Qos) -> Result<Publish<M>, MiddlewareError> {
        let publisher: Publisher<M> = create(topic, || {
            let mut node = lock(&self.node);
            let created = node.create_topic(&topic_name(topic)?, type_name(M::TYPE), &profile(qos))?;
            node.create_publisher(&created, None)
        })?;
        // A writer is not shared between threads.
        let (publisher, topic) = (Mutex::new(publisher), topic.to_owned());
        Ok(Arc::new(move |message| {
            if let Err(error) = lock(&publisher).publish(message) {
                log::warn!("a message on {topic} is not sent: {error}");
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
        let (node, name) = (self.node.clone(), topic.to_owned());
        self.listeners.start(topic, gate, move |gate| {
            let subscription = subscription::<M>(&node, &name, qos)?;
            block_on(hear_until(&subscription, gate, &hear));
            Ok(())
        })
    }

    fn serve<S: Service>(
        &mut self,
        name: &str,
        mut answer: impl FnMut(S::Request) -> S::Response + 'static,
    ) -> Result<(), MiddlewareError> {
        let server = create(name, || {
            let (qos, TypeName { package, name: service, .. }) = (profile(Qos::Reliable), S::TYPE);
            let service = ServiceTypeName::new(package, service);
            lock(&self.node).create_server::<Wire<S::Request>, Wire<S::Response>>(
                self.mapping,
                &topic_name(name)?,
                &service,
                qos.clone(),
                qos,
            )
        })?;
        let name = name.to_owned();
        self.services.push(Box::pin(async move {
            loop {
                match server.async_receive_request().await {
                    Ok((id, Wire(request))) => {
                        if let Err(error) = server.async_send_response(id, Wire(answer(request))).await {
                            log::warn!("a response of {name} is not sent: {error}");
                        }
                    }
                    Err(error) => log::warn!("a request of {name} cannot be read: {error}"),
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

/// Service mapping of the other nodes: Cyclone DDS's own, or that of all others.
fn mapping() -> ServiceMapping {
    match std::env::var("RMW_IMPLEMENTATION").as_deref() {
        Ok("rmw_cyclonedds_cpp") => ServiceMapping::Cyclone,
        _ => ServiceMapping::Enhanced,
    }
}

fn subscription<M: Interface>(node: &Mutex<Node>, topic: &str, qos: Qos) -> Result<Subscription<M>, MiddlewareError> {
    create(topic, || {
        let mut node = lock(node);
        let created = node.create_topic(&topic_name(topic)?, type_name(M::TYPE), &profile(qos))?;
        node.create_subscription(&created, None)
    })
}

/// Hears messages until the gate is shut.
async fn hear_until<M: Interface>(subscription: &Subscription<M>, gate: &Gate, hear: &impl Fn(Heard<M>)) {
    let mut messages = pin!(subscription.async_stream());
    let mut shut = pin!(gate.shut());
    while let Either::Left((Some(message), _)) = future::select(messages.next(), &mut shut).await {
        hear(message.map(|(message, _)| message).map_err(|error: ReadError| error.to_string()));
    }
}

fn create<T>(name: &str, create: impl FnOnce() -> Result<T, CreateError>) -> Result<T, MiddlewareError> {
    create().map_err(|error| MiddlewareError::Create { name: name.to_owned(), reason: error.to_string() })
}

fn topic_name(name: &str) -> Result<Name, CreateError> {
    Name::parse(name).map_err(|error| CreateError::BadParameter { reason: error.to_string() })
}

fn type_name(TypeName { package, name, .. }: TypeName) -> MessageTypeName {
    MessageTypeName::new(package, name)
}

/// The profile of a topic. A full window loses the message: no answer waits for a slow subscriber.
fn profile(qos: Qos) -> QosProfile {
    match qos {
        Qos::SensorData => QosProfile::subscription_default().history(History::KeepLast { depth: 5 }),
        Qos::Reliable => QosProfile::publisher_default()
            .reliability_reliable(WhenFull::Fail)
            .history(History::KeepLast { depth: 10 }),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
