//! Camera frames: borrowed pixels or encoded images.

use crate::decode::{self, MAX_PIXELS};
use crate::error::DataError;
use crate::yuv;
use image::{Rgb, RgbImage};
use std::time::Duration;

/// Frame: one borrowed image, as pixels or encoded.
#[derive(Debug, Clone, Copy)]
pub enum Frame<'a> {
    /// Pixels of a camera.
    Pixels(Pixels<'a>),
    /// Bytes of a JPEG, PNG, WebP, BMP, TIFF or GIF file.
    Encoded(&'a [u8]),
}

/// Borrowed pixels, `[height, width, channels]`, with a stride between rows.
#[derive(Debug, Clone, Copy)]
pub struct Pixels<'a> {
    /// Rows of `stride` bytes each; the last may end with its last pixel. Of [`PixelFormat::Nv12`], the brightness.
    pub data: &'a [u8],
    /// Format of a pixel.
    pub format: PixelFormat,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Bytes from the start of a row to the start of the next.
    pub stride: usize,
    /// Second plane: the colours of [`PixelFormat::Nv12`]; `None` for every other format.
    pub chroma: Option<Plane<'a>>,
    /// Time of capture on the camera's clock. No result depends on it.
    pub timestamp: Duration,
}

/// Second plane of a frame: U and V of each 2 × 2 pixels in turn, `[height / 2, width / 2, 2]`.
#[derive(Debug, Clone, Copy)]
pub struct Plane<'a> {
    /// Rows of `stride` bytes each; the last may end with its last pair.
    pub data: &'a [u8],
    /// Bytes from the start of a row to the start of the next.
    pub stride: usize,
}

/// Pixel format: order and width of the channels.
///
/// YUV formats are read as cameras give them: BT.601, 16..=235 for Y and 16..=240 for U and V, within a step of 8 bits as OpenCV
/// converts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PixelFormat {
    /// Red, green, blue.
    Rgb8,
    /// Blue, green, red.
    Bgr8,
    /// Red, green, blue, and a byte that is not read.
    Rgba8,
    /// Blue, green, red, and a byte that is not read.
    Bgra8,
    /// Grey; red, green and blue of the network's input take its value.
    Gray8,
    /// Grey in 16 bits, low byte first, 65535 as white; read as the nearest of 8 bits.
    Gray16,
    /// Y, U, Y, V for two pixels (YUY2). The width is even.
    Yuyv,
    /// U, Y, V, Y for two pixels. The width is even.
    Uyvy,
    /// Y in the first plane, U and V for 2 × 2 pixels in the second. Both sides are even.
    Nv12,
}

impl PixelFormat {
    /// Number of bytes of one pixel in the first plane.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Rgb8 | Self::Bgr8 => 3,
            Self::Rgba8 | Self::Bgra8 => 4,
            Self::Gray8 | Self::Nv12 => 1,
            Self::Gray16 | Self::Yuyv | Self::Uyvy => 2,
        }
    }

    /// Width and height of the pixels that share a colour.
    const fn block(self) -> [u32; 2] {
        match self {
            Self::Rgb8 | Self::Bgr8 | Self::Rgba8 | Self::Bgra8 | Self::Gray8 | Self::Gray16 => [1, 1],
            Self::Yuyv | Self::Uyvy => [2, 1],
            Self::Nv12 => [2, 2],
        }
    }
}

/// Rectangle of a frame, in pixels from its upper left corner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rect {
    /// First column.
    pub left: u32,
    /// First row.
    pub top: u32,
    /// Number of columns.
    pub width: u32,
    /// Number of rows.
    pub height: u32,
}

impl<'a> Frame<'a> {
    /// Decodes the frame to upright RGB.
    ///
    /// # Errors
    /// If the frame is malformed, too large, or cannot be decoded.
    pub fn to_rgb(&self) -> Result<RgbImage, DataError> {
        match self {
            Self::Encoded(bytes) => decode::decode(bytes),
            Self::Pixels(pixels) => pixels.to_rgb(),
        }
    }

    /// Returns a part of the frame, without a copy.
    ///
    /// # Errors
    /// As [`Pixels::crop`]; [`DataError::CropEncoded`] if the frame is encoded: decode it first.
    pub fn crop(&self, rect: Rect) -> Result<Self, DataError> {
        match self {
            Self::Pixels(pixels) => pixels.crop(rect).map(Self::Pixels),
            Self::Encoded(_) => Err(DataError::CropEncoded),
        }
    }
}

impl<'a> Pixels<'a> {
    /// Pixels without padding between rows, at time 0.
    pub const fn packed(data: &'a [u8], format: PixelFormat, width: u32, height: u32) -> Self {
        let stride = width as usize * format.bytes();
        Self { data, format, width, height, stride, chroma: None, timestamp: Duration::ZERO }
    }

