//! Package `lifecycle_msgs`: states of a managed node.

use crate::msg::{Empty, interfaces, services};
use serde::{Deserialize, Serialize};

/// State by number and name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct State {
    /// Number.
    pub id: u8,
    /// Name.
    pub label: String,
}

/// Transition by number and name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Transition {
    /// Number.
    pub id: u8,
    /// Name.
    pub label: String,
}

/// Transition with its states.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TransitionDescription {
    /// The transition.
    pub transition: Transition,
    /// The state before.
    pub start_state: State,
    /// The state after.
    pub goal_state: State,
}

/// A transition that took place.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TransitionEvent {
    /// Nanoseconds since the epoch.
    pub timestamp: u64,
    /// The transition.
    pub transition: Transition,
    /// The state before.
    pub start_state: State,
    /// The state after.
    pub goal_state: State,
}

/// Request of `ChangeState`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ChangeStateRequest {
    /// The transition, by number or, if that is 0, by name.
    pub transition: Transition,
}

/// Response of `ChangeState`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ChangeStateResponse {
    /// Whether the transition took place.
    pub success: bool,
}

/// Response of `GetState`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GetStateResponse {
    /// The state.
    pub current_state: State,
}

/// Response of `GetAvailableStates`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GetAvailableStatesResponse {
    /// All states.
    pub available_states: Vec<State>,
}

/// Response of `GetAvailableTransitions`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GetAvailableTransitionsResponse {
    /// The transitions.
    pub available_transitions: Vec<TransitionDescription>,
}

interfaces! { "lifecycle_msgs":
    TransitionEvent = "d5f8873a2f0146498f812d7885c7327ce27e463d36811d8792f35ee38c0d6c38",
}

services! { "lifecycle_msgs":
    ChangeState(ChangeStateRequest) -> ChangeStateResponse = "356fe34f0475a43acf54542013af4167b0e729f77ea22ffb045c6ad8e20668e5",
    GetState(Empty) -> GetStateResponse = "800a0a5aae599782b02932de0caf563f6dc4e7e94b794eadde075ba2cbef9795",
    GetAvailableStates(Empty) -> GetAvailableStatesResponse = "00a07d79d2207d71e81a8cbc1880e5d924cc16d4688ea8e8e06e443dc8f8aa1d",
    GetAvailableTransitions(Empty) -> GetAvailableTransitionsResponse = "59b7ecefce0982a8a844b9f2c4f14764c1c4543cc55e72924e2aa4adad83e9bc",
}
