"""Edits of one δ after training against a uniform share of it, on PACS: accuracy on other domains, and the base's answers kept.

    python tests/peers/posthoc.py run FIELDFIT PACS OUT [SEEDS]
    python tests/peers/posthoc.py table OUT

`run` adapts EfficientNet-Lite0 by `lp-ft` from each source with each seed (`compare`'s settings in `methods.py`), exports the weights,
edits δ, and measures by PyTorch under both heads; a JSON line an edit goes to OUT. `table` prints means over runs, and, in pairs, how
far each edit lies above the curve of uniform shares at its own agreement. An edit is worth keeping from 0.5 points on the shifts or,
at equal shifts, 5 of agreement.

Edits: LiNeS (Wang et al., ICLR 2025) and its mirror image; MonoSoup (Abdollahpoorrostam et al., 2026); shrinking by Adam's random walk
(positive-part James-Stein); trimming to the largest entries (TIES, NeurIPS 2023); Fisher's shares a row (Matena and Raffel, NeurIPS
2022). The head stays as it is. Needs numpy, Pillow, safetensors and torch.
"""

import json
import math
import random
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy
import torch
from methods import DOMAINS, MODEL, drawn_source, interval
from PIL import Image
from safetensors.numpy import load_file
from torch_peer import Lite0

Tensors = dict[str, numpy.ndarray]

SIDE, CROP = 128, 0.875
# Images a class of each other domain, as `compare --limit` takes; images of the source that Fisher's information is estimated by.
LIMIT, FISHER_IMAGES = 40, 128
# The schedule of `lp-ft` here: 4 epochs of about 36 steps, 20 of them warming up to 1e-4, then a cosine.
STEPS, WARM_UP, RATE = 144, 20, 1e-4
HEAD = "_fc."


def adapted(fieldfit: str, pacs: Path, out: Path, source: str, seed: int) -> Path:
    """The weights of an adaptation by `lp-ft`, exported."""
    folder = out / f"{source}.{seed}"
    weights = folder / "adapted.safetensors"
    if not weights.exists():
        folder.mkdir(parents=True, exist_ok=True)
        data = ["--model", MODEL, "--data", drawn_source(pacs, out, source), "--store", folder / "store"]
        options = ["--method", "lp-ft", "--seed", seed, "--size", SIDE, "--codec", "f32", "--threads", 1, "--quiet"]
        # A gate that refuses ends with status 1, and the delta is kept.
        subprocess.run([str(word) for word in [fieldfit, "adapt", *data, *options]], check=False, stdout=subprocess.DEVNULL)
        delta = next((folder / "store" / "versions").glob("*.delta"))
        subprocess.run([fieldfit, "delta", "export", delta, "--model", MODEL, "--out", weights, "--quiet"], check=True)
    return weights


def stage(name: str) -> int | None:
    """The block that a tensor belongs to; `None` before and behind the blocks."""
    parts = name.split(".")
    return int(parts[1]) if parts[0] == "_blocks" else None


def uniform(share: float) -> Callable[[Tensors], Tensors]:
    return lambda delta: {name: share * values for name, values in delta.items()}


def lines(alpha: float, mirrored: bool = False) -> Callable[[Tensors], Tensors]:
    def edit(delta: Tensors) -> Tensors:
        last = max(number for name in delta if (number := stage(name)) is not None)

        def share(name: str) -> float:
            if (number := stage(name)) is None:
                return alpha
            depth = number / last
            return alpha + (1 - alpha) * (1 - depth if mirrored else depth)

        return {name: share(name) * values for name, values in delta.items()}

    return edit


def monosoup(mode: str, kept_variance: float = 0.8) -> Callable[[Tensors], Tensors]:
    def edit_tensor(values: numpy.ndarray) -> numpy.ndarray:
        if values.ndim < 2 or not values.any():
            return values
        left, sigma, right = numpy.linalg.svd(values.reshape(len(values), -1).astype(float), full_matrices=False)
        if mode == "freevariance":
            shares = sigma / sigma.sum()
            kept = math.ceil(math.exp(-sum(share * math.log(share) for share in shares if share > 0)))
        else:
            kept = int(numpy.searchsorted(numpy.cumsum(sigma**2), kept_variance * (sigma**2).sum())) + 1
        energy = (sigma[:kept] ** 2).sum() / (sigma**2).sum()
        ratio = (sigma[kept] / sigma[0]) ** 2 if kept < len(sigma) else 0.0
        low = min(1.0, ratio + (1 - ratio) * math.sqrt(max(0.0, 1 - energy)))
        factors = numpy.where(numpy.arange(len(sigma)) < kept, 1 - low, low)
        return ((left * (sigma * factors)) @ right).reshape(values.shape)

    return lambda delta: {name: edit_tensor(values) for name, values in delta.items()}


