#!/bin/sh
# Runs the tests of what has unsafe code of its own in its hot loops under AddressSanitizer: a register tile that reads or
# writes beside its rows and columns stops here, even where the result is right. On the widest vectors that the CPU has.
#
# Budget on two quiet cores, from nothing: 8 minutes (7 min 44 s on 2026-11-30).
set -eu
cd "$(dirname "$0")/.."

host=$(rustc -vV | sed -n 's/^host: //p')

# Sanitizers are an unstable flag of the stable compiler; with --target given, build scripts and macros go without.
export RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=address"
# The threads of a pool outlive the tests: what they hold is no leak.
export ASAN_OPTIONS="detect_leaks=0"

# Of dependencies, only speed is lost with less optimisation, and the compiler's time is the greater part of the leg.
cargo test --quiet --config 'profile.dev.package."*".opt-level=1' \
    --target "$host" --target-dir target/asan -p fieldfit-exec --lib --tests
