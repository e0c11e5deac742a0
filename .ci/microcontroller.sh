#!/bin/bash
# Builds the delta reader for a Cortex-M4 without operating system or heap and, if qemu-system-arm is there, runs it: a
# signed file is verified and decoded to the bit, and every damaged or forged one refused, as on the host.
#
# Needs, on Debian: apt-get install --no-install-recommends qemu-system-arm
# core itself is built from its source, so that no other toolchain than the installed one is needed.
#
# Budget on two quiet cores, from nothing: 45 s (15 s on 2026-11-25).
set -euo pipefail
cd "$(dirname "$0")/.."

target=thumbv7em-none-eabihf
package=tests/microcontroller
program=target/microcontroller/$target/release/fieldfit-microcontroller

# -Zbuild-std is an unstable flag; the variable is cargo's own for a std source outside its sysroot.
if ! source=$(.ci/rust-src.sh target/rust-src); then
    echo "microcontroller: NOT BUILT, NOT RUN: the source of core is unavailable" >&2
    exit
fi
export RUSTC_BOOTSTRAP=1 __CARGO_TESTS_ONLY_SRC_ROOT=$source

cargo fmt --manifest-path "$package/Cargo.toml" --check
cargo build --quiet --release --locked -Zbuild-std=core --target "$target" \
    --manifest-path "$package/Cargo.toml" --target-dir target/microcontroller

if ! command -v qemu-system-arm >/dev/null; then
    echo "microcontroller: built, NOT RUN: no qemu-system-arm" >&2
    exit
fi
# A fault in the program would loop for ever.
timeout 300 qemu-system-arm -machine mps2-an386 -nographic -semihosting-config enable=on,target=native -kernel "$program"