    /// NV12 pixels without padding between rows, at time 0: a plane of brightness and one of colours.
    pub const fn nv12(luma: &'a [u8], chroma: &'a [u8], width: u32, height: u32) -> Self {
        let chroma = Some(Plane { data: chroma, stride: width as usize });
        Self { chroma, ..Self::packed(luma, PixelFormat::Nv12, width, height) }
    }

    /// Returns a part of the pixels, without a copy.
    ///
    /// # Errors
    /// If the pixels' description does not fit their data, the rectangle is empty or reaches outside them, or it divides
    /// pixels that share a colour.
    pub fn crop(&self, rect: Rect) -> Result<Self, DataError> {
        self.check()?;
        let Rect { left, top, width, height } = rect;
        let is_inside =
            |first: u32, length: u32, side: u32| length > 0 && first.checked_add(length).is_some_and(|end| end <= side);
        if !is_inside(left, width, self.width) || !is_inside(top, height, self.height) {
            return Err(DataError::Crop { rect, width: self.width, height: self.height });
        }
        let block @ [columns, rows] = self.format.block();
        let divides = |value: u32, block: u32| !value.is_multiple_of(block);
        if divides(left | width, columns) || divides(top | height, rows) {
            return Err(DataError::Subsampling { format: self.format, block });
        }
        let part = |plane: Plane<'a>, [left, top, width, height]: [u32; 4], bytes: usize| {
            let [left, top, width, height] = [left, top, width, height].map(|value| value as usize);
            let (start, length) = (top * plane.stride + left * bytes, (height - 1) * plane.stride + width * bytes);
            &plane.data[start..][..length]
        };
        let luma = Plane { data: self.data, stride: self.stride };
        let chroma = |plane| part(plane, [left / columns, top / rows, width / columns, height / rows], 2);
        Ok(Self {
            data: part(luma, [left, top, width, height], self.format.bytes()),
            width,
            height,
            chroma: self.chroma.map(|plane| Plane { data: chroma(plane), ..plane }),
            ..*self
        })
    }

    /// Converts the pixels to RGB.
    ///
    /// # Errors
    /// As [`check`](Self::check); [`DataError::TooLarge`] if there are more than [`MAX_PIXELS`].
    pub fn to_rgb(self) -> Result<RgbImage, DataError> {
        self.check()?;
        let Self { width, height, .. } = self;
        if u64::from(width) * u64::from(height) > MAX_PIXELS {
            return Err(DataError::TooLarge { width, height, limit: MAX_PIXELS });
        }
        Ok(RgbImage::from_fn(width, height, |column, row| Rgb(self.rgb_at(column as usize, row as usize))))
    }

    /// Red, green and blue of a pixel of checked data.
    fn rgb_at(&self, column: usize, row: usize) -> [u8; 3] {
        let bytes = self.format.bytes();
        let start = row * self.stride + column * bytes;
        let pixel = &self.data[start..start + bytes];
        // The two pixels that share a colour.
        let pair = || &self.data[row * self.stride + column / 2 * 4..][..4];
        match self.format {
            PixelFormat::Rgb8 | PixelFormat::Rgba8 => [pixel[0], pixel[1], pixel[2]],
            PixelFormat::Bgr8 | PixelFormat::Bgra8 => [pixel[2], pixel[1], pixel[0]],
            PixelFormat::Gray8 => [pixel[0]; 3],
            PixelFormat::Gray16 => [gray16(pixel); 3],
            PixelFormat::Yuyv => yuv::rgb(pixel[0], pair()[1], pair()[3]),
            PixelFormat::Uyvy => yuv::rgb(pixel[1], pair()[0], pair()[2]),
            PixelFormat::Nv12 => {
                let colour = |plane: Plane<'_>| {
                    let start = row / 2 * plane.stride + column / 2 * 2;
                    [plane.data[start], plane.data[start + 1]]
                };
                // Checked data has the plane.
                let [u, v] = self.chroma.map_or([128; 2], colour);
                yuv::rgb(pixel[0], u, v)
            }
        }
    }

    /// Number of bytes of a row without padding.
    pub(crate) const fn row_bytes(&self) -> usize {
        self.width as usize * self.format.bytes()
    }

    /// Checks that the data has the length that width, height and stride imply.
    ///
    /// # Errors
    /// If a side is 0 or odd where pixels share colours, a stride is shorter than a row, the data is too short or too long
    /// for them, or the second plane is missing or one too many.
    pub fn check(&self) -> Result<(), DataError> {
        let Self { width, height, format, stride, .. } = *self;
        if width == 0 || height == 0 {
            return Err(DataError::EmptyFrame { width, height });
        }
        let block @ [columns, rows] = format.block();
        if !width.is_multiple_of(columns) || !height.is_multiple_of(rows) {
            return Err(DataError::Subsampling { format, block });
        }
        self.check_plane(Plane { data: self.data, stride }, height, self.row_bytes())?;
        match (format, self.chroma) {
            (PixelFormat::Nv12, Some(plane)) => self.check_plane(plane, height / rows, self.row_bytes()),
            (PixelFormat::Nv12, None) => Err(DataError::Planes { format, expected: 2, found: 1 }),
            (_, Some(_)) => Err(DataError::Planes { format, expected: 1, found: 2 }),
            (_, None) => Ok(()),
        }
    }

    fn check_plane(&self, Plane { data, stride }: Plane<'_>, rows: u32, row: usize) -> Result<(), DataError> {
        let Self { width, format, .. } = *self;
        if stride < row {
            return Err(DataError::Stride { width, format, expected: row, found: stride });
        }
        let padded = stride.saturating_mul(rows as usize);
        let expected = padded - (stride - row);
        if !(expected..=padded).contains(&data.len()) {
            return Err(DataError::Length { width, height: rows, stride, expected, found: data.len() });
        }
        Ok(())
    }
}

