"""Frames from Python beside ONNX Runtime and PyTorch, the cost of a call, the preparation of NV12 beside OpenCV, and frames beside a page.

    python tests/peers/frames.py loop MODEL ONNX [ROUNDS]        a frame's loop: Fieldfit, ONNX Runtime, PyTorch
    python tests/peers/frames.py call TINY [ROUNDS]              what a call from Python adds to one from Rust
    python tests/peers/frames.py nv12 [ROUNDS]                   NV12 of 1080p to 224 px: Fieldfit, OpenCV
    python tests/peers/frames.py page FIELDFIT MODEL STORE [ROUNDS]   p99 of frames without, beside a page that is watched, and flooded

Run it with an interpreter that has the package `fieldfit`, numpy, opencv-python-headless, onnxruntime, torch and timm, after
`cargo build --release -p fieldfit-cli --example frame_times`. MODEL is `models/efficientnet-lite0`, ONNX the same network as
`tests/peers/torch_peer.py export` wrote it; TINY a model folder whose network takes next to no time.

Sides are processes of their own with one thread each, and take turns of FRAMES frames. Printed are the median and the least of the
medians of turns, in ms, the largest resident set, and for `loop` the seconds from a process's start to its first answer. In `page`, a
watcher asks for the status and for `/metrics` once a second, as an open page and Prometheus do; the flood sends 10,000 requests a
second without the token, and counts what was refused.
"""

import json
import os
import statistics
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

FRAMES = 100
# Requests a second of the flood.
FLOOD = 10_000
WIDTH, HEIGHT, SIDE = 640, 480, 224
ROOT = Path(__file__).resolve().parents[2]
RUST = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "examples" / "frame_times"


