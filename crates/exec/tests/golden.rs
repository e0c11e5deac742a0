//! Agreement of the CPU kernels with PyTorch, without candle: one small image, for emulated board processors
//! (`.ci/aarch64.sh`). The whole suite of the golden file is in `tests/tests/golden_lite0.rs`.

#![allow(clippy::unwrap_used, reason = "a test stops at its first surprise")]

use fieldfit_exec::{Executor, Passes, cpu::Cpu};
use fieldfit_tests::golden;

/// Catches: a kernel that is wrong with one processor's vector width alone, or at the borders of an odd size.
#[test]
fn lite0_at_95_px() {
    let base = golden::base();
    let mut executor = Cpu::new(base.network(), 1, Passes::default()).unwrap();
    let logits = executor.logits(&base.params(), &golden::images(0, 1, 95)).unwrap();
    let found: Vec<f64> = logits.row(0).iter().map(|&logit| logit.into()).collect();
    golden::read().assert_logits("95", 0, &found, 1e-3);
}
