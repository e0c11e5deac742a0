//! Wiring: connects the node with topics and services, and runs its threads.

use crate::gate::Gate;
use crate::image::CameraImage;
use crate::lifecycle::Transition;
use crate::middleware::{Heard, Middleware, MiddlewareError, Publish, Qos};
use crate::msg::fieldfit_interfaces::Label;
use crate::msg::lifecycle_msgs::{ChangeState, GetAvailableStates, GetAvailableTransitions, GetState, TransitionEvent};
use crate::msg::rcl_interfaces::{
    DescribeParameters, GetParameterTypes, GetParameters, ListParameters, ParameterEvent, SetParameters,
    SetParametersAtomically,
};
use crate::msg::sensor_msgs::{CompressedImage, Image};
use crate::msg::std_srvs::{Trigger, TriggerResponse};
use crate::msg::vision_msgs::Detection2DArray;
use crate::msg::{diagnostic_msgs, std_msgs, vision_msgs};
use crate::names::Names;
use crate::node::{Answer, Node};
use crate::parameters::{Classify, ImageTransport};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Time between two reports on `/diagnostics`, and between two looks at the store.
const PERIOD: Duration = Duration::from_secs(1);

/// Runs a node on a middleware until `stop` gets a message or loses its sender. `lines` are the node's events.
///
/// # Errors
/// If a topic, a service or a thread cannot be created.
pub fn run(
    node: Arc<Node>,
    names: &Names,
    mut middleware: impl Middleware,
    lines: Receiver<String>,
    stop: Receiver<()>,
) -> Result<(), MiddlewareError> {
    let alive = Gate::default();
    alive.set(true);
    let wiring = Wiring { node: &node, names, alive: &alive };
    let transitions = wiring.services(&mut middleware)?;
    wiring.subscriptions(&mut middleware)?;
    let threads = wiring.threads(&middleware, lines, stop)?;
    autostart(&node, &transitions);
    middleware.run(&alive);
    for thread in threads {
        if thread.join().is_err() {
            log::error!("a thread of the node panicked");
        }
    }
    // Now that no publisher is left.
    drop(middleware);
    Ok(())
}

struct Wiring<'a> {
    node: &'a Arc<Node>,
    names: &'a Names,
    /// Open until the process is to end.
    alive: &'a Gate,
}

