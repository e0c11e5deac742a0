//! Frame: a camera's pixels or an encoded image, borrowed from the caller for one call.

use crate::failure::Failure;
use crate::frame::fieldfit_format::*;
use crate::sized::{self, SizedStruct};
use fieldfit::{Error, Frame, PixelFormat, Pixels, Plane, Rect};
use std::slice;

/// Format of a frame.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum fieldfit_format {
    /// Bytes of a JPEG, PNG, WebP, BMP, TIFF or GIF file.
    FIELDFIT_ENCODED = 0,
    /// Red, green, blue.
    FIELDFIT_RGB8 = 1,
    /// Blue, green, red: what OpenCV captures.
    FIELDFIT_BGR8 = 2,
    /// Red, green, blue, and a byte that is not read.
    FIELDFIT_RGBA8 = 3,
    /// Blue, green, red, and a byte that is not read.
    FIELDFIT_BGRA8 = 4,
    /// Grey.
    FIELDFIT_GRAY8 = 5,
    /// Grey in 16 bits, low byte first.
    FIELDFIT_GRAY16 = 6,
    /// Y, U, Y, V for two pixels (YUY2).
    FIELDFIT_YUYV = 7,
    /// U, Y, V, Y for two pixels.
    FIELDFIT_UYVY = 8,
    /// Y in the first plane, U and V for 2 × 2 pixels in the second.
    FIELDFIT_NV12 = 9,
}

/// Rectangle of a frame, in pixels from its upper left corner.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct fieldfit_rect {
    /// First column.
    pub left: u32,
    /// First row.
    pub top: u32,
    /// Number of columns.
    pub width: u32,
    /// Number of rows.
    pub height: u32,
}

/// Frame: begin with `fieldfit_frame_init()`. The library reads the bytes during the call alone, and keeps nothing of them; they
/// must not change until it returns.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct fieldfit_frame {
    /// `sizeof(fieldfit_frame)`.
    pub struct_size: u32,
    /// A `fieldfit_format`.
    pub format: u32,
    /// Rows of `stride` bytes each, or the bytes of a file. Of `FIELDFIT_NV12`, the first plane.
    pub data: *const u8,
    /// Number of bytes at `data`.
    pub length: usize,
    /// Width in pixels; 0 if encoded.
    pub width: u32,
    /// Height in pixels; 0 if encoded.
    pub height: u32,
    /// Bytes from the start of a row to the start of the next; 0 if rows follow each other.
    pub stride: usize,
    /// Second plane of `FIELDFIT_NV12`; otherwise NULL.
    pub chroma: *const u8,
    /// Number of bytes at `chroma`.
    pub chroma_length: usize,
    /// Stride of the second plane; 0 if rows follow each other.
    pub chroma_stride: usize,
    /// Part of the frame that is classified, without a copy; all 0 for the whole frame. Not of an encoded image.
    pub crop: fieldfit_rect,
}

// SAFETY: `repr(C)`, begins with its size, and has integers and pointers alone.
unsafe impl SizedStruct for fieldfit_frame {
    const LEAST: usize = size_of::<Self>();
}

impl fieldfit_frame {
    /// Borrows the frame.
    ///
    /// # Safety
    /// `data` and `chroma` have as many readable bytes as the frame says, which do not change for the lifetime `'a`.
    pub unsafe fn borrow<'a>(&self) -> Result<Frame<'a>, Failure> {
        // SAFETY: the caller's promise.
        let data = unsafe { bytes(self.data, self.length, "frame.data")? };
        let Some(format) = self.pixel_format()? else {
            return self.cropped(Frame::Encoded(data));
        };
        let stride = |stride: usize, bytes: usize| if stride == 0 { self.width as usize * bytes } else { stride };
        let mut pixels = Pixels::packed(data, format, self.width, self.height);
        pixels.stride = stride(self.stride, format.bytes());
        if !self.chroma.is_null() {
            // SAFETY: the caller's promise.
            let data = unsafe { bytes(self.chroma, self.chroma_length, "frame.chroma")? };
            pixels.chroma = Some(Plane { data, stride: stride(self.chroma_stride, 1) });
        }
        self.cropped(Frame::Pixels(pixels))
    }

    fn cropped<'a>(&self, frame: Frame<'a>) -> Result<Frame<'a>, Failure> {
        if self.crop == fieldfit_rect::default() {
            return Ok(frame);
        }
        let fieldfit_rect { left, top, width, height } = self.crop;
        let cropped = frame.crop(Rect { left, top, width, height });
        Ok(cropped.map_err(Error::from)?)
    }

    /// Returns the format of the pixels; `None` of an encoded image.
    fn pixel_format(&self) -> Result<Option<PixelFormat>, Failure> {
        if self.format == FIELDFIT_ENCODED as u32 {
            return Ok(None);
        }
        let (argument, expected) = ("frame.format", "a fieldfit_format");
        let known = FORMATS.iter().find(|&&(number, _)| number as u32 == self.format);
        let unknown = || Failure::Value { argument, found: self.format.into(), expected };
        known.map(|&(_, format)| Some(format)).ok_or_else(unknown)
    }
}

/// Formats of pixels.
const FORMATS: [(fieldfit_format, PixelFormat); 9] = [
    (FIELDFIT_RGB8, PixelFormat::Rgb8),
    (FIELDFIT_BGR8, PixelFormat::Bgr8),
    (FIELDFIT_RGBA8, PixelFormat::Rgba8),
    (FIELDFIT_BGRA8, PixelFormat::Bgra8),
    (FIELDFIT_GRAY8, PixelFormat::Gray8),
    (FIELDFIT_GRAY16, PixelFormat::Gray16),
    (FIELDFIT_YUYV, PixelFormat::Yuyv),
    (FIELDFIT_UYVY, PixelFormat::Uyvy),
    (FIELDFIT_NV12, PixelFormat::Nv12),
];

/// Borrows the frames of an array, whose elements have the size that the first one begins with.
///
/// # Safety
/// `frames` is NULL or has `count` frames of that size, whose bytes do not change for the lifetime `'a`.
pub unsafe fn frames_of<'a>(frames: *const fieldfit_frame, count: usize) -> Result<Vec<Frame<'a>>, Failure> {
    if count == 0 {
        return Ok(Vec::new());
    }
    // SAFETY: the caller's promise.
    let size = unsafe { sized::check_array(frames, count, "frames")? };
    // SAFETY: the caller's promise: there are `count` frames of that size.
    let frame = |index| unsafe { sized::read(sized::element(frames, index, size), "frames")?.borrow() };
    (0..count).map(frame).collect()
}

/// Borrows bytes of the caller's.
///
/// # Safety
/// `data` is NULL or has `length` readable bytes, which do not change for the lifetime `'a`.
unsafe fn bytes<'a>(data: *const u8, length: usize, argument: &'static str) -> Result<&'a [u8], Failure> {
    if data.is_null() {
        return Err(Failure::Null { argument, expected: "the frame's bytes" });
    }
    if isize::try_from(length).is_err() {
        return Err(Failure::Value { argument, found: length as u64, expected: "fewer bytes than memory has" });
    }
    // SAFETY: the caller's promise; the length is within `isize`.
    Ok(unsafe { slice::from_raw_parts(data, length) })
}
