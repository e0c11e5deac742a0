"""Runs and compares the arms of the protocol for methods on PACS, by `fieldfit compare`.

    python tests/peers/methods.py run FIELDFIT PACS OUT STAGE [WORKERS]
    python tests/peers/methods.py table OUT STAGE

`run` adapts EfficientNet-Lite0 by every arm of a stage, from every source, with every seed, and keeps a JSON line a run in OUT; what is
there is not run again. A worker has one thread. `table` prints the means of each arm, and each arm minus the first in pairs.

Thresholds. *Screening*: an arm goes on if it has at least 0.3 points more on the shifts at no less agreement than the default, or 8
points more of agreement for at most 0.3. *Confirmation* has other seeds, and the source that no choice has seen: a difference is
claimed where its 95 % interval, by Student's t over pairs of runs (a source and a seed: shifts of one run are not independent) and by Holm over the rivals, excludes 0.
*Fresh* is the confirmation of the default with seeds that no choice has seen, all its rivals, and LP-FT at equal cost. An arm with
branches becomes the default if it has at least 0.5 points more on the shifts at no more than 1 point less of agreement, within 1.5 ×
LP-FT's time.
"""

import json
import math
import random
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

MODELS = Path(__file__).resolve().parents[2] / "models"
DOMAINS = ["photo", "art_painting", "cartoon"]
COMMON = ["--size", "128", "--codec", "f16", "--limit", "40", "--threads", "1", "--quiet"]

TWO = ["--branches", "2", "--epochs", "3"]
FOUR = ["--branches", "4"]
CLEAN = "tpgm-relative:training-retention={}:training-clean=1"

# An arm's method and further options. The first of a stage is what the others are compared with.
ARMS = {
    "tpgm-relative": ("tpgm-relative", []),
    "lp-ft": ("lp-ft", []),
    "wise-ft": ("wise-ft", []),
    "ftp": ("ftp", []),
    "spd": ("spd", []),
    "lp-ft, 6 epochs": ("lp-ft", ["--epochs", "6"]),
    "lp-ft, 2 × 3 epochs": ("lp-ft", TWO),
    "2 × 3 epochs": ("tpgm-relative", TWO),
    "1 + 2 × 2 epochs": ("tpgm-relative", [*TWO, "--common-epochs", "1"]),
    "3 + 2 × 1 epochs": ("tpgm-relative", ["--branches", "2", "--common-epochs", "3"]),
    "5 epochs": ("tpgm-relative", ["--epochs", "5"]),
    "2 × 3 epochs, stock": ("tpgm-relative", [*TWO, "--branch-average", "stock"]),
    "clean 0.1": (CLEAN.format("0.1"), []),
    "clean 0.3": (CLEAN.format("0.3"), []),
    "2 × 3 epochs, clean 0.1": (CLEAN.format("0.1"), TWO),
    "2 × 3 epochs, clean 0.3": (CLEAN.format("0.3"), TWO),
    "share 0.3": ("tpgm-relative:training-share=0.3", []),
    "2 × 3 epochs, share 0.3": ("tpgm-relative:training-share=0.3", TWO),
    "clean 0.1, shares 0.05": (CLEAN.format("0.1") + ":retention=0.05", []),
    "clean 0.1, shares 0.1": (CLEAN.format("0.1") + ":retention=0.1", []),
    "2 × 3 epochs, clean 0.1, shares 0.05": (CLEAN.format("0.1") + ":retention=0.05", TWO),
    "1 + 2 × 2 epochs, clean 0.1, shares 0.05": (
        CLEAN.format("0.1") + ":retention=0.05",
        [*TWO, "--common-epochs", "1"],
    ),
    "2 × 3 epochs, clean 0.1, shares 0.1": (CLEAN.format("0.1") + ":retention=0.1", TWO),
    "4 × 4 epochs": ("tpgm-relative", FOUR),
    "4 × 4 epochs, clean 0.1": (CLEAN.format("0.1"), FOUR),
}