impl Wiring<'_> {
    /// Offers the services. Returns the publisher of transitions.
    fn services(&self, middleware: &mut impl Middleware) -> Result<Publish<TransitionEvent>, MiddlewareError> {
        self.trigger(middleware, "~/adapt", Node::adapt)?;
        self.trigger(middleware, "~/stop_adaptation", Node::stop_adaptation)?;
        self.trigger(middleware, "~/confirm", Node::confirm)?;
        self.trigger(middleware, "~/rollback", Node::rollback)?;
        let node = self.node.clone();
        middleware.serve::<Label>(&self.name("~/label"), move |request| node.label(&request))?;
        self.parameter_services(middleware)?;
        self.lifecycle_services(middleware)
    }

    fn trigger(
        &self,
        middleware: &mut impl Middleware,
        name: &str,
        work: fn(&Node) -> TriggerResponse,
    ) -> Result<(), MiddlewareError> {
        let node = self.node.clone();
        middleware.serve::<Trigger>(&self.name(name), move |_| work(&node))
    }

    fn parameter_services(&self, middleware: &mut impl Middleware) -> Result<(), MiddlewareError> {
        let events: Publish<ParameterEvent> = middleware.publisher(&self.name("/parameter_events"), Qos::Reliable)?;
        let node = self.node.clone();
        middleware.serve::<GetParameters>(&self.name("~/get_parameters"), move |names| node.get_parameters(&names))?;
        let node = self.node.clone();
        middleware.serve::<GetParameterTypes>(&self.name("~/get_parameter_types"), move |names| {
            node.get_parameter_types(&names)
        })?;
        let node = self.node.clone();
        middleware
            .serve::<ListParameters>(&self.name("~/list_parameters"), move |request| node.list_parameters(&request))?;
        let node = self.node.clone();
        middleware.serve::<DescribeParameters>(&self.name("~/describe_parameters"), move |names| {
            node.describe_parameters(&names)
        })?;
        let (node, changed) = (self.node.clone(), events.clone());
        middleware.serve::<SetParameters>(&self.name("~/set_parameters"), move |request| {
            tell(node.set_parameters(request), &changed)
        })?;
        let (node, changed) = (self.node.clone(), events);
        middleware.serve::<SetParametersAtomically>(&self.name("~/set_parameters_atomically"), move |request| {
            tell(node.set_parameters_atomically(request), &changed)
        })
    }

    fn lifecycle_services(
        &self,
        middleware: &mut impl Middleware,
    ) -> Result<Publish<TransitionEvent>, MiddlewareError> {
        let transitions: Publish<TransitionEvent> =
            middleware.publisher(&self.name("~/transition_event"), Qos::Reliable)?;
        let (node, changed) = (self.node.clone(), transitions.clone());
        middleware.serve::<ChangeState>(&self.name("~/change_state"), move |request| {
            tell(node.change_state(&request), &changed)
        })?;
        let node = self.node.clone();
        middleware.serve::<GetState>(&self.name("~/get_state"), move |_| node.get_state())?;
        let node = self.node.clone();
        middleware
            .serve::<GetAvailableStates>(&self.name("~/get_available_states"), move |_| node.available_states())?;
        let node = self.node.clone();
        middleware.serve::<GetAvailableTransitions>(&self.name("~/get_available_transitions"), move |_| {
            node.available_transitions()
        })?;
        Ok(transitions)
    }

    /// Subscribes images and boxes while the node is active, and labels all the time.
    fn subscriptions(&self, middleware: &mut impl Middleware) -> Result<(), MiddlewareError> {
        let (parameters, active) = (self.node.parameters(), self.node.active());
        let (node, image) = (self.node.clone(), self.name("~/image"));
        match parameters.image_transport {
            ImageTransport::Raw => {
                middleware.listen(&image, Qos::SensorData, active.clone(), move |heard: Heard<Image>| {
                    hear(&node, heard, |node, image| node.image(CameraImage::Raw(image)));
                })?
            }
            ImageTransport::Compressed => {
                let topic = format!("{image}/compressed");
                middleware.listen(&topic, Qos::SensorData, active.clone(), move |heard: Heard<CompressedImage>| {
                    hear(&node, heard, |node, image| node.image(CameraImage::Compressed(image)));
                })?;
            }
        }
        if parameters.classify == Classify::Detections {
            let node = self.node.clone();
            let topic = self.name("~/detections");
            middleware.listen(&topic, Qos::Reliable, active, move |heard: Heard<Detection2DArray>| {
                hear(&node, heard, Node::detections);
            })?;
        }
        let node = self.node.clone();
        let label = self.name("~/label");
        middleware.listen(
            &label,
            Qos::Reliable,
            self.alive.clone(),
            move |heard: Heard<std_msgs::String>| match heard {
                Ok(std_msgs::String { data }) => node.label_text(&data),
                Err(reason) => log::warn!("a label cannot be read: {reason}"),
            },
        )
    }

    /// Starts the threads that answer, publish events and watch the clock.
    fn threads(
        &self,
        middleware: &impl Middleware,
        lines: Receiver<String>,
        stop: Receiver<()>,
    ) -> Result<[JoinHandle<()>; 3], MiddlewareError> {
        let classified: Publish<vision_msgs::Classification> =
            middleware.publisher(&self.name("~/classification"), Qos::Reliable)?;
        let boxes: Publish<Detection2DArray> =
            middleware.publisher(&self.name("~/detections/classified"), Qos::Reliable)?;
        let events: Publish<std_msgs::String> = middleware.publisher(&self.name("~/events"), Qos::Reliable)?;
        let diagnostics: Publish<diagnostic_msgs::DiagnosticArray> =
            middleware.publisher(&self.name("/diagnostics"), Qos::Reliable)?;
        let node = self.node.clone();
        let answering = spawn("fieldfit-answer", move || {
            let publish = |answer| match answer {
                Answer::Image(classification) => classified(classification),
                Answer::Detections(detections) => boxes(detections),
            };
            while node.answer(publish) {}
        })?;
        let alive = self.alive.clone();
        let telling = spawn("fieldfit-tell", move || {
            while alive.is_open() {
                match lines.recv_timeout(PERIOD) {
                    Ok(data) => events(std_msgs::String { data }),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        })?;
        let (node, alive) = (self.node.clone(), self.alive.clone());
        let watching = spawn("fieldfit-clock", move || {
            while let Err(RecvTimeoutError::Timeout) = stop.recv_timeout(PERIOD) {
                node.poll();
                diagnostics(node.report());
            }
            node.end();
            alive.end();
        })?;
        Ok([answering, telling, watching])
    }

    fn name(&self, name: &str) -> String {
        self.names.resolve(name)
    }
}

/// Configures and activates the node, if it is to do so by itself.
fn autostart(node: &Node, transitions: &Publish<TransitionEvent>) {
    if !node.parameters().autostart {
        return;
    }
    for transition in [Transition::Configure, Transition::Activate] {
        match node.change(transition) {
            Ok(event) => transitions(event),
            Err(reason) => {
                log::error!("cannot {} the node: {reason}", transition.name());
                return;
            }
        }
    }
}

/// Hands a message to the node, or counts it as unreadable.
fn hear<M>(node: &Node, heard: Heard<M>, take: impl FnOnce(&Node, M)) {
    match heard {
        Ok(message) => take(node, message),
        Err(reason) => node.unreadable(&format!("a message cannot be read: {reason}")),
    }
}

/// Publishes the event of a service, if there is one, and returns its response.
fn tell<R, M>((response, event): (R, Option<M>), publish: &Publish<M>) -> R {
    if let Some(event) = event {
        publish(event);
    }
    response
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, MiddlewareError> {
    let thread = thread::Builder::new().name(name.into()).spawn(work);
    thread.map_err(|source| MiddlewareError::Thread { name: name.into(), source })
}
