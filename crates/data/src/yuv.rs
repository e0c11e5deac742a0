//! Conversion of YUV to RGB: BT.601 with 16..=235 for Y and 16..=240 for U and V, in fixed point of 20 bits.

const SHIFT: u32 = 20;
const HALF: i32 = 1 << (SHIFT - 1);
/// 255 / 219, and the factors of V in red, of U and V in green, and of U in blue, to six decimals; OpenCV has three.
const Y: i32 = 1_220_945;
const V_RED: i32 = 1_673_555;
const U_GREEN: i32 = -410_793;
const V_GREEN: i32 = -852_459;
const U_BLUE: i32 = 2_115_221;

/// Returns red, green and blue.
pub(crate) fn rgb(y: u8, u: u8, v: u8) -> [u8; 3] {
    let y = (i32::from(y) - 16).max(0) * Y;
    let (u, v) = (i32::from(u) - 128, i32::from(v) - 128);
    let byte = |colour: i32| ((y + colour + HALF) >> SHIFT).clamp(0, 255) as u8;
    [byte(V_RED * v), byte(V_GREEN * v + U_GREEN * u), byte(U_BLUE * u)]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a factor with a wrong digit or sign, a product that overflows: every third value of each, against BT.601 in
    /// f64.
    #[test]
    fn colours_are_those_of_bt_601() {
        for y in (0..=255).step_by(3) {
            for u in (0..=255).step_by(3) {
                for v in (0..=255).step_by(3) {
                    let [luma, d, e] = [f64::from(y) - 16.0, f64::from(u) - 128.0, f64::from(v) - 128.0];
                    let luma = luma.max(0.0) * 255.0 / 219.0;
                    let (red, blue) = (1.402 * 255.0 / 224.0 * e, 1.772 * 255.0 / 224.0 * d);
                    let green = -(0.299 * red + 0.114 * blue) / 0.587;
                    let found = rgb(y as u8, u as u8, v as u8);
                    for (found, colour) in found.into_iter().zip([red, green, blue]) {
                        let expected = (luma + colour).clamp(0.0, 255.0);
                        assert!((f64::from(found) - expected).abs() <= 0.501, "{y} {u} {v}: {found} {expected}");
                    }
                }
            }
        }
    }
}
