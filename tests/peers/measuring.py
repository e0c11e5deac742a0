"""Runs the two sides of a row in turn, each in processes of its own."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rows import Row, Side

TICK = 1e3 / os.sysconf("SC_CLK_TCK")

Commands = Callable[[Side, int], list[str]]


class Figures:
    """What the counted steps of a side took."""

    def __init__(self):
        self.times, self.cpu, self.steps, self.peak = [], 0.0, 0, 0.0

    def add(self, times: Sequence[float], cpu: float, steps: int) -> None:
        self.times += times
        self.cpu += cpu
        self.steps += steps

    def summary(self) -> dict:
        """Median and least wall ms, mean CPU ms of a step, peak resident MiB."""
        median, least = statistics.median(self.times), min(self.times)
        return {"ms": median, "least_ms": least, "cpu_ms": self.cpu / self.steps, "peak_mib": self.peak}


class Process:
    """A side that runs steps when asked to."""

    def __init__(self, command: list[str], threads: int):
        variables = os.environ | {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        self.process = subprocess.Popen(
            command, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, steps: int) -> dict:
        """Milliseconds of each step and what it came to."""
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{' '.join(self.process.args)}: ended early")
        return json.loads(line)

    def cpu_ms(self) -> float:
        """Of all threads since the start."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")")[-1].split()
        return (int(fields[11]) + int(fields[12])) * TICK

    def peak_mib(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text().split()
        return int(status[status.index("VmHWM:") + 1]) / 1024

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


class Serving:
    """A side whose turns are steps of one process."""

    def __init__(self, command: list[str], row: Row):
        self.process, self.steps, self.figures = Process(command, row.threads), row.steps, Figures()

    def warm_up(self) -> float:
        """The first result."""
        return self.process.run(3)["results"][0]

    def turn(self) -> float:
        """The median ms of all steps but the first, which finds cold caches."""
        before = self.process.cpu_ms()
        times = self.process.run(self.steps)["ms"][1:]
        self.figures.add(times, self.process.cpu_ms() - before, self.steps)
        return statistics.median(times)

    def close(self) -> dict:
        self.figures.peak = self.process.peak_mib()
        self.process.close()
        return self.figures.summary()


class Starting:
    """A side whose turns are whole processes, up to the answer to the first step."""

    def __init__(self, command: list[str], row: Row):
        self.command, self.threads, self.figures = command, row.threads, Figures()

    def warm_up(self) -> float:
        """The first result, and files in the system's cache."""
        return self.once()[0]

    def turn(self) -> float:
        _, taken, cpu, peak = self.once()
        self.figures.add([taken], cpu, 1)
        self.figures.peak = max(self.figures.peak, peak)
        return taken

    def once(self) -> tuple[float, float, float, float]:
        """Result, wall ms, CPU ms, peak MiB."""
        start = time.perf_counter()
        process = Process(self.command, self.threads)
        answer = process.run(1)
        taken = (time.perf_counter() - start) * 1e3
        figures = answer["results"][0], taken, process.cpu_ms(), process.peak_mib()
        process.close()
        return figures

    def close(self) -> dict:
        return self.figures.summary()


def measure(row: Row, command: Commands, rounds: int) -> list[dict]:
    """One result a rival: our turn, then theirs, again and again."""
    kind = Starting if row.steps is None else Serving
    ours, *theirs = (kind(command(side, row.threads), row) for side in (row.ours, *row.theirs))
    first = ours.warm_up()
    for side, peer in zip(row.theirs, theirs, strict=True):
        other = peer.warm_up()
        if row.tolerance is not None:
            require_close(f"{row.name}: first result of ours and of {side.name}", first, other, row.tolerance)
    ratios = [[] for _ in theirs]
    for number in range(rounds):
        print(f"\r{row.name}: round {number + 1} of {rounds} ", end="", file=sys.stderr, flush=True)
        for peer, turns in zip(theirs, ratios, strict=True):
            turns.append(ours.turn() / peer.turn())
    print(file=sys.stderr)
    mine = ours.close()
    return [result(row, side, mine, peer.close(), turns)
            for side, peer, turns in zip(row.theirs, theirs, ratios, strict=True)]


def result(row: Row, side: Side, ours: dict, theirs: dict, turns: list[float]) -> dict:
    ratio = {"median": statistics.median(turns), "min": min(turns), "max": max(turns)}
    answer = {"row": row.name, "peer": side.name, "ours": ours, "theirs": theirs, "ratio": ratio}
    if row.tolerance is None:
        return answer
    return answer | {"memory_ratio": ours["peak_mib"] / theirs["peak_mib"]}


def best(results: list[dict]) -> dict:
    """The rival with the least median time."""
    return min(results, key=lambda result: result["theirs"]["ms"])


def require_close(what: str, one: float, other: float, tolerance: float) -> None:
    if not abs(one - other) <= tolerance:
        sys.exit(f"refused: {what}: {one}, not {other} within {tolerance}; times of different work mean nothing")
