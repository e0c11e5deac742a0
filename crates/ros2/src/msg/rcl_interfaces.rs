//! Package `rcl_interfaces`: parameters of a node.

use crate::msg::builtin_interfaces::Time;
use crate::msg::{interfaces, services};
use serde::{Deserialize, Serialize};

/// Value of a parameter. The field that `type` names holds it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ParameterValue {
    /// Number of the type: 0 not set, 1 bool, 2 integer, 3 double, 4 string, 5 and more arrays of these.
    pub r#type: u8,
    /// The value of type 1.
    pub bool_value: bool,
    /// The value of type 2.
    pub integer_value: i64,
    /// The value of type 3.
    pub double_value: f64,
    /// The value of type 4.
    pub string_value: String,
    /// The value of type 5.
    pub byte_array_value: Vec<u8>,
    /// The value of type 6.
    pub bool_array_value: Vec<bool>,
    /// The value of type 7.
    pub integer_array_value: Vec<i64>,
    /// The value of type 8.
    pub double_array_value: Vec<f64>,
    /// The value of type 9.
    pub string_array_value: Vec<String>,
}

/// Parameter with its value.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Parameter {
    /// Name.
    pub name: String,
    /// Value.
    pub value: ParameterValue,
}

/// Range of a double.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct FloatingPointRange {
    /// Least value.
    pub from_value: f64,
    /// Greatest value.
    pub to_value: f64,
    /// Step; 0 for any value between.
    pub step: f64,
}

/// Range of an integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct IntegerRange {
    /// Least value.
    pub from_value: i64,
    /// Greatest value.
    pub to_value: i64,
    /// Step; 0 or 1 for any value between.
    pub step: u64,
}

/// Description of a parameter.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ParameterDescriptor {
    /// Name.
    pub name: String,
    /// Number of the type, as in [`ParameterValue`].
    pub r#type: u8,
    /// What it sets.
    pub description: String,
    /// What the range does not say.
    pub additional_constraints: String,
    /// Whether it cannot be changed while the node runs.
    pub read_only: bool,
    /// Whether its type may change.
    pub dynamic_typing: bool,
    /// Range of a double; at most one.
    pub floating_point_range: Vec<FloatingPointRange>,
    /// Range of an integer; at most one.
    pub integer_range: Vec<IntegerRange>,
}

/// Whether a parameter was set.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SetParametersResult {
    /// Whether it was.
    pub successful: bool,
    /// Why it was not.
    pub reason: String,
}

/// The result of a setting that was accepted or refused.
impl From<Result<(), String>> for SetParametersResult {
    fn from(set: Result<(), String>) -> Self {
        Self { successful: set.is_ok(), reason: set.err().unwrap_or_default() }
    }
}

/// Parameters that were changed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ParameterEvent {
    /// Time of the change.
    pub stamp: Time,
    /// Name of the node with its namespace.
    pub node: String,
    /// Parameters that there were not before.
    pub new_parameters: Vec<Parameter>,
    /// Parameters with another value.
    pub changed_parameters: Vec<Parameter>,
    /// Parameters that there are no more.
    pub deleted_parameters: Vec<Parameter>,
}

/// Request that names parameters.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ParameterNames {
    /// The names.
    pub names: Vec<String>,
}

/// Response of `GetParameters`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct GetParametersResponse {
    /// The values, in the order of the names; not set where there is no such parameter.
    pub values: Vec<ParameterValue>,
}

/// Response of `GetParameterTypes`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GetParameterTypesResponse {
    /// Numbers of the types, in the order of the names; 0 where there is no such parameter.
    pub types: Vec<u8>,
}

/// Request of `SetParameters` and `SetParametersAtomically`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SetParametersRequest {
    /// The parameters.
    pub parameters: Vec<Parameter>,
}

/// Response of `SetParameters`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SetParametersResponse {
    /// One for each parameter.
    pub results: Vec<SetParametersResult>,
}

/// Response of `SetParametersAtomically`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SetParametersAtomicallyResponse {
    /// That of all parameters.
    pub result: SetParametersResult,
}

/// Request of `ListParameters`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ListParametersRequest {
    /// Prefixes of the names; empty for all.
    pub prefixes: Vec<String>,
    /// Number of levels below a prefix; 0 for all.
    pub depth: u64,
}

/// Names of parameters.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ListParametersResult {
    /// The names.
    pub names: Vec<String>,
    /// The prefixes of names with several levels.
    pub prefixes: Vec<String>,
}

/// Response of `ListParameters`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ListParametersResponse {
    /// The names.
    pub result: ListParametersResult,
}

/// Response of `DescribeParameters`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct DescribeParametersResponse {
    /// The descriptions, in the order of the names.
    pub descriptors: Vec<ParameterDescriptor>,
}

interfaces! { "rcl_interfaces":
    ParameterEvent = "043e627780fcad87a22d225bc2a037361dba713fca6a6b9f4b869a5aa0393204",
}

services! { "rcl_interfaces":
    GetParameters(ParameterNames) -> GetParametersResponse = "bf9803d5c74cf989a5de3e0c2e99444599a627c7ff75f97b8c05b01003675cbc",
    GetParameterTypes(ParameterNames) -> GetParameterTypesResponse = "da199c878688b3e530bdfe3ca8f74cb9fa0c303101e980a9e8f260e25e1c80ca",
    SetParameters(SetParametersRequest) -> SetParametersResponse = "56eed9a67e169f9cb6c1f987bc88f868c14a8fc9f743a263bc734c154015d7e0",
    SetParametersAtomically(SetParametersRequest) -> SetParametersAtomicallyResponse = "0e192ef259c07fc3c07a13191d27002222e65e00ccec653ca05e856f79285fcd",
    ListParameters(ListParametersRequest) -> ListParametersResponse = "3e6062bfbb27bfb8730d4cef2558221f51a11646d78e7bb30a1e83afac3aad9d",
    DescribeParameters(ParameterNames) -> DescribeParametersResponse = "845b484d71eb0673dae682f2e3ba3c4851a65a3dcfb97bddd82c5b57e91e4cff",
}
