//! `TensorView`: merging δ into θ0 in the stored type.

use fieldfit_tensor::TensorView;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Catches: a ratio applied to the wrong row, δ added twice or not at all, at lengths around the block that is converted at once.
#[test]
fn merging_adds_each_rows_part_of_delta() {
    let mut random = ChaCha8Rng::seed_from_u64(5);
    for (rows, span) in [(1, 1), (1, 1023), (1, 1025), (3, 700), (512, 9), (1030, 3)] {
        let mut values = || (0..rows * span).map(|_| random.random_range(-1.0..1.0)).collect::<Vec<f32>>();
        let (base, delta) = (values(), values());
        let per_row: Vec<f32> = (0..rows).map(|row| row as f32 / rows as f32).collect();
        for ratios in [&per_row, &vec![0.25]] {
            let mut merged = vec![0.0; base.len()];
            TensorView::from_f32(&base).merge_into(&delta, ratios, &mut merged);
            for (index, &merged) in merged.iter().enumerate() {
                let ratio = ratios[index / (base.len() / ratios.len())];
                assert_eq!(merged, base[index] + ratio * delta[index], "{rows} × {span}, value {index}");
            }
        }
    }
}

/// Catches: f32 on the way from f16 to f64, or δ rounded to f32 where the trainer works in f64.
#[test]
fn merging_in_double_precision_keeps_it() {
    let base = [1.0_f32, -2.0, 0.5];
    let delta = [1e-12_f64, 2e-12, -3e-12];
    let mut merged = [0.0_f64; 3];
    TensorView::from_f32(&base).merge_into(&delta, &[0.5], &mut merged);
    assert_eq!(merged, [1.0 + 0.5e-12, -2.0 + 1e-12, 0.5 - 1.5e-12]);
}

/// Catches: δ of another tensor merged as far as it goes.
#[test]
#[should_panic(expected = "δ has the shape of its tensor")]
fn merging_refuses_another_length() {
    TensorView::from_f32(&[1.0, 2.0]).merge_into(&[1.0_f32], &[1.0], &mut [0.0, 0.0]);
}
