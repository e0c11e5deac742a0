"""Imports further networks, which the coverage suite does not have, in each form that exporters write, and compares them.

    cd tests/peers && python -m coverage.further [NETWORK …] --fieldfit PATH [--parity PATH] [--forms pt2 static.pt2 …]
        [--gradients] [--limit SECONDS]

Takes one network at a time: exports it with weights from the formula into a temporary folder, imports each form, and compares the
outputs of two images with PyTorch in f64; with `--gradients`, those of every parameter, too. Without `--parity`, imports alone.
Networks are `PUBLISHED` and, by default, those of `written.py`. Prints a line for each form, and the counts.

| form | file | written by |
|---|---|---|
| `pt2` | dynamic batch | `torch.export.save` |
| `static.pt2` | one image | the same |
| `onnx` | names and norms kept | `torch.onnx.export(dynamo=True, optimize=False)` |
| `folded.onnx` | norms folded | the same, by default |
| `script11.onnx`, `script13.onnx` | norms folded | the TorchScript exporter, by default, of that opset |
| `script17.onnx`, `script18.onnx` | names and norms kept | the same with `do_constant_folding=False` |"""

import argparse
import gc
import io
import json
import logging
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

import onnx
import torch

from coverage import fixture
from coverage.compare import read, run
from coverage.networks import Network, segmentation, sized, timm_net, torchvision_net
from coverage.weights import fill
from coverage.written import SHAPE, WRITTEN

PUBLISHED: dict[str, Network] = {
    "beit_base_patch16": sized("beit_base_patch16_224", 64),
    "cait_xxs24": sized("cait_xxs24_224", 64),
    "coat_lite_tiny": timm_net("coat_lite_tiny", 64),
    "convmixer_768_32": timm_net("convmixer_768_32", 56),
    "crossvit_tiny_240": timm_net("crossvit_tiny_240", 240),
    "cspdarknet53": timm_net("cspdarknet53", 64),
    "cspresnet50": timm_net("cspresnet50", 64),
    "dla34": timm_net("dla34", 64),
    "dpn68": timm_net("dpn68", 64),
    "ecaresnet26t": timm_net("ecaresnet26t", 64),
    "efficientformerv2_s0": timm_net("efficientformerv2_s0", 224),
    "efficientvit_m0": timm_net("efficientvit_m0", 224),
    "ese_vovnet19b_dw": timm_net("ese_vovnet19b_dw", 64),
    "focalnet_tiny_srf": timm_net("focalnet_tiny_srf", 64),
    "gernet_s": timm_net("gernet_s", 64),
    "ghostnetv2_100": timm_net("ghostnetv2_100", 128),
    "gmlp_s16": sized("gmlp_s16_224", 64),
    "hardcorenas_a": timm_net("hardcorenas_a", 64),
    "hgnet_tiny": timm_net("hgnet_tiny", 64),
    "hrnet_w18_small": timm_net("hrnet_w18_small", 64),
    "inception_next_atto": timm_net("inception_next_atto", 64),
    "inception_v4": timm_net("inception_v4", 96),
    "mambaout_femto": timm_net("mambaout_femto", 64),
    "maxvit_pico_rw_256": timm_net("maxvit_rmlp_pico_rw_256", 256),
    "mixnet_s": timm_net("mixnet_s", 64),
    "mobilenetv4_hybrid_medium": timm_net("mobilenetv4_hybrid_medium", 64),
    "mobilevit_s": timm_net("mobilevit_s", 64),
    "nf_regnet_b0": timm_net("nf_regnet_b0", 64),
    "eca_nfnet_l0": timm_net("eca_nfnet_l0", 64),
    "pit_ti": timm_net("pit_ti_224", 224),
    "poolformerv2_s12": timm_net("poolformerv2_s12", 64),
    "pvt_v2_b0": timm_net("pvt_v2_b0", 64),
    "res2net50_26w_4s": timm_net("res2net50_26w_4s", 64),
    "resmlp_12": sized("resmlp_12_224", 64),
    "resnest14d": timm_net("resnest14d", 64),
    "resnetv2_50": timm_net("resnetv2_50", 64),
    "resnetblur50": timm_net("resnetblur50", 64),
    "selecsls42b": timm_net("selecsls42b", 64),
    "legacy_senet154": timm_net("legacy_senet154", 64),
    "skresnet18": timm_net("skresnet18", 64),
    "starnet_s1": timm_net("starnet_s1", 64),
    "swiftformer_xs": timm_net("swiftformer_xs", 64),
    "tinynet_e": timm_net("tinynet_e", 64),
    "tnt_s_legacy": timm_net("tnt_s_legacy_patch16_224", 224),
    "twins_pcpvt_small": timm_net("twins_pcpvt_small", 64),
    "twins_svt_small": timm_net("twins_svt_small", 64),
    "visformer_tiny": timm_net("visformer_tiny", 224),
    "volo_d1": sized("volo_d1_224", 64),
    "xception41": timm_net("xception41", 64),
    "test_byobnet": timm_net("test_byobnet", 64),
    "test_efficientnet_ln": timm_net("test_efficientnet_ln", 64),
    "test_nfnet": timm_net("test_nfnet", 64),
    "test_vit4": sized("test_vit4", 64),
    "test_mambaout": timm_net("test_mambaout", 64),
    "tf_efficientnet_b0": timm_net("tf_efficientnet_b0", 97),
    "tv:alexnet": torchvision_net("alexnet", 96),
    "tv:convnext_tiny": torchvision_net("convnext_tiny", 64),
    "tv:deeplabv3_resnet50": segmentation("deeplabv3_resnet50", 64),
    "tv:efficientnet_v2_s": torchvision_net("efficientnet_v2_s", 64),
    "tv:inception_v3": torchvision_net("inception_v3", 128, init_weights=False),
    "tv:maxvit_t": torchvision_net("maxvit_t", 224),
    "tv:mnasnet0_5": torchvision_net("mnasnet0_5", 64),
    "tv:regnet_x_400mf": torchvision_net("regnet_x_400mf", 64),
    "tv:regnet_y_400mf": torchvision_net("regnet_y_400mf", 64),
    "tv:swin_t": torchvision_net("swin_t", 64),
    "tv:swin_v2_t": torchvision_net("swin_v2_t", 64),
    "tv:vgg11_bn": torchvision_net("vgg11_bn", 64),
    "tv:vit_b_16": torchvision_net("vit_b_16", 64, image_size=64),
    "tv:wide_resnet50_2": torchvision_net("wide_resnet50_2", 64),
}
FORMS = ("pt2", "static.pt2", "onnx", "folded.onnx", "script11.onnx", "script13.onnx", "script17.onnx", "script18.onnx")
# The largest difference of outputs in f64. A model folder has computed constants and kernels in f32; folded norms and ONNX's
# constants are rounded more often.
EXACT, ROUNDED = 2.0**-23, 2e-5


