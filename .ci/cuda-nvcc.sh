#!/bin/bash
# Compiles candle's CUDA kernels for a Jetson Orin (sm_87) with NVIDIA's own nvcc, and type-checks the command against them, on
# a host without CUDA. Runs no kernel. Not part of .ci/run: for when device code or candle's version changes.
#
# nvcc comes from NVIDIA's wheels on PyPI (164 MB), into target/cuda-nvcc alone. Needs pip, unzip and a C++ compiler.
# Budget on two quiet cores, from nothing: 9 minutes (8 min 25 s on 2026-11-25, nvcc 13.0.88).
set -euo pipefail
cd "$(dirname "$0")/.."

folder=$PWD/target/cuda-nvcc
toolkit=$folder/nvidia/cu13
if [ ! -x "$toolkit/bin/nvcc" ]; then
    mkdir -p "$folder/wheels"
    if ! pip download --quiet --no-deps --only-binary :all: --dest "$folder/wheels" 'nvidia-cuda-nvcc==13.0.*' 'nvidia-nvvm==13.0.*' \
        'nvidia-cuda-crt==13.0.*' 'nvidia-cuda-runtime==13.0.*' 'nvidia-cuda-cccl==13.0.*' 'nvidia-curand==10.4.0.*'; then
        echo "NOT RUN: NVIDIA's wheels can't be fetched here" >&2
        exit
    fi
    for wheel in "$folder"/wheels/*.whl; do unzip -q -o "$wheel" -d "$folder"; done
    rm -r "$folder/wheels"
    chmod +x "$toolkit"/bin/* "$toolkit"/nvvm/bin/*
fi

export CUDA_HOME=$toolkit CUDA_PATH=$toolkit CUDA_ROOT=$toolkit CUDA_TOOLKIT_ROOT_DIR=$toolkit CUDA_COMPUTE_CAP=87
export PATH=$toolkit/bin:$PATH
nvcc --version
cargo check --target-dir "$folder/cargo" -p fieldfit-cli --features cudnn
