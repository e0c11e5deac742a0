#!/bin/bash
# Builds the Python wheel, installs it in a second environment that has never seen the sources, and tests it there: pytest, mypy over the
# examples and the stubs, and predictions against the command's to the bit.
#
#     .ci/python.sh                                   for this machine, with tests
#     .ci/python.sh aarch64-unknown-linux-gnu         for another one: built, and its name and needs checked
#
# FIELDFIT_FRAMES (5000) is the number of frames of the leak test.
#
# Needs Python 3.10 or later with venv, and a package index for pip.
#
# Budget on two quiet cores, after the command was built for release: 6 minutes.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${1:-}
python=crates/python
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
say() { echo "python: $*"; }

if ! python3 -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
    echo "python: NOT RUN: no Python 3.10 with venv: apt-get install --no-install-recommends python3-venv" >&2
    exit
fi

python3 -m venv "$scratch/build"
"$scratch/build/bin/pip" --quiet --disable-pip-version-check install --constraint "$python/requirements-ci.txt" maturin
build=("$scratch/build/bin/maturin" build --release --locked --manifest-path "$python/Cargo.toml" --out "$scratch/wheels")
if [ -n "$target" ]; then
    # std is built from its source, so that no other toolchain than the installed one is needed.
    source=$(.ci/rust-src.sh target/rust-src)
    export RUSTC_BOOTSTRAP=1 __CARGO_TESTS_ONLY_SRC_ROOT=$source PYO3_CROSS_PYTHON_VERSION=3.10
    build+=(--target "$target" --target-dir target/python-cross -Zbuild-std=std,panic_unwind)
fi
"${build[@]}"

wheel=$(echo "$scratch"/wheels/fieldfit-*.whl)
say "$(basename "$wheel"), $(stat -c %s "$wheel") bytes"
# The C library of JetPack 6 is 2.35's.
[[ $(basename "$wheel") =~ ^fieldfit-[0-9.]+-cp310-abi3-manylinux_2_([0-9]+)_ ]] && ((BASH_REMATCH[1] <= 35)) || {
    say "expected a wheel for CPython 3.10 and later and a C library of at most 2.35" >&2
    exit 1
}
[ -z "$target" ] || exit 0

cargo build --quiet --release --bin fieldfit
python3 -m venv "$scratch/use"
"$scratch/use/bin/pip" --quiet --disable-pip-version-check install --constraint "$python/requirements-ci.txt" "$wheel" mypy pytest
export FIELDFIT_COMMAND=$PWD/target/release/fieldfit FIELDFIT_FRAMES=${FIELDFIT_FRAMES:-5000}
(cd "$scratch" && "$scratch/use/bin/python" -m pytest --quiet -p no:cacheprovider "$OLDPWD/$python/tests")
(cd "$python" && "$scratch/use/bin/python" -m mypy --strict --cache-dir "$scratch/mypy" examples)
(cd "$python" && "$scratch/use/bin/python" -m mypy.stubtest fieldfit --mypy-config-file pyproject.toml --allowlist stubtest-allowlist.txt)
say "tests, examples and stubs hold"
