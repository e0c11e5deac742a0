#!/usr/bin/env python3
"""Counted instructions of a frame: compares them with a recorded file, or prints what they say of a Cortex-A78.

    counts.py check RECORDED COUNTED   fails if a row grew by more than 2 %; a row is a frame, or an op of at least 1 % of its frame
    counts.py write RECORDED COUNTED   records what was counted
    counts.py model RECORDED           prints the least cycles and time that a Cortex-A78's pipelines allow: a prediction

COUNTED is a folder of files ARCHITECTURE.labels (of the program) and ARCHITECTURE.counts (of the plugin), a line a marker.
"""

import csv
import sys
from pathlib import Path

CLASSES = ["loads", "broadcasts", "stores", "multiply_adds", "vectors", "others"]
FIELDS = ["architecture", "precision", "op", *CLASSES]
GROWTH = 1.02
SHARE = 0.01
FRAME = "frame"
CLOCK_GHZ = 1.5


def counted(folder):
    """The rows of a folder: a frame's, then those of its kinds of ops."""
    rows = {}
    for labels in sorted(Path(folder).glob("*.labels")):
        lines = labels.read_text().splitlines()
        counts = labels.with_suffix(".counts").read_text().splitlines()
        if len(lines) != len(counts):
            sys.exit(f"{labels}: {len(lines)} labels, expected one for each of {len(counts)} markers")
        for label, count in zip(lines, counts):
            if label == "-":
                continue
            precision, op = label.split("\t")
            for name in (FRAME, op):
                row = rows.setdefault((labels.stem, precision, name), [0] * len(CLASSES))
                row[:] = [a + int(b) for a, b in zip(row, count.split())]
    if not rows:
        sys.exit(f"{folder}: nothing was counted")
    return rows


def recorded(path):
    with open(path, newline="") as file:
        rows = csv.DictReader(file, delimiter="\t")
        return {tuple(row[field] for field in FIELDS[:3]): [int(row[name]) for name in CLASSES] for row in rows}


def write(path, rows):
    with open(path, "w", newline="") as file:
        table = csv.writer(file, delimiter="\t", lineterminator="\n")
        table.writerow(FIELDS)
        table.writerows([*key, *counts] for key, counts in rows.items())


def check(before, now):
    """The rows that grew, that came and that went, as messages."""
    faults = []
    for key in dict.fromkeys([*before, *now]):
        frame = sum(now.get((*key[:2], FRAME), [0]))
        old, new = sum(before.get(key, [0])), sum(now.get(key, [0]))
        if max(old, new) < SHARE * frame:
            continue
        name = ", ".join(key)
        if key not in before or key not in now:
            faults.append(f"{name}: {'not recorded' if key in now else 'not counted'}")
        elif new > GROWTH * old:
            faults.append(f"{name}: {new} instructions, recorded {old}: {100 * (new / old - 1):.1f} % more")
        elif old > GROWTH * new:
            print(f"{name}: {new} instructions, recorded {old}: {100 * (1 - new / old):.1f} % less")
    return faults


def bounds(counts):
    """Cycles that each part of a Cortex-A78 needs, by its Software Optimization Guide (r1p2, issue 5.0)."""
    loads, broadcasts, stores, multiply_adds, vectors, _ = counts
    return {
        # Six macro-operations are dispatched a cycle; an instruction is at least one.
        "dispatch": sum(counts) / 6,
        # Two pipelines of FP and ASIMD; a broadcast takes one of them beside its load.
        "vector": (multiply_adds + vectors + broadcasts) / 2,
        # Two pipelines load or store, a third loads.
        "memory": max((loads + broadcasts + stores) / 3, stores / 2),
    }


def model(rows):
    print(f"| frame of 224 px, one core | instructions | loads | broadcasts | stores | multiply-adds | other vector | other | "
          f"least cycles | bound by | at {CLOCK_GHZ} GHz |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for (architecture, precision, op), counts in rows.items():
        if op == FRAME:
            limit, cycles = max(bounds(counts).items(), key=lambda item: item[1])
            millions = " | ".join(f"{count / 1e6:.1f}" for count in counts)
            print(f"| {architecture}, {precision} | {sum(counts) / 1e6:.1f} M | {millions} | {cycles / 1e6:.1f} M | {limit} | "
                  f"{cycles / CLOCK_GHZ / 1e6:.1f} ms |")


def main(arguments):
    match arguments:
        case ["check", path, folder]:
            faults = check(recorded(path), counted(folder))
            if faults:
                sys.exit("\n".join([*faults, f"if it is meant to be so: {sys.argv[0]} write {path} {folder}"]))
        case ["write", path, folder]:
            write(path, counted(folder))
        case ["model", path]:
            model(recorded(path))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