def constructor(name: str) -> tuple[torch.nn.Module, tuple[int, int, int]]:
    """The network, and the shape of its image."""
    torch.manual_seed(0)
    if name in WRITTEN:
        return WRITTEN[name](), SHAPE
    network = PUBLISHED[name]
    return network.make(), (3, network.side, network.side)


def script(module: torch.nn.Module, shape: tuple[int, ...], opset: int) -> bytes:
    """By the TorchScript exporter; from opset 17 on, names and norms are kept."""
    buffer = io.BytesIO()
    torch.onnx.export(module, (fixture.images(shape, fixture.EXAMPLE_BATCH).float(),), buffer, dynamo=False, opset_version=opset,
                      do_constant_folding=opset < 17, dynamic_axes={"images": {0: "batch"}}, input_names=["images"])
    return buffer.getvalue()


def write(form: str, module: torch.nn.Module, shape: tuple[int, ...], path: Path) -> None:
    """Writes one form of a network in f32."""
    if form.endswith("pt2"):
        torch.export.save(fixture.program(module, shape, None if form.startswith("static") else fixture.DYNAMIC_BATCH), path)
    elif form.startswith("script"):
        path.write_bytes(script(module, shape, int(form.removeprefix("script").removesuffix(".onnx"))))
    else:
        model = fixture.onnx_model(fixture.program(module, shape), folded=form.startswith("folded"))
        onnx.save(model, path)


def write_reference(module: torch.nn.Module, shape: tuple[int, ...], folder: Path, with_gradients: bool) -> None:
    """Writes inputs and what PyTorch computes for them in f64."""
    images = fixture.images(shape, fixture.BATCH)
    wide = fixture.double(fixture.program(module, shape))
    with torch.no_grad(), fixture.default_dtype(torch.float64):
        outputs = fixture.outputs_of(wide(images))
    inputs = {"images": images} | fixture.loss_inputs(outputs, classifier=False)
    if with_gradients:
        expected = fixture.reference(wide, inputs)
    else:
        expected = fixture.Reference(outputs, torch.zeros(()), {})
    fixture.save_tensors(fixture.input_tensors(inputs), folder / "inputs.safetensors")
    fixture.save_tensors(fixture.expected_tensors(expected), folder / "expected.safetensors")


