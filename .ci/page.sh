#!/bin/bash
# Opens a report page in headless Chromium and checks its content and layout: it has results, a plot in a figure of each of the
# given classes, and nothing that would be fetched from a network; on a wide screen and on phones nothing scrolls sideways,
# and all texts of all plots have one size.
#
#     .ci/page.sh PAGE.html differences scatter radii losses confusion
#
# Needs, on Debian: apt-get install --no-install-recommends chromium
#
# Budget on two quiet cores, from nothing: seconds a page.
set -euo pipefail

page=$(realpath "$1")
shift
if ! browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome); then
    echo "page: NOT RUN on $page: no Chromium here: apt-get install --no-install-recommends chromium" >&2
    exit 0
fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# Without the browser's own errands on the network.
quiet=(--disable-background-networking --disable-component-update --disable-sync --disable-quic --no-first-run)
dump() {
    timeout 120 "$browser" --headless --no-sandbox --disable-gpu "${quiet[@]}" --user-data-dir="$scratch/profile" \
        --hide-scrollbars --allow-file-access-from-files --dump-dom "$1" 2>"$scratch/log" || { cat "$scratch/log" >&2; exit 1; }
}
dump "file://$page" >"$scratch/dom"

fail() {
    echo "page: $page: $*" >&2
    exit 1
}

grep -qE '<table class="results">|<dl class="figures">' "$scratch/dom" || fail "no results"
for class in "$@"; do
    # A record is what stands before the end of a figure.
    awk -v figure="<figure class=\"$class\">" '
        BEGIN { RS = "</figure>" }
        (start = index($0, figure)) && substr($0, start) ~ /<svg class="(plot|strip)"/ { found = 1 }
        END { exit !found }' "$scratch/dom" || fail "no plot in a figure of class $class"
done
if grep -oiE '(src|srcset|href|action|data|poster)="?(https?:)?//[^" ]*|url\((https?:)?//[^)]*' "$scratch/dom" >"$scratch/fetched"; then
    fail "would fetch $(head -n 1 "$scratch/fetched")"
fi
layout=$(dirname "$(realpath "$0")")/page-layout.html
widths=1200,1169,390,360
dump "file://$layout?page=file://$page&widths=$widths" >"$scratch/layout"
grep -q '<pre id="result">ok</pre>' "$scratch/layout" || fail "$(sed -n '/<pre id="result">/,/<\/pre>/p' "$scratch/layout" | head -n 30)"
echo "page: $page: results, plots ($*), nothing fetched; fits $widths px, one type size"