LATER = ["lp-ft, 2 × 3 epochs", "1 + 2 × 2 epochs", "2 × 3 epochs, stock"]
STRENGTH = ["clean 0.3", "2 × 3 epochs, clean 0.3"]
SHARES = [arm for arm in ARMS if "shares" in arm]
RIVALS = ["lp-ft", "wise-ft", "ftp", "spd"]
# After the first source and seed of the fresh ones: at equal cost, branches at the end of whole training, and none.
LATE = ["3 + 2 × 1 epochs", "5 epochs"]
NIGHT = ["4 × 4 epochs", "4 × 4 epochs, clean 0.1"]

# A stage's arms, sources and seeds. The base is EfficientNet-Lite0, and 100 images a class are drawn, unless VARIANTS says otherwise.
STAGES = {
    "screening": ([arm for arm in ARMS if arm not in LATER + STRENGTH + SHARES + LATE + NIGHT + RIVALS[1:]], DOMAINS[:2], range(0, 2)),
    # After one seed of the screening: retention of clean images gained on both axes, so how strongly?
    "strength": (["tpgm-relative", "2 × 3 epochs, clean 0.1", *STRENGTH], DOMAINS[:2], range(0, 1)),
    # A stronger retention of clean images keeps no more of the base's answers to other domains. Shares do.
    "shares": (["tpgm-relative", *SHARES], DOMAINS[:2], range(0, 1)),
    # What was chosen, on seeds and a source that no choice has seen.
    "confirmation": (
        ["clean 0.1, shares 0.05", *RIVALS, "2 × 3 epochs, clean 0.1, shares 0.05"],
        DOMAINS,
        range(2, 4),
    ),
    # After one seed of the confirmation: ahead on the shifts, 58 of 100 answers kept. Do shares of 0.1 keep 60, on seeds that
    # choices may see?
    "stronger": (["clean 0.1, shares 0.05", "clean 0.1, shares 0.1"], DOMAINS[:2], range(0, 1)),
    "stronger, confirmed": (["clean 0.1, shares 0.1", "clean 0.1, shares 0.05", *RIVALS], DOMAINS, range(2, 4)),
    "further": (["tpgm-relative", *LATER], DOMAINS[:2], range(0, 2)),
    "night": (["tpgm-relative", *NIGHT], DOMAINS[:2], range(0, 2)),
    "fresh": (["tpgm-relative", *RIVALS, "lp-ft, 6 epochs", "2 × 3 epochs", "1 + 2 × 2 epochs", *LATE, "4 × 4 epochs"], DOMAINS, range(10, 11)),
    # After the first of them, branches at that cost gain nothing (-0.1 over three sources): more seeds for the default and its rivals.
    "fresh, continued": (["tpgm-relative", *RIVALS], DOMAINS, range(10, 16)),
    # Is it one network's luck, or that of many images? One source, the first by name.
    "mobilenetv2": (["tpgm-relative", *RIVALS], ["art_painting"], range(10, 13)),
    "20 images": (["tpgm-relative", *RIVALS], ["art_painting"], range(10, 13)),
    # After its first source, art_painting, on which the default was ahead of all: the others, too.
    "50 images": (["tpgm-relative", *RIVALS], DOMAINS, range(10, 13)),
}


class Variant(NamedTuple):
    """What a stage is run with: the base, and how many images of each class are drawn."""

    base: str = "efficientnet-lite0"
    drawn: int = 100

    def suffix(self) -> str:
        """What tells its files from those of the usual variant."""
        parts = [str(value) for value, usual in zip(self, Variant()) if value != usual]
        return "".join(f".{part}" for part in parts)


VARIANTS = {
    "mobilenetv2": Variant(base="mobilenetv2"),
    "20 images": Variant(drawn=20),
    "50 images": Variant(drawn=50),
}


def drawn_source(pacs: Path, out: Path, source: str, drawn: int) -> Path:
    """A source's images in a folder of their own: so many of each class at most, drawn at random."""
    folder = out / "sources" / (source + Variant(drawn=drawn).suffix())
    if not folder.exists():
        for images in sorted(path for path in (pacs / source).iterdir() if path.is_dir()):
            (folder / images.name).mkdir(parents=True)
            files = sorted(images.iterdir())
            for path in random.Random(0).sample(files, min(drawn, len(files))):
                shutil.copy(path, folder / images.name)
    return folder


def log_of(out: Path, stage: str, arm: str, source: str, seed: int) -> Path:
    """Where the line of a run is kept."""
    variant = VARIANTS.get(stage, Variant())
    return out / f"{arm.replace(' ', '-')}.{source}.{seed}{variant.suffix()}.jsonl"


