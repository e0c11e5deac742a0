"""Draws the frames and masks of this folder: `python make.py [COUNT]`. Standard library only."""

import random
import struct
import sys
import zlib
from pathlib import Path

WIDTH, HEIGHT = 44, 30
COLOURS = {0: (120, 170, 230), 1: (110, 105, 100), 2: (200, 40, 50), 3: (255, 0, 255)}
GREY, RGB = 0, 2


def png(path: Path, colour: int, rows: list[bytes]) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, colour, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows), 9)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b""))


def noisy(channel: int) -> int:
    return min(255, max(0, channel + random.randint(-30, 30)))


def main() -> None:
    random.seed(1)
    folder = Path(__file__).parent
    values, labels = ["path,horizon [px],car [px]"], ["path,low horizon,car on the left"]
    for index in range(int(sys.argv[1]) if len(sys.argv) > 1 else 24):
        horizon, left = random.randint(10, 19), random.randint(2, 21)

        def value(x: int, y: int) -> int:
            if x == 0 or y == 0:
                return 3
            return 2 if left <= x < left + 14 and horizon - 4 <= y < horizon + 8 else int(y >= horizon)

        mask = [bytes(value(x, y) for x in range(WIDTH)) for y in range(HEIGHT)]
        image = [bytes(noisy(channel) for value in row for channel in COLOURS[value]) for row in mask]
        png(folder / f"masks/f{index:02}.png", GREY, mask)
        png(folder / f"images/f{index:02}.png", RGB, image)
        path = f"../scenes/images/f{index:02}.png"
        values.append(f"{path},{horizon},{left + 7}")
        labels.append(f"{path},{int(horizon > 14)},{int(left < 12)}")
    (folder.parent / "scene-values/targets.csv").write_text("\n".join(values) + "\n")
    (folder.parent / "scene-labels/labels.csv").write_text("\n".join(labels) + "\n")


if __name__ == "__main__":
    main()
