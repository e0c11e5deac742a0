"""ONNX Runtime's side: a network as `torch_peer.py export` wrote it, norms folded, one image of 224 px.

    onnx_peer.py check|infer THREADS MODEL

The session has its own defaults but for the number of threads. PyTorch isn't imported: memory and start are its own.
"""

import json
import sys

import onnxruntime
from serving import images, serve

SIDE = 224


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
    {"check": check, "infer": infer}[work](session(int(threads), path))