/// The nearest value of 8 bits to a grey of 16, low byte first.
pub(crate) fn gray16(bytes: &[u8]) -> u8 {
    ((u32::from(u16::from_le_bytes([bytes[0], bytes[1]])) + 128) / 257) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(frame: &Pixels<'_>) -> Vec<[u8; 3]> {
        Frame::Pixels(*frame).to_rgb().unwrap().pixels().map(|pixel| pixel.0).collect()
    }

    /// Catches: channels in the wrong order, padding read as pixels, 16 bits cut instead of rounded.
    #[test]
    fn packed_formats_keep_their_colours_and_skip_padding() {
        let padded =
            |format: PixelFormat, data: &[u8], stride| rows(&Pixels { stride, ..Pixels::packed(data, format, 1, 2) });
        let expected = vec![[10, 20, 30], [40, 50, 60]];
        assert_eq!(padded(PixelFormat::Rgb8, &[10, 20, 30, 99, 40, 50, 60], 4), expected);
        assert_eq!(padded(PixelFormat::Bgr8, &[30, 20, 10, 99, 60, 50, 40], 4), expected);
        assert_eq!(padded(PixelFormat::Rgba8, &[10, 20, 30, 9, 99, 40, 50, 60, 9], 5), expected);
        assert_eq!(padded(PixelFormat::Bgra8, &[30, 20, 10, 9, 99, 60, 50, 40, 9], 5), expected);
        assert_eq!(padded(PixelFormat::Gray8, &[7, 99, 8], 2), [[7; 3], [8; 3]]);
        assert_eq!(padded(PixelFormat::Gray16, &[0x7f, 0x01, 9, 0x81, 0x01], 3), [[1; 3], [1; 3]]);
        assert_eq!(padded(PixelFormat::Gray16, &[0x82, 0x01, 9, 0xff, 0xff], 3), [[2; 3], [255; 3]]);
    }

    /// Catches: colours of YUV formats taken from another pair, another row, or in the wrong order.
    #[test]
    fn yuv_formats_share_the_colours_of_their_blocks() {
        let pair = |y: u8| yuv::rgb(y, 90, 200);
        let other = |y: u8| yuv::rgb(y, 30, 40);
        let expected = [pair(50), pair(60), other(70), other(80)];
        let yuyv = [50, 90, 60, 200, 70, 30, 80, 40];
        assert_eq!(rows(&Pixels::packed(&yuyv, PixelFormat::Yuyv, 4, 1)), expected);
        let uyvy = [90, 50, 200, 60, 30, 70, 40, 80];
        assert_eq!(rows(&Pixels::packed(&uyvy, PixelFormat::Uyvy, 4, 1)), expected);
        let luma = [50, 60, 70, 80, 51, 61, 71, 81];
        let both = [expected.to_vec(), vec![pair(51), pair(61), other(71), other(81)]].concat();
        assert_eq!(rows(&Pixels::nv12(&luma, &[90, 200, 30, 40], 4, 2)), both);
    }

    /// Catches: a frame whose description lies that is read beyond its end.
    #[test]
    fn a_frame_that_does_not_fit_its_data_is_an_error() {
        assert!(Frame::Pixels(Pixels::packed(&[0; 5], PixelFormat::Rgb8, 2, 1)).to_rgb().is_err());
        assert!(Frame::Pixels(Pixels::packed(&[0; 8], PixelFormat::Nv12, 4, 2)).to_rgb().is_err());
        assert!(Frame::Encoded(b"no image").to_rgb().is_err());
    }
}
