#!/usr/bin/env bash
# Installs the C package of a development build, and builds and runs programs against it: C11, C++17 with and without exceptions,
# under the sanitizers and valgrind, and a program of the first released header.
#
# Needs g++ and binutils; valgrind is used where it is installed. cmake and ninja come from PyPI.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "capi: $*"; }
fail() {
    say "$@" >&2
    exit 1
}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

tools=target/capi/tools
if ! [ -x "$tools/bin/cmake" ] || ! [ -x "$tools/bin/ninja" ]; then
    python3 -m venv "$tools"
    "$tools/bin/pip" install --quiet --disable-pip-version-check cmake==4.4.5 ninja==1.13.2
fi
PATH=$PWD/$tools/bin:$PATH

cargo test -p fieldfit-capi

say "the header is that of the code"
cargo xtask header --check

prefix=$scratch/prefix
cargo xtask capi --profile dev --prefix "$prefix"
library=$prefix/lib/libfieldfit.so.0
foreign=$(nm -D --defined-only "$library" | awk '{print $3}' | grep -v '^fieldfit_' || true)
test -z "$foreign" || fail "the library exports other symbols than fieldfit_*: $foreign"
declared=$(grep -oE '^[a-z][A-Za-z0-9_ *]*\bfieldfit_[a-z_]+\(' "$prefix/include/fieldfit.h" | grep -v inline | grep -oE 'fieldfit_[a-z_]+\(' | tr -d '(' | sort)
exported=$(nm -D --defined-only "$library" | awk '{print $3}' | sort)
test "$declared" = "$exported" || fail "header and library differ: $(diff <(echo "$declared") <(echo "$exported"))"
readelf -d "$library" | grep -q 'SONAME.*\[libfieldfit\.so\.0\]' || fail "the soname is not libfieldfit.so.0"
say "$(wc -l <<<"$exported") functions are exported, and nothing else"

cmake -G Ninja -S crates/capi/tests -B "$scratch/build" -DCMAKE_PREFIX_PATH="$prefix" >"$scratch/cmake.txt" || fail "$(cat "$scratch/cmake.txt")"
cmake --build "$scratch/build" >"$scratch/ninja.txt" || fail "$(cat "$scratch/ninja.txt")"
PKG_CONFIG_PATH=$prefix/lib/pkgconfig
if command -v pkg-config >/dev/null; then
    export PKG_CONFIG_PATH
    # Word by word: the flags of pkg-config are several.
    cc -std=c11 crates/capi/examples/classify.c $(pkg-config --cflags --libs fieldfit) -o "$scratch/by-pkg-config"
fi

model=models/efficientnet-lite0
images=$scratch/images
# Each block of the guide is a program.
awk -v out="$scratch/guide" '/^```/ { open = open == "" ? substr($0, 4) : ""; if (open == "c" || open == "cpp") file = out "-" (++number) "." open; next } open == "c" || open == "cpp" { print > file }' docs/guide/cpp.md
for program in "$scratch"/guide*; do
    case $program in
    *.c) gcc -std=c11 -Wall -Wextra -pedantic -Werror -fsyntax-only -I "$prefix/include" "$program" ;;
    *.cpp) g++ -std=c++17 -Wall -Wextra -pedantic -Werror -fsyntax-only -I "$prefix/include" "$program" ;;
    esac
done

image=$(find tests/data/emoji/google/train -type f -name '*.png' | sort | head -n 1)
for class in $(find tests/data/emoji/google/train -mindepth 1 -maxdepth 1 -type d | sort | head -n 3); do
    mkdir -p "$images/$(basename "$class")"
    find "$class" -type f | sort | head -n 12 | xargs cp -t "$images/$(basename "$class")"
done
run() { "$scratch/build/$1" "${@:2}"; }
run classify "$model" "$image"
test "$(run classify "$model" "$image")" = "$(run classify_static "$model" "$image")" || fail "the static library answers otherwise"
run contracts "$model"
run contracts_asan "$model"
run interface "$model" "$scratch/store" "$images"
run interface_asan "$model" "$scratch/asan-store" "$images"
run interface_no_exceptions "$model"
run foreign_images "$model"
run abi_0 "$model"
run frame_loop "$model" "$scratch/loop-store" "$images" '{"epochs":1,"size":32}'
# The library's own code is not compiled for ThreadSanitizer: only C++ is looked at.
echo "called_from_lib:libfieldfit.so.0" >"$scratch/tsan.txt"
TSAN_OPTIONS="suppressions=$scratch/tsan.txt halt_on_error=1" run threads_tsan "$model" "$scratch/tsan-store"
if command -v valgrind >/dev/null; then
    # One frame: the emulated processor is some fifty times slower.
    valgrind --quiet --error-exitcode=1 --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite \
        "$scratch/build/classify" "$model" "$image"
else
    say "NOT RUN: valgrind is missing and cannot be installed" >&2
fi
say "all programs hold"
