//! Images of a camera as frames: maps encodings of `sensor_msgs/Image`, and refuses what does not fit its description.

use crate::msg::sensor_msgs::{CompressedImage, Image};
use crate::msg::std_msgs::Header;
use fieldfit::{Frame, PixelFormat, Pixels, Plane, escape};
use std::time::Duration;
use thiserror::Error;

/// Encoding of `sensor_msgs/Image`, with its pixel format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoding {
    /// Name in the message.
    pub name: &'static str,
    /// Format of a pixel.
    pub format: PixelFormat,
}

/// Encodings that are read.
const ENCODINGS: [Encoding; 13] = [
    Encoding { name: "rgb8", format: PixelFormat::Rgb8 },
    Encoding { name: "bgr8", format: PixelFormat::Bgr8 },
    Encoding { name: "rgba8", format: PixelFormat::Rgba8 },
    Encoding { name: "bgra8", format: PixelFormat::Bgra8 },
    Encoding { name: "mono8", format: PixelFormat::Gray8 },
    Encoding { name: "8UC1", format: PixelFormat::Gray8 },
    Encoding { name: "mono16", format: PixelFormat::Gray16 },
    Encoding { name: "16UC1", format: PixelFormat::Gray16 },
    Encoding { name: "yuyv", format: PixelFormat::Yuyv },
    Encoding { name: "yuv422_yuy2", format: PixelFormat::Yuyv },
    Encoding { name: "uyvy", format: PixelFormat::Uyvy },
    Encoding { name: "yuv422", format: PixelFormat::Uyvy },
    Encoding { name: "nv12", format: PixelFormat::Nv12 },
];

impl Encoding {
    /// Returns the encoding of that name; `None` if it is not supported.
    pub fn named(name: &str) -> Option<Self> {
        ENCODINGS.into_iter().find(|encoding| encoding.name == name)
    }
}

/// Value of the parameter `pixel_format` that takes each image's own encoding.
pub const AUTO: &str = "auto";

/// Image of a camera that is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ImageError {
    /// An encoding that is not read.
    #[error(
        "the encoding `{}` is not supported: expected one of {}; set the parameter pixel_format where the image's own is wrong",
        escape(encoding),
        encodings()
    )]
    Encoding {
        /// The image's encoding.
        encoding: String,
    },
    /// Values of 16 bits with the high byte first.
    #[error("the {encoding} image is big-endian: expected the low byte first; convert it with image_proc")]
    BigEndian {
        /// The image's encoding.
        encoding: &'static str,
    },
    /// Data of another length than width, height and step imply.
    #[error("the {width} × {height} {encoding} image has step {step} and {found} bytes of data: {reason}")]
    Layout {
        /// The encoding by which it was read.
        encoding: &'static str,
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
        /// Bytes from row to row.
        step: u32,
        /// Bytes of data.
        found: usize,
        /// The defect, with what is expected.
        reason: String,
    },
    /// A compressed image without data.
    #[error("the compressed image of format `{}` is empty", escape(format))]
    Empty {
        /// The image's format.
        format: String,
    },
    /// Compressed data that is not an image of a camera.
    #[error(
        "the compressed format `{}` is not supported: expected jpeg, png or another file of an image",
        escape(format)
    )]
    Compression {
        /// The image's format.
        format: String,
    },
}

/// Image of a camera, by one of the two transports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CameraImage {
    /// Pixels.
    Raw(Image),
    /// A file.
    Compressed(CompressedImage),
}

impl CameraImage {
    /// Returns the header.
    pub const fn header(&self) -> &Header {
        match self {
            Self::Raw(image) => &image.header,
            Self::Compressed(image) => &image.header,
        }
    }

    /// Returns the number of bytes of the data.
    pub const fn len(&self) -> usize {
        match self {
            Self::Raw(image) => image.data.len(),
            Self::Compressed(image) => image.data.len(),
        }
    }

