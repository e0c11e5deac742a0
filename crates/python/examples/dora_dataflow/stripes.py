"""Node of a dora dataflow: a camera that shows moving stripes, in place of a real one. Output `image`."""

from typing import Any

import numpy
import pyarrow
from dora import Node

HEIGHT, WIDTH = 480, 640


def main() -> None:
    node, columns = Node(), numpy.arange(WIDTH)
    number = 0
    for event in node:
        if event["type"] != "INPUT":
            continue
        number += 1
        row = numpy.where((columns + 4 * number) // 40 % 2, 220, 30).astype(numpy.uint8)
        pixels = numpy.broadcast_to(row[None, :, None], (HEIGHT, WIDTH, 3))
        metadata: dict[str, Any] = {"encoding": "bgr8", "width": WIDTH, "height": HEIGHT}
        node.send_output("image", pyarrow.array(pixels.ravel()), metadata)


if __name__ == "__main__":
    main()
