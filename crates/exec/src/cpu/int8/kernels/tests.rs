//! Tests of the int8 kernels: every instruction set of this CPU against the definition in i64 and f64, and against each other.

use super::depthwise::PackedDepthwise;
use super::elementwise::{CENTRE, dequantise, greatest, quantise, quantise_rows};
#[cfg(target_arch = "x86_64")]
use super::winograd::PackedWinograd;
use super::{
    ColumnAffine, FloatEpilogue, FloatShortcut, GROUP, Isa, PackedInt8, Product, QuantisedEpilogue, multiply,
    requantise,
};
#[cfg(target_arch = "x86_64")]
use crate::cpu::winograd::tile_grid::TileGrid;
#[cfg(target_arch = "x86_64")]
use fieldfit_nets::{Activation, Conv};
use fieldfit_nets::{Padding, Shape, SpatialAxis, Window};
#[cfg(target_arch = "x86_64")]
use fieldfit_tensor::TensorId;

/// Returns reproducible pseudo-random integers.
fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// Returns weights in −127..=127.
fn weights(len: usize, seed: u64) -> Vec<i8> {
    noise(len, seed).into_iter().map(|value| (value as i8).max(-127)).collect()
}

/// Returns multipliers that spread sums over the codes, and addends.
fn affine(columns: usize, depth: usize) -> [Vec<f32>; 2] {
    let multiplier = |column: usize| 0.01 / (1.0 + depth as f32).sqrt() * (1.0 + (column % 7) as f32 * 0.13);
    [(0..columns).map(multiplier).collect(), (0..columns).map(|column| 100.0 + (column % 5) as f32 * 7.3).collect()]
}

/// Asserts that a code is the nearest to an exact value, within the rounding of f32.
fn assert_nearest(code: u8, exact: f64, what: &str) {
    let bounded = exact.clamp(0.0, 255.0);
    assert!((f64::from(code) - bounded).abs() <= 0.5 + 1e-4, "{what}: {code} for {exact}");
}

/// A left operand of that many rows, whose rows are whole groups apart.
fn left(rows: usize, depth: usize, seed: u64) -> (Vec<u8>, usize) {
    let step = depth.next_multiple_of(GROUP);
    (noise(rows * step, seed), step)
}