    /// Returns whether there is no data.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the frame, which borrows the data. `encoding` stands in for that of the message, if it is given.
    ///
    /// # Errors
    /// If the encoding is not supported or big-endian, or the data does not fit its description.
    pub fn frame(&self, encoding: Option<Encoding>) -> Result<Frame<'_>, ImageError> {
        match self {
            Self::Raw(image) => pixels(image, encoding).map(Frame::Pixels),
            Self::Compressed(image) => encoded(image),
        }
    }
}

/// Returns the names of the supported encodings.
pub fn encodings() -> String {
    ENCODINGS.map(|encoding| encoding.name).join(", ")
}

fn pixels(image: &Image, encoding: Option<Encoding>) -> Result<Pixels<'_>, ImageError> {
    let encoding = encoding.or_else(|| Encoding::named(&image.encoding));
    let Some(Encoding { name: encoding, format }) = encoding else {
        return Err(ImageError::Encoding { encoding: image.encoding.clone() });
    };
    if format == PixelFormat::Gray16 && image.is_bigendian != 0 {
        return Err(ImageError::BigEndian { encoding });
    }
    let refused = |reason: String| ImageError::Layout {
        encoding,
        width: image.width,
        height: image.height,
        step: image.step,
        found: image.data.len(),
        reason,
    };
    let (data, chroma) = planes(image, format).map_err(refused)?;
    let (width, height, stride) = (image.width, image.height, image.step as usize);
    let timestamp = image.header.stamp.since_epoch().unwrap_or(Duration::ZERO);
    let pixels = Pixels { data, format, width, height, stride, chroma, timestamp };
    pixels.check().map_err(|error| refused(error.to_string()))?;
    Ok(pixels)
}

/// The planes of an image: of NV12 the brightness, and the colours behind it.
fn planes(image: &Image, format: PixelFormat) -> Result<(&[u8], Option<Plane<'_>>), String> {
    if format != PixelFormat::Nv12 {
        return Ok((&image.data, None));
    }
    let stride = image.step as usize;
    let luma = stride.saturating_mul(image.height as usize);
    match image.data.split_at_checked(luma) {
        Some((luma, data)) => Ok((luma, Some(Plane { data, stride }))),
        None => Err(format!("expected {luma} bytes of brightness, and half as many of colours")),
    }
}

