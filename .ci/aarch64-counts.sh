#!/bin/bash
# Counts the instructions of a frame of each shipped architecture on aarch64, in f32 and int8, under QEMU: a plugin counts loads,
# stores, multiply-adds and others of each op. Fails if a frame or an op takes over 2 % more than is recorded in
# tests/data/aarch64_counts.tsv; counts are the same on every host, where times are not.
#
#     .ci/aarch64-counts.sh           counts and compares
#     .ci/aarch64-counts.sh --write   counts and records
#
# Needs, on Debian: apt-get install --no-install-recommends gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user, and a C compiler.
#
# Budget on two quiet cores, from nothing: 15 minutes (4 min 27 s of CPU time on 2026-11-30).
set -euo pipefail
cd "$(dirname "$0")/.."

package=tests/instructions
recorded=tests/data/aarch64_counts.tsv
program=target/aarch64/aarch64-unknown-linux-gnu/release/fieldfit-instructions
out=target/aarch64-counts
architectures=(efficientnet-lite0 mobilenetv2 resnet18 deit-tiny)

# The plugin's interface changed with QEMU 9.
version=$(qemu-aarch64 --version | sed -n 's/^qemu-aarch64 version \([0-9]*\).*/\1/p')
if [ "$version" -ge 9 ]; then
    echo "aarch64-counts: NOT RUN: the plugin speaks the interface of QEMU 4.2 to 8.2, and this is QEMU $version" >&2
    exit
fi

rm -rf "$out"
mkdir -p "$out"
cc -O2 -Wall -Wextra -Werror -std=c11 -fvisibility=hidden -fPIC -shared -o "$out/plugin.so" "$package/plugin.c"

# count PROGRAM OUT ARGUMENT…: runs a program on the processor that stands in for the boards', with what it executed in OUT.
count() {
    qemu-aarch64 -cpu cortex-a76 -L /usr/aarch64-linux-gnu -plugin "$PWD/$out/plugin.so,out=$2" "$1" "${@:3}"
}

# The plugin itself: instructions of known classes.
aarch64-linux-gnu-gcc -nostdlib -static -o "$out/classes" "$package/classes.s"
count "$out/classes" "$out/classes.found"
diff "$package/classes.expected" "$out/classes.found"

# -Zbuild-std is an unstable flag; the variable is cargo's own for a std source outside its sysroot.
source=$(.ci/rust-src.sh target/rust-src)
export RUSTC_BOOTSTRAP=1 __CARGO_TESTS_ONLY_SRC_ROOT=$source
cargo fmt --manifest-path "$package/Cargo.toml" --check
cargo build --quiet --release --locked -Zbuild-std=std,panic_unwind --target aarch64-unknown-linux-gnu \
    --manifest-path "$package/Cargo.toml" --target-dir target/aarch64

mkdir "$out/frames"
for architecture in "${architectures[@]}"; do
    count "$program" "$out/frames/$architecture.counts" "$architecture" >"$out/frames/$architecture.labels"
done
case "${1:-}" in
    --write) "$package/counts.py" write "$recorded" "$out/frames" ;;
    *) "$package/counts.py" check "$recorded" "$out/frames" ;;
esac
