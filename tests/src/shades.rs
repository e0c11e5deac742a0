//! Shades: images of a shade of red over a shade of blue, and a table of what is true of them.

use image::{Rgb, RgbImage};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::fs;
use std::path::Path;

/// Number of images.
pub const COUNT: usize = 60;

/// Fills a folder with images of 40 × 32 pixels, and writes a table of them: its columns beside the path, and the cells of an image by
/// its shades, 0..1.
pub fn write(folder: &Path, table: &str, columns: &str, cells: fn(f32, f32) -> String) {
    fs::create_dir_all(folder).unwrap();
    let mut random = ChaCha8Rng::seed_from_u64(9);
    let mut rows = format!("path,{columns}\n");
    for index in 0..COUNT {
        let [red, blue]: [f32; 2] = [random.random(), random.random()];
        let mut noisy = |shade: f32| (40.0 + 170.0 * shade + random.random_range(-20.0..20.0)) as u8;
        let image = RgbImage::from_fn(40, 32, |_, y| match y < 16 {
            true => Rgb([noisy(red), 60, 60]),
            false => Rgb([60, 60, noisy(blue)]),
        });
        image.save(folder.join(format!("{index}.png"))).unwrap();
        rows += &format!("{index}.png,{}\n", cells(red, blue));
    }
    fs::write(folder.join(table), rows).unwrap();
}
