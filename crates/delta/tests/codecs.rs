//! Error bounds of each codec. Guards against a rounding that leaves the constraint, or loses precision without need.
#![cfg(feature = "alloc")]
#![allow(clippy::unwrap_used, reason = "finite values of a codec's range are always encoded")]

use fieldfit_delta::Codec;
use proptest::prelude::*;

/// Rows of equal length at the sizes that differences have, far below, and far above.
fn tensors() -> impl Strategy<Value = (Vec<f32>, usize)> {
    let value = prop_oneof![4 => -1.0_f32..1.0, 1 => Just(0.0), 1 => -1e-5_f32..1e-5, 1 => -6e4_f32..6e4];
    (1_usize..5, 1_usize..30, prop_oneof![Just(1.0_f32), Just(1e-3), Just(1e-38), Just(1e-44)]).prop_flat_map(
        move |(rows, columns, scale)| {
            let values = prop::collection::vec(value.clone().prop_map(move |value| value * scale), rows * columns);
            (values, Just(rows))
        },
    )
}

proptest! {
    /// Catches: truncation in place of rounding, and flushing of small values to zero.
    #[test]
    fn f16_rounds_to_nearest((values, rows) in tensors()) {
        for (decoded, value) in Codec::F16.decoded(&values, rows).unwrap().iter().zip(&values) {
            let bound = (value.abs() * 2.0_f32.powi(-11)).max(2.0_f32.powi(-25));
            prop_assert!((decoded - value).abs() <= bound, "{value} became {decoded}");
        }
    }

    /// Catches: a scale of the wrong row, of the tensor, or one whose greatest value overflows its code.
    #[test]
    fn int8_rounds_to_nearest_in_each_row((values, rows) in tensors()) {
        let columns = values.len() / rows;
        let decoded = Codec::Int8.decoded(&values, rows).unwrap();
        for (row, decoded) in values.chunks(columns).zip(decoded.chunks(columns)) {
            let greatest = row.iter().fold(0.0_f32, |greatest, value| greatest.max(value.abs()));
            if greatest <= 1.49e-36 {
                prop_assert!(decoded.iter().all(|&value| value == 0.0));
                continue;
            }
            for (decoded, value) in decoded.iter().zip(row) {
                prop_assert!((decoded - value).abs() <= greatest / 254.0 * 1.0001, "{value} became {decoded}");
                prop_assert!(decoded.abs() <= greatest * 1.000_001, "{value} became {decoded}");
                prop_assert!(*value != 0.0 || *decoded == 0.0, "a zero became {decoded}");
            }
        }
    }

    /// Catches: a caller's remedy that does not work: values that were decoded and shrunk to fit a ball keep their
    /// codes, so that what they become is what was asked for.
    #[test]
    fn int8_keeps_the_codes_of_what_it_decoded((values, rows) in tensors(), shrink in 0.5_f32..1.0) {
        let decoded = Codec::Int8.decoded(&values, rows).unwrap();
        let shrunk: Vec<f32> = decoded.iter().map(|value| value * shrink).collect();
        let columns = values.len() / rows;
        let again = Codec::Int8.decoded(&shrunk, rows).unwrap();
        for (row, again) in shrunk.chunks(columns).zip(again.chunks(columns)) {
            let greatest = row.iter().fold(0.0_f32, |greatest, value| greatest.max(value.abs()));
            for (again, value) in again.iter().zip(row).filter(|_| greatest > 1e-35) {
                prop_assert!((again - value).abs() <= value.abs() * 1e-6, "{value} became {again}");
            }
        }
    }

    /// Catches: a scale rounded up, with which a row leaves its ball; one that shortens rows, as least squares would;
    /// and codes that point farther away than rounding does.
    #[test]
    fn packed_rows_keep_their_length_and_err_little_more_than_rounding((values, rows) in tensors()) {
        let columns = values.len() / rows;
        for (codec, greatest_code) in [(Codec::Int4, 7.0), (Codec::Ternary, 1.0), (Codec::Sign, f64::INFINITY)] {
            let decoded = codec.decoded(&values, rows).unwrap();
            for (row, decoded) in values.chunks(columns).zip(decoded.chunks(columns)) {
                let greatest = row.iter().fold(0.0_f32, |greatest, value| greatest.max(value.abs()));
                if greatest <= 1e-35 {
                    continue;
                }
                let (before, after) = (square(row), square(decoded));
                prop_assert!(after <= before * 1.000_001, "{codec:?}: {before} became {after}");
                prop_assert!(after >= before * (1.0 - 2.0_f64.powi(-7)).powi(2), "{codec:?}: {before} became {after}");
                let step = f64::from(greatest) / greatest_code;
                let rounding: f64 = match codec {
                    Codec::Sign => before - mean_magnitude(row).powi(2) * columns as f64,
                    _ => row.iter().map(|&value| (f64::from(value) - (f64::from(value) / step).round() * step).powi(2)).sum(),
                };
                // Rounding to the step turns the row by an angle; codes turn it no farther, and the scale keeps its
                // length.
                let cosine = (1.0 - rounding / before).max(0.0).sqrt();
                let bound = before * (2.0 - 2.0 * cosine + 2.0_f64.powi(-14) + 1e-9);
                let error: f64 = row.iter().zip(decoded).map(|(a, b)| f64::from(a - b).powi(2)).sum();
                prop_assert!(error <= bound, "{codec:?}: {error} over {bound}");
            }
        }
    }

    /// Catches: values that change although every bit of them is paid for.
    #[test]
    fn f32_is_exact((values, rows) in tensors()) {
        prop_assert_eq!(Codec::F32.decoded(&values, rows).unwrap(), values);
    }

    /// Catches: a row that is left out though it moved, and one that takes another's place.
    #[test]
    fn sparse_rows_are_those_of_f16(
        (mut values, rows) in tensors(),
        still in prop::collection::vec(any::<bool>(), 5),
    ) {
        let columns = values.len() / rows;
        for (row, _) in values.chunks_mut(columns).zip(still).filter(|(_, still)| *still) {
            row.fill(0.0);
        }
        let (sparse, dense) = (Codec::Sparse.decoded(&values, rows).unwrap(), Codec::F16.decoded(&values, rows).unwrap());
        prop_assert_eq!(sparse, dense);
    }
}

fn square(values: &[f32]) -> f64 {
    values.iter().map(|&value| f64::from(value).powi(2)).sum()
}

fn mean_magnitude(values: &[f32]) -> f64 {
    values.iter().map(|&value| f64::from(value.abs())).sum::<f64>() / values.len() as f64
}
