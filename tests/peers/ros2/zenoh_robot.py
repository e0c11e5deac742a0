"""A router, a camera, a listener and an operator on zenoh for the ROS 2 node, by the conventions of rmw_zenoh_cpp.

    python tests/peers/ros2/zenoh_robot.py NODE [--model FOLDER] [--frames 200]

NODE is `fieldfit-ros2`, built with the feature zenoh. zenoh-ros2-sdk names topics and services with the hashes of their types: only
those that are right are heard. A second node hears the first one, through the router. Needs eclipse-zenoh, zenoh-ros2-sdk, numpy and
pillow; nothing of ROS.
"""

import argparse
import contextlib
import json
import os
import queue
import signal
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy
import zenoh
from definitions import MESSAGES, SERVICES
from pictures import encoded, picture
from zenoh_ros2_sdk import ROS2Publisher, ROS2ServiceClient, ROS2Subscriber, ZenohSession

HEADER = {
    "builtin_interfaces/msg/Time": "int32 sec\nuint32 nanosec",
    "std_msgs/msg/Header": "builtin_interfaces/Time stamp\nstring frame_id",
    "sensor_msgs/msg/CompressedImage": "std_msgs/Header header\nstring format\nuint8[] data",
    "sensor_msgs/msg/Image": "std_msgs/Header header\nuint32 height\nuint32 width\nstring encoding\nuint8 is_bigendian\n"
                             "uint32 step\nuint8[] data",
    "std_msgs/msg/String": "string data",
}
# Of the services' requests and responses.
PARAMETERS = {
    "rcl_interfaces/msg/ParameterValue":
        "uint8 type\nbool bool_value\nint64 integer_value\nfloat64 double_value\nstring string_value\nbyte[] byte_array_value\n"
        "bool[] bool_array_value\nint64[] integer_array_value\nfloat64[] double_array_value\nstring[] string_array_value",
    "rcl_interfaces/msg/Parameter": "string name\nParameterValue value",
    "rcl_interfaces/msg/SetParametersResult": "bool successful\nstring reason",
    "lifecycle_msgs/msg/Transition": "uint8 id\nstring label",
}
DEFINITIONS = HEADER | PARAMETERS | {name: MESSAGES[name] for name in MESSAGES if name.endswith(("Hypothesis", "Classification"))}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def router(port: int) -> zenoh.Session:
    config = zenoh.Config()
    for key, value in {"mode": '"router"', "listen/endpoints": f'["tcp/127.0.0.1:{port}"]',
                       "scouting/multicast/enabled": "false"}.items():
        config.insert_json5(key, value)
    return zenoh.open(config)


class Robot:
    """Topics and services of the node on zenoh."""

    def __init__(self, port: int, hashes: dict[str, str]) -> None:
        self.link = {"router_ip": "127.0.0.1", "router_port": port}
        self.hashes, self.answers, self.refusals, self.stamp = hashes, queue.Queue(), queue.Queue(), 10**12
        self.session = ZenohSession.get_instance(**self.link)
        for name, definition in DEFINITIONS.items():
            self.session.register_message_type(definition, name)
        self.camera = self.topic(ROS2Publisher, "/camera/image_raw/compressed", "sensor_msgs/msg/CompressedImage")
        self.listener = self.topic(
            ROS2Subscriber, "/robot/eyes/classification", "vision_msgs/msg/Classification", callback=self.answers.put)
        self.events = self.topic(
            ROS2Subscriber, "/robot/ears/events", "std_msgs/msg/String", callback=lambda message: self.refusals.put(message.data))

    def topic(self, kind: type, topic: str, name: str, **options: object) -> object:
        return kind(topic=topic, msg_type=name, msg_definition=DEFINITIONS[name], type_hash=self.hashes[name], **options, **self.link)

    def message(self, name: str, /, **fields: object) -> object:
        return self.session.store.types[name](**fields)

    def parameter(self, name: str, number: int) -> object:
        """A parameter of an integer."""
        none = {f"{kind}_array_value": numpy.array([], dtype=dtype) for kind, dtype in
                [("byte", numpy.uint8), ("bool", numpy.bool_), ("integer", numpy.int64), ("double", numpy.float64)]}
        value = self.message("rcl_interfaces/msg/ParameterValue", type=2, bool_value=False, integer_value=number, double_value=0.0,
                             string_value="", string_array_value=[], **none)
        return self.message("rcl_interfaces/msg/Parameter", name=name, value=value)

    def send(self, data: bytes) -> int:
        self.stamp += 33_333_333
        stamp = self.message("builtin_interfaces/msg/Time", **dict(zip(("sec", "nanosec"), divmod(self.stamp, 10**9))))
        header = self.message("std_msgs/msg/Header", stamp=stamp, frame_id="camera_optical")
        self.camera.publish(header=header, format="jpeg", data=numpy.frombuffer(data, dtype=numpy.uint8))
        return self.stamp

    def answer(self, stamp: int, patience: float) -> object | None:
        deadline = time.monotonic() + patience
        while (left := deadline - time.monotonic()) > 0:
            try:
                answer = self.answers.get(timeout=left)
            except queue.Empty:
                return None
            if answer.header.stamp.sec * 10**9 + answer.header.stamp.nanosec == stamp:
                return answer
        return None

    def call(self, path: str, service: str, **fields: object) -> object:
        request, response = SERVICES[service]
        client = ROS2ServiceClient(
            service_name=f"/robot/eyes/{path}", srv_type=service, request_definition=request, response_definition=response,
            type_hash=self.hashes[service], timeout=30.0, **self.link)
        return client.call(**fields)


