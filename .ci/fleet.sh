#!/bin/bash
# What shares deltas between robots: its library over a folder, and its command against real peers: moto as S3, eclipse-zenoh as router
# with a storage.
#
# A workspace of its own: crates/fleet.
#
# Needs, on Debian: apt-get install --no-install-recommends python3-venv
#
# Budget on two quiet cores, from nothing: twenty minutes of building, and four minutes.
set -euo pipefail
cd "$(dirname "$0")/.."

manifest=crates/fleet/Cargo.toml
target=$(cargo metadata --format-version 1 --no-deps --manifest-path "$manifest" | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
cargo fmt --manifest-path "$manifest" --check
cargo clippy --locked --manifest-path "$manifest" --all-features --all-targets -- -D warnings
cargo test --locked --manifest-path "$manifest" --all-features

if ! python3 -c 'import ensurepip' 2>/dev/null; then
    echo "fleet: NOT RUN against peers: apt-get install --no-install-recommends python3-venv" >&2
    exit 0
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet -r tests/peers/fleet_requirements.txt
cargo build --locked --manifest-path "$manifest" --all-features --bins --example fleet_fixture
"$scratch/venv/bin/python" tests/peers/fleet.py "$target/debug" "$scratch/work"
