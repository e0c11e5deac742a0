#!/bin/bash
# The ROS 2 node: its tests, its message types against rosbags, and the node as a process between a camera, a listener and an
# operator on Cyclone DDS, which measure latency and losses, call its services, and kill it in the middle of an adaptation; and on
# zenoh between a router, peers that speak as rmw_zenoh_cpp does, and another node.
#
# FIELDFIT_FRAMES (1000) is the number of images of each measurement, FIELDFIT_KILLS (5) that of kills.
#
# Needs Python 3.10 or later with venv, and a package index for pip. Nothing of ROS.
#
# Budget on two quiet cores, from nothing: 15 minutes, 9 of them for the build.
set -euo pipefail
cd "$(dirname "$0")/.."

ros2=(--locked --manifest-path crates/ros2/Cargo.toml)
export CARGO_TARGET_DIR=$PWD/target/ros2
cargo fmt --check --manifest-path crates/ros2/Cargo.toml
cargo clippy "${ros2[@]}" --all-targets --features zenoh -- -D warnings
cargo test "${ros2[@]}"
cargo build "${ros2[@]}"

if ! python3 -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
    echo "ros2: NOT RUN against peers: no Python 3.10 with venv: apt-get install --no-install-recommends python3-venv" >&2
    exit
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" --quiet --disable-pip-version-check install --requirement tests/peers/ros2/requirements.txt
peer() { "$scratch/venv/bin/python" "tests/peers/ros2/$1" "${@:2}"; }

peer definitions.py "$scratch/messages.json"
cmp "$scratch/messages.json" crates/ros2/tests/data/messages.json
frames=${FIELDFIT_FRAMES:-1000} kills=${FIELDFIT_KILLS:-5}
peer robot.py "$CARGO_TARGET_DIR/debug/fieldfit-ros2" --frames "$frames" --kills "$kills"
peer robot.py "$CARGO_TARGET_DIR/debug/fieldfit-ros2" --rmw rmw_fastrtps_cpp --frames 10 --kills 1
# Both backends: RMW_IMPLEMENTATION chooses at the start.
cargo build "${ros2[@]}" --features zenoh
peer zenoh_robot.py "$CARGO_TARGET_DIR/debug/fieldfit-ros2" --frames "$frames"