# What follows the logits, which an import leaves out. Classes, which have no loss, are not compared.
FINAL_OPS = {"softmax": lambda x: x.softmax(1), "log_softmax": lambda x: x.log_softmax(1), "sigmoid": torch.sigmoid}


def import_model(path: Path, model: Path, options: argparse.Namespace) -> tuple[str, list[str]]:
    """Imports a file; returns the error, empty if there is none, and the final ops that are left out."""
    command = [options.fieldfit, "import", path, "--out", model, "--dtype", "f32", "--json"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=options.limit)
    if done.returncode:
        return done.stderr.strip() or f"status {done.returncode}", []
    return "", json.loads(done.stdout)["network"].get("final_ops", [])


def difference(model: Path, folder: Path, options: argparse.Namespace, exact: bool, final_ops: list[str]) -> str:
    """What the oracle makes of an imported model beside PyTorch: `pass` and the differences, or the problem."""
    out = folder / "found.safetensors"
    error = run([options.parity, model, folder / "inputs.safetensors", out, "--precision", "f64"], options.limit)
    if error:
        return f"failed: {error}"
    found, expected = read(out), read(folder / "expected.safetensors")
    for op in final_ops:
        found.outputs[0] = FINAL_OPS[op](found.outputs[0])
    if final_ops:
        expected.gradients = {}
    shapes = [list(output.shape) for output in found.outputs], [list(output.shape) for output in expected.outputs[:1]]
    if found.outputs[0].numel() != expected.outputs[0].numel():
        return f"differs: outputs of {shapes[0]}, expected {shapes[1]}"
    found.outputs = [found.outputs[0].reshape(expected.outputs[0].shape)]
    expected.outputs = expected.outputs[:1]
    names = [name for name in expected.gradients if name in found.gradients]
    expected.gradients = {name: expected.gradients[name] for name in names}
    outputs, gradients = fixture.gaps(found, expected)
    worst = max(gradients, key=gradients.get) if gradients else ""
    is_same = outputs <= (EXACT if exact else ROUNDED) and (not worst or gradients[worst] <= 1e-6)
    detail = f"outputs {outputs:.1e}" + (f", {len(names)} gradients {gradients[worst]:.1e} ({worst})" if worst else "")
    return f"{'pass' if is_same else 'differs'}: {detail}"


def check(name: str, folder: Path, options: argparse.Namespace) -> dict[str, str]:
    """What became of each form of a network."""
    module, shape = constructor(name)
    module = module.double().eval()
    fill(module, fixture.images(shape, 4))
    module.float()
    has_reference = False
    results = {}
    for form in options.forms:
        path, model = folder / f"model.{form}", folder / form.replace(".", "_")
        try:
            write(form, module, shape, path)
        except Exception as error:  # An exporter's refusal, of whatever kind, is a result.
            results[form] = f"not exported: {type(error).__name__}: {str(error).splitlines()[:1]}"
            continue
        error, final_ops = import_model(path, model, options)
        path.unlink()
        if error:
            results[form] = f"{'panic' if 'panicked' in error else 'refused'}: {error}"
            continue
        if not options.parity or "argmax" in final_ops:
            results[form] = "imported"
            continue
        if not has_reference:
            write_reference(module, shape, folder, options.gradients)
            has_reference = True
        results[form] = difference(model, folder, options, form.endswith("pt2"), final_ops)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help="default: all")
    parser.add_argument("--fieldfit", type=Path, required=True, help="the command")
    parser.add_argument("--parity", type=Path, help="the example `network_parity`")
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS))
    parser.add_argument("--gradients", action="store_true", help="compare gradients, too")
    parser.add_argument("--limit", type=int, default=600, help="seconds that one program may take [600]")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    counts: Counter[tuple[str, str]] = Counter()
    for name in options.networks or [*WRITTEN, *PUBLISHED]:
        start = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            try:
                results = check(name, Path(folder), options)
            except Exception as error:  # A network that cannot be constructed stops nothing else.
                results = dict.fromkeys(options.forms, f"not constructed: {type(error).__name__}: {error}")
        for form, result in results.items():
            counts[form, result.partition(":")[0]] += 1
            print(f"{name:28} {form:14} {result}", flush=True)
        gc.collect()
        print(f"{name:28} {time.monotonic() - start:.0f} s", flush=True)
    for (form, verdict), count in sorted(counts.items()):
        print(f"{form:14} {verdict:16} {count}")
    sys.exit(any(verdict in ("panic", "differs", "failed") for _, verdict in counts))


if __name__ == "__main__":
    main()
