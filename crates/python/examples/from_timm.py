"""From a checkpoint of timm to a running robot in ten lines (pip install timm safetensors).

python from_timm.py IMAGE
"""

import sys
from pathlib import Path

import timm
from safetensors.torch import save_file

import fieldfit

network = timm.create_model("mobilenetv3_small_100", pretrained=True)
save_file(network.state_dict(), "mobilenetv3.safetensors")
labels = timm.data.ImageNetInfo().label_descriptions()
Path("labels.txt").write_text("".join(f"{label}\n" for label in labels))
model = fieldfit.import_model("mobilenetv3.safetensors", "mobilenetv3", labels="labels.txt")
runtime = fieldfit.Runtime(model, store="field-store")
print(runtime.infer(sys.argv[1]))
