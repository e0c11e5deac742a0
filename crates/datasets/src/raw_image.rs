//! Raw images: pixels of ROS 2 as PNG files.

use fieldfit_data::{PixelFormat, Pixels};
use fieldfit_recording::RawImage;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder as _};
use std::time::Duration;

/// Names of the formats that are stored, of `sensor_msgs/image_encodings.hpp`.
const FORMATS: [(&str, PixelFormat); 10] = [
    ("rgb8", PixelFormat::Rgb8),
    ("bgr8", PixelFormat::Bgr8),
    ("rgba8", PixelFormat::Rgba8),
    ("bgra8", PixelFormat::Bgra8),
    ("mono8", PixelFormat::Gray8),
    ("8UC1", PixelFormat::Gray8),
    ("8UC3", PixelFormat::Bgr8),
    ("8UC4", PixelFormat::Bgra8),
    ("yuv422", PixelFormat::Uyvy),
    ("yuv422_yuy2", PixelFormat::Yuyv),
];

/// Encodes pixels as PNG: grey ones in one channel, others in red, green and blue.
pub(crate) fn encode_png(image: &RawImage<'_>) -> Result<Vec<u8>, String> {
    let RawImage { width, height, step, encoding, data, .. } = *image;
    let Some((_, format)) = FORMATS.iter().find(|(name, _)| *name == encoding) else {
        let names: Vec<&str> = FORMATS.iter().map(|(name, _)| *name).collect();
        return Err(format!("pixels in {encoding} are not read: expected {}", names.join(", ")));
    };
    let (stride, chroma, timestamp) = (step as usize, None, Duration::ZERO);
    let pixels = Pixels { data, format: *format, width, height, stride, chroma, timestamp };
    let image = pixels.to_rgb().map_err(|error| error.to_string())?;
    let mut png = Vec::new();
    let encoded = if *format == PixelFormat::Gray8 {
        let grey: Vec<u8> = image.pixels().map(|pixel| pixel.0[0]).collect();
        PngEncoder::new(&mut png).write_image(&grey, width, height, ExtendedColorType::L8)
    } else {
        PngEncoder::new(&mut png).write_image(&image, width, height, ExtendedColorType::Rgb8)
    };
    encoded.map(|()| png).map_err(|error| error.to_string())
}
