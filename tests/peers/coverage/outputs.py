"""Writes what ONNX Runtime computes for a file of ONNX that no PyTorch module is at hand for.

    cd tests/peers && python -m coverage.outputs MODEL.onnx FOLDER

Writes `model.onnx`, `inputs.safetensors`, `expected.safetensors` and `info.json` into FOLDER, as `coverage.export` does, but
without gradients: those of a file whose norms are folded are not those of its checkpoint."""

import shutil
import sys
from pathlib import Path

import onnxruntime
import torch

from coverage import fixture


def main() -> None:
    source, folder = map(Path, sys.argv[1:])
    folder.mkdir(parents=True, exist_ok=True)
    session = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
    image = session.get_inputs()[0]
    batch, *shape = image.shape
    images = fixture.images(tuple(shape), batch if isinstance(batch, int) else fixture.BATCH)
    outputs = session.run(None, {image.name: images.float().numpy()})
    expected = {f"output.{index}": torch.from_numpy(output) for index, output in enumerate(outputs)}
    shutil.copyfile(source, folder / "model.onnx")
    fixture.save_tensors({"images": images.float()}, folder / "inputs.safetensors")
    fixture.save_tensors(expected, folder / "expected.safetensors")
    fixture.save_json({"by": f"onnxruntime {onnxruntime.__version__}"}, folder / "info.json")


if __name__ == "__main__":
    main()
