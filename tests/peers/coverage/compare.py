"""Imports the exported networks with Fieldfit and compares what it computes with PyTorch.

    cd tests/peers && python -m coverage.compare FOLDER [NETWORK …] --fieldfit PATH --parity PATH [--forms pt2 onnx]
        [--minimum 38] [--goal 45] [--work DIR] [--limit SECONDS]

FOLDER is `export.py`'s. Prints a line per network and, as the last line, the same as JSON. Exits with status 1 if fewer
than `--minimum` networks pass. A network passes if every form imports and every difference is within its tolerance:

| compared | tolerance |
|---|---|
| outputs and gradients in f64, relative to the largest output value and to each gradient's l2 norm | 1e-8 |
| outputs in f32 | 1e-4 |
| gradients in f32 | 1e-3 |

The l2 norm of a gradient counts as at least 1e-5 of that of all gradients together (`fixture.FLOOR`).

The two programs:

    fieldfit import FILE --out DIR --dtype f32
    parity DIR INPUTS OUT --precision f64|f32

`parity` reads a model folder and the images `[N, C, H, W]` and `labels` or `weight.INDEX` of INPUTS, a safetensors file,
and writes OUT, a safetensors file: `output.INDEX` in the file's shape and order, `loss`, and `gradient.PARAMETER` for every
trainable parameter, in the shape that the imported file has and under its name; f64 with `--precision f64`, by the oracle,
and f32 with `--precision f32`, by the CPU kernels. With `labels`, the loss is the mean cross entropy of `output.0`; else the
sum over all outputs of `weight.INDEX` times `output.INDEX`."""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path

from safetensors.torch import load_file

from coverage import fixture
from coverage.export import folder_name
from coverage.networks import NETWORKS

FORMS = ("pt2", "onnx")
# Tolerances of outputs and of gradients.
TOLERANCES = {"f64": (1e-8, 1e-8), "f32": (1e-4, 1e-3)}


@dataclass
class Difference:
    """How far one precision is from the reference; or why it was not computed."""

    outputs: float = float("inf")
    gradients: float = float("inf")
    worst: str = ""
    error: str = ""


@dataclass
class Result:
    """What became of one file."""

    form: str
    imported: bool = False
    error: str = ""
    differences: dict[str, Difference] = field(default_factory=dict)

    def passed(self) -> bool:
        return self.imported and all(
            difference.outputs <= outputs and difference.gradients <= gradients
            for precision, (outputs, gradients) in TOLERANCES.items()
            for difference in [self.differences[precision]]
        )

    def verdict(self) -> str:
        return "pass" if self.passed() else "differs" if self.imported else "refused"


def run(command: list[object], limit: int) -> str:
    """Runs a program; returns its error message, empty if it succeeded."""
    try:
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return f"no answer within {limit} s"
    if done.returncode == 0:
        return ""
    return done.stderr.strip() or f"status {done.returncode}"


def read(path: Path) -> fixture.Reference:
    """A file of outputs, loss and gradients, as f64."""
    tensors = {name: tensor.double() for name, tensor in load_file(path).items()}
    outputs = [tensors[f"output.{index}"] for index in range(sum(name.startswith("output.") for name in tensors))]
    gradients = {name.removeprefix("gradient."): t for name, t in tensors.items() if name.startswith("gradient.")}
    return fixture.Reference(outputs, tensors["loss"], gradients)


def mismatch(found: fixture.Reference, expected: fixture.Reference) -> str:
    """What cannot be compared: other outputs or parameters, or other shapes."""
    for kind, ours, theirs in (
        ("output", dict(enumerate(found.outputs)), dict(enumerate(expected.outputs))),
        ("gradient", found.gradients, expected.gradients),
    ):
        for name, tensor in theirs.items():
            if name not in ours:
                return f"{kind} {name} is missing"
            if ours[name].shape != tensor.shape:
                return f"{kind} {name}: shape {list(ours[name].shape)}, expected {list(tensor.shape)}"
        # A parameter that the loss does not depend on has no gradient in PyTorch, and zeros here, if anything.
        extra = [name for name in ours if name not in theirs and ours[name].abs().max() > 0]
        if extra:
            return f"{kind} {extra[0]} is unexpected"
    return ""


