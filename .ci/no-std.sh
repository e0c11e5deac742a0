#!/bin/sh
# Proves that the delta reader, and its writer under `alloc`, need no std, dependencies included: checks them against a
# sysroot that has none. Needs nothing but the installed toolchain.
#
# Budget on two quiet cores, from nothing: 30 s (9 s on 2026-11-25).
set -eu
cd "$(dirname "$0")/.."

host=$(rustc -vV | sed -n 's/^host: //p')
installed=$(rustc --print sysroot)/lib/rustlib/$host/lib
sysroot=$PWD/target/no-std/sysroot
libraries=$sysroot/lib/rustlib/$host/lib

rm -rf "$sysroot"
mkdir -p "$libraries"
for crate in core alloc compiler_builtins rustc_std_workspace_core; do
    ln -s "$installed/lib$crate-"*.rlib "$installed/lib$crate-"*.rmeta "$libraries/"
done

# The proof rests on this: what needs std doesn't compile here.
if echo 'extern crate std;' | rustc --sysroot "$sysroot" --crate-type lib --emit metadata -o "$sysroot/canary" - 2>/dev/null; then
    echo "no-std: the sysroot $sysroot has a std after all" >&2
    exit 1
fi

# With --target given, these flags don't reach procedural macros and build scripts: those run here and have their std.
CARGO_ENCODED_RUSTFLAGS=$(printf -- '--sysroot\037%s' "$sysroot")
export CARGO_ENCODED_RUSTFLAGS

# --release because its macros are built without optimisation, which is the greater part of the time.
check() {
    echo "no-std: cargo check -p fieldfit-delta $*"
    cargo check --quiet --release -p fieldfit-delta "$@" --target "$host" --target-dir target/no-std
}
check --no-default-features
check --no-default-features --features alloc
