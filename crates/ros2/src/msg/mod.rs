//! Messages and services of ROS 2 that the node speaks, by package, each with the hash of its type (RIHS01).
//!
//! Fields have the names and the order of the `.msg` and `.srv` files: the order is the wire format. The tests compare layout and
//! hash of every type with those that another implementation computes from the definitions.

pub mod builtin_interfaces;
pub mod diagnostic_msgs;
pub mod fieldfit_interfaces;
pub mod geometry_msgs;
pub mod lifecycle_msgs;
pub mod rcl_interfaces;
pub mod sensor_msgs;
pub mod std_msgs;
pub mod std_srvs;
pub mod vision_msgs;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Message type of a topic.
pub trait Interface: Serialize + DeserializeOwned + Send + 'static {
    /// Name of the type.
    const TYPE: TypeName;
}

/// Service type: a request and its response.
pub trait Service: 'static {
    /// Request of the service.
    type Request: Clone + Serialize + DeserializeOwned + Send + 'static;
    /// Response of the service.
    type Response: Serialize + DeserializeOwned + Send + 'static;
    /// Name of the type.
    const TYPE: TypeName;
}

/// Name and hash of a message or service type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct TypeName {
    /// Name of the package.
    pub package: &'static str,
    /// Name of the type in the package.
    pub name: &'static str,
    /// SHA-256 of the type's description, in hexadecimal digits (REP 2016): of the definitions in ROS 2 Jazzy and vision_msgs 4.
    pub hash: &'static str,
}

impl TypeName {
    /// Returns the hash as ROS 2 writes it: `RIHS01_…`.
    pub fn hash_name(self) -> String {
        format!("RIHS01_{}", self.hash)
    }
}

/// Returns the names of all message and service types.
pub fn type_names() -> Vec<TypeName> {
    use lifecycle_msgs::{ChangeState, GetAvailableStates, GetAvailableTransitions, GetState, TransitionEvent};
    use rcl_interfaces::{
        DescribeParameters, GetParameterTypes, GetParameters, ListParameters, ParameterEvent, SetParameters,
        SetParametersAtomically,
    };
    vec![
        <std_msgs::String as Interface>::TYPE,
        <sensor_msgs::Image as Interface>::TYPE,
        <sensor_msgs::CompressedImage as Interface>::TYPE,
        <vision_msgs::Classification as Interface>::TYPE,
        <vision_msgs::Detection2DArray as Interface>::TYPE,
        <diagnostic_msgs::DiagnosticArray as Interface>::TYPE,
        <TransitionEvent as Interface>::TYPE,
        <ParameterEvent as Interface>::TYPE,
        <std_srvs::Trigger as Service>::TYPE,
        <fieldfit_interfaces::Label as Service>::TYPE,
        <ChangeState as Service>::TYPE,
        <GetState as Service>::TYPE,
        <GetAvailableStates as Service>::TYPE,
        <GetAvailableTransitions as Service>::TYPE,
        <GetParameters as Service>::TYPE,
        <GetParameterTypes as Service>::TYPE,
        <SetParameters as Service>::TYPE,
        <SetParametersAtomically as Service>::TYPE,
        <ListParameters as Service>::TYPE,
        <DescribeParameters as Service>::TYPE,
    ]
}

/// Declares the message types of a package.
macro_rules! interfaces {
    ($package:literal: $($name:ident = $hash:literal,)*) => {
        $(impl $crate::msg::Interface for $name {
            const TYPE: $crate::msg::TypeName =
                $crate::msg::TypeName { package: $package, name: stringify!($name), hash: $hash };
        })*
    };
}

/// Declares the service types of a package.
macro_rules! services {
    ($package:literal: $($name:ident ($request:ty) -> $response:ty = $hash:literal,)*) => {
        $(
            #[doc = concat!("Service type `", $package, "/srv/", stringify!($name), "`.")]
            #[derive(Debug, Clone, Copy)]
            pub enum $name {}

            impl $crate::msg::Service for $name {
                type Request = $request;
                type Response = $response;
                const TYPE: $crate::msg::TypeName =
                    $crate::msg::TypeName { package: $package, name: stringify!($name), hash: $hash };
            }
        )*
    };
}

pub(crate) use {interfaces, services};

/// Request without members, which ROS 2 sends as one byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, serde::Deserialize)]
pub struct Empty {
    /// The byte.
    pub structure_needs_at_least_one_member: u8,
}
