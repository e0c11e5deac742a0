"""Makes a data set of tilted images: each image turned by a known angle, cut so that no border shows, and a table of the angles.

    python tests/peers/tilt.py IMAGES OUT [COUNT]

`fieldfit adapt --data OUT` reads it. Needs Pillow.
"""

import random
import sys
from pathlib import Path

from PIL import Image

LARGEST = 20.0
SIDE = 160


def tilted(image: Image.Image, angle: float) -> Image.Image:
    """The middle of an image turned counter-clockwise by an angle in degrees."""
    side = int(0.66 * image.height)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    turned = image.rotate(angle, Image.Resampling.BICUBIC)
    return turned.crop((left, top, left + side, top + side)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def main() -> None:
    images, out = Path(sys.argv[1]), Path(sys.argv[2])
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 240
    random.seed(3)
    files = sorted(path for path in images.rglob("*") if path.suffix.lower() in {".png", ".jpg", ".jpeg"})
    out.mkdir(parents=True, exist_ok=True)
    rows = ["path,tilt [deg]"]
    for number, path in enumerate(random.sample(files, min(count, len(files)))):
        angle = round(random.uniform(-LARGEST, LARGEST), 2)
        tilted(Image.open(path).convert("RGB"), angle).save(out / f"{number:03}.jpg", quality=92)
        rows.append(f"{number:03}.jpg,{angle}")
    (out / "targets.csv").write_text("\n".join(rows) + "\n")


if __name__ == "__main__":
    main()