/// Catches: a tile that reads or writes outside its rows and columns, a sum that saturates, a group at the end that is
/// left out, a zero point that is subtracted from fewer terms, an instruction set that rounds otherwise.
#[test]
fn products_follow_the_definition_on_every_instruction_set() {
    let sizes = [
        (1, 1, 1),
        (3, 5, 2),
        (8, 48, 16),
        (9, 47, 7),
        (13, 65, 3),
        (17, 130, 5),
        (4, 16, 131),
        (7, 24, 27),
        (6, 64, 576),
        (0, 3, 2),
    ];
    for (rows, columns, depth) in sizes {
        let ((left, step), weights) = (left(rows, depth, 1), weights(columns * depth, 2));
        let packed = PackedInt8::new(depth, columns, |column, values| {
            values.copy_from_slice(&weights[column * depth..][..depth]);
        });
        assert_eq!((packed.allocated(), packed.depth()), (PackedInt8::bytes(depth, columns), depth));
        let [multipliers, addends] = affine(columns, depth);
        let column_affine = ColumnAffine::new(&multipliers, &addends);
        assert_eq!(column_affine.allocated(), ColumnAffine::bytes(columns));
        let (shortcut, float_shortcut) = (noise(rows * columns, 3), vec![0.25; rows * columns]);
        let row_scales: Vec<f32> = (0..rows).map(|row| 0.5 + row as f32).collect();
        for zero_point in [0, 3, 128, 255] {
            let exact = |row: usize, column: usize| -> i64 {
                let term = |k: usize| {
                    (i64::from(left[row * step + k]) - i64::from(zero_point)) * i64::from(weights[column * depth + k])
                };
                (0..depth).map(term).sum()
            };
            let mut first: Option<(Vec<u8>, Vec<f32>)> = None;
            for isa in Isa::available() {
                let product = Product { left: &left, step, rows, zero_point, right: &packed };
                let (mut codes, mut values) = (vec![77; rows * columns], vec![f32::NAN; rows * columns]);
                multiply(
                    isa,
                    product,
                    &mut QuantisedEpilogue {
                        affine: &column_affine,
                        shortcut: Some((&shortcut, 0.5)),
                        output: &mut codes,
                    },
                );
                multiply(
                    isa,
                    product,
                    &mut FloatEpilogue {
                        affine: &column_affine,
                        row_scales: &row_scales,
                        shortcut: FloatShortcut::Floats(&float_shortcut),
                        bounds: [0.0, 6e4],
                        output: &mut values,
                    },
                );
                for index in 0..rows * columns {
                    let (row, column) = (index / columns, index % columns);
                    let product = exact(row, column) as f64 * f64::from(multipliers[column]);
                    let expected = product + f64::from(addends[column]) + 0.5 * f64::from(shortcut[index]);
                    assert_nearest(codes[index], expected, isa.name());
                    let expected = product * f64::from(row_scales[row]) + f64::from(addends[column]) + 0.25;
                    let (expected, found) = (expected.clamp(0.0, 6e4), f64::from(values[index]));
                    assert!(
                        (found - expected).abs() < 1e-4 * (1.0 + expected.abs() + product.abs()),
                        "{found} {expected}"
                    );
                }
                let results = (codes, values);
                let first = first.get_or_insert_with(|| results.clone());
                assert!(*first == results, "{}: {rows}×{depth} · {depth}×{columns} differs", isa.name());
            }
        }
    }
}

/// Catches: sums of the greatest products that saturate, as `vpmaddubsw`'s do, or overflow.
#[test]
fn the_greatest_products_are_exact() {
    let (rows, columns, depth) = (5, 33, 4608);
    let left = vec![255; rows * depth];
    for weight in [127_i8, -127] {
        let packed = PackedInt8::new(depth, columns, |_, values| values.fill(weight));
        for isa in Isa::available() {
            let mut output = vec![0.0; rows * columns];
            let affine = ColumnAffine::new(&vec![1.0; columns], &vec![0.0; columns]);
            multiply(
                isa,
                Product { left: &left, step: depth, rows, zero_point: 0, right: &packed },
                &mut FloatEpilogue {
                    affine: &affine,
                    row_scales: &[],
                    shortcut: FloatShortcut::None,
                    bounds: [f32::NEG_INFINITY, f32::INFINITY],
                    output: &mut output,
                },
            );
            let expected = (depth as i32 * 255 * i32::from(weight)) as f32;
            assert!(output.iter().all(|value| *value == expected), "{}", isa.name());
        }
    }
}

/// Catches: a factor of the transforms that is wrong, a transformed value that does not fit, a tile at the border that reads or
/// writes outside the image, padding that is not the zero point, a band of tiles that writes another's pixels.
#[cfg(target_arch = "x86_64")]
#[test]
fn winograd_convolutions_are_exactly_the_direct_ones() {
    let shapes = [(1, 1, 32, 32), (4, 4, 32, 64), (5, 7, 64, 32), (9, 6, 32, 32), (13, 30, 32, 32), (6, 2, 224, 32)];
    for (height, width, inputs, outputs) in shapes {
        let (input, conv) = (Shape { height, width, channels: inputs }, three_by_three(inputs, outputs));
        let (images, extremes) = (noise(2 * input.len(), 3), weights(9 * inputs * outputs, 4));
        let extremes_of = |values: &[u8]| values.iter().map(|value| if *value > 127 { 255 } else { 0 }).collect();
        for (images, extreme) in
            [(images.clone(), false), (extremes_of(&images), true), (vec![255; images.len()], true)]
        {
            let weight = |index: usize| if extreme { 127 * extremes[index].signum() } else { extremes[index] };
            for zero_point in [0, 131, 255] {
                let expected = direct(input, outputs, (&images, zero_point), weight);
                for isa in Isa::available() {
                    let Some(simd) = PackedWinograd::instructions(isa, &conv) else { continue };
                    let packed = PackedWinograd::new(simd, &conv, |column, codes| {
                        codes.iter_mut().enumerate().for_each(|(k, code)| *code = weight(column * 9 * inputs + k));
                    });
                    assert_eq!(packed.allocated(), PackedWinograd::bytes(&conv));
                    let found = by_bands(&packed, input, outputs, (&images, zero_point));
                    assert!(found == expected, "{}: {input:?} to {outputs}, zero point {zero_point}", isa.name());
                }
            }
        }
    }
}