class Side:
    """A process that answers each line, a number of frames, with the milliseconds of each."""

    def __init__(self, name: str, command: list):
        self.name, self.medians, self.times = name, [], []
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        started = time.perf_counter()
        self.process = subprocess.Popen(
            [str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.turn(1)
        self.start = time.perf_counter() - started
        self.turn(FRAMES)

    def turn(self, frames: int = FRAMES) -> list[float]:
        print(frames, file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())["ms"]

    def measure(self) -> None:
        times = self.turn()
        self.times += times
        self.medians.append(statistics.median(times))

    def peak(self) -> float:
        """The largest resident set, in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024

    def row(self) -> str:
        median, least = statistics.median(self.medians), min(self.medians)
        return f"{self.name:14} median {median:8.3f} ms  least {least:8.3f} ms  {self.peak():7.0f} MiB  start {self.start:5.2f} s"

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def compare(sides: list[Side], rounds: int) -> None:
    """Lets the sides take turns, and prints them."""
    for _ in range(rounds):
        for side in sides:
            side.measure()
    for side in sides:
        ratios = [own / first for own, first in zip(side.medians, sides[0].medians)]
        print(side.row(), f" {statistics.median(ratios):6.2f} × {sides[0].name}")
        side.close()


def python(work: str, *arguments) -> list:
    return [sys.executable, __file__, "side", work, *arguments]


def serve(frame: Callable[[], object]) -> None:
    """Answers each line of the standard input, a number of frames, until it ends."""
    for line in sys.stdin:
        milliseconds = []
        for _ in range(int(line)):
            start = time.perf_counter()
            frame()
            milliseconds.append((time.perf_counter() - start) * 1e3)
        print(json.dumps({"ms": milliseconds}), flush=True)


def camera_frame():
    """The frame of the Rust side: 640 × 480 px, BGR."""
    import numpy

    return (numpy.arange(3 * WIDTH * HEIGHT) // 7 % 251).astype(numpy.uint8).reshape(HEIGHT, WIDTH, 3)


def prepared(frame):
    """What a loop by OpenCV does before a network: the centre, scaled, RGB, normalised, `[1, 3, 224, 224]`."""
    import cv2
    import numpy

    side = round(HEIGHT * 0.875)
    top, left = (HEIGHT - side) // 2, (WIDTH - side) // 2
    small = cv2.resize(frame[top : top + side, left : left + side], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return cv2.dnn.blobFromImage(small, 1 / 128, (SIDE, SIDE), (127, 127, 127), swapRB=True).astype(numpy.float32)


def fieldfit_side(model: str) -> None:
    import fieldfit

    runtime, frame = fieldfit.Runtime(model, threads=1), camera_frame()
    serve(lambda: runtime.infer(frame))


def onnx_side(model: str) -> None:
    import cv2
    import onnxruntime

    cv2.setNumThreads(1)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session, frame = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"]), camera_frame()
    serve(lambda: session.run(None, {"images": prepared(frame)})[0].argmax())


def torch_side() -> None:
    import cv2
    import timm
    import torch

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    model = timm.create_model("tf_efficientnet_lite0").eval().to(memory_format=torch.channels_last)
    frame = camera_frame()

    def answer() -> int:
        with torch.inference_mode():
            return int(model(torch.from_numpy(prepared(frame)).contiguous(memory_format=torch.channels_last)).argmax())

    serve(answer)


def opencv_side() -> None:
    import cv2
    import numpy

    cv2.setNumThreads(1)
    frame = (numpy.arange(1920 * 1080 * 3 // 2) // 7 % 251).astype(numpy.uint8).reshape(1080 * 3 // 2, 1920)

    def prepare() -> numpy.ndarray:
        image = cv2.cvtColor(frame, cv2.COLOR_YUV2RGB_NV12)
        side = round(1080 * 0.875)
        top, left = (1080 - side) // 2, (1920 - side) // 2
        small = cv2.resize(image[top : top + side, left : left + side], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        return (small.astype(numpy.float32) - 127) / 128

    serve(prepare)


def loop(model: str, onnx: str, rounds: int) -> None:
    sides = [
        Side("fieldfit", python("fieldfit", model)),
        Side("onnxruntime", python("onnx", onnx)),
        Side("torch", python("torch")),
    ]
    compare(sides, rounds)


def call(model: str, rounds: int) -> None:
    compare([Side("rust", [RUST, "infer", 1, model]), Side("python", python("fieldfit", model))], rounds)


def nv12(rounds: int) -> None:
    compare([Side("opencv", python("opencv")), Side("fieldfit", [RUST, "nv12"])], rounds)


def page(fieldfit: str, model: str, store: str, rounds: int) -> None:
    """Frames alone, beside a page that is watched, and beside one that is flooded, in turns."""
    command = [fieldfit, "serve", "--store", store, "--listen", "127.0.0.1:0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    address = next(word for line in server.stdout for word in line.split() if word.startswith("http://"))
    base, _, token = address.partition("/#token=")
    side = Side("frames", [RUST, "infer", 1, model, store])
    kinds = {"alone": None, "watched": lambda stop: watch(base, token, stop), "flooded": lambda stop: flood(base, stop)}
    times = {kind: [] for kind in kinds}
    for _ in range(rounds):
        for kind, load in kinds.items():
            stop = threading.Event()
            beside = threading.Thread(target=load, args=(stop,)) if load else None
            if beside:
                beside.start()
                time.sleep(0.5)
            times[kind] += side.turn(5 * FRAMES)
            stop.set()
            if beside:
                beside.join()
    for kind, found in times.items():
        found.sort()
        print(f"{kind:8} median {statistics.median(found):7.3f} ms  p99 {found[len(found) * 99 // 100]:7.3f} ms")
    side.close()
    server.terminate()


def watch(base: str, token: str, stop: threading.Event) -> None:
    """Asks for what the page shows, and for the metrics, once a second."""
    while not stop.wait(1):
        for path in ["/metrics", "/api/status"]:
            request = urllib.request.Request(base + path, headers={"Authorization": f"Bearer {token}"})
            with urllib.request.urlopen(request, timeout=5) as answer:
                answer.read()


def flood(base: str, stop: threading.Event) -> None:
    """Sends requests without the token, 100 at once, FLOOD a second; prints how many a second were refused."""
    host = base.removeprefix("http://")
    batch = f"GET /api/status HTTP/1.1\r\nHost: {host}\r\n\r\n".encode() * 100
    name, _, port = host.rpartition(":")
    refused, started = 0, time.perf_counter()
    with socket.create_connection((name, int(port)), timeout=5) as connection:
        while not stop.is_set():
            connection.sendall(batch)
            answers = b""
            while answers.count(b"HTTP/1.1 4") < 100:
                received = connection.recv(1 << 20)
                assert received, f"the server closed the connection after {answers[-300:]!r}"
                answers += received
            refused += 100
            time.sleep(max(0.0, refused / FLOOD - (time.perf_counter() - started)))
    print(f"refused {refused / (time.perf_counter() - started):.0f} requests a second")


def main() -> None:
    rounds = lambda rest: int(rest[0]) if rest else 8
    match sys.argv[1:]:
        case ["loop", model, onnx, *rest]:
            loop(model, onnx, rounds(rest))
        case ["call", model, *rest]:
            call(model, rounds(rest))
        case ["nv12", *rest]:
            nv12(rounds(rest))
        case ["page", fieldfit, model, store, *rest]:
            page(fieldfit, model, store, rounds(rest))
        case ["side", "fieldfit", model]:
            fieldfit_side(model)
        case ["side", "onnx", model]:
            onnx_side(model)
        case ["side", "torch"]:
            torch_side()
        case ["side", "opencv"]:
            opencv_side()
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
