//! Catches: a field in another place or of another type than ROS 2's, and a type hash of another definition. Layouts and hashes are
//! rosbags' (`tests/peers/ros2/definitions.py` writes the file).

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use byteorder::LittleEndian;
use cdr_encoding::{from_bytes, to_vec};
use fieldfit_ros2::msg::diagnostic_msgs::DiagnosticArray;
use fieldfit_ros2::msg::fieldfit_interfaces::Label;
use fieldfit_ros2::msg::lifecycle_msgs::{
    ChangeState, GetAvailableStates, GetAvailableTransitions, GetState, TransitionEvent,
};
use fieldfit_ros2::msg::rcl_interfaces::{
    DescribeParameters, GetParameterTypes, GetParameters, ListParameters, ParameterEvent, SetParameters,
    SetParametersAtomically,
};
use fieldfit_ros2::msg::sensor_msgs::{CompressedImage, Image};
use fieldfit_ros2::msg::std_srvs::Trigger;
use fieldfit_ros2::msg::vision_msgs::{Classification, Detection2DArray};
use fieldfit_ros2::msg::{Interface, Service, TypeName, std_msgs, type_names};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Debug;

/// A type as the other implementation describes it.
#[derive(Deserialize)]
struct Row {
    name: String,
    hash: String,
    /// A message, behind the four bytes that tell the order of bytes, in hexadecimal digits.
    cdr: Option<String>,
    request: Option<String>,
    response: Option<String>,
}

fn rows() -> BTreeMap<String, Row> {
    let rows: Vec<Row> = serde_json::from_str(include_str!("data/messages.json")).unwrap();
    rows.into_iter().map(|row| (row.name.clone(), row)).collect()
}

/// Reads a message and writes it again.
fn round_trip<M: Serialize + DeserializeOwned>(name: &str, bytes: Option<&str>) {
    let bytes = hex::decode(bytes.unwrap()).unwrap();
    let (message, length) =
        from_bytes::<M, LittleEndian>(&bytes[4..]).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(length, bytes.len() - 4, "{name}: bytes are left over");
    let written = to_vec::<M, LittleEndian>(&message).unwrap();
    assert_eq!(hex::encode(written), hex::encode(&bytes[4..]), "{name}");
}

fn message<M: Interface>(rows: &BTreeMap<String, Row>) {
    let row = &rows[&full_name(M::TYPE, "msg")];
    round_trip::<M>(&row.name, row.cdr.as_deref());
}

fn service<S: Service>(rows: &BTreeMap<String, Row>) {
    let row = &rows[&full_name(S::TYPE, "srv")];
    round_trip::<S::Request>(&row.name, row.request.as_deref());
    round_trip::<S::Response>(&row.name, row.response.as_deref());
}

fn full_name(TypeName { package, name, .. }: TypeName, kind: &str) -> String {
    format!("{package}/{kind}/{name}")
}

#[test]
fn layouts_are_those_of_ros_2() {
    let rows = rows();
    message::<std_msgs::String>(&rows);
    message::<Image>(&rows);
    message::<CompressedImage>(&rows);
    message::<Classification>(&rows);
    message::<Detection2DArray>(&rows);
    message::<DiagnosticArray>(&rows);
    message::<TransitionEvent>(&rows);
    message::<ParameterEvent>(&rows);
    service::<Trigger>(&rows);
    service::<Label>(&rows);
    service::<ChangeState>(&rows);
    service::<GetState>(&rows);
    service::<GetAvailableStates>(&rows);
    service::<GetAvailableTransitions>(&rows);
    service::<GetParameters>(&rows);
    service::<GetParameterTypes>(&rows);
    service::<SetParameters>(&rows);
    service::<SetParametersAtomically>(&rows);
    service::<ListParameters>(&rows);
    service::<DescribeParameters>(&rows);
}

#[test]
fn type_hashes_are_those_of_the_definitions() {
    let rows = rows();
    for found in type_names() {
        let row = ["msg", "srv"].iter().find_map(|kind| rows.get(&full_name(found, kind))).unwrap();
        assert_eq!(format!("RIHS01_{}", found.hash), row.hash, "{}", row.name);
    }
}

/// Catches: a message that is shorter than it says, or longer than memory, and ends the node.
#[test]
fn damaged_messages_are_errors() {
    let rows = rows();
    let bytes = hex::decode(rows["sensor_msgs/msg/Image"].cdr.as_deref().unwrap()).unwrap();
    for length in 0..bytes.len() - 4 {
        assert!(from_bytes::<Image, LittleEndian>(&bytes[4..][..length]).is_err(), "{length} bytes");
    }
    for at in 4..bytes.len() - 4 {
        let mut damaged = bytes.clone();
        damaged[at..at + 4].fill(0xff);
        let read = from_bytes::<Image, LittleEndian>(&damaged[4..]);
        let _: &dyn Debug = &read;
    }
}
