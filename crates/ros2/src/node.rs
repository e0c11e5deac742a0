//! Node without a middleware: from messages to messages.
//!
//! | thread | calls |
//! |---|---|
//! | of a subscription | [`image`](Node::image), [`detections`](Node::detections), which put the newest into the inbox |
//! | that answers | [`answer`](Node::answer), until the node ends |
//! | of services | the services, one after another |
//! | of the clock | [`poll`](Node::poll), [`report`](Node::report) |

mod services;

use crate::classification::classification;
use crate::counters::Counters;
use crate::detections::{self, DetectionError, ImageBuffer};
use crate::diagnostics::{EngineReport, Report};
use crate::engine::Engine;
use crate::event::{Events, NodeEvent};
use crate::gate::Gate;
use crate::image::CameraImage;
use crate::inbox::{Inbox, Taken};
use crate::lifecycle::{State, Transition};
use crate::msg::builtin_interfaces::Time;
use crate::msg::diagnostic_msgs::DiagnosticArray;
use crate::msg::lifecycle_msgs::TransitionEvent;
use crate::msg::vision_msgs::{Classification, Detection2DArray};
use crate::pace::Pace;
use crate::parameters::{Classify, Parameters};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Node: parameters, life cycle, and the engine while it is configured.
pub struct Node {
    name: String,
    parameters: Mutex<Parameters>,
    /// Held throughout a transition.
    state: Mutex<State>,
    engine: Mutex<Option<Arc<Engine>>>,
    counters: Counters,
    events: Events,
    active: Gate,
    pace: Mutex<Pace>,
    /// Images that wait for the boxes of a detector.
    images: Mutex<ImageBuffer>,
    inbox: Inbox<Arrived<CameraImage>, Arrived<Detection2DArray>>,
    failure: Mutex<Option<String>>,
    reported: Mutex<Instant>,
}

/// Message with the time of its arrival.
#[derive(Debug)]
struct Arrived<M> {
    message: M,
    at: Instant,
}

/// Answer of the node.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// The classes of an image.
    Image(Classification),
    /// The classes of a detector's boxes.
    Detections(Detection2DArray),
}

impl Node {
    /// Returns a node of that full name, unconfigured.
    pub fn new(name: impl Into<String>, parameters: Parameters, events: Events) -> Self {
        Self {
            name: name.into(),
            parameters: Mutex::new(parameters),
            state: Mutex::new(State::Unconfigured),
            engine: Mutex::default(),
            counters: Counters::default(),
            events,
            active: Gate::default(),
            pace: Mutex::default(),
            images: Mutex::default(),
            inbox: Inbox::default(),
            failure: Mutex::default(),
            reported: Mutex::new(Instant::now()),
        }
    }

    /// Returns the name with its namespace.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the values of the parameters.
    pub fn parameters(&self) -> Parameters {
        lock(&self.parameters).clone()
    }

    /// Returns the state.
    pub fn state(&self) -> State {
        *lock(&self.state)
    }

    /// Returns the counters.
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Returns the gate that is open while the node is active.
    pub fn active(&self) -> Gate {
        self.active.clone()
    }

    /// Changes the state.
    ///
    /// # Errors
    /// If the transition does not begin in this state, or model, store or collection cannot be opened. The state stays.
    pub fn change(&self, transition: Transition) -> Result<TransitionEvent, String> {
        let mut state = lock(&self.state);
        if transition.start() != *state {
            return Err(format!("the node is {}: {} begins elsewhere", state.name(), transition.name()));
        }
        match transition {
            Transition::Configure => self.configure()?,
            Transition::Activate => self.active.set(true),
            Transition::Deactivate => self.deactivate(),
            Transition::CleanUp => self.clean_up(),
            Transition::UnconfiguredShutdown | Transition::InactiveShutdown | Transition::ActiveShutdown => {
                self.deactivate();
                self.clean_up();
            }
        }
        *state = transition.goal();
        self.events.send(&NodeEvent::State { state: state.name() });
        Ok(transition.event(now()))
    }

    /// Takes an image that has arrived. It replaces one that has not been answered yet.
    pub fn image(&self, image: CameraImage) {
        let at = Instant::now();
        self.counters.received.add();
        let (interval, classify) = {
            let parameters = lock(&self.parameters);
            (parameters.interval(), parameters.classify)
        };
        match classify {
            Classify::Detections => lock(&self.images).push(image),
            Classify::Images if lock(&self.pace).admits(at, interval) => {
                self.count_dropped(self.inbox.put_first(Arrived { message: image, at }));
            }
            Classify::Images => self.counters.skipped.add(),
        }
    }

    /// Takes the boxes of a detector. They replace those that have not been answered yet.
    pub fn detections(&self, detections: Detection2DArray) {
        self.counters.received.add();
        self.count_dropped(self.inbox.put_second(Arrived { message: detections, at: Instant::now() }));
    }

    /// Counts a message that could not be read as one of its type.
    pub fn unreadable(&self, reason: &str) {
        self.counters.received.add();
        self.refused(reason);
    }