def run_arm(fieldfit: str, pacs: Path, out: Path, stage: str, job: tuple[str, str, int]) -> None:
    """One arm from one source with one seed."""
    arm, source, seed = job
    variant = VARIANTS.get(stage, Variant())
    method, options = ARMS[arm]
    shifts = [f"--shift={other}={pacs / other}" for other in DOMAINS if other != source]
    data = ["--model", MODELS / variant.base, "--data", drawn_source(pacs, out, source, variant.drawn), "--name", source, *shifts]
    command = [fieldfit, "compare", *data, "--methods", method, "--seeds", f"{seed}..{seed + 1}", *COMMON, *options]
    subprocess.run([*command, "--jsonl", log_of(out, stage, *job)], check=True, stdout=subprocess.DEVNULL)
    print(*job, flush=True)


def run(fieldfit: str, pacs: Path, out: Path, stage: str, workers: int) -> None:
    """Every arm of a stage; arms alternate, so that an early end leaves whole comparisons."""
    arms, sources, seeds = STAGES[stage]
    for source in sources:
        drawn_source(pacs, out, source, VARIANTS.get(stage, Variant()).drawn)
    jobs = [(arm, source, seed) for seed in seeds for source in sources for arm in arms]
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(lambda job: run_arm(fieldfit, pacs, out, stage, job), jobs))


def runs(out: Path, stage: str, arm: str) -> Iterator[tuple[tuple[str, int], dict[str, float]]]:
    """The figures of an arm in percent, by source and seed: the means of its shifts."""
    _, sources, seeds = STAGES[stage]
    for source in sources:
        for seed in seeds:
            log = log_of(out, stage, arm, source, seed)
            for line in log.read_text().splitlines() if log.exists() else []:
                record = json.loads(line)
                shifts = [figures(record, shift) for shift in record["shifts"]]
                yield (source, seed), {name: statistics.mean(figure[name] for figure in shifts) for name in shifts[0]}


def figures(record: dict, shift: dict) -> dict[str, float]:
    """What is compared of one run and one shift."""
    return {
        "shifts": accuracy(shift["confusion"]),
        "agreement": 100 * shift["agreement"],
        "in distribution": accuracy(record["in_distribution"]["confusion"]),
        "seconds": record["seconds"],
    }


def accuracy(confusion: list[list[int]]) -> float:
    """The share of images on the diagonal, in percent."""
    right = sum(row[own] for own, row in enumerate(confusion))
    return 100 * right / sum(map(sum, confusion))


def interval(differences: list[float]) -> tuple[float, float]:
    """Mean and half of the 95 % interval."""
    error = statistics.stdev(differences) / math.sqrt(len(differences)) if len(differences) > 1 else math.nan
    return statistics.mean(differences), student(len(differences) - 1) * error


def student(freedom: int) -> float:
    """The 97.5 % quantile of Student's t, by its expansion around the normal's (Abramowitz and Stegun 26.7.5)."""
    z = statistics.NormalDist().inv_cdf(0.975)
    terms = [z, (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96, (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384]
    return sum(term / freedom**power for power, term in enumerate(terms)) if freedom > 0 else math.nan


def table(out: Path, stage: str) -> None:
    """Prints means, and differences from the first arm in pairs."""
    arms, _, _ = STAGES[stage]
    reference = dict(runs(out, stage, arms[0]))
    for arm in arms:
        own = dict(runs(out, stage, arm))
        shared = sorted(own.keys() & reference.keys())
        if not shared:
            continue
        row = [f"{arm:28} {len(shared):3} runs"]
        for name in reference[shared[0]]:
            mean, half = interval([own[run][name] - reference[run][name] for run in shared])
            row.append(f"{name} {statistics.mean(own[run][name] for run in shared):5.1f} ({mean:+.2f} ± {half:.2f})")
        print("  ".join(row))


def main() -> None:
    match sys.argv[1:]:
        case ["run", fieldfit, pacs, out, stage, *workers]:
            run(fieldfit, Path(pacs), Path(out), stage, int(workers[0]) if workers else 1)
        case ["table", out, stage]:
            table(Path(out), stage)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
