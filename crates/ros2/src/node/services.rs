//! Services of the node: adaptation, versions, labels, parameters, life cycle.

use super::{Node, lock, stamp};
use crate::engine::Engine;
use crate::event::NodeEvent;
use crate::lifecycle::State;
use crate::msg::fieldfit_interfaces::LabelRequest;
use crate::msg::lifecycle_msgs::{
    ChangeStateRequest, ChangeStateResponse, GetAvailableStatesResponse, GetAvailableTransitionsResponse,
    GetStateResponse, TransitionEvent,
};
use crate::msg::rcl_interfaces::{
    DescribeParametersResponse, GetParameterTypesResponse, GetParametersResponse, ListParametersRequest,
    ListParametersResponse, ParameterEvent, ParameterNames, SetParametersAtomicallyResponse, SetParametersRequest,
    SetParametersResponse,
};
use crate::msg::std_srvs::TriggerResponse;
use crate::parameters::Parameters;
use serde::Deserialize;
use std::sync::Arc;

/// What the topic `~/label` takes: a class, or a JSON object.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LabelText {
    class: String,
    #[serde(default)]
    seconds: f64,
}

impl Node {
    /// Starts an adaptation to the collection.
    pub fn adapt(&self) -> TriggerResponse {
        let options = lock(&self.parameters).options();
        self.with_engine(|engine| engine.adapt(options?)).into()
    }

    /// Stops the adaptation, which leaves a checkpoint.
    pub fn stop_adaptation(&self) -> TriggerResponse {
        self.with_engine(|engine| engine.stop_adaptation()).into()
    }

    /// Confirms the running version.
    pub fn confirm(&self) -> TriggerResponse {
        self.with_engine(|engine| engine.confirm()).into()
    }

    /// Rolls back to the version before.
    pub fn rollback(&self) -> TriggerResponse {
        self.with_engine(|engine| engine.rollback()).into()
    }

    /// Labels images of the last seconds.
    pub fn label(&self, request: &LabelRequest) -> TriggerResponse {
        let LabelRequest { class_name, seconds } = request;
        let labelled = self.with_engine(|engine| engine.label(class_name, *seconds));
        let event = match &labelled {
            Ok(kept) => NodeEvent::Labelled {
                class: class_name.clone(),
                images: kept.images.len(),
                left_out: kept.left_out.total(),
            },
            Err(reason) => NodeEvent::LabelRefused { reason: reason.clone() },
        };
        self.events.send(&event);
        let told =
            labelled.map(|kept| format!("{} images labelled, {} left out", kept.images.len(), kept.left_out.total()));
        told.into()
    }

    /// Labels images as a text says: a class for the newest image, or `{"class":"mud","seconds":3}`. `~/events` has the result.
    pub fn label_text(&self, text: &str) {
        let parsed = match text.trim_start().starts_with('{') {
            true => serde_json::from_str(text).map_err(|error| format!("the label is no JSON object: {error}")),
            false => Ok(LabelText { class: text.into(), seconds: 0.0 }),
        };
        match parsed {
            Ok(LabelText { class, seconds }) => drop(self.label(&LabelRequest { class_name: class, seconds })),
            Err(reason) => self.events.send(&NodeEvent::LabelRefused { reason }),
        }
    }

    /// Changes the state as a request says, and returns the event of the transition, if it took place.
    pub fn change_state(&self, request: &ChangeStateRequest) -> (ChangeStateResponse, Option<TransitionEvent>) {
        let state = self.state();
        let changed = state.requested(&request.transition).and_then(|transition| self.change(transition));
        // The response has no place for the reason.
        let event = changed.inspect_err(|reason| log::warn!("the state stays {}: {reason}", state.name())).ok();
        (ChangeStateResponse { success: event.is_some() }, event)
    }

    /// Returns the state.
    pub fn get_state(&self) -> GetStateResponse {
        GetStateResponse { current_state: self.state().message() }
    }

    /// Returns all states.
    pub fn available_states(&self) -> GetAvailableStatesResponse {
        GetAvailableStatesResponse { available_states: State::ALL.map(State::message).into() }
    }

    /// Returns the transitions that begin in this state.
    pub fn available_transitions(&self) -> GetAvailableTransitionsResponse {
        let transitions = self.state().transitions().map(|transition| transition.description());
        GetAvailableTransitionsResponse { available_transitions: transitions.collect() }
    }

    /// Returns values of parameters.
    pub fn get_parameters(&self, request: &ParameterNames) -> GetParametersResponse {
        GetParametersResponse { values: lock(&self.parameters).messages(&request.names) }
    }

    /// Returns types of parameters.
    pub fn get_parameter_types(&self, request: &ParameterNames) -> GetParameterTypesResponse {
        GetParameterTypesResponse { types: lock(&self.parameters).types(&request.names) }
    }

    /// Lists parameters.
    pub fn list_parameters(&self, request: &ListParametersRequest) -> ListParametersResponse {
        ListParametersResponse { result: Parameters::list(request) }
    }

    /// Describes parameters.
    pub fn describe_parameters(&self, request: &ParameterNames) -> DescribeParametersResponse {
        DescribeParametersResponse { descriptors: lock(&self.parameters).describe(&request.names) }
    }

    /// Sets parameters one by one, and returns the event of those that changed.
    pub fn set_parameters(&self, request: SetParametersRequest) -> (SetParametersResponse, Option<ParameterEvent>) {
        self.change_parameters(|parameters| {
            let set = request.parameters.into_iter().map(|parameter| parameters.set_message(parameter).into());
            SetParametersResponse { results: set.collect() }
        })
    }

    /// Sets all parameters or none, and returns the event of those that changed.
    pub fn set_parameters_atomically(
        &self,
        request: SetParametersRequest,
    ) -> (SetParametersAtomicallyResponse, Option<ParameterEvent>) {
        self.change_parameters(|parameters| SetParametersAtomicallyResponse {
            result: parameters.set_all(request.parameters).into(),
        })
    }

    fn change_parameters<R>(&self, change: impl FnOnce(&mut Parameters) -> R) -> (R, Option<ParameterEvent>) {
        let mut parameters = lock(&self.parameters);
        let before = parameters.clone();
        let response = change(&mut parameters);
        let changed_parameters = parameters.changes_since(&before);
        let event =
            ParameterEvent { stamp: stamp(), node: self.name.clone(), changed_parameters, ..ParameterEvent::default() };
        (response, (!event.changed_parameters.is_empty()).then_some(event))
    }

    /// Does something with the engine, if the node is configured.
    fn with_engine<R>(&self, work: impl FnOnce(&Arc<Engine>) -> Result<R, String>) -> Result<R, String> {
        let engine = self.engine().ok_or_else(|| {
            format!("the node is {}: configure it first (lifecycle_msgs/ChangeState)", self.state().name())
        })?;
        work(&engine)
    }
}