def shrunk(strength: float) -> Callable[[Tensors], Tensors]:
    rates = [RATE * min(1, (step + 1) / WARM_UP) * 0.5 * (1 + math.cos(math.pi * max(0, step - WARM_UP) / (STEPS - WARM_UP))) for step in range(STEPS)]
    walk = math.sqrt(sum(rate**2 for rate in rates))

    def edit_tensor(values: numpy.ndarray) -> numpy.ndarray:
        return values * numpy.maximum(0, 1 - (strength * walk / numpy.maximum(numpy.abs(values), 1e-12)) ** 2)

    return lambda delta: {name: edit_tensor(values) for name, values in delta.items()}


def trimmed(kept: float) -> Callable[[Tensors], Tensors]:
    def edit_tensor(values: numpy.ndarray) -> numpy.ndarray:
        least = numpy.quantile(numpy.abs(values), 1 - kept)
        return numpy.where(numpy.abs(values) >= least, values, 0)

    return lambda delta: {name: edit_tensor(values) for name, values in delta.items()}


def fisher(information: tuple[Tensors, Tensors], strength: float) -> Callable[[Tensors], Tensors]:
    own, base = information

    def edit_tensor(name: str, values: numpy.ndarray) -> numpy.ndarray:
        share = own[name] / (own[name] + strength * base[name])
        return share.reshape(-1, *[1] * (values.ndim - 1)) * values

    return lambda delta: {name: edit_tensor(name, values) for name, values in delta.items()}


class Bench:
    """The backbone, under the base's own head and a new one."""

    def __init__(self) -> None:
        self.backbone = Lite0().requires_grad_(False)
        self.base_head, self.backbone._fc = self.backbone._fc, torch.nn.Identity()
        self.own = dict(self.backbone.named_parameters())
        self.base = {name: tensor.numpy().copy() for name, tensor in self.own.items()}

    def put(self, delta: Tensors) -> None:
        for name, values in delta.items():
            self.own[name].copy_(torch.from_numpy((self.base[name] + values).astype(numpy.float32)))

    @torch.inference_mode()
    def answers(self, images: torch.Tensor, head: Tensors) -> tuple[numpy.ndarray, numpy.ndarray]:
        """The classes of images under the new head, and under the base's."""
        features = torch.cat([self.backbone(batch) for batch in images.split(40)])
        return new_logits(features, head).argmax(1).numpy(), self.base_head(features).argmax(1).numpy()

    def information(self, images: torch.Tensor, head: Tensors | None, names: list[str]) -> Tensors:
        """Fisher's information of each row, by answers that the head itself draws, with a floor of a thousandth of the tensor's mean."""
        generator = torch.Generator().manual_seed(0)
        tensors = [self.own[name].requires_grad_() for name in names]
        sums = [torch.zeros(len(tensor)) for tensor in tensors]
        for image in images:
            features = self.backbone(image[None])
            logits = self.base_head(features) if head is None else new_logits(features, head)
            drawn = torch.multinomial(logits.detach().softmax(1)[0], 1, generator=generator)
            for total, slope in zip(sums, torch.autograd.grad(torch.nn.functional.cross_entropy(logits, drawn), tensors)):
                total += (slope.flatten(1) if slope.ndim > 1 else slope[:, None]).square().sum(1)
        self.backbone.requires_grad_(False)
        return {name: (total + 1e-3 * total.mean() + 1e-30).numpy() for name, total in zip(names, sums)}


def new_logits(features: torch.Tensor, head: Tensors) -> torch.Tensor:
    return features @ torch.from_numpy(head[HEAD + "weight"]).T + torch.from_numpy(head[HEAD + "bias"])


