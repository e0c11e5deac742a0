//! Quantised rows: values as signed bytes, each row of them times a scale.

/// The largest code: codes are symmetric around 0.
const LARGEST: f32 = 127.0;

/// Rows of values as signed bytes with a scale each, nearest to the values: symmetric quantisation per channel (Krishnamoorthi,
/// arXiv 1806.08342, § 2.2). The error of a value is at most half of its row's scale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuantisedRows {
    /// A signed byte a value, in two's complement.
    pub codes: Vec<u8>,
    /// A scale a row, f32 in little-endian order.
    pub scales: Vec<u8>,
}

impl QuantisedRows {
    /// Quantises finite values, so many rows of equal length.
    pub fn of(values: &[f32], rows: usize) -> Self {
        let (mut codes, mut scales) = (Vec::with_capacity(values.len()), Vec::with_capacity(rows * size_of::<f32>()));
        for row in values.chunks_exact((values.len() / rows.max(1)).max(1)) {
            let scale = row.iter().fold(0.0, |largest: f32, value| largest.max(value.abs())) / LARGEST;
            // A scale of 0, or one so small that its inverse is infinite, has codes of 0 alone.
            let inverse = Some(scale.recip()).filter(|inverse| inverse.is_finite()).unwrap_or(0.0);
            codes.extend(row.iter().map(|value| (value * inverse).round_ties_even() as i8 as u8));
            scales.extend(scale.to_le_bytes());
        }
        Self { codes, scales }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TensorView;

    /// Catches: a row that takes another row's scale, a rounding that is not to the nearest, a largest value that wraps, and rows of
    /// zeros or of subnormal values that become NaN.
    #[test]
    fn a_value_is_within_half_a_step_of_its_row() {
        let rows = [[1.0_f32, -0.3, 0.017], [-250.0, 249.0, 1.0], [0.0; 3], [1e-44, 0.0, -1e-44], [1e38, -2e38, 1.0]];
        let values = rows.concat();
        let QuantisedRows { codes, scales } = QuantisedRows::of(&values, rows.len());
        let view = TensorView::int8(&codes, &scales);
        let mut read = vec![f32::NAN; values.len()];
        view.copy_into(&mut read);
        assert_eq!((view.len(), view.first_not_finite()), (15, None));
        for (row, (values, read)) in rows.iter().zip(read.chunks(3)).enumerate() {
            let largest = values.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
            for (value, read) in values.iter().zip(read) {
                // The scale is rounded to f32, and a code is up to 127 of it.
                let bound = f64::from(largest) / 254.0 * (1.0 + 254.0 * f64::from(f32::EPSILON)) + 1e-44;
                assert!((f64::from(*value) - f64::from(*read)).abs() <= bound, "row {row}: {read} for {value}");
            }
        }
    }

    /// Catches: θ0 + r·δ with the scale or the ratio of a neighbouring row, where rows of the file are longer or shorter than those of the
    /// radii, and a scale that is not finite taken for a value.
    #[test]
    fn rows_of_scales_and_of_ratios_need_not_be_the_same() {
        let values: Vec<f32> = (0..24).map(|index| f32::from(index as u8) - 11.5).collect();
        let delta: Vec<f32> = values.iter().map(|value| 0.25 * value + 1.0).collect();
        for (rows, ratios) in [(4, 1), (4, 4), (4, 8), (6, 4), (1, 24), (24, 2)] {
            let QuantisedRows { codes, mut scales } = QuantisedRows::of(&values, rows);
            let ratios: Vec<f32> = (0..ratios).map(|ratio| 0.5 + ratio as f32).collect();
            let (mut base, mut merged) = (vec![0.0_f32; 24], vec![0.0_f32; 24]);
            TensorView::int8(&codes, &scales).copy_into(&mut base);
            TensorView::int8(&codes, &scales).merge_into(&delta, &ratios, &mut merged);
            for (index, merged) in merged.iter().enumerate() {
                let ratio = ratios[index / (24 / ratios.len())];
                assert_eq!(
                    *merged,
                    base[index] + ratio * delta[index],
                    "{rows} rows, {} ratios, value {index}",
                    ratios.len()
                );
            }
            let last = scales.len() - 4;
            scales[last..].copy_from_slice(&f32::MAX.to_le_bytes());
            assert_eq!(TensorView::int8(&codes, &scales).first_not_finite(), Some(24 - 24 / rows));
        }
    }
}
