"""Layouts and type hashes of the messages that the ROS 2 node speaks, as rosbags computes them from the definitions.

    python tests/peers/ros2/definitions.py crates/ros2/tests/data/messages.json

writes, for each type, its hash (RIHS01) and one message as CDR bytes; `cargo test` in crates/ros2 compares the node's types with
them. Needs rosbags, and nothing of ROS.
"""

import itertools
import json
import sys
from pathlib import Path

import numpy
from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

# What is in no store of rosbags: vision_msgs 4.1.1, service types of Jazzy, and the node's own.
MESSAGES = {
    "vision_msgs/msg/ObjectHypothesis": "string class_id\nfloat64 score",
    "vision_msgs/msg/Classification": "std_msgs/Header header\nObjectHypothesis[] results",
    "vision_msgs/msg/ObjectHypothesisWithPose": "ObjectHypothesis hypothesis\ngeometry_msgs/PoseWithCovariance pose",
    "vision_msgs/msg/Point2D": "float64 x\nfloat64 y",
    "vision_msgs/msg/Pose2D": "vision_msgs/Point2D position\nfloat64 theta",
    "vision_msgs/msg/BoundingBox2D": "vision_msgs/Pose2D center\nfloat64 size_x\nfloat64 size_y",
    "vision_msgs/msg/Detection2D":
        "std_msgs/Header header\nObjectHypothesisWithPose[] results\nBoundingBox2D bbox\nstring id",
    "vision_msgs/msg/Detection2DArray": "std_msgs/Header header\nvision_msgs/Detection2D[] detections",
}
SERVICES = {
    "std_srvs/srv/Trigger": ("", "bool success\nstring message"),
    "fieldfit_interfaces/srv/Label": ("string class_name\nfloat64 seconds", "bool success\nstring message"),
    "lifecycle_msgs/srv/ChangeState": ("lifecycle_msgs/Transition transition", "bool success"),
    "lifecycle_msgs/srv/GetState": ("", "lifecycle_msgs/State current_state"),
    "lifecycle_msgs/srv/GetAvailableStates": ("", "lifecycle_msgs/State[] available_states"),
    "lifecycle_msgs/srv/GetAvailableTransitions": ("", "lifecycle_msgs/TransitionDescription[] available_transitions"),
    "rcl_interfaces/srv/GetParameters": ("string[] names", "rcl_interfaces/ParameterValue[] values"),
    "rcl_interfaces/srv/GetParameterTypes": ("string[] names", "uint8[] types"),
    "rcl_interfaces/srv/SetParameters":
        ("rcl_interfaces/Parameter[] parameters", "rcl_interfaces/SetParametersResult[] results"),
    "rcl_interfaces/srv/SetParametersAtomically":
        ("rcl_interfaces/Parameter[] parameters", "rcl_interfaces/SetParametersResult result"),
    "rcl_interfaces/srv/ListParameters":
        ("string[] prefixes\nuint64 depth", "rcl_interfaces/ListParametersResult result"),
    "rcl_interfaces/srv/DescribeParameters":
        ("string[] names", "rcl_interfaces/ParameterDescriptor[] descriptors"),
}
# Messages of the store that the node speaks.
KNOWN = [
    "std_msgs/msg/String", "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage", "diagnostic_msgs/msg/DiagnosticArray",
    "lifecycle_msgs/msg/TransitionEvent", "rcl_interfaces/msg/ParameterEvent",
]


def open_store():
    """The types of Jazzy, and those above."""
    store = get_typestore(Stores.ROS2_JAZZY)
    types = {}
    for name, text in MESSAGES.items():
        types.update(get_types_from_msg(text, name))
    for name, (request, response) in SERVICES.items():
        event = f"service_msgs/ServiceEventInfo info\n{name}_Request[<=1] request\n{name}_Response[<=1] response"
        service = f"{name}_Request request_message\n{name}_Response response_message\n{name}_Event event_message"
        for suffix, text in {"_Request": request, "_Response": response, "_Event": event, "": service}.items():
            types.update(renamed(get_types_from_msg(text, name + suffix)))
    # `char` of a .msg file is uint8 in the descriptions that ROS 2 installs, and so in its hashes.
    info = get_types_from_msg(
        "uint8 event_type\nbuiltin_interfaces/Time stamp\nuint8[16] client_gid\nint64 sequence_number",
        "service_msgs/msg/ServiceEventInfo")
    store.fielddefs.update(info)
    store.register({name: fields for name, fields in types.items() if name not in store.fielddefs})
    return store


def renamed(tree):
    """Service types under their own names: the parser takes every type for a message."""
    if isinstance(tree, str):
        return tree.replace("/srv/msg/", "/srv/")
    if isinstance(tree, dict):
        return {renamed(name): renamed(fields) for name, fields in tree.items()}
    return type(tree)(map(renamed, tree)) if isinstance(tree, (list, tuple)) else tree


def sample(store, name, counter):
    """A message whose values all differ."""
    fields = store.fielddefs[name][1]
    return store.types[name](**{field: value(store, description, counter) for field, description in fields})


def value(store, description, counter):
    kind, detail = description
    if kind == Nodetype.NAME:
        return sample(store, detail, counter)
    if kind == Nodetype.BASE:
        return scalar(detail[0], counter)
    element, length = detail
    count = length if kind == Nodetype.ARRAY else min(length or 2, 2)
    values = [value(store, element, counter) for _ in range(count)]
    is_number = element[0] == Nodetype.BASE and element[1][0] != "string"
    return numpy.array(values, dtype=numpy_type(element[1][0])) if is_number else values


def numpy_type(name):
    return {"byte": "uint8", "octet": "uint8", "bool": "bool"}.get(name, name)


def scalar(name, counter):
    number = next(counter)
    if name == "string":
        return f"text {number}"
    if name == "bool":
        return number % 2 == 0
    return number + 0.5 if name.startswith("float") else number % 128


def main():
    store = open_store()
    rows = []
    for name in [*KNOWN, *MESSAGES]:
        rows.append({"name": name, "hash": store.hash_rihs01(name), "cdr": cdr(store, name)})
    for name in SERVICES:
        row = {"name": name, "hash": store.hash_rihs01(name)}
        for part in ("request", "response"):
            row[part] = cdr(store, f"{name}_{part.capitalize()}")
        rows.append(row)
    Path(sys.argv[1]).write_text(json.dumps(rows, indent=1) + "\n")


def cdr(store, name):
    """A message as bytes, behind the four that tell their order. ROS 2 gives a message without members one byte."""
    if not store.fielddefs[name][1]:
        return "0001000000"
    return bytes(store.serialize_cdr(sample(store, name, itertools.count(1)), name)).hex()


if __name__ == "__main__":
    main()