def prepared(path: Path) -> numpy.ndarray:
    """An image as at inference: the centre, bicubic, normalised, `[3, 128, 128]`."""
    image = Image.open(path).convert("RGB")
    scaled = math.floor(SIDE / CROP)
    width, height = image.size
    factor = scaled / min(width, height)
    image = image.resize((max(scaled, int(width * factor)), max(scaled, int(height * factor))), Image.BICUBIC)
    left, top = ((side - SIDE) // 2 for side in image.size)
    image = image.crop((left, top, left + SIDE, top + SIDE))
    return ((numpy.asarray(image, numpy.float32) - 127) / 128).transpose(2, 0, 1)


def images_of(folder: Path, limit: int) -> tuple[torch.Tensor, numpy.ndarray]:
    images, labels = [], []
    for label, name in enumerate(sorted(path.name for path in folder.iterdir() if path.is_dir())):
        files = sorted((folder / name).iterdir())
        for path in random.Random(0).sample(files, min(limit, len(files))):
            images.append(prepared(path))
            labels.append(label)
    return torch.from_numpy(numpy.stack(images)), numpy.array(labels)


def edits(information: tuple[Tensors, Tensors]) -> Iterator[tuple[str, Callable[[Tensors], Tensors]]]:
    for share in [0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]:
        yield f"uniform {share}", uniform(share)
    for alpha in [0.0, 0.25, 0.5]:
        yield f"lines {alpha}", lines(alpha)
        yield f"lines {alpha}, mirrored", lines(alpha, mirrored=True)
    for mode in ["freevariance", "variance"]:
        yield f"monosoup, {mode}", monosoup(mode)
    for strength in [1, 2]:
        yield f"shrunk by {strength} random walks", shrunk(strength)
    for kept in [0.5, 0.2, 0.1]:
        yield f"largest {kept:.0%}", trimmed(kept)
    for strength in [0.1, 1, 10]:
        yield f"fisher, strength {strength}", fisher(information, strength)


def run(fieldfit: str, pacs: Path, out: Path, seeds: int) -> None:
    torch.set_num_threads(1)
    bench = Bench()
    with (out / "edits.jsonl").open("a") as log:
        for seed in range(seeds):
            for source in DOMAINS:
                measure(bench, (source, seed), adapted(fieldfit, pacs, out, source, seed), pacs, out, log)


def measure(bench: Bench, run: tuple[str, int], weights: Path, pacs: Path, out: Path, log) -> None:
    tensors = load_file(weights)
    head = {name: values.astype(numpy.float32) for name, values in tensors.items() if name.startswith(HEAD)}
    delta = {name: tensors[name].astype(numpy.float32) - values for name, values in bench.base.items()}
    delta = {name: values for name, values in delta.items() if values.any()}
    source = images_of(drawn_source(pacs, out, run[0]), FISHER_IMAGES // 7)[0]
    bench.put({name: 0 * values for name, values in delta.items()})
    base = bench.information(source, None, list(delta))
    shifts = {name: images_of(pacs / name, LIMIT) for name in DOMAINS if name != run[0]}
    kept = {name: bench.answers(images, head)[1] for name, (images, _) in shifts.items()}
    bench.put(delta)
    own = bench.information(source, head, list(delta))
    for name, edit in edits((own, base)):
        bench.put(edit(delta))
        found = {shift: bench.answers(images, head) for shift, (images, _) in shifts.items()}
        accuracy = statistics.mean(100 * (found[shift][0] == labels).mean() for shift, (_, labels) in shifts.items())
        agreement = statistics.mean(100 * (found[shift][1] == kept[shift]).mean() for shift in shifts)
        print(json.dumps({"source": run[0], "seed": run[1], "edit": name, "shifts": accuracy, "agreement": agreement}), file=log, flush=True)
    print(*run, flush=True)


def table(out: Path) -> None:
    rows: dict[str, dict[tuple[str, int], tuple[float, float]]] = {}
    for line in (out / "edits.jsonl").read_text().splitlines():
        record = json.loads(line)
        rows.setdefault(record["edit"], {})[record["source"], record["seed"]] = record["shifts"], record["agreement"]
    curve = [found for name, found in rows.items() if name.startswith("uniform")]
    whole = set.intersection(*[set(found) for found in rows.values()])
    for name, measured in rows.items():
        above, found = [], {run: figures for run, figures in measured.items() if run in whole}
        for run, (shifts, agreement) in found.items():
            points = sorted((point[run][1], point[run][0]) for point in curve)
            above.append(shifts - float(numpy.interp(agreement, *zip(*points))))
        mean, half = interval(above)
        shifts, agreement = (statistics.mean(values) for values in zip(*found.values()))
        print(f"{name:28} {len(found):2} runs  shifts {shifts:5.1f}  agreement {agreement:5.1f}  above the curve {mean:+.2f} ± {half:.2f}")


def main() -> None:
    match sys.argv[1:]:
        case ["run", fieldfit, pacs, out, *seeds]:
            Path(out).mkdir(parents=True, exist_ok=True)
            run(fieldfit, Path(pacs), Path(out), int(seeds[0]) if seeds else 2)
        case ["table", out]:
            table(Path(out))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