def difference(found: fixture.Reference, expected: fixture.Reference) -> Difference:
    error = mismatch(found, expected)
    if error:
        return Difference(error=error)
    outputs, gradients = fixture.gaps(found, expected)
    worst = max(gradients, key=gradients.get)
    return Difference(outputs, gradients[worst], worst)


def compare(folder: Path, form: str, options: argparse.Namespace, work: Path) -> Result:
    """Imports one file and runs it in both precisions."""
    result = Result(form)
    result.error = run([options.fieldfit, "import", folder / f"model.{form}", "--out", work / "model", "--dtype", "f32"], options.limit)
    if result.error:
        return result
    result.imported = True
    expected = read(folder / "expected.safetensors")
    for precision in TOLERANCES:
        out = work / f"{precision}.safetensors"
        command = [options.parity, work / "model", folder / "inputs.safetensors", out, "--precision", precision]
        error = run(command, options.limit)
        result.differences[precision] = Difference(error=error) if error else difference(read(out), expected)
    return result


def line(name: str, results: list[Result]) -> str:
    """A line of the table: the worst of the forms."""
    def worst(precision: str, what: str) -> str:
        values = [getattr(r.differences[precision], what) for r in results if r.imported]
        return f"{max(values):.1e}" if values else "–"

    forms = " ".join(f"{result.verdict():8}" for result in results)
    figures = " ".join(f"{worst(p, what):>9}" for p in TOLERANCES for what in ("outputs", "gradients"))
    return f"{name:32} {forms} {figures}  {'pass' if all(r.passed() for r in results) else 'FAIL'}{reasons(results)}"


def reasons(results: list[Result]) -> str:
    """Why files were refused, and which tensors differ."""
    lines = []
    for result in results:
        if result.error:
            lines.append(f"{result.form}: {result.error.splitlines()[0]}")
        for precision, found in result.differences.items():
            outputs, gradients = TOLERANCES[precision]
            if found.error:
                lines.append(f"{result.form}, {precision}: {found.error.splitlines()[0]}")
            elif found.outputs > outputs or found.gradients > gradients:
                lines.append(f"{result.form}, {precision}: worst gradient {found.worst}")
    return "".join(f"\n    {text}" for text in lines)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help="default: all")
    parser.add_argument("--fieldfit", type=Path, required=True, help="the command, built in release")
    parser.add_argument("--parity", type=Path, required=True, help="the example `network_parity`, built in release")
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS))
    parser.add_argument("--minimum", type=int, default=38, help="networks that must pass [38]")
    parser.add_argument("--goal", type=int, default=45, help="networks that are to pass [45]")
    parser.add_argument("--work", type=Path, help="keep model folders and results here [a temporary folder]")
    parser.add_argument("--limit", type=int, default=600, help="seconds that one program may take [600]")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    columns = " ".join(f"{form:8}" for form in options.forms)
    print(f"{'network':32} {columns} {'f64 out':>9} {'f64 grad':>9} {'f32 out':>9} {'f32 grad':>9}  verdict")
    table = {}
    for name in options.networks or NETWORKS:
        results = []
        for form in options.forms:
            with tempfile.TemporaryDirectory(dir=options.work) as temporary:
                work = Path(temporary)
                if options.work:
                    work = options.work / folder_name(name) / form
                    shutil.rmtree(work, ignore_errors=True)
                    work.mkdir(parents=True)
                results.append(compare(options.folder / folder_name(name), form, options, work))
        table[name] = results
        print(line(name, results), flush=True)
    passed = sum(all(result.passed() for result in results) for results in table.values())
    print(f"{passed} of {len(table)} pass; {options.minimum} must, {options.goal} is the goal")
    summary = {name: [asdict(result) | {"verdict": result.verdict()} for result in results] for name, results in table.items()}
    print(json.dumps({"passed": passed, "of": len(table), "minimum": options.minimum, "goal": options.goal, "networks": summary}))
    sys.exit(passed < options.minimum)


if __name__ == "__main__":
    main()
