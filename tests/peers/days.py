"""Adapts a base to three days, one after the other, and measures each earlier day after each.

    python tests/peers/days.py FIELDFIT PACS OUT [SEED…]

The days are the domains photo, art painting and cartoon of PACS: each has its images to learn from, and others to be measured on. Every
arm has a store of its own and adapts EfficientNet-Lite0 by the default method with one thread; `joint` has the images of all days so
far. What is measured is what runs after the gate's verdict. A JSON line a measurement is kept in OUT/days.jsonl; a table is printed.
"""

import json
import random
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

MODEL = Path(__file__).resolve().parents[2] / "models" / "efficientnet-lite0"
DAYS = ["photo", "art_painting", "cartoon"]
LEARNED, MEASURED = 60, 30
COMMON = ["--size", "128", "--codec", "f16", "--threads", "1", "--quiet"]
BUDGET = "2MiB"

# Options of a day, from its number and the folders of the days before.
ARMS = {
    "anew": lambda earlier: [],
    "anew, replay": lambda earlier: replay(earlier),
    "active": lambda earlier: start(earlier),
    "active, replay": lambda earlier: [*start(earlier), *replay(earlier)],
    "joint": lambda earlier: [f"--replay={folder}" for folder in earlier],
}


def start(earlier: list[Path]) -> list[str]:
    """From the second day on, a start at the version that runs."""
    return ["--start", "active"] if earlier else []


def replay(earlier: list[Path]) -> list[str]:
    """Some images of each day before."""
    return [*(f"--replay={folder}" for folder in earlier), *(["--replay-bytes", BUDGET] if earlier else [])]


def prepared(pacs: Path, out: Path, day: str) -> tuple[Path, Path]:
    """A day's images to learn from, and those that it is measured on, drawn at random."""
    folders = out / "days" / day / "learn", out / "days" / day / "measure"
    if not folders[0].exists():
        for images in sorted(path for path in (pacs / day).iterdir() if path.is_dir()):
            files = random.Random(0).sample(sorted(images.iterdir()), LEARNED + MEASURED)
            for folder, part in zip(folders, (files[:LEARNED], files[LEARNED:])):
                (folder / images.name).mkdir(parents=True)
                for path in part:
                    shutil.copy(path, folder / images.name)
    return folders


def adapted(fieldfit: str, store: Path, learn: Path, options: list[str], seed: int) -> bool:
    """Whether the gate accepts a day."""
    command = [fieldfit, "adapt", "--model", MODEL, "--data", learn, "--store", store, "--seed", str(seed), *COMMON, *options]
    status = subprocess.run(command, stdout=subprocess.DEVNULL).returncode
    if status not in (0, 1):
        sys.exit(f"adapt ended with status {status}")
    return status == 0


def measured(fieldfit: str, store: Path, folder: Path) -> tuple[float, float]:
    """Accuracy, and agreement with the base, in percent."""
    command = [fieldfit, "eval", "--model", MODEL, "--store", store, "--data", folder, "--agreement", "--json", "--quiet"]
    report = json.loads(subprocess.run([*command, "--threads", "1"], check=True, capture_output=True, text=True).stdout)
    return 100 * report["accuracy"], 100 * report["agreement"]


def run(fieldfit: str, pacs: Path, out: Path, seed: int) -> None:
    """Every arm over the days."""
    folders = {day: prepared(pacs, out, day) for day in DAYS}
    for arm, options in ARMS.items():
        store = out / "stores" / f"{arm.replace(', ', '-')}.{seed}"
        for number, day in enumerate(DAYS):
            earlier = [folders[before][0] for before in DAYS[:number]]
            accepted = adapted(fieldfit, store, folders[day][0], options(earlier), seed)
            for seen in DAYS[: number + 1]:
                accuracy, agreement = measured(fieldfit, store, folders[seen][1])
                record = {"arm": arm, "seed": seed, "after": day, "on": seen, "accepted": accepted}
                with (out / "days.jsonl").open("a") as log:
                    print(json.dumps(record | {"accuracy": accuracy, "agreement": agreement}), file=log)


def table(out: Path) -> None:
    """Prints the means over seeds: after each day, the accuracy on each day so far, and on the last line the base's answers kept."""
    records = [json.loads(line) for line in (out / "days.jsonl").read_text().splitlines()]
    for arm in ARMS:
        row = [f"{arm:16}"]
        for number, day in enumerate(DAYS):
            own = [record for record in records if record["arm"] == arm and record["after"] == day]
            of_day = [[record["accuracy"] for record in own if record["on"] == seen] for seen in DAYS[: number + 1]]
            row.append(f"after {day}: " + " ".join(f"{statistics.mean(values):5.1f}" for values in of_day if values))
        kept = [record["agreement"] for record in records if record["arm"] == arm and record["after"] == DAYS[-1]]
        refused = sum(not record["accepted"] for record in records if record["arm"] == arm and record["on"] == record["after"])
        print("  ".join([*row, f"kept {statistics.mean(kept):5.1f}" if kept else "", f"refused {refused}"]))


def main() -> None:
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    fieldfit, pacs, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    out.mkdir(parents=True, exist_ok=True)
    for seed in map(int, sys.argv[4:] or ["0"]):
        run(fieldfit, pacs, out, seed)
    table(out)


if __name__ == "__main__":
    main()