    /// Waits for the next message, answers it, and hands the answer to `publish`. A message that cannot be answered is counted, with
    /// the reason. Returns `false` once the node has ended.
    pub fn answer(&self, publish: impl FnOnce(Answer)) -> bool {
        let Some(taken) = self.inbox.take() else { return false };
        // What arrives while the node is cleaned up has nobody to answer it.
        let Some(engine) = self.engine() else { return true };
        match taken {
            Taken::First(image) => self.classify(&engine, image, publish),
            Taken::Second(boxes) => self.classify_boxes(&engine, boxes, publish),
        }
        true
    }

    /// Ends the waiting of all threads. An adaptation is stopped.
    pub fn end(&self) {
        self.active.end();
        self.inbox.close();
        self.clean_up();
    }

    /// Runs the store's active version, if another process has changed it.
    pub fn poll(&self) {
        let Some(engine) = self.engine() else { return };
        let failure = engine.poll().err().map(|error| format!("the store cannot be read: {error}"));
        let mut before = lock(&self.failure);
        if let Some(reason) = failure.as_ref().filter(|_| *before != failure) {
            log::warn!("{reason}");
            self.events.send(&NodeEvent::Failed { reason: reason.clone() });
        }
        *before = failure;
    }

    /// Returns the report for `/diagnostics` since the last one.
    pub fn report(&self) -> DiagnosticArray {
        let elapsed = std::mem::replace(&mut *lock(&self.reported), Instant::now()).elapsed();
        let model = lock(&self.parameters).model.to_string_lossy().into_owned();
        let engine = self.engine().map(|engine| EngineReport {
            drift: engine.drift(),
            is_degraded: engine.runtime().is_degraded(),
            is_adapting: engine.is_adapting(),
        });
        let report = Report {
            node: &self.name,
            model: &model,
            state: self.state(),
            counters: &self.counters,
            recent: self.counters.take_recent(),
            elapsed,
            engine,
            failure: lock(&self.failure).clone(),
        };
        report.message(stamp())
    }

    fn configure(&self) -> Result<(), String> {
        let parameters = self.parameters();
        let opened = match parameters.model.as_os_str().is_empty() {
            true => Err("there is no model: start the node with -p model:=FOLDER".to_owned()),
            false => Engine::open(&parameters, self.events.clone()).map_err(|error| error.to_string()),
        };
        let engine = opened.inspect_err(|reason| {
            *lock(&self.failure) = Some(reason.clone());
            self.events.send(&NodeEvent::Failed { reason: reason.clone() });
        })?;
        *lock(&self.failure) = None;
        *lock(&self.engine) = Some(Arc::new(engine));
        Ok(())
    }

    fn deactivate(&self) {
        self.active.set(false);
        self.inbox.clear();
        lock(&self.images).clear();
    }

    fn clean_up(&self) {
        let engine = lock(&self.engine).take();
        // Outside the lock: it waits for an adaptation.
        drop(engine);
        *lock(&self.failure) = None;
    }

    fn engine(&self) -> Option<Arc<Engine>> {
        lock(&self.engine).clone()
    }

    fn classify(&self, engine: &Engine, image: Arrived<CameraImage>, publish: impl FnOnce(Answer)) {
        let (parameters, Arrived { message: image, at }) = (self.parameters(), image);
        let frame = match image.frame(parameters.pixel_format) {
            Ok(frame) => frame,
            Err(error) => return self.refused(&error.to_string()),
        };
        let stamp = image.header().stamp.since_epoch().unwrap_or(Duration::ZERO);
        let answered = engine.infer(&frame, stamp, |prediction| {
            self.counters.answer(at);
            publish(Answer::Image(classification(image.header().clone(), prediction, (&parameters).into())));
        });
        if let Err(error) = answered {
            self.failed(&error.to_string());
        }
    }

    fn classify_boxes(&self, engine: &Engine, boxes: Arrived<Detection2DArray>, publish: impl FnOnce(Answer)) {
        let (parameters, Arrived { message: boxes, at }) = (self.parameters(), boxes);
        let image = lock(&self.images).find(boxes.header.stamp);
        let classified = image.and_then(|image| {
            detections::classify(engine.runtime(), &image, parameters.pixel_format, boxes, (&parameters).into())
        });
        match classified {
            Ok(classified) => {
                self.counters.answer(at);
                publish(Answer::Detections(classified));
            }
            Err(error @ (DetectionError::NoImage { .. } | DetectionError::Image(_))) => {
                self.refused(&error.to_string());
            }
            Err(error @ DetectionError::Runtime(_)) => self.failed(&error.to_string()),
        }
    }

    fn refused(&self, reason: &str) {
        if self.counters.refuse(reason) {
            self.tell_refused(reason);
        }
    }

    fn failed(&self, reason: &str) {
        if self.counters.fail(reason) {
            self.tell_refused(reason);
        }
    }

    fn tell_refused(&self, reason: &str) {
        log::warn!("an image is not answered: {reason}");
        self.events.send(&NodeEvent::ImageRefused { reason: reason.to_owned() });
    }

    fn count_dropped<M>(&self, replaced: Option<Arrived<M>>) {
        if replaced.is_some() {
            self.counters.dropped.add();
        }
    }
}

/// A lock that a panic of another thread does not take away: what it guards is replaced as a whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Time since the epoch, by the system's clock.
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO)
}

/// The time as a stamp.
fn stamp() -> Time {
    now().into()
}

/// A compile-time assertion: threads share a node.
const _: fn() = || {
    const fn is_shared<T: Send + Sync>() {}
    is_shared::<Node>();
};
