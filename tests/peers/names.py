"""Names and shapes of tensors as other libraries save them, for the tests of the import.

    names.py [OUT=tests/data/names]

Writes OUT/LIBRARY-ARCHITECTURE.txt, a tensor a line: its name, its shape. Needs transformers (5.24 made these) beside
requirements.txt.
"""

import sys
import tempfile
from pathlib import Path

import timm
import torch
import torchvision
import transformers
from safetensors import safe_open

OUT = Path(__file__).parents[1] / "data/names"
DEIT_TINY = {"hidden_size": 192, "num_attention_heads": 3, "intermediate_size": 768, "image_size": 224}
DINOV2_SMALL = {"hidden_size": 384, "num_attention_heads": 6, "image_size": 518, "patch_size": 14}
RESNET18 = {"layer_type": "basic", "hidden_sizes": [64, 128, 256, 512], "depths": [2, 2, 2, 2], "num_labels": 1000}

MODELS = {
    "timm-mobilenetv2": lambda: timm.create_model("mobilenetv2_100"),
    "timm-mobilenetv3-small": lambda: timm.create_model("mobilenetv3_small_100"),
    "torchvision-efficientnet-b0": lambda: torchvision.models.efficientnet_b0(),
    "timm-efficientnet-lite1": lambda: timm.create_model("tf_efficientnet_lite1"),
    "transformers-resnet18": lambda: transformers.ResNetForImageClassification(transformers.ResNetConfig(**RESNET18)),
    "transformers-deit-tiny": lambda: transformers.ViTForImageClassification(
        transformers.ViTConfig(**DEIT_TINY, num_labels=1000)),
    "transformers-dinov2-small": lambda: transformers.Dinov2Model(transformers.Dinov2Config(**DINOV2_SMALL)),
}


def shapes(model: torch.nn.Module) -> dict[str, list[int]]:
    """As the file has them: transformers saves under other names than it computes with."""
    if not isinstance(model, transformers.PreTrainedModel):
        return {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        with safe_open(Path(folder) / "model.safetensors", "pt") as file:
            return {name: file.get_slice(name).get_shape() for name in file.keys()}


def main() -> None:
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else OUT
    out.mkdir(parents=True, exist_ok=True)
    for name, make in MODELS.items():
        lines = [" ".join([key, *map(str, shape)]) for key, shape in shapes(make()).items()]
        (out / f"{name}.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
