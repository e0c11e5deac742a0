"""A router, a camera, a listener and an operator on zenoh for the ROS 2 node, by the conventions of rmw_zenoh_cpp.

    python tests/peers/ros2/zenoh_robot.py NODE [--model FOLDER] [--frames 200]

NODE is `fieldfit-ros2`, built with the feature zenoh. zenoh-ros2-sdk names topics and services with the hashes of their types: only
those that are right are heard. Needs eclipse-zenoh, zenoh-ros2-sdk, numpy and pillow; nothing of ROS.
"""

import argparse
import json
import os
import queue
import signal
import socket
import statistics
import subprocess
import tempfile
import time

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
DEFINITIONS = HEADER | {name: MESSAGES[name] for name in MESSAGES if name.endswith(("Hypothesis", "Classification"))}


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
        self.hashes, self.answers, self.stamp = hashes, queue.Queue(), 10**12
        self.session = ZenohSession.get_instance(**self.link)
        for name, definition in DEFINITIONS.items():
            self.session.register_message_type(definition, name)
        self.camera = self.topic(ROS2Publisher, "/camera/image_raw/compressed", "sensor_msgs/msg/CompressedImage")
        self.listener = self.topic(
            ROS2Subscriber, "/robot/eyes/classification", "vision_msgs/msg/Classification", callback=self.answers.put)

    def topic(self, kind: type, topic: str, name: str, **options: object) -> object:
        return kind(topic=topic, msg_type=name, msg_definition=DEFINITIONS[name], type_hash=self.hashes[name], **options, **self.link)

    def send(self, data: bytes) -> int:
        self.stamp += 33_333_333
        types = self.session.store.types
        stamp = types["builtin_interfaces/msg/Time"](*divmod(self.stamp, 10**9))
        header = types["std_msgs/msg/Header"](stamp=stamp, frame_id="camera_optical")
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
    environment = os.environ | {
        "RMW_IMPLEMENTATION": "rmw_zenoh_cpp", "ROS_DOMAIN_ID": "0",
        "ZENOH_CONFIG_OVERRIDE": f'connect/endpoints=["tcp/127.0.0.1:{port}"]',
    }
    with tempfile.TemporaryDirectory() as scratch:
        command = [options.node, "--ros-args", "-r", "__node:=eyes", "-r", "__ns:=/robot", "-r", "~/image:=/camera/image_raw"]
        for value in (f"model:={options.model}", f"store:={scratch}/store", "image_transport:=compressed"):
            command += ["-p", value]
        node = subprocess.Popen(command, env=environment)
        try:
            check(robot, options.frames)
            node.send_signal(signal.SIGINT)
            assert node.wait(timeout=60) == 0, "the node ends with status 0"
        finally:
            node.kill()
    session.close()


def hashes(types: str) -> dict[str, str]:
    """The hashes of the node's own types, which the tests hold to rosbags'."""
    return {f"{t['package']}/{kind}/{t['name']}": f"RIHS01_{t['hash']}" for t in json.loads(types) for kind in ("msg", "srv")}


def check(robot: Robot, frames: int) -> None:
    data = encoded(picture(640, 480), "jpeg")
    for _ in range(60):
        if robot.answer(robot.send(data), 1.0):
            break
    else:
        raise AssertionError("no answer within a minute")
    times, lost = [], 0
    for _ in range(frames):
        begun = time.perf_counter()
        answer = robot.answer(robot.send(data), 2.0)
        if answer is None:
            lost += 1
            continue
        assert len(answer.results) == 5 and answer.header.frame_id == "camera_optical"
        times.append(1e3 * (time.perf_counter() - begun))
    print(f"zenoh, jpeg 640x480: {frames} sent, {lost} lost, median {statistics.median(times):.1f} ms", flush=True)
    response = robot.call("rollback", "std_srvs/srv/Trigger")
    assert response is not None and response.success is False, response
    print(f"rollback is refused: {response.message}")


if __name__ == "__main__":
    main()
