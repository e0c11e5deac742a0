//! Life cycle of a managed node: its states, and the transitions between them.

use crate::msg::lifecycle_msgs::{
    State as StateMessage, Transition as TransitionMessage, TransitionDescription, TransitionEvent,
};
use fieldfit::escape;
use std::time::Duration;

/// State of the node, with its number in `lifecycle_msgs/State`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// No model is open.
    Unconfigured = 1,
    /// Model and store are open; no image is subscribed.
    Inactive = 2,
    /// Images are answered.
    Active = 3,
    /// The node has ended.
    Finalized = 4,
}

/// Transition of the node, with its number in `lifecycle_msgs/Transition`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    /// Opens model and store.
    Configure = 1,
    /// Closes them.
    CleanUp = 2,
    /// Subscribes images.
    Activate = 3,
    /// Unsubscribes them.
    Deactivate = 4,
    /// Ends an unconfigured node.
    UnconfiguredShutdown = 5,
    /// Ends an inactive node.
    InactiveShutdown = 6,
    /// Ends an active node.
    ActiveShutdown = 7,
}

impl State {
    /// The states.
    pub const ALL: [Self; 4] = [Self::Unconfigured, Self::Inactive, Self::Active, Self::Finalized];

    /// Returns the name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unconfigured => "unconfigured",
            Self::Inactive => "inactive",
            Self::Active => "active",
            Self::Finalized => "finalized",
        }
    }

    /// Returns the transitions that begin here.
    pub fn transitions(self) -> impl Iterator<Item = Transition> {
        Transition::ALL.into_iter().filter(move |transition| transition.start() == self)
    }

    /// Returns the transition that a request names, by number or, if that is 0, by name.
    ///
    /// # Errors
    /// With the transitions that begin here, if it is none of them.
    pub fn requested(self, request: &TransitionMessage) -> Result<Transition, String> {
        let is_meant = |transition: &Transition| match request.id {
            0 => transition.name() == request.label,
            id => *transition as u8 == id,
        };
        self.transitions().find(is_meant).ok_or_else(|| {
            let expected: Vec<&str> = self.transitions().map(Transition::name).collect();
            let (id, label) = (request.id, escape(&request.label));
            match expected.as_slice() {
                [] => format!("the node is {}: expected no transition, found {id} `{label}`", self.name()),
                expected => {
                    format!("the node is {}: expected {}, found {id} `{label}`", self.name(), expected.join(" or "))
                }
            }
        })
    }

    /// Returns the state as a message.
    pub fn message(self) -> StateMessage {
        StateMessage { id: self as u8, label: self.name().into() }
    }
}

impl Transition {
    /// The transitions.
    pub const ALL: [Self; 7] = [
        Self::Configure,
        Self::CleanUp,
        Self::Activate,
        Self::Deactivate,
        Self::UnconfiguredShutdown,
        Self::InactiveShutdown,
        Self::ActiveShutdown,
    ];

    /// Returns the name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Configure => "configure",
            Self::CleanUp => "cleanup",
            Self::Activate => "activate",
            Self::Deactivate => "deactivate",
            Self::UnconfiguredShutdown | Self::InactiveShutdown | Self::ActiveShutdown => "shutdown",
        }
    }

    /// Returns the state before.
    pub const fn start(self) -> State {
        match self {
            Self::Configure | Self::UnconfiguredShutdown => State::Unconfigured,
            Self::CleanUp | Self::Activate | Self::InactiveShutdown => State::Inactive,
            Self::Deactivate | Self::ActiveShutdown => State::Active,
        }
    }

    /// Returns the state after.
    pub const fn goal(self) -> State {
        match self {
            Self::Configure | Self::Deactivate => State::Inactive,
            Self::Activate => State::Active,
            Self::CleanUp => State::Unconfigured,
            Self::UnconfiguredShutdown | Self::InactiveShutdown | Self::ActiveShutdown => State::Finalized,
        }
    }

    /// Returns the transition with its states as a message.
    pub fn description(self) -> TransitionDescription {
        TransitionDescription {
            transition: self.message(),
            start_state: self.start().message(),
            goal_state: self.goal().message(),
        }
    }

    /// Returns the message of the transition that took place at a time since the epoch.
    pub fn event(self, at: Duration) -> TransitionEvent {
        TransitionEvent {
            timestamp: at.as_nanos().try_into().unwrap_or(u64::MAX),
            transition: self.message(),
            start_state: self.start().message(),
            goal_state: self.goal().message(),
        }
    }

    fn message(self) -> TransitionMessage {
        TransitionMessage { id: self as u8, label: self.name().into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by(id: u8, label: &str) -> TransitionMessage {
        TransitionMessage { id, label: label.into() }
    }

    /// Catches: a number that is not `lifecycle_msgs`', for which `ros2 lifecycle set` would do something else.
    #[test]
    fn numbers_and_names_are_those_of_lifecycle_msgs() {
        let states = State::ALL.map(|state| (state as u8, state.name()));
        assert_eq!(states, [(1, "unconfigured"), (2, "inactive"), (3, "active"), (4, "finalized")]);
        let transitions = Transition::ALL.map(|transition| (transition as u8, transition.name()));
        let names = ["configure", "cleanup", "activate", "deactivate", "shutdown", "shutdown", "shutdown"];
        assert!(transitions.into_iter().eq((1..).zip(names)));
    }

    /// Catches: a transition from the wrong state, one by name that takes another state's number, a refusal without a reason.
    #[test]
    fn requests_are_taken_by_number_or_name_where_they_begin() {
        assert_eq!(State::Unconfigured.requested(&by(1, "")), Ok(Transition::Configure));
        assert_eq!(State::Active.requested(&by(0, "shutdown")), Ok(Transition::ActiveShutdown));
        assert_eq!(State::Active.requested(&by(4, "configure")), Ok(Transition::Deactivate), "the number decides");
        let error = State::Unconfigured.requested(&by(3, "activate")).unwrap_err();
        assert_eq!(error, "the node is unconfigured: expected configure or shutdown, found 3 `activate`");
        assert!(State::Finalized.requested(&by(1, "")).is_err());
    }
}
