"""OpenVINO's side: a network as `torch_peer.py export` wrote it, quantised to int8 by NNCF's post-training quantisation.

    openvino_peer.py infer THREADS MODEL [f32]

NNCF calibrates on the same images as we do, with its default preset, and keeps the quantised network beside MODEL for later
runs. The network is compiled for latency on that many threads. On a CPU with AMX, `ONEDNN_MAX_CPU_ISA=AVX512_CORE_VNNI` is the
row to compare with.
"""

import sys
from pathlib import Path

import nncf
import openvino
from serving import CALIBRATION, images, notes_on_stderr, serve

SIDE = 224


def quantised(path: Path) -> openvino.Model:
    kept = path.with_suffix(".int8.xml")
    if not kept.exists() or kept.stat().st_mtime < path.stat().st_mtime:
        batches = [images(number, 1, SIDE) for number in range(CALIBRATION)]
        with notes_on_stderr():
            model = nncf.quantize(openvino.Core().read_model(path), nncf.Dataset(batches), subset_size=CALIBRATION)
        openvino.save_model(model, kept, compress_to_fp16=False)
    return openvino.Core().read_model(kept)


def infer(threads: int, path: Path, precision: str) -> None:
    core = openvino.Core()
    model = quantised(path) if precision == "int8" else core.read_model(path)
    options = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    compiled, image = core.compile_model(model, "CPU", options), images(0, 1, SIDE)
    request = compiled.create_infer_request()
    serve(lambda: float(request.infer([image])[0][0, 0]))


if __name__ == "__main__":
    _, threads, path, *precision = sys.argv[1:]
    infer(int(threads), Path(path), *(precision or ["int8"]))
