#!/bin/bash
# Bundles the release for a Jetson Orin Nano, as the guide's command does, and starts what the bundle holds under emulation:
# doctor, infer, an adaptation of five steps, a C program. Then deltas go both ways: predictions with one made on either side must be the same
# on both.
#
# Needs, on Debian: apt-get install --no-install-recommends gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user
#
# Budget on two quiet cores, from nothing: 6.5 minutes (5 min 13 s on 2026-11-25).
set -euo pipefail
cd "$(dirname "$0")/.."

for tool in aarch64-linux-gnu-gcc qemu-aarch64; do
    if ! command -v "$tool" >/dev/null; then
        echo "boards: NOT RUN: no $tool: apt-get install --no-install-recommends gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user" >&2
        exit
    fi
done
if ! .ci/rust-src.sh target/rust-src >/dev/null; then
    echo "boards: NOT RUN: the source of std is unavailable" >&2
    exit
fi

say() { echo "boards: $*"; }
scratch=$(mktemp -d)
trap 'chmod -R u+w "$scratch"; rm -rf "$scratch"' EXIT

cargo xtask bundle jetson-orin-nano --std-from-source --out "$scratch"
refused=$(! cargo xtask bundle apple-silicon --out "$scratch" 2>&1)
grep -q "on a Mac" <<<"$refused" || { say "a bundle for Apple's machines: $refused" >&2; exit 1; }
say "a bundle for Apple's machines is refused: ${refused#error: }"

tar -xzf "$scratch/fieldfit-jetson-orin-nano.tar.gz" -C "$scratch"
board=$scratch/fieldfit
(cd "$board" && sha256sum --quiet --check SHA256SUMS)
say "checksums hold"

# The emulator is the runner of .cargo/config.toml; /usr/aarch64-linux-gnu has the C library in the place of JetPack's.
there() { qemu-aarch64 -cpu cortex-a76 -L /usr/aarch64-linux-gnu "$board/bin/fieldfit" "$@"; }
here() { cargo run --quiet --release -- "$@"; }
emoji=tests/data/emoji/google
model=$board/models/efficientnet-lite0
there doctor --scratch "$scratch" --model "$model" --size 96 --target-profile "$board/target.toml"

# A C program of the bundle's own headers and library.
aarch64-linux-gnu-gcc -std=c11 -I "$board/include" crates/capi/examples/classify.c -L "$board/lib" -lfieldfit -o "$scratch/classify"
qemu-aarch64 -cpu cortex-a76 -L /usr/aarch64-linux-gnu -E LD_LIBRARY_PATH="$board/lib" \
    "$scratch/classify" "$model" "$(find "$emoji/test" -type f | sort | head -n 1)"

# Of these four classes, 70 images are trained on: five steps of 14.
mkdir "$scratch/images"
for class in bird flag hand tool; do
    mkdir "$scratch/images/$class"
    for image in $(find "$emoji/train/$class" -type f | sort | head -n 32); do cp "$image" "$scratch/images/$class"; done
done
adapt=(adapt --data "$scratch/images" --group '^([^_]+)_' --method tpgm --size 64 --epochs 1 --batch 14 --codec f16 --json)
# A gate of this size may reject; only the delta is needed here.
there "${adapt[@]}" --model "$model" --store "$scratch/there" --target-profile "$board/target.toml" >"$scratch/there.jsonl" || test $? = 1
here "${adapt[@]}" --model models/efficientnet-lite0 --store "$scratch/here" >"$scratch/here.jsonl" || test $? = 1
for side in there here; do
    steps=$(grep -c '"event":"step"' "$scratch/$side.jsonl")
    grep -q '"event":"done"' "$scratch/$side.jsonl" && test "$steps" = 5 || { say "$side: $steps steps" >&2; exit 1; }
done
say "five steps of TPGM were made there and here"

# Logits are f32 of different machines' rounding: log-probabilities within 1e-3, the same first label.
images=("$emoji"/test/{bird,flag,hand,tool}/*)
images=("${images[@]:0:12}")
for delta in "" "$scratch/there/versions/000001.delta" "$scratch/here/versions/000001.delta"; do
    here infer --json --model models/efficientnet-lite0 ${delta:+--delta "$delta"} "${images[@]}" >"$scratch/one"
    there infer --json --model "$model" ${delta:+--delta "$delta"} "${images[@]}" >"$scratch/other"
    say "${delta:-base}: $(cargo xtask prediction-diff "$scratch/one" "$scratch/other" --tolerance 1e-3)"
done
