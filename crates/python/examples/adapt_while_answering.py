"""Adapts on a thread of its own while frames are answered, and rolls back where the drift figures fall.

python adapt_while_answering.py MODEL STORE IMAGES FRAME
"""

import sys
from pathlib import Path

import fieldfit


def main() -> None:
    model, store, images, file = sys.argv[1:]
    frame = Path(file).read_bytes()  # a camera's frame would be an array
    runtime = fieldfit.Runtime(model, store=store)
    before = runtime.version
    adaptation = runtime.adapt_async(images, epochs=2, size=64, nice=10)
    try:
        while not adaptation.done:
            runtime.infer(frame)
    except KeyboardInterrupt:
        adaptation.stop()  # the checkpoint stays: adapt_async(images, resume=True) goes on from it
    adapted = adaptation.result()
    print(f"version {adapted.version}: {adapted.reason}")
    if adapted.active:
        for _ in range(20):
            runtime.infer(frame)
        confidence = runtime.drift.confidence
        print(f"{runtime.version} is {confidence:.0%} sure" if confidence is not None else "no frames")
        if confidence is not None and confidence < 0.2:
            print(f"rolled back from {adapted.version} to {runtime.rollback()}, which was {before}")


if __name__ == "__main__":
    main()
