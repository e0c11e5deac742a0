"""Operations of the exported networks: how often, in which, and with which arguments.

    cd tests/peers && python -m coverage.ops FOLDER [OUT=coverage/ops.md] [--patterns 8]

Reads FOLDER/NETWORK/model.pt2 and model.onnx, as `export.py` writes them. Writes a Markdown table of ATen operations with
their commonest argument patterns, and one of ONNX operations. In a pattern, `[N, 4, *]` is a tensor's shape with the sizes
that occur, `N` the batch and `*` a size that varies."""

import argparse
import json
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import onnx

FEW = 5
# Lists of sizes, of which only the length is worth telling.
SIZES = {"view", "reshape", "layer_norm", "expand", "repeat", "zeros", "ones", "full", "arange", "split_with_sizes"}


@dataclass
class Uses:
    """What the networks do with one operation."""

    calls: int = 0
    networks: set[str] = field(default_factory=set)
    patterns: Counter[str] = field(default_factory=Counter)


def nodes(program: dict) -> Iterator[tuple[dict, dict]]:
    """Every node of a program and of the graphs within it, with the tensors of its graph."""
    graph = program["graph"]
    for node in graph["nodes"]:
        yield node, graph["tensor_values"]
        for argument in node["inputs"]:
            inner = argument["arg"].get("as_graph")
            if inner:
                yield from nodes(inner)


def shape(value: dict) -> str:
    """Rank of a tensor, and its dtype unless it is f32."""
    dtype = value["dtype"]
    return f"{len(value['sizes'])}d" + ("" if dtype == 7 else f" dtype {dtype}")


def text(argument: dict, tensors: dict, sizes: bool) -> str:
    """An argument of a call: a tensor's rank, a list's length if it is one of sizes, else the value."""
    (kind, value), = argument.items()
    if kind == "as_tensor":
        return shape(tensors[value["name"]])
    if kind in ("as_tensors", "as_optional_tensors"):
        return f"[{len(value)} tensors]"
    if kind in ("as_sym_int", "as_sym_float", "as_sym_bool"):
        return "symbol" if "as_name" in value else str(next(iter(value.values())))
    if kind == "as_sym_ints":
        items = ["symbol" if "as_name" in item else str(item["as_int"]) for item in value]
        return f"[{len(items)} sizes]" if sizes else f"[{', '.join(items)}]"
    if kind == "as_ints" and sizes:
        return f"[{len(value)} sizes]"
    if kind == "as_none":
        return "None"
    return "graph" if kind == "as_graph" else str(value)


def pattern(node: dict, tensors: dict) -> str:
    """Arguments of a call. Convolutions show the kernel and whether groups are none, depthwise, or some."""
    name = node["target"].split(".")[-2] if "." in node["target"] else node["target"]
    parts = []
    for argument in node["inputs"]:
        parts.append(f"{argument['name']}={text(argument['arg'], tensors, name in SIZES)}")
        if name.startswith("conv") and argument["name"] == "weight":
            parts[-1] = f"weight={kernel(tensors[argument['arg']['as_tensor']['name']])}"
        if name.startswith("conv") and argument["name"] == "groups":
            parts[-1] = f"groups={groups(node, tensors, argument['arg']['as_int'])}"
    return ", ".join(parts)


def kernel(weight: dict) -> str:
    return "×".join(str(size["as_int"]) for size in weight["sizes"][2:])


def groups(node: dict, tensors: dict, count: int) -> str:
    channels = tensors[node["inputs"][0]["arg"]["as_tensor"]["name"]]["sizes"][1]["as_int"]
    outputs = tensors[node["inputs"][1]["arg"]["as_tensor"]["name"]]["sizes"][0]["as_int"]
    if count == 1:
        return "1"
    return "some" if count != channels else "depthwise" if channels == outputs else "depthwise, multiplied"


def aten(folder: Path) -> dict[str, Uses]:
    table: dict[str, Uses] = defaultdict(Uses)
    for path in sorted(folder.glob("*/model.pt2")):
        with zipfile.ZipFile(path) as archive:
            program = json.loads(archive.read(next(n for n in archive.namelist() if n.endswith("models/model.json"))))
        for node, tensors in nodes(program["graph_module"]):
            uses = table[node["target"].removeprefix("torch.ops.")]
            uses.calls += 1
            uses.networks.add(path.parent.name)
            uses.patterns[pattern(node, tensors)] += 1
    return table


def onnx_types(folder: Path) -> dict[str, Uses]:
    table: dict[str, Uses] = defaultdict(Uses)
    for path in sorted(folder.glob("*/model.onnx")):
        for node in onnx.load(path, load_external_data=False).graph.node:
            uses = table[node.op_type]
            uses.calls += 1
            uses.networks.add(path.parent.name)
            attributes = (f"{a.name}={onnx.helper.get_attribute_value(a)}" for a in node.attribute if a.type != a.TENSOR)
            uses.patterns[", ".join(attributes)] += 1
    return table


def rows(table: dict[str, Uses], limit: int) -> Iterator[str]:
    """A line an operation, by networks and calls; then a line a pattern."""
    for name, uses in sorted(table.items(), key=lambda item: (-len(item[1].networks), -item[1].calls)):
        where = ", ".join(sorted(uses.networks)) if len(uses.networks) <= FEW else ""
        yield f"| `{name}` | {len(uses.networks)} | {uses.calls} | {where} |"
        if limit == 0:
            continue
        for arguments, count in uses.patterns.most_common(limit):
            yield f"| | | {count} | {arguments.replace('|', '/')} |"
        if len(uses.patterns) > limit:
            yield f"| | | | {len(uses.patterns) - limit} more |"


def count(folder: Path, form: str) -> int:
    return len(list(folder.glob(f"*/model.{form}")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path, nargs="?", default=Path(__file__).parent / "ops.md")
    parser.add_argument("--patterns", type=int, default=8)
    options = parser.parse_args()
    head = ["| operation | networks | calls | arguments, or the networks where few |", "|---|---|---|---|"]
    lines = ["# Operations of the coverage suite's networks", "", "Made by `ops.py`.", "", f"## ATen, in {count(options.folder, 'pt2')} `.pt2` files", "", *head]
    lines += rows(aten(options.folder), options.patterns)
    lines += ["", f"## ONNX, in {count(options.folder, 'onnx')} unfolded files", "", *head, *rows(onnx_types(options.folder), min(options.patterns, 4))]
    options.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
