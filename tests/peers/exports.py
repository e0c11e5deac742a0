"""Exports of a collection, read back by the programs that they are for.

    exports.py FIELDFIT FOLDER

FIELDFIT is the command, FOLDER is new. Imports a recording of `tests/data/recordings` into a collection, exports it in every format, and
compares images, classes and descriptions with what PyPI `datasets` (5.2.0) and `webdataset` (1.0.2) read. Needs these two, and Pillow.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

RECORDING = Path(__file__).parents[2] / "tests/data/recordings/lz4.mcap"


def run(fieldfit: Path, *words: object) -> list[dict]:
    ran = subprocess.run([fieldfit, *map(str, words), "--json"], check=True, capture_output=True, text=True)
    return [json.loads(line) for line in ran.stdout.splitlines()]


def collected(fieldfit: Path, field: Path) -> dict[bytes, dict]:
    """The images of a new collection: their labels by their bytes."""
    run(fieldfit, "import-data", RECORDING, "--out", field, "--label-topic", "/label")
    shown = run(fieldfit, "collection", "show", field, "--images")
    images = {Path(image["file"]).read_bytes(): image for image in shown}
    assert len(images) == len(shown) > 0 and len({image["class"] for image in shown}) > 1, shown
    return images


def load(folder: Path) -> object:
    """A folder as Hugging Face's `imagefolder`, with its images as bytes."""
    from datasets import Image, load_dataset

    loaded = load_dataset("imagefolder", data_dir=str(folder), split="train")
    return loaded.cast_column("image", Image(decode=False))


def content(image: dict) -> bytes:
    return image["bytes"] or Path(image["path"]).read_bytes()


def check_image_folder(folder: Path, images: dict[bytes, dict]) -> None:
    """Classes are the folders' names."""
    loaded = load(folder)
    names = loaded.features["label"].names
    assert names == sorted({image["class"] for image in images.values()}), names
    found = {content(row["image"]): names[row["label"]] for row in loaded}
    assert found == {data: image["class"] for data, image in images.items()}


def check_json_lines(folder: Path, images: dict[bytes, dict]) -> None:
    """Labels and descriptions are columns."""
    loaded = load(folder)
    found = {content(row["image"]): row for row in loaded}
    assert found.keys() == images.keys()
    for data, image in images.items():
        row = found[data]
        expected = (image["class"], image["origin"], image["session"], image["group"], image["seen"])
        assert (row["label"], row["origin"], row["session"], row["group"], row["seen"]) == expected, row


def check_web_dataset(archive: Path, images: dict[bytes, dict]) -> None:
    """Each key has its image, the number of its class, and its description."""
    from webdataset import WebDataset

    classes = sorted({image["class"] for image in images.values()})
    samples = list(WebDataset(str(archive), shardshuffle=False))
    assert {sample["jpg"] for sample in samples} == images.keys() and len(samples) == len(images)
    for sample in samples:
        image, description = images[sample["jpg"]], json.loads(sample["json"])
        assert classes[int(sample["cls"])] == description["label"] == image["class"], sample["__key__"]
        assert description["group"] == image["group"], description


def main() -> None:
    fieldfit, folder = map(Path, sys.argv[1:])
    folder.mkdir(parents=True)
    # The loaders read what is on this machine.
    os.environ |= {"HF_HOME": str(folder / "cache"), "HF_HUB_OFFLINE": "1"}
    field = folder / "field"
    images = collected(fieldfit, field)
    checks = {"image-folder": check_image_folder, "jsonl": check_json_lines, "webdataset": check_web_dataset}
    for name, check in checks.items():
        to = folder / (f"{name}.tar" if name == "webdataset" else name)
        run(fieldfit, "collection", "export", field, "--format", name, "--out", to)
        check(to, images)
        print(f"{name}: {len(images)} images", flush=True)


if __name__ == "__main__":
    main()
