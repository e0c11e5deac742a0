#!/bin/bash
# Type-checks the command with `--features cudnn` (which is `cuda`, too) for a Jetson Orin, on any host without CUDA. Compiles no
# kernel and links nothing: an nvcc that makes empty outputs stands in for the real one, which .ci/cuda-nvcc.sh runs.
#
# Budget on two quiet cores, from nothing: 3 minutes (4 of CPU time).
set -euo pipefail
cd "$(dirname "$0")/.."

if ! source=$(.ci/rust-src.sh target/rust-src); then
    echo "NOT RUN: CUDA's type check needs the source of std, which can't be fetched here" >&2
    exit
fi

toolkit=$PWD/target/cuda/toolkit
mkdir -p "$toolkit"/{bin,include}
: >"$toolkit/include/cuda.h"
cat >"$toolkit/bin/nvcc" <<'SHIM'
#!/bin/sh
# Says that it is nvcc, and makes an empty file of each output that it is asked for.
folder=. output= sources=
while [ $# -gt 0 ]; do
    case "$1" in
    --version)
        printf '%s\n' 'nvcc: NVIDIA (R) Cuda compiler driver' 'Copyright' 'Built on' \
            'Cuda compilation tools, release 12.6, V12.6.85' 'Build none'
        exit
        ;;
    -o) output=$2 && shift ;;
    --output-directory) folder=$2 && shift ;;
    *.cu) sources="$sources $1" ;;
    esac
    shift
done
if [ -n "$output" ]; then
    : >"$output"
else
    for source in $sources; do : >"$folder/$(basename "$source" .cu).ptx"; done
fi
SHIM
chmod +x "$toolkit/bin/nvcc"

# sm_87 is Orin. -Zbuild-std is an unstable flag; the variable is cargo's own for a std source outside its sysroot.
export CUDA_HOME=$toolkit CUDA_PATH=$toolkit CUDA_ROOT=$toolkit CUDA_TOOLKIT_ROOT_DIR=$toolkit CUDA_COMPUTE_CAP=87
export PATH=$toolkit/bin:$PATH RUSTC_BOOTSTRAP=1 __CARGO_TESTS_ONLY_SRC_ROOT=$source
cargo check -Zbuild-std=std,panic_unwind --target aarch64-unknown-linux-gnu --target-dir target/cuda \
    -p fieldfit-cli --features cudnn
