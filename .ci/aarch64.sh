#!/bin/bash
# Builds the crates that a board runs for aarch64 Linux and runs their tests under emulation: that the NEON kernels compute
# right, one golden image of Lite0 among them, and that the store commits, locks and recovers. cortex-a76 stands in for the
# Cortex-A78AE of a Jetson Orin; `max` would have instructions that it lacks.
#
# Needs, on Debian: apt-get install --no-install-recommends gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user
# std itself is built from its source, so that no other toolchain than the installed one is needed.
#
# Budget on two quiet cores, from nothing: 7 minutes (6 min 46 s, 8.6 of CPU time, beside another build on 2026-11-25).
set -euo pipefail
cd "$(dirname "$0")/.."

for tool in aarch64-linux-gnu-gcc qemu-aarch64; do
    if ! command -v "$tool" >/dev/null; then
        echo "aarch64: no $tool: apt-get install --no-install-recommends gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user" >&2
        exit 1
    fi
done

# -Zbuild-std is an unstable flag; the variable is cargo's own for a std source outside its sysroot.
source=$(.ci/rust-src.sh target/rust-src)
export RUSTC_BOOTSTRAP=1 __CARGO_TESTS_ONLY_SRC_ROOT=$source

# The linker and the emulator are those of .cargo/config.toml.
run() {
    cargo test --quiet -Zbuild-std=std,panic_unwind,test --config 'profile.dev.package."*".opt-level=1' \
        --target aarch64-unknown-linux-gnu --target-dir target/aarch64 --lib --tests "$@"
}
run -p fieldfit-exec -p fieldfit-tpgm -p fieldfit-delta -p fieldfit-nets

# What chooses its instructions at run time, on processors without dot products (Cortex-A72), with them (Neoverse N1, a server's), and
# with all that QEMU has: the bits are the same.
for processor in cortex-a72 neoverse-n1 max; do
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -cpu $processor -L /usr/aarch64-linux-gnu" \
        run -p fieldfit-exec -p fieldfit-tpgm -p fieldfit-delta -p fieldfit-nets -- int8:: logits_agree_with_f32 bits_depend_on
done

# These start their own program again, which the host's kernel can't: it is another processor's.
unfit=(a_lock_dies_with_its_process a_full_disk_leaves_the_old_state a_read_only_disk_is_read a_full_disk_locks_nobody_out)
for test in "${unfit[@]}"; do echo "NOT RUN under emulation, for it starts a process of its own: $test" >&2; done
run -p fieldfit-durable -p fieldfit-store -- "${unfit[@]/#/--skip=}"