/// Catches: sums beyond the 26 bits that are left of the output.
#[cfg(target_arch = "x86_64")]
#[test]
fn the_greatest_winograd_sums_are_exact() {
    let (input, conv) = (Shape { height: 6, width: 6, channels: 224 }, three_by_three(224, 32));
    for (value, code) in [(0, 127), (0, -127), (255, 127), (255, -127)] {
        let images = vec![value; 2 * input.len()];
        let expected = direct(input, 32, (&images, value ^ 255), |_| code);
        for isa in Isa::available() {
            let Some(simd) = PackedWinograd::instructions(isa, &conv) else { continue };
            let packed = PackedWinograd::new(simd, &conv, |_, codes| codes.fill(code));
            assert!(by_bands(&packed, input, 32, (&images, value ^ 255)) == expected, "{}", isa.name());
        }
    }
}

/// Catches: convolutions that the kernel cannot compute, and an instruction set that it should be chosen for.
#[cfg(target_arch = "x86_64")]
#[test]
fn winograd_is_chosen_by_size() {
    let supports = |isa: Isa, conv: Conv| PackedWinograd::instructions(isa, &conv).is_some();
    for isa in Isa::available() {
        let has_pairs = !matches!(isa, Isa::Portable);
        assert_eq!(supports(isa, three_by_three(128, 128)), has_pairs, "{}", isa.name());
        assert!(!supports(isa, three_by_three(256, 32)) && !supports(isa, three_by_three(192, 192)));
        assert!(!supports(isa, three_by_three(48, 32)) && !supports(isa, three_by_three(32, 48)));
        let window = Window::square(3, 2, Padding::symmetric(1));
        assert!(!supports(isa, Conv { window, ..three_by_three(64, 64) }));
    }
}

/// Returns a 3×3 convolution of stride 1.
#[cfg(target_arch = "x86_64")]
fn three_by_three(input: usize, output: usize) -> Conv {
    Conv {
        weight: TensorId::new(0),
        bias: None,
        norm: None,
        activation: Activation::Identity,
        input,
        output,
        window: Window::square(3, 1, Padding::symmetric(1)),
        groups: 1,
    }
}

/// Computes a 3×3 convolution of images by its definition; weights are `[out, taps, in]`.
#[cfg(target_arch = "x86_64")]
fn direct(input: Shape, outputs: usize, (images, zero_point): (&[u8], u8), weight: impl Fn(usize) -> i8) -> Vec<f32> {
    let Shape { height, width, channels } = input;
    let mut output = Vec::new();
    for (image, row, column) in images
        .chunks_exact(input.len())
        .flat_map(|image| (0..height * width).map(move |pixel| (image, pixel / width, pixel % width)))
    {
        let inside: Vec<(usize, &[u8])> = (0..9)
            .filter_map(|tap| {
                let y = (row + tap / 3).checked_sub(1).filter(|y| *y < height)?;
                let x = (column + tap % 3).checked_sub(1).filter(|x| *x < width)?;
                Some((tap, &image[(y * width + x) * channels..][..channels]))
            })
            .collect();
        output.extend((0..outputs).map(|output| {
            let of_pixel = |(tap, pixel): &(usize, &[u8])| -> i64 {
                let first = (output * 9 + tap) * channels;
                let term = |(channel, value): (usize, &u8)| {
                    (i64::from(*value) - i64::from(zero_point)) * i64::from(weight(first + channel))
                };
                pixel.iter().enumerate().map(term).sum()
            };
            inside.iter().map(of_pixel).sum::<i64>() as f32
        }));
    }
    output
}

