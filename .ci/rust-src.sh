#!/bin/bash
# Prints the folder of the source of the installed compiler's std: downloaded to FOLDER from Debian's packages if it is not part of
# the toolchain. Touches nothing outside FOLDER.
#
#     .ci/rust-src.sh FOLDER
set -euo pipefail

version=$(rustc -V | cut -d' ' -f2)
bundled=$(rustc --print sysroot)/lib/rustlib/src/rust/library
folder=$(realpath -m "$1")
library=$folder/usr/src/rustc-$version/library

if [ -f "$bundled/Cargo.lock" ]; then
    echo "$bundled"
    exit
fi
if [ ! -f "$library/Cargo.lock" ]; then
    rm -rf "$folder"
    mkdir -p "$folder"/{lists,archives}/partial
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m 1 '/debian/\?$')
    keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    echo "deb [signed-by=$keyring] $mirror trixie-backports main" >"$folder/sources.list"
    apt() {
        apt-get -qq -o Dir::Etc::sourcelist="$folder/sources.list" -o Dir::Etc::sourceparts=- \
            -o Dir::State::lists="$folder/lists" -o Dir::Cache="$folder" -o Dir::Cache::archives="$folder/archives" \
            -o Acquire::Languages=none -o APT::Sandbox::User=root "$@" >&2
    }
    apt update
    (cd "$folder" && apt download "rust-src=$version*")
    dpkg-deb --fsys-tarfile "$folder"/rust-src_*.deb | tar -x -C "$folder" "./usr/src/rustc-$version/library"
fi
echo "$library"
