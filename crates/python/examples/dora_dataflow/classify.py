"""Node of a dora dataflow: classifies each image, and swaps to what another process activates in the store.

Input `image`: pixels as an Arrow array of UInt8, with `encoding` (bgr8, rgb8 or mono8), `width` and `height` in the metadata; or
the bytes of a JPEG or PNG file, with any other encoding. Output `classification`: JSON.

FIELDFIT_MODEL names the model folder, FIELDFIT_STORE the store; dataflow.yml sets them.
"""

import json
import os
from typing import Any

import fieldfit
import pyarrow
from dora import Node

SHAPES = {"bgr8": (3,), "rgb8": (3,), "mono8": ()}
POLL_EVERY = 30  # frames


def answer(runtime: fieldfit.Runtime, value: Any, metadata: dict[str, Any]) -> fieldfit.Prediction:
    """The prediction for an image, whose pixels are read where they are."""
    data, encoding = value.to_numpy(zero_copy_only=True), metadata["encoding"]
    if encoding not in SHAPES:
        return runtime.infer(data.tobytes())
    pixels = data.reshape(metadata["height"], metadata["width"], *SHAPES[encoding])
    return runtime.infer(pixels, format="rgb" if encoding == "rgb8" else None)


def main() -> None:
    runtime = fieldfit.Runtime(os.environ["FIELDFIT_MODEL"], store=os.environ.get("FIELDFIT_STORE"))
    node, frames = Node(), 0
    for event in node:
        if event["type"] != "INPUT":
            continue
        metadata = event["metadata"]
        try:
            prediction = answer(runtime, event["value"], metadata)
        except (fieldfit.FieldfitError, KeyError, ValueError) as error:
            print(f"an image is not answered: {error}", flush=True)
            continue
        top = [{"label": ranked.label, "probability": ranked.probability} for ranked in prediction.top]
        text = json.dumps({"version": str(prediction.version), "top": top[:5]})
        node.send_output("classification", pyarrow.array([text]), metadata)
        frames += 1
        if frames % POLL_EVERY == 0:
            runtime.poll()


if __name__ == "__main__":
    main()