/// Computes a convolution in two parts of the rows of tiles, as threads split them.
#[cfg(target_arch = "x86_64")]
fn by_bands(packed: &PackedWinograd, input: Shape, outputs: usize, (images, zero_point): (&[u8], u8)) -> Vec<f32> {
    let grid = TileGrid::new(input);
    let bands = images.len() / input.len() * grid.bands();
    let affine = ColumnAffine::new(&vec![1.0; outputs], &vec![0.0; outputs]);
    let mut output = vec![f32::NAN; images.len() / input.channels * outputs];
    let (first, second) = output.split_at_mut(grid.band_start(bands / 3) * outputs);
    for (bands, output) in [(0..bands / 3, first), (bands / 3..bands, second)] {
        let mut epilogue = FloatEpilogue {
            affine: &affine,
            row_scales: &[],
            shortcut: FloatShortcut::None,
            bounds: [f32::NEG_INFINITY, f32::INFINITY],
            output,
        };
        packed.convolve(grid, &bands, (images, zero_point), &mut epilogue);
    }
    output
}

/// Catches: a left operand whose last group lies beyond the buffer.
#[test]
#[should_panic(expected = "a left operand of fewer values")]
fn short_operands_are_refused() {
    let packed = PackedInt8::new(5, 1, |_, values| values.fill(1));
    let affine = ColumnAffine::new(&[1.0], &[0.0]);
    let epilogue = &mut QuantisedEpilogue { affine: &affine, shortcut: None, output: &mut [0; 2] };
    multiply(Isa::detect(), Product { left: &[0; 10], step: 5, rows: 2, zero_point: 0, right: &packed }, epilogue);
}

/// Catches: a tap of a wrong pixel, padding that is not the zero point, a channel out of order, a tail of channels or
/// pixels that is left out or written beyond.
#[test]
fn depthwise_convolutions_follow_the_definition_on_every_instruction_set() {
    let square = |kernel: usize, stride: usize| Window::square(kernel, stride, Padding::Same);
    let windows = [
        square(1, 1),
        square(3, 1),
        square(3, 2),
        square(5, 1),
        square(5, 2),
        square(7, 1),
        Window { padding: Padding::symmetric(1), ..square(3, 3) },
        Window { kernel: [1, 9], ..square(1, 1) },
        Window { dilation: [2, 2], padding: Padding::symmetric(2), ..square(3, 1) },
    ];
    for window in windows {
        for (height, width, channels) in [(1, 1, 1), (5, 7, 16), (6, 9, 33), (4, 5, 64), (7, 8, 70), (9, 6, 144)] {
            let input = Shape { height, width, channels };
            let [rows, columns] = match window.output(input) {
                Ok(output) => output,
                Err(_) => continue,
            };
            let image = noise(input.len(), 5);
            let taps = weights(window.taps() * channels, 6);
            let affine = affine(channels, window.taps());
            for zero_point in [0, 117] {
                let exact = |row: usize, column: usize, channel: usize| -> i64 {
                    let mut sum = 0;
                    for (i, y) in window.taps_inside(SpatialAxis::Rows, row, height) {
                        for (j, x) in window.taps_inside(SpatialAxis::Columns, column, width) {
                            let value = i64::from(image[(y * width + x) * channels + channel]) - i64::from(zero_point);
                            sum += value * i64::from(taps[(i * window.kernel[1] + j) * channels + channel]);
                        }
                    }
                    sum
                };
                let mut first: Option<Vec<u8>> = None;
                for isa in Isa::available() {
                    let packed = PackedDepthwise::new(isa, window, zero_point, taps.clone(), affine.clone());
                    assert_eq!(packed.allocated(), PackedDepthwise::bytes(isa, &window, channels), "{}", isa.name());
                    let mut output = vec![77; rows * columns * channels];
                    for (row, output) in output.chunks_exact_mut(columns * channels).enumerate() {
                        packed.row(isa, (&image, input), row, output);
                    }
                    for (index, code) in output.iter().enumerate() {
                        let (pixel, channel) = (index / channels, index % channels);
                        let sum = exact(pixel / columns, pixel % columns, channel) as f64;
                        let expected = sum * f64::from(affine[0][channel]) + f64::from(affine[1][channel]);
                        assert_nearest(*code, expected, isa.name());
                    }
                    let first = first.get_or_insert_with(|| output.clone());
                    assert!(*first == output, "{}: {window:?} of {input:?} differs", isa.name());
                }
            }
        }
    }
}