fn encoded(image: &CompressedImage) -> Result<Frame<'_>, ImageError> {
    let format = || image.format.clone();
    if image.data.is_empty() {
        return Err(ImageError::Empty { format: format() });
    }
    // Depth images have a header of their own before the file.
    if image.format.contains("compressedDepth") {
        return Err(ImageError::Compression { format: format() });
    }
    Ok(Frame::Encoded(&image.data))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(encoding: &str, [width, height, step]: [u32; 3], data: Vec<u8>) -> CameraImage {
        CameraImage::Raw(Image { encoding: encoding.into(), width, height, step, data, ..Image::default() })
    }

    fn first_pixel(image: &CameraImage) -> [u8; 3] {
        image.frame(None).unwrap().to_rgb().unwrap().get_pixel(0, 0).0
    }

    /// Catches: an encoding that is mapped to another order of channels, or padding that is read as pixels.
    #[test]
    fn every_encoding_keeps_its_colours() {
        assert_eq!(first_pixel(&image("rgb8", [1, 2, 4], vec![1, 2, 3, 9, 1, 2, 3, 9])), [1, 2, 3]);
        assert_eq!(first_pixel(&image("bgr8", [1, 1, 3], vec![3, 2, 1])), [1, 2, 3]);
        assert_eq!(first_pixel(&image("rgba8", [1, 1, 4], vec![1, 2, 3, 9])), [1, 2, 3]);
        assert_eq!(first_pixel(&image("bgra8", [1, 1, 4], vec![3, 2, 1, 9])), [1, 2, 3]);
        for name in ["mono8", "8UC1"] {
            assert_eq!(first_pixel(&image(name, [1, 1, 1], vec![7])), [7; 3]);
        }
        for name in ["mono16", "16UC1"] {
            assert_eq!(first_pixel(&image(name, [1, 1, 2], vec![0xff, 0xff])), [255; 3]);
        }
        // White, by BT.601.
        for name in ["yuyv", "yuv422_yuy2"] {
            assert_eq!(first_pixel(&image(name, [2, 1, 4], vec![235, 128, 16, 128])), [255; 3]);
        }
        for name in ["uyvy", "yuv422"] {
            assert_eq!(first_pixel(&image(name, [2, 1, 4], vec![128, 235, 128, 16])), [255; 3]);
        }
        let nv12 = image("nv12", [2, 2, 3], vec![235, 16, 0, 16, 16, 0, 128, 128, 0]);
        assert_eq!(first_pixel(&nv12), [255; 3]);
        assert_eq!(ENCODINGS.len(), 13, "an encoding without a case here");
    }

    /// Catches: an image of an unknown encoding that is read as some other, or refused without its name.
    #[test]
    fn unknown_encodings_are_refused_by_name() {
        for name in ["bayer_rggb8", "32FC1", "8UC3", "nv21", "RGB8", "", "rgb8\u{1b}[2J"] {
            let error = image(name, [1, 1, 3], vec![0; 3]).frame(None).unwrap_err();
            assert_eq!(error, ImageError::Encoding { encoding: name.into() });
            assert!(error.to_string().contains(&escape(name).to_string()), "{error}");
        }
        let overridden = image("8UC3", [1, 1, 3], vec![3, 2, 1]);
        let frame = overridden.frame(Encoding::named("bgr8")).unwrap();
        assert_eq!(frame.to_rgb().unwrap().get_pixel(0, 0).0, [1, 2, 3]);
    }

    /// Catches: a description that lies and is read beyond the data, at any encoding.
    #[test]
    fn descriptions_that_do_not_fit_are_refused() {
        let cases = [
            ("rgb8", [2, 2, 5], 12),
            ("rgb8", [2, 2, 6], 11),
            ("rgb8", [2, 2, 6], 13),
            ("rgb8", [0, 2, 6], 12),
            ("rgb8", [u32::MAX, u32::MAX, u32::MAX], 12),
            ("yuyv", [3, 1, 6], 6),
            ("nv12", [2, 2, 2], 5),
            ("nv12", [2, 2, 2], 3),
            ("nv12", [2, u32::MAX, u32::MAX], 6),
        ];
        for (encoding, sides, length) in cases {
            let error = image(encoding, sides, vec![0; length]).frame(None).unwrap_err();
            assert!(matches!(error, ImageError::Layout { .. }), "{encoding} {sides:?} {length}: {error}");
            assert!(error.to_string().contains(&format!("{length} bytes")), "{error}");
        }
    }

    /// Catches: 16 bits read in the wrong order; 8 bits refused because a driver sets the flag all the same.
    #[test]
    fn big_endian_is_refused_where_it_matters() {
        let big = |encoding: &str, data: Vec<u8>| {
            let CameraImage::Raw(image) = image(encoding, [1, 1, data.len() as u32], data) else { unreachable!() };
            CameraImage::Raw(Image { is_bigendian: 1, ..image })
        };
        assert_eq!(big("mono16", vec![1, 2]).frame(None).unwrap_err(), ImageError::BigEndian { encoding: "mono16" });
        assert!(big("mono8", vec![1]).frame(None).is_ok());
    }

    /// Catches: a depth image that is decoded as a picture; data of length 0 handed to a decoder.
    #[test]
    fn compressed_images_without_a_picture_are_refused() {
        let compressed = |format: &str, data: &[u8]| {
            CameraImage::Compressed(CompressedImage { format: format.into(), data: data.into(), ..Default::default() })
        };
        assert!(compressed("rgb8; jpeg compressed bgr8", &[0xff, 0xd8]).frame(None).is_ok());
        assert!(matches!(compressed("jpeg", &[]).frame(None), Err(ImageError::Empty { .. })));
        let depth = compressed("16UC1; compressedDepth png", &[1]);
        assert!(matches!(depth.frame(None), Err(ImageError::Compression { .. })));
    }
}
