#!/bin/bash
# The page of a store: the command that serves it, the page in a browser, used by mouse and keyboard, and its metrics in Prometheus.
#
# Needs, on Debian: apt-get install --no-install-recommends chromium chromium-driver prometheus python3-venv
#
# Budget on two quiet cores, from nothing: the command's build, and a minute.
set -euo pipefail

cargo test -p fieldfit-serve
cargo test -p fieldfit-cli --features serve --test command serve::
cargo build -p fieldfit-serve --example sample_page

if ! command -v chromedriver >/dev/null; then
    echo "serve: NOT RUN in a browser: apt-get install --no-install-recommends chromium chromium-driver" >&2
    exit 0
fi
scratch=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet "selenium==4.*" "prometheus-client==0.*"
target=$(cargo metadata --format-version 1 --no-deps | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
"$target/debug/examples/sample_page" "$scratch/sample" >"$scratch/url" &
server=$!
until [ -s "$scratch/url" ]; do kill -0 "$server" && sleep 0.1; done
"$scratch/venv/bin/python" tests/peers/page.py "$(head -n 1 "$scratch/url")" "$scratch/pictures"
if command -v prometheus >/dev/null; then
    "$scratch/venv/bin/python" tests/peers/scrape.py "$(head -n 1 "$scratch/url")" "$scratch/prometheus"
else
    echo "serve: NOT RUN with Prometheus: apt-get install --no-install-recommends prometheus" >&2
fi
