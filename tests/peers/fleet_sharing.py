"""Does sharing help? Ten simulated robots with unequal local images: each alone, merged, merged and gated locally, all data in one place.

    fleet_sharing.py FIELDFIT FLEET MODEL PACS FOLDER [--seeds 3] [--size 96] [--epochs 4] [--robots 10] [--threads 1] [--method NAME]

FIELDFIT and FLEET are the commands, PACS has a folder of classes for each domain, FOLDER is new. Prints one JSON line for each seed and
condition, and a table at the end.

Each robot lives in one domain, knows 4 to 7 of the 7 classes, and has 60 to 150 labelled images. Tests are images that no robot has: of its
own domain and classes (`own`), and of the other domains and all classes (`others`). `kept` is how often the adapted backbone under the
base's head names the base's class, over the images of the other domains whose classes the delta knows.

`alone` is what a robot's own images gave, whatever its gate said of it. A robot publishes what its gate accepted; `merged` is the mean of
that. `gated` is what runs on a robot after it received what the others published, and the mean, and judged them on its own gate slice; a
robot on which nothing runs counts as alone.
"""

import argparse
import json
import random
import shutil
import statistics
import subprocess
from collections import defaultdict
from pathlib import Path


class Bench:
    def __init__(self, arguments: argparse.Namespace):
        self.a = arguments
        self.domains = sorted(path.name for path in arguments.pacs.iterdir() if path.is_dir())
        self.classes = sorted(path.name for path in (arguments.pacs / self.domains[0]).iterdir() if path.is_dir())

    def json(self, command: Path, *words) -> dict:
        ran = subprocess.run([command, "--json", *map(str, words)], capture_output=True, text=True)
        # An adaptation that its gate refuses ends with status 1, and its delta is kept.
        lines = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]
        assert lines, f"{words}: {ran.stderr}"
        return lines[-1]

    def cut(self, seed: int, folder: Path) -> list[dict]:
        """Links unequal, disjoint local sets and the test sets into folders."""
        random_ = random.Random(seed)
        pool = {}
        for domain in self.domains:
            for name in self.classes:
                files = sorted((self.a.pacs / domain / name).iterdir())
                random_.shuffle(files)
                held = files[: self.a.test]
                pool[domain, name] = files[self.a.test :]
                for path in held:
                    link(path, folder / "test" / domain / name)
        robots = []
        for index in range(self.a.robots):
            domain = self.domains[index % len(self.domains)]
            known = sorted(random_.sample(self.classes, random_.randint(4, len(self.classes))))
            share = random_.randint(60, 150) // len(known)
            for name in known:
                taken, pool[domain, name] = pool[domain, name][:share], pool[domain, name][share:]
                for path in taken:
                    link(path, folder / f"robot-{index}" / "images" / name)
                    link(path, folder / "all" / name, f"{domain}_")
            robots.append({"domain": domain, "classes": known})
        return robots

    def adapt(self, images: Path, store: Path, seed: int, *words) -> tuple[Path, bool]:
        """The delta that these images gave, and whether its gate accepted it."""
        a = self.a
        options = ["--size", a.size, "--epochs", a.epochs, "--seed", seed, "--threads", a.threads]
        method = ["--method", a.method] if a.method else []
        done = self.json(a.fieldfit, "adapt", "--model", a.model, "--data", images, "--store", store, *options, *method, *words)
        assert done["event"] == "done", done
        return store / "versions" / "000001.delta", done["active"]

    def measure(self, delta: Path | None, robot: dict, folder: Path) -> dict:
        """Accuracy on own and other domains. A head that lacks a class is wrong about its images."""
        figures = {"own": [0, 0], "others": [0, 0], "kept": []}
        for domain in self.domains:
            for name in self.classes:
                where = "own" if domain == robot["domain"] and name in robot["classes"] else "others"
                if domain == robot["domain"] and where == "others":
                    continue
                count = figures[where]
                images = list((folder / "test" / domain / name).iterdir())
                count[1] += len(images)
        answers = self.answers(delta, folder)
        for (domain, name), right in answers["right"].items():
            if domain == robot["domain"] and name in robot["classes"]:
                figures["own"][0] += right
            elif domain != robot["domain"]:
                figures["others"][0] += right
        ratio = lambda pair: pair[0] / max(pair[1], 1)  # noqa: E731
        kept = [share for domain, share in answers["kept"].items() if domain != robot["domain"]]
        return {"own": ratio(figures["own"]), "others": ratio(figures["others"]), "kept": statistics.mean(kept)}

    def answers(self, delta: Path | None, folder: Path) -> dict:
        """Right answers by domain and class; agreement with the base by domain. Remembered by the delta's path."""
        key = str(delta)
        if key not in self.cache:
            right, kept = {}, {}
            for domain in self.domains:
                known = self.json(self.a.fieldfit, "info", delta)["labels"]
                view = folder / "views" / f"{len(self.cache)}-{domain}"
                for name in self.classes:
                    if name in known:
                        for path in (folder / "test" / domain / name).iterdir():
                            link(path, view / name)
                words = ["--model", self.a.model, "--delta", delta, "--data", view, "--agreement", "--threads", self.a.threads]
                figures = self.json(self.a.fieldfit, "eval", *words)
                for name, count in figures["per_class"].items():
                    right[domain, name] = count["correct"]
                kept[domain] = figures["agreement"]
            self.cache[key] = {"right": right, "kept": kept}
        return self.cache[key]

    def run(self, seed: int) -> list[dict]:
        folder, a = self.a.folder / f"seed-{seed}", self.a
        self.cache: dict[str, dict] = {}
        robots = self.cut(seed, folder)
        trust = "[keys]\n"
        for index, robot in enumerate(robots):
            home = folder / f"robot-{index}"
            robot["key"] = home / "key.pem"
            made = self.json(a.fieldfit, "key", "new", robot["key"])
            trust += f'robot-{index} = "{made["key"]}"\n'
        for index, robot in enumerate(robots):
            home = folder / f"robot-{index}"
            robot["store"] = home / "store"
            robot["alone"], robot["accepted"] = self.adapt(home / "images", robot["store"], seed, "--key", robot["key"])
            (robot["store"] / "trust.toml").write_text(trust)
        pooled, _ = self.adapt(folder / "all", folder / "pooled", seed)
        merged = folder / "merged.delta"
        published = [robot["alone"] for robot in robots if robot["accepted"]]
        self.json(a.fieldfit, "delta", "merge", *published, "--model", a.model, "--out", merged)
        sent = self.share(robots, folder)
        conditions = {"alone": lambda r: r["alone"], "merged": lambda r: merged, "gated": lambda r: r["gated"], "pooled": lambda r: pooled}
        lines = []
        for name, of in conditions.items():
            figures = [self.measure(of(robot), robot, folder) for robot in robots]
            line = {"seed": seed, "condition": name, "bytes": sent.get(name, 0)}
            line |= {field: statistics.mean(figure[field] for figure in figures) for field in ("own", "others", "kept")}
            line["worst_own"] = min(figure["own"] for figure in figures)
            line["robots_own"] = [round(figure["own"], 4) for figure in figures]
            print(json.dumps(line), flush=True)
            lines.append(line)
        return lines

    def share(self, robots: list[dict], folder: Path) -> dict:
        """Robots publish over a folder, and each merges and judges what it receives."""
        a, carrier = self.a, folder / "carrier"
        carrier.mkdir()
        published = 0
        for index, robot in enumerate(robots):
            if not robot["accepted"]:
                continue
            self.json(a.fieldfit, "store", "confirm", robot["store"], 1)
            at = ["--carrier", carrier, "--robot", f"robot-{index}"]
            published += self.json(a.fleet, "publish", robot["store"], *at, "--key", robot["key"])["packed"]
        received = 0
        for index, robot in enumerate(robots):
            at = ["--carrier", carrier, "--robot", f"robot-{index}"]
            gate = ["--model", a.model, "--gate", folder / f"robot-{index}" / "images", "--merge", "--threads", a.threads]
            report = self.json(a.fleet, "sync", robot["store"], *at, *gate)
            received += report["bytes"]
            active = report["active"] or 1
            robot["gated"] = robot["store"] / "versions" / f"{active:06}.delta"
            verdicts = [judged["accepted"] for judged in report["judged"] if judged["version"]]
            mean = [judged["accepted"] for judged in report["judged"] if not judged["version"]]
            line = {"robot": index, "domain": robot["domain"], "classes": len(robot["classes"]), "own_accepted": robot["accepted"]}
            line |= {"received": len(verdicts), "accepted": sum(verdicts), "mean_accepted": mean, "active": report["active"]}
            print(json.dumps(line), flush=True)
        images = sum(path.stat().st_size for path in (folder / "all").rglob("*") if path.is_file())
        return {"merged": published, "gated": published + received, "pooled": images}


def link(path: Path, folder: Path, prefix: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{prefix}{path.name}").symlink_to(path.resolve())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("fieldfit", "fleet", "model", "pacs", "folder"):
        parser.add_argument(name, type=Path)
    for name, value in [("seeds", 3), ("size", 96), ("epochs", 4), ("robots", 10), ("test", 20), ("threads", 1)]:
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--method", default="")
    arguments = parser.parse_args()
    assert shutil.which(arguments.fieldfit) and shutil.which(arguments.fleet), "both commands are needed"
    arguments.folder.mkdir(parents=True)
    bench = Bench(arguments)
    table = defaultdict(list)
    for seed in range(arguments.seeds):
        for line in bench.run(seed):
            table[line["condition"]].append(line)
    print("\n| condition | own | worst robot's own | others | kept | bytes |\n|---|---|---|---|---|---|")
    for name, lines in table.items():
        mean = lambda field: statistics.mean(line[field] for line in lines)  # noqa: E731
        figures = " | ".join(f"{100 * mean(field):.1f} %" for field in ("own", "worst_own", "others", "kept"))
        print(f"| {name} | {figures} | {mean('bytes'):,.0f} |")


if __name__ == "__main__":
    main()
