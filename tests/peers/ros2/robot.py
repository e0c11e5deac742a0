"""A camera, a listener and an operator on Cyclone DDS for the ROS 2 node: what a robot does with it, and what breaks it.

    python tests/peers/ros2/robot.py NODE [--model FOLDER] [--frames 1000] [--rmw rmw_cyclonedds_cpp|rmw_fastrtps_cpp]

NODE is the built `fieldfit-ros2`. Prints a table of latencies and losses. Needs cyclonedds, numpy and pillow; nothing of ROS.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import messages as msg
import numpy
from dds import Peer, taken, until
from pictures import encoded, picture

NODE, CAMERA = "/robot/eyes", "/camera/image_raw"
SIZES = {"640x480": (640, 480), "1280x720": (1280, 720)}


class Robot:
    """The node as a process, and its topics."""

    def __init__(self, options: argparse.Namespace, folder: Path, domain: int, *parameters: str) -> None:
        self.rmw, self.folder = options.rmw, folder
        arguments = ["-r", "__node:=eyes", "-r", "__ns:=/robot", "-r", f"~/image:={CAMERA}"]
        values = [f"model:={options.model}", f"store:={folder / 'store'}", f"collection:={folder / 'collection'}", *parameters]
        for value in values:
            arguments += ["-p", value]
        self.command = [options.node, "--ros-args", *arguments]
        self.environment = os.environ | {"ROS_DOMAIN_ID": str(domain), "RMW_IMPLEMENTATION": options.rmw}
        self.peer = Peer(domain, NODE, self.rmw == "rmw_cyclonedds_cpp")
        self.raw = self.peer.writer(CAMERA, msg.Image)
        self.compressed = self.peer.writer(f"{CAMERA}/compressed", msg.CompressedImage)
        self.answers = self.peer.reader(f"{NODE}/classification", msg.Classification)
        self.reports = self.peer.reader("/diagnostics", msg.DiagnosticArray)
        self.lines = self.peer.reader(f"{NODE}/events", msg.String)
        self.changes = self.peer.reader("/parameter_events", msg.ParameterEvent)
        self.process: subprocess.Popen | None = None
        self.events: list[dict] = []
        # Of the last image, in nanoseconds.
        self.stamp = 10**12

    def start(self) -> None:
        """Starts the process, and waits until it subscribes the camera."""
        self.process = subprocess.Popen(self.command, env=self.environment)
        camera = self.compressed if "image_transport:=compressed" in self.command else self.raw
        until(lambda: camera.get_matched_subscriptions() and self.answers.get_matched_publications(), "the node")
        time.sleep(0.5)

    def kill(self) -> None:
        """Ends the process as a power cut does."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        until(lambda: not self.answers.get_matched_publications(), "the end of the node is noticed", 120)

    def stop(self) -> None:
        """Ends the process as a launch file does."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(timeout=60) == 0, "the node ends with status 0"

    def header(self) -> msg.Header:
        """The next header of a camera that takes 30 images a second."""
        self.stamp += 33_333_333
        return msg.Header(msg.Time(*divmod(self.stamp, 10**9)), "camera_optical")

    def send(self, pixels: numpy.ndarray, encoding: str = "rgb8") -> msg.Time:
        height, width, channels = pixels.shape
        header = self.header()
        # bytes are a sequence of uint8 that Cyclone copies as a whole.
        self.raw.write(msg.Image(header, height, width, encoding, 0, width * channels, pixels.tobytes()))
        return header.stamp

    def send_encoded(self, data: bytes, form: str) -> msg.Time:
        header = self.header()
        self.compressed.write(msg.CompressedImage(header, form, data))
        return header.stamp

    def answer(self, stamp: msg.Time, patience: float = 60.0) -> msg.Classification:
        """The answer to the image of that stamp."""
        return until(lambda: next((a for a in taken(self.answers) if a.header.stamp == stamp), None), "an answer", patience)

    def figures(self) -> dict[str, str]:
        """The figures of the next report on /diagnostics."""
        taken(self.reports)
        status = until(lambda: next((r.status[0] for r in taken(self.reports)), None), "a report")
        return {"level": str(status.level), "message": status.message} | {v.key: v.value for v in status.values}

    def event(self, **fields: object) -> dict:
        """The first event from here on that has these fields."""

        def found() -> dict | None:
            self.events += [json.loads(line.data) for line in taken(self.lines)]
            while self.events:
                event = self.events.pop(0)
                if fields.items() <= event.items():
                    return event
            return None

        return until(found, f"the event {fields}", 240)

    def trigger(self, path: str) -> tuple[bool, str]:
        response = self.peer.call(path, msg.TRIGGER)
        return response.success, response.message

    def set(self, name: str, **value: object) -> msg.SetParametersResult:
        numbers = {"bool_value": 1, "integer_value": 2, "double_value": 3, "string_value": 4}
        parameter = msg.Parameter(name, msg.ParameterValue(type=numbers[next(iter(value))], **value))
        return self.peer.call("set_parameters", msg.SET_PARAMETERS, [parameter]).results[0]

    def state(self) -> str:
        return self.peer.call("get_state", msg.GET_STATE).current_state.label


def is_answered(robot: Robot) -> None:
    """Images are answered under their own headers, and the order of channels is read as it is said."""
    pixels = picture(640, 480)
    answers = [robot.answer(robot.send(pixels)), robot.answer(robot.send(numpy.ascontiguousarray(pixels[..., ::-1]), "bgr8"))]
    first, second = ([(r.class_id, r.score) for r in answer.results] for answer in answers)
    assert first == second and len(first) == 5, (first, second)
    assert answers[0].header.frame_id == "camera_optical"
    assert all(0 < score <= 1 for _, score in first)


def refuses_bad_images(robot: Robot) -> None:
    """Images that are refused are counted and told, and the node goes on."""
    before = int(robot.figures()["refused"])
    bad = [
        msg.Image(robot.header(), 2, 2, "bayer_rggb8", 0, 2, bytes(4)),
        msg.Image(robot.header(), 2, 2, "mono16", 1, 4, bytes(8)),
        msg.Image(robot.header(), 2, 2, "rgb8", 0, 3, bytes(12)),
        msg.Image(robot.header(), 2, 2, "rgb8", 0, 6, bytes(5)),
        msg.Image(robot.header(), 2**32 - 1, 2**32 - 1, "rgb8", 0, 2**32 - 1, bytes(5)),
    ]
    for image in bad:
        robot.raw.write(image)
        time.sleep(0.1)
    robot.answer(robot.send(picture(640, 480)))
    assert int(robot.figures()["refused"]) == before + len(bad)
    assert "bayer_rggb8" in robot.event(node="image_refused")["reason"]


def has_parameters(robot: Robot) -> None:
    """Parameters are read, described, changed and refused; a change takes effect and is told."""
    values = robot.peer.call("get_parameters", msg.GET_PARAMETERS, ["top_k", "autostart", "nothing"]).values
    assert [(v.type, v.integer_value, v.bool_value) for v in values] == [(2, 5, False), (1, 0, True), (0, 0, False)]
    descriptors = robot.peer.call("describe_parameters", msg.DESCRIBE_PARAMETERS, ["model", "top_k"]).descriptors
    assert [d.read_only for d in descriptors] == [True, False] and descriptors[1].integer_range[0].to_value == 16
    refused = robot.set("model", string_value="elsewhere")
    assert not refused.successful and "read-only" in refused.reason, refused
    refused = robot.set("top_k", integer_value=17)
    assert not refused.successful and "expected an integer of 1 to 16" in refused.reason, refused
    taken(robot.changes)
    assert robot.set("top_k", integer_value=2).successful
    change = until(lambda: next(iter(taken(robot.changes)), None), "the parameter event")
    assert change.node == NODE and change.changed_parameters[0].name == "top_k"
    assert len(robot.answer(robot.send(picture(640, 480))).results) == 2
    assert robot.set("top_k", integer_value=5).successful


def has_a_life_cycle(robot: Robot) -> None:
    """The node answers while it is active, and subscribes nothing otherwise."""
    labels = [state.label for state in robot.peer.call("get_available_states", msg.GET_STATES).available_states]
    assert labels == ["unconfigured", "inactive", "active", "finalized"] and robot.state() == "active"
    transitions = robot.peer.reader(f"{NODE}/transition_event", msg.TransitionEvent)
    until(transitions.get_matched_publications, "the publisher of transitions")
    change = lambda number: robot.peer.call("change_state", msg.CHANGE_STATE, msg.Transition(number, "")).success
    assert not change(1), "configure does not begin in active"
    assert change(4) and robot.state() == "inactive"
    event = until(lambda: next(iter(taken(transitions)), None), "the transition event")
    assert (event.start_state.label, event.goal_state.label) == ("active", "inactive")
    until(lambda: not robot.raw.get_matched_subscriptions(), "the camera is not subscribed any more")
    assert change(2) and change(1) and change(3), "cleanup, configure, activate"
    until(robot.raw.get_matched_subscriptions, "the camera is subscribed again")
    time.sleep(0.5)
    robot.answer(robot.send(picture(640, 480)))


def learns(robot: Robot) -> None:
    """Images are labelled by service and topic, a version is made of them, confirmed, and survives SIGKILL."""
    assert robot.trigger("rollback")[0] is False, "the base cannot be rolled back"
    topic = robot.peer.writer(f"{NODE}/label", msg.String)
    until(topic.get_matched_subscriptions, "the label's topic")
    for number in range(60):
        tint = numpy.array([1.0, 0.3, 0.3] if number % 2 else [0.3, 0.3, 1.0])
        robot.stamp += 20 * 10**9  # in a stretch of its own
        robot.answer(robot.send((picture(160, 120, number) * tint).astype(numpy.uint8)))
        name = "warm" if number % 2 else "cold"
        if number % 10:
            response = robot.peer.call("label", msg.LABEL, name, 1.0)
            assert response.success, response.message
        else:
            topic.write(msg.String(json.dumps({"class": name, "seconds": 1})))
            assert robot.event(node="labelled")["images"] == 1
    options = {"method": "linear-probe", "size": 64, "epochs": 1, "nice": 10}
    assert robot.set("adaptation", string_value=json.dumps(options)).successful
    assert robot.trigger("adapt")[0]
    done = robot.event(event="done")
    assert done["active"], done
    labels = {r.class_id for r in robot.answer(robot.send(picture(160, 120))).results}
    assert labels == {"warm", "cold"}, labels
    success, message = robot.trigger("confirm")
    assert success and f"version {done['version']}" in message, message


def survives_kills(robot: Robot, kills: int) -> None:
    """SIGKILL in the middle of an adaptation loses neither the version that runs nor the store."""
    options = {"method": "tpgm-relative", "size": 96, "epochs": 50}
    for _ in range(kills):
        assert robot.set("adaptation", string_value=json.dumps(options)).successful
        assert robot.trigger("adapt")[0]
        time.sleep(random.uniform(0.2, 4.0))
        robot.kill()
        robot.start()
        figures = robot.figures()
        assert figures["version"] == "1" and figures["level"] != "2", figures
        robot.answer(robot.send(picture(640, 480)))
    assert robot.trigger("rollback") == (True, "the base runs now")


def stops_an_adaptation(robot: Robot) -> None:
    """An adaptation is stopped, and frames are answered beside it."""
    assert robot.set("adaptation", string_value=json.dumps({"size": 96, "epochs": 500})).successful
    assert robot.trigger("adapt")[0]
    robot.answer(robot.send(picture(640, 480)))
    assert robot.trigger("adapt")[0] is False, "one at a time"
    assert robot.trigger("stop_adaptation")[0]
    robot.event(node="adaptation_failed")


def classifies_boxes(robot: Robot) -> None:
    """The boxes of a detector come back with the classes of their parts of the image that has their stamp."""
    detector = robot.peer.writer(f"{NODE}/detections", msg.Detection2DArray)
    classified = robot.peer.reader(f"{NODE}/detections/classified", msg.Detection2DArray)
    until(lambda: detector.get_matched_subscriptions() and classified.get_matched_publications(), "the detections")
    time.sleep(0.5)
    stamp = [robot.send(picture(640, 480, seed)) for seed in range(3)][1]
    header = msg.Header(stamp, "camera_optical")
    centres = {"inside": (320.0, 240.0), "at the edge": (0.0, 0.0), "outside": (5000.0, 0.0)}
    boxes = [
        msg.Detection2D(header, [], msg.BoundingBox2D(msg.Pose2D(msg.Point2D(x, y), 0.3), 120.0, 80.0), name)
        for name, (x, y) in centres.items()
    ]
    time.sleep(0.5)
    detector.write(msg.Detection2DArray(header, boxes))
    answer = until(lambda: next(iter(taken(classified)), None), "the classified boxes")
    assert answer.header.stamp == stamp
    assert [(box.id, len(box.results)) for box in answer.detections] == [("inside", 5), ("at the edge", 5), ("outside", 0)]
    assert answer.detections[0].results[0].hypothesis.class_id


def drops_what_is_too_much(robot: Robot) -> None:
    """A camera that is faster than the model loses images, not time: the last answers are to the last images."""
    pixels, begun = picture(640, 480), time.monotonic()
    stamps = []
    while time.monotonic() - begun < 3:
        stamps.append(robot.send(pixels))
        time.sleep(0.005)
    late = robot.answer(robot.send(pixels))
    assert late
    figures = robot.figures()
    print(f"flood: {len(stamps)} images of 640x480 in 3 s, {figures['dropped']} dropped so far, {figures['answered']} answered")


def measured(robot: Robot, frames: int, send: object) -> tuple[list[float], int]:
    """Milliseconds from an image to its answer, one image after the other, and the number that was lost."""
    times, lost = [], 0
    for _ in range(frames):
        begun = time.perf_counter()
        stamp = send()
        try:
            robot.answer(stamp, 2.0)
            times.append(1e3 * (time.perf_counter() - begun))
        except AssertionError:
            lost += 1
    return times, lost


def told(row: str, frames: int, times: list[float], lost: int, figures: dict[str, str]) -> None:
    times = sorted(times)
    share = lambda part: times[min(len(times) - 1, int(part * len(times)))]
    print(f"{row:22} {frames:6} sent {lost:4} lost  median {statistics.median(times):6.1f} ms  99 % {share(0.99):6.1f} ms  "
          f"largest {times[-1]:6.1f} ms  (of it in the node: {figures.get('latency_ms', '-')} ms)  "
          f"received in all {figures['received']}, answered {figures['answered']}, dropped {figures['dropped']}", flush=True)


@contextlib.contextmanager
def running(options: argparse.Namespace, folder: Path, *parameters: str) -> Iterator[Robot]:
    robot = Robot(options, folder, random.randrange(40, 100), *parameters)
    robot.start()
    try:
        yield robot
        robot.stop()
    finally:
        robot.process.kill()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("node")
    parser.add_argument("--model", default="models/efficientnet-lite0")
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--rmw", default="rmw_cyclonedds_cpp")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, running(options, Path(scratch)) as robot:
        for check in (is_answered, refuses_bad_images, has_parameters, has_a_life_cycle, drops_what_is_too_much):
            check(robot)
            print(f"{check.__name__}: holds", flush=True)
        for row, (width, height) in SIZES.items():
            pixels = picture(width, height)
            times, lost = measured(robot, options.frames, lambda: robot.send(pixels))
            told(f"raw {row}", options.frames, times, lost, robot.figures())
        learns(robot)
        print("learns: holds", flush=True)
        survives_kills(robot, options.kills)
        print(f"survives_kills: holds, {options.kills} times", flush=True)
        stops_an_adaptation(robot)
        print("stops_an_adaptation: holds", flush=True)
    with tempfile.TemporaryDirectory() as scratch, running(options, Path(scratch), "image_transport:=compressed") as robot:
        jpeg = robot.answer(robot.send_encoded(encoded(picture(640, 480), "png"), "png"))
        assert len(jpeg.results) == 5
        for row, (width, height) in SIZES.items():
            data = encoded(picture(width, height), "jpeg")
            times, lost = measured(robot, options.frames, lambda: robot.send_encoded(data, "rgb8; jpeg compressed bgr8"))
            told(f"jpeg {row} ({len(data) // 1000} kB)", options.frames, times, lost, robot.figures())
    with tempfile.TemporaryDirectory() as scratch, running(options, Path(scratch), "classify:=detections") as robot:
        classifies_boxes(robot)
        print("classifies_boxes: holds", flush=True)


if __name__ == "__main__":
    main()