/// Catches: ties that are not rounded to even, a value beyond the codes that wraps around, NaN treated otherwise.
#[test]
fn codes_are_rounded_by_one_rule() {
    let values = [
        0.5,
        1.5,
        2.5,
        254.5,
        255.5,
        254.500_02,
        -0.5,
        -0.500_1,
        -3e9,
        3e9,
        1e30,
        -1e30,
        127.499_99,
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        0.0,
        17.0,
        254.49998,
    ];
    let expected = [0, 2, 2, 254, 255, 255, 0, 0, 0, 255, 255, 0, 127, 255, 255, 0, 0, 17, 254];
    assert_eq!(values.map(requantise), expected);
    for isa in Isa::available() {
        let mut codes = [9; 19];
        quantise(isa, &values, (1.0, 0), &mut codes);
        assert_eq!(codes, expected, "{}", isa.name());
        let mut back = [f32::NAN; 19];
        dequantise(isa, &codes, (0.5, 2), &mut back);
        assert_eq!(back, expected.map(|code| (f32::from(code) - 2.0) * 0.5), "{}", isa.name());
    }
}

/// Catches: a row whose greatest value is not the greatest code, a scale of another row, zeros that become NaN, padding
/// with the codes of the call before.
#[test]
fn rows_have_scales_of_their_own() {
    let rows: [[f32; 5]; 3] = [[1.0, -2.0, 0.5, 0.0, 2.0], [0.0; 5], [1e-3, 5e-4, 0.0, -1e-3, 2e-4]];
    for isa in Isa::available() {
        let (mut codes, mut scales) = ([9; 24], [f32::NAN; 3]);
        quantise_rows(isa, (rows.as_flattened(), 5), (&mut codes, 8), &mut scales);
        assert_eq!(codes[..8], [192, 1, 160, CENTRE, 255, 0, 0, 0], "{}", isa.name());
        assert_eq!(codes[8..16], [CENTRE, CENTRE, CENTRE, CENTRE, CENTRE, 0, 0, 0]);
        assert_eq!(scales, [2.0 / 127.0, 0.0, 1e-3 / 127.0]);
        assert_eq!(codes[16..21], [255, 192, CENTRE, 1, 153]);
    }
}

/// Catches: a pixel that is left out of a maximum.
#[test]
fn the_greatest_of_some_pixels() {
    let values = noise(3 * 37, 8);
    for isa in Isa::available() {
        let mut output = [0; 37];
        greatest(isa, &values, &[37, 0, 74], &mut output);
        let expected = |channel: usize| values[channel].max(values[37 + channel]).max(values[74 + channel]);
        assert!(output.iter().enumerate().all(|(channel, value)| *value == expected(channel)));
    }
}
