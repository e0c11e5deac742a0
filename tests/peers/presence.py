"""Makes data sets of several labels an image from masks: a class is present where it covers at least a hundredth of the pixels.

    python tests/peers/presence.py IMAGES MASKS CLASSES OUT LEARN MEASURE

CLASSES are names, divided by commas, of the masks' values from 0 on; values beyond are no class. LEARN and MEASURE are recordings,
divided by commas, with which the names of images begin: their images are copied to OUT/learn and OUT/measure, each with a table that
`fieldfit adapt` and `fieldfit eval` read. A class that all or none of the images to learn from have is left out. Needs Pillow and numpy.
"""

import shutil
import sys
from pathlib import Path

import numpy as np
from PIL import Image

LEAST = 0.01


def present(mask: Path, classes: list[str]) -> set[str]:
    """The classes that cover enough of a mask."""
    counts = np.bincount(np.asarray(Image.open(mask)).ravel(), minlength=256)
    return {name for value, name in enumerate(classes) if counts[value] >= LEAST * counts.sum()}


def main() -> None:
    if len(sys.argv) != 7:
        sys.exit(__doc__)
    images, masks, out = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[4])
    classes = sys.argv[3].split(",")
    sets = {}
    for name, recordings in zip(["learn", "measure"], sys.argv[5:]):
        files = sorted(path for path in images.iterdir() if path.name.split("_")[0] in recordings.split(","))
        sets[name] = {path: present(masks / f"{path.stem}.png", classes) for path in files}
    learned = list(sets["learn"].values())
    used = [name for name in classes if 0 < sum(name in row for row in learned) < len(learned)]
    for name, rows in sets.items():
        (out / name).mkdir(parents=True)
        lines = [",".join(["path", *used])]
        for path, row in rows.items():
            shutil.copy(path, out / name / path.name)
            lines.append(",".join([path.name, *(str(int(label in row)) for label in used)]))
        (out / name / "labels.csv").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
