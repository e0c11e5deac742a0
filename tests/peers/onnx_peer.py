"""ONNX Runtime's side: a network as `torch_peer.py export` wrote it, norms folded, one image of 224 px.

    onnx_peer.py check|infer|infer-int8 THREADS MODEL

The session has its own defaults but for the number of threads. PyTorch isn't imported: memory and start are its own.

int8 is by static quantisation in QDQ form, one scale an output, unsigned activations and signed weights, as its documentation recommends
for CPUs with VNNI. It calibrates on the same images as we do; the quantised network is kept beside MODEL for later runs.
"""

import json
import sys
from pathlib import Path

import onnxruntime
from serving import CALIBRATION, images, serve

SIDE = 224


def quantised(path: Path) -> Path:
    kept = path.with_suffix(".int8.onnx")
    if not kept.exists() or kept.stat().st_mtime < path.stat().st_mtime:
        # Only here: it imports onnx, whose memory is none of the session's.
        from onnxruntime import quantization
        from onnxruntime.quantization.shape_inference import quant_pre_process

        class Reader(quantization.CalibrationDataReader):
            def __init__(self) -> None:
                self.numbers = iter(range(CALIBRATION))

            def get_next(self) -> dict | None:
                number = next(self.numbers, None)
                return None if number is None else {"images": images(number, 1, SIDE)}

        prepared = path.with_suffix(".prepared.onnx")
        quant_pre_process(path, prepared)
        quantization.quantize_static(
            prepared,
            kept,
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            per_channel=True,
        )
    return kept


def session(threads: int, model: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def check(model: onnxruntime.InferenceSession) -> None:
    logits = [model.run(None, {"images": images(number, 1, SIDE)})[0][0].tolist() for number in range(2)]
    print(json.dumps({"logits": logits, "version": onnxruntime.__version__}))


def infer(model: onnxruntime.InferenceSession) -> None:
    image = images(0, 1, SIDE)
    serve(lambda: float(model.run(None, {"images": image})[0][0, 0]))


if __name__ == "__main__":
    work, threads, path = sys.argv[1:]
    if work == "infer-int8":
        path = str(quantised(Path(path)))
    {"check": check, "infer": infer, "infer-int8": infer}[work](session(int(threads), path))
