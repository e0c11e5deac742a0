#!/bin/bash
# Exports of a collection, read back by the programs that they are for: Hugging Face's datasets, and webdataset.
#
# Needs, on Debian: apt-get install --no-install-recommends python3-venv, and a package index for pip.
#
# Budget on two quiet cores: the command's build, and two minutes.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build -p fieldfit-cli
if ! python3 -c 'import ensurepip' 2>/dev/null; then
    echo "exports: NOT RUN: apt-get install --no-install-recommends python3-venv" >&2
    exit 0
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet --disable-pip-version-check --requirement tests/peers/exports_requirements.txt
target=$(cargo metadata --format-version 1 --no-deps | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
"$scratch/venv/bin/python" tests/peers/exports.py "$target/debug/fieldfit" "$scratch/work"
