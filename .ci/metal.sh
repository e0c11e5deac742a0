#!/bin/bash
# Type-checks the command with `--features metal` for Apple silicon. Links nothing and compiles no shader: it is a check of
# types, on any host. std itself is checked from its source, so that no other toolchain than the installed one is needed.
#
# Budget on two quiet cores, from nothing: 2 minutes (3 of CPU time).
set -euo pipefail
cd "$(dirname "$0")/.."

if ! source=$(.ci/rust-src.sh target/rust-src); then
    echo "NOT RUN: Metal's type check needs the source of std, which can't be fetched here" >&2
    exit
fi

# -Zbuild-std is an unstable flag; the variable is cargo's own for a std source outside its sysroot.
export RUSTC_BOOTSTRAP=1 __CARGO_TESTS_ONLY_SRC_ROOT=$source
cargo check -Zbuild-std=std,panic_unwind --target aarch64-apple-darwin --target-dir target/metal \
    -p fieldfit-cli --features metal
