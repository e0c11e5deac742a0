//! Scenes: a small base that classifies pixels, and frames with masks that it learns in seconds.

use fieldfit_model::import::{ImportRequest, import};
use image::{GrayImage, Luma, Rgb, RgbImage};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::fs;
use std::path::{Path, PathBuf};

/// The classes of [`frames`], in the order of the masks' values.
pub const CLASSES: [&str; 3] = ["sky", "road", "car"];
/// The labels of [`base`].
pub const LABELS: [&str; 5] = ["tree", "road", "sign", "sky", "car"];
/// Rows and columns of the network's input and output.
pub const INPUT: [usize; 2] = [24, 32];
/// Width and height of a frame.
const FRAME: [u32; 2] = [44, 30];
/// Value of pixels that do not count.
const VOID: u8 = 3;

/// The network's file.
pub fn network_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/networks/segmentation.pt2")
}

/// Makes the model folder `folder/segmentation` of the network's file.
pub fn base(folder: &Path) -> PathBuf {
    let (file, labels, out) = (network_file(), folder.join("pixel-labels.txt"), folder.join("segmentation"));
    fs::write(&labels, LABELS.join("\n")).unwrap();
    import(&ImportRequest::new(&file, &out).with_labels(Some(&labels))).unwrap();
    out
}

/// Fills `folder/images` and `folder/masks` with that many frames: sky over road, a car on it, and a border that does not
/// count; a class is a colour.
pub fn frames(folder: &Path, count: usize, seed: u64) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    ["images", "masks"].iter().for_each(|name| fs::create_dir_all(folder.join(name)).unwrap());
    fs::write(folder.join("classes.txt"), format!("{}\nvoid\n", CLASSES.join("\n"))).unwrap();
    let [width, height] = FRAME;
    for index in 0..count {
        let horizon = random.random_range(height / 3..2 * height / 3);
        let left = random.random_range(2..width / 2);
        let mask = GrayImage::from_fn(width, height, |x, y| {
            let is_car = (left..left + width / 3).contains(&x) && (horizon - 4..horizon + 8).contains(&y);
            let class = if is_car { 2 } else { u8::from(y >= horizon) };
            Luma([if x == 0 || y == 0 { VOID } else { class }])
        });
        let image = RgbImage::from_fn(width, height, |x, y| {
            let colour = match mask.get_pixel(x, y).0[0] {
                0 => [120, 170, 230],
                1 => [110, 105, 100],
                2 => [200, 40, 50],
                _ => [255, 0, 255],
            };
            Rgb(colour.map(|channel: i32| (channel + random.random_range(-30..30)).clamp(0, 255) as u8))
        });
        image.save(folder.join("images").join(format!("frame_{index:02}.png"))).unwrap();
        mask.save(folder.join("masks").join(format!("frame_{index:02}.png"))).unwrap();
    }
}