@contextlib.contextmanager
def node(options: argparse.Namespace, port: int, name: str, *arguments: str) -> Iterator[None]:
    """The node of that name as a process, which ends as a launch file ends it."""
    environment = os.environ | {
        "RMW_IMPLEMENTATION": "rmw_zenoh_cpp", "ROS_DOMAIN_ID": "0",
        "ZENOH_CONFIG_OVERRIDE": f'connect/endpoints=["tcp/127.0.0.1:{port}"]',
    }
    command = [options.node, "--ros-args", "-r", f"__node:={name}", "-r", "__ns:=/robot", "-p", f"model:={options.model}", *arguments]
    process = subprocess.Popen(command, env=environment)
    try:
        yield
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0, f"the node {name} ends with status 0"
    finally:
        process.kill()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("node")
    parser.add_argument("--model", default="models/efficientnet-lite0")
    parser.add_argument("--frames", type=int, default=200)
    options = parser.parse_args()
    types = subprocess.run([options.node, "--types"], check=True, capture_output=True, text=True).stdout
    port = free_port()
    session = router(port)
    robot = Robot(port, hashes(types))
    with tempfile.TemporaryDirectory() as scratch:
        camera = ["-r", "~/image:=/camera/image_raw", "-p", "image_transport:=compressed", "-p", f"store:={Path(scratch) / 'store'}"]
        with node(options, port, "eyes", *camera), node(options, port, "ears", "-r", "~/label:=/robot/eyes/events"):
            data = encoded(picture(640, 480), "jpeg")
            for check in (is_answered, has_services_and_parameters, is_heard_by_another_node, is_answered):
                check(robot, data)
                print(f"{check.__name__}: holds", flush=True)
            measure(robot, data, options.frames)
    session.close()


def hashes(types: str) -> dict[str, str]:
    """The hashes of the node's own types, which the tests hold to rosbags'."""
    return {f"{t['package']}/{kind}/{t['name']}": f"RIHS01_{t['hash']}" for t in json.loads(types) for kind in ("msg", "srv")}


def is_answered(robot: Robot, data: bytes) -> None:
    """Images are answered under their own headers."""
    deadline = time.monotonic() + 60
    while (answer := robot.answer(robot.send(data), 1.0)) is None:
        assert time.monotonic() < deadline, "no answer within a minute"
    assert len(answer.results) == 5 and answer.header.frame_id == "camera_optical", answer
    assert all(result.class_id and 0 < result.score <= 1 for result in answer.results), answer


def has_services_and_parameters(robot: Robot, data: bytes) -> None:
    """Services answer and refuse; a parameter is read, changed, refused, and takes effect."""
    response = robot.call("rollback", "std_srvs/srv/Trigger")
    assert response is not None and response.success is False and response.message, response
    value = robot.call("get_parameters", "rcl_interfaces/srv/GetParameters", names=["top_k"]).values[0]
    assert (value.type, value.integer_value) == (2, 5), value
    change = lambda number: robot.call(
        "set_parameters", "rcl_interfaces/srv/SetParameters", parameters=[robot.parameter("top_k", number)]).results[0]
    refused = change(17)
    assert not refused.successful and "expected an integer of 1 to 16" in refused.reason, refused
    assert change(2).successful
    assert len(robot.answer(robot.send(data), 10.0).results) == 2
    assert change(5).successful


def is_heard_by_another_node(robot: Robot, _: bytes) -> None:
    """What one node publishes, another one hears: `ears` takes the events of `eyes` for labels, and refuses them."""
    change = lambda number: robot.call(
        "change_state", "lifecycle_msgs/srv/ChangeState",
        transition=robot.message("lifecycle_msgs/msg/Transition", id=number, label="")).success
    while not robot.refusals.empty():
        robot.refusals.get()
    assert change(4) and change(3), "deactivate, activate"
    deadline = time.monotonic() + 30
    while json.loads(robot.refusals.get(timeout=max(0.1, deadline - time.monotonic())))["node"] != "label_refused":
        pass


def measure(robot: Robot, data: bytes, frames: int) -> None:
    """Sends images one after the other, and prints the times to their answers and the number of losses."""
    times, lost = [], 0
    for _ in range(frames):
        begun = time.perf_counter()
        answer = robot.answer(robot.send(data), 2.0)
        if answer is None:
            lost += 1
            continue
        assert len(answer.results) == 5
        times.append(1e3 * (time.perf_counter() - begun))
    print(f"zenoh, jpeg 640x480: {frames} sent, {lost} lost, median {statistics.median(times):.1f} ms", flush=True)


if __name__ == "__main__":
    main()
