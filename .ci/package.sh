#!/bin/bash
# Packages every crate that others can depend on, and checks each package: it has its README and both licences, nothing heavy,
# and every file that its code includes.
#
# Crates that depend on no sibling are built from their package alone. The others can't be: nothing is published, and without a
# registry that has the siblings cargo can neither resolve a package's lock file nor build it, hence --exclude-lockfile and
# --no-verify.
#
# Budget on two quiet cores, from nothing: 105 s (106 s of CPU time on 2026-11-29).
set -euo pipefail
cd "$(dirname "$0")/.."

heaviest=262144 # bytes of a file, uncompressed
packages=target/package/package

cargo fetch --quiet --locked
rm -rf "$packages"
cargo package --quiet --offline --workspace --exclude fieldfit-tests --exclude fieldfit-xtask \
    --allow-dirty --no-verify --exclude-lockfile --target-dir target/package

fail() {
    echo "package: $*" >&2
    exit 1
}

alone=()
for archive in "$packages"/*.crate; do
    tar -xzf "$archive" -C "$packages"
    crate=${archive%.crate}
    for file in README.md LICENSE-MIT LICENSE-APACHE; do
        test -s "$crate/$file" || fail "$crate has no $file"
    done
    heavy=$(find "$crate" -type f -size "+${heaviest}c")
    test -z "$heavy" || fail "more than $heaviest bytes: $heavy"
    while IFS=: read -r source _ include; do
        path=$(sed -E 's/.*include_(str|bytes)!\("([^"]*)"\).*/\2/' <<<"$include")
        test -f "$(dirname "$source")/$path" || fail "$source includes $path, which is not in the package"
    done < <(grep -rnE 'include_(str|bytes)!\("' "$crate/src" || true)
    grep -q '^\[.*dependencies\.fieldfit' "$crate/Cargo.toml" || alone+=(-p "$(basename "$crate" | sed 's/-[0-9.]*$//')")
    echo "package: $(basename "$crate"): $(find "$crate" -type f | wc -l) files, $(du -k "$archive" | cut -f1) KiB compressed"
done

echo "package: building from the package: ${alone[*]}"
cargo package --quiet --offline --allow-dirty --target-dir target/package "${alone[@]}"
