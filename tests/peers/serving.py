"""What the Python sides share: the golden file's images, and how they answer, as `crates/adapt/examples/peer` does."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy

# Images that every side calibrates on.
CALIBRATION = 8


def images(first: int, count: int, side: int) -> numpy.ndarray:
    """The golden file's images of those numbers, f32, `[N, 3, H, W]`."""
    image = numpy.arange(first, first + count)[:, None, None, None]
    channel, row, column = (numpy.arange(1, size + 1) for size in (3, side, side))
    values = numpy.sin(0.05 * row[:, None] * channel[:, None, None]) * numpy.cos(0.031 * column + 0.7 * image)
    return values.astype(numpy.float32)


@contextmanager
def notes_on_stderr() -> Iterator[None]:
    """Sends what libraries print to the standard error meanwhile: the standard output has answers alone."""
    sys.stdout.flush()
    answers = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(answers, 1)
        os.close(answers)


def serve(step: Callable[[], float]) -> None:
    """Answers each line of the standard input, a number of steps, until it ends."""
    for line in sys.stdin:
        milliseconds, results = [], []
        for _ in range(int(line)):
            start = time.perf_counter()
            results.append(step())
            milliseconds.append((time.perf_counter() - start) * 1e3)
        print(json.dumps({"ms": milliseconds, "results": results}), flush=True)
