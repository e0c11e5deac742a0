//! Resampler: scales a window of a frame to a square of 8-bit colours.

use crate::error::DataError;
use crate::frame::{PixelFormat, Pixels, Plane, gray16};
use crate::yuv;
use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::{U8, U8x2, U8x3, U8x4};
use fast_image_resize::{FilterType, PixelTrait, ResizeAlg, ResizeOptions, Resizer};
use fieldfit_tensor::Filter;

/// Window of an image that becomes the network's input, in pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Window {
    pub left: f64,
    pub top: f64,
    pub width: f64,
    pub height: f64,
}

impl Window {
    /// The same window of an image of fewer columns and rows.
    fn divided(self, columns: f64, rows: f64) -> Self {
        let Self { left, top, width, height } = self;
        Self { left: left / columns, top: top / rows, width: width / columns, height: height / rows }
    }
}

/// Resampler to squares of one size; its buffers are reused.
///
/// Pixels of YUV formats are scaled as they are, brightness and colours each in its own resolution, and converted
/// afterwards: there are far fewer pixels then.
#[derive(Debug, Clone)]
pub(crate) struct Resampler {
    size: u32,
    options: ResizeOptions,
    resizer: Resizer,
    /// Rows without padding.
    packed: Vec<u8>,
    /// Resampled brightness and colours of a YUV format.
    luma: Vec<u8>,
    chroma: Vec<u8>,
    resampled: Vec<u8>,
    layout: Layout,
}

/// Order of a resampled pixel's channels.
#[derive(Debug, Clone, Copy)]
enum Layout {
    Rgb,
    Bgr,
    Rgba,
    Bgra,
    Gray,
}

impl Layout {
    const fn bytes(self) -> usize {
        match self {
            Self::Rgb | Self::Bgr => 3,
            Self::Rgba | Self::Bgra => 4,
            Self::Gray => 1,
        }
    }
}

impl Resampler {
    /// Resampler to `size × size` pixels.
    pub fn new(size: u32, filter: Filter) -> Self {
        let algorithm = ResizeAlg::Convolution(convolution(filter));
        Self {
            size,
            options: ResizeOptions::new().resize_alg(algorithm).use_alpha(false),
            resizer: Resizer::new(),
            packed: Vec::new(),
            luma: Vec::new(),
            chroma: Vec::new(),
            resampled: Vec::new(),
            layout: Layout::Rgb,
        }
    }

    /// Resamples a window of checked pixels; [`colours`](Self::colours) are the result.
    pub fn resample(&mut self, pixels: &Pixels, window: &Window) -> Result<(), DataError> {
        match pixels.format {
            PixelFormat::Rgb8 => self.resample_as::<U8x3>(pixels, window, Layout::Rgb),
            PixelFormat::Bgr8 => self.resample_as::<U8x3>(pixels, window, Layout::Bgr),
            PixelFormat::Rgba8 => self.resample_as::<U8x4>(pixels, window, Layout::Rgba),
            PixelFormat::Bgra8 => self.resample_as::<U8x4>(pixels, window, Layout::Bgra),
            PixelFormat::Gray8 => self.resample_as::<U8>(pixels, window, Layout::Gray),
            PixelFormat::Gray16 => self.resample_gray16(pixels, window),
            PixelFormat::Yuyv => self.resample_422(pixels, window, [0, 1, 3]),
            PixelFormat::Uyvy => self.resample_422(pixels, window, [1, 0, 2]),
            PixelFormat::Nv12 => self.resample_nv12(pixels, window),
        }
    }

    /// Iterates over the resampled pixels as red, green and blue, row by row.
    pub fn colours(&self) -> impl Iterator<Item = [u8; 3]> {
        let layout = self.layout;
        self.resampled.chunks_exact(layout.bytes()).map(move |pixel| match layout {
            Layout::Rgb | Layout::Rgba => [pixel[0], pixel[1], pixel[2]],
            Layout::Bgr | Layout::Bgra => [pixel[2], pixel[1], pixel[0]],
            Layout::Gray => [pixel[0]; 3],
        })
    }

    fn resample_as<P: PixelTrait>(
        &mut self,
        pixels: &Pixels,
        window: &Window,
        layout: Layout,
    ) -> Result<(), DataError> {
        self.layout = layout;
        let Self { size, options, resizer, packed, resampled, .. } = self;
        let plane = Plane { data: pixels.data, stride: pixels.stride };
        let source = packed_rows(plane, pixels.row_bytes(), packed);
        let source = (source, pixels.width, pixels.height);
        scale::<P>(resizer, options, source, window, (*size, resampled))
    }

    /// Rounds to 8 bits, then as [`PixelFormat::Gray8`].
    fn resample_gray16(&mut self, pixels: &Pixels, window: &Window) -> Result<(), DataError> {
        self.layout = Layout::Gray;
        let Self { size, options, resizer, packed, resampled, .. } = self;
        packed.clear();
        for row in pixels.data.chunks(pixels.stride) {
            packed.extend(row[..pixels.row_bytes()].chunks_exact(2).map(gray16));
        }
        scale::<U8>(resizer, options, (packed, pixels.width, pixels.height), window, (*size, resampled))
    }

    /// Two pixels that share a colour in four bytes; `order` has the places of the first Y, of U and of V.
    fn resample_422(&mut self, pixels: &Pixels, window: &Window, order: [usize; 3]) -> Result<(), DataError> {
        let Self { size, options, resizer, packed, luma, chroma, .. } = self;
        let plane = Plane { data: pixels.data, stride: pixels.stride };
        let source = packed_rows(plane, pixels.row_bytes(), packed);
        scale::<U8x2>(resizer, options, (source, pixels.width, pixels.height), window, (*size, luma))?;
        let pairs = (source, pixels.width / 2, pixels.height);
        scale::<U8x4>(resizer, options, pairs, &window.divided(2.0, 1.0), (*size, chroma))?;
        let [y, u, v] = order;
        self.convert(|luma, chroma| {
            let luma = luma.chunks_exact(2).map(move |pair| pair[y]);
            luma.zip(chroma.chunks_exact(4).map(move |pair| [pair[u], pair[v]]))
        });
        Ok(())
    }

    fn resample_nv12(&mut self, pixels: &Pixels, window: &Window) -> Result<(), DataError> {
        let Self { size, options, resizer, packed, luma, chroma, .. } = self;
        let plane = Plane { data: pixels.data, stride: pixels.stride };
        let source = packed_rows(plane, pixels.row_bytes(), packed);
        scale::<U8>(resizer, options, (source, pixels.width, pixels.height), window, (*size, luma))?;
        if let Some(plane) = pixels.chroma {
            let source = packed_rows(plane, pixels.row_bytes(), packed);
            let pairs = (source, pixels.width / 2, pixels.height / 2);
            scale::<U8x2>(resizer, options, pairs, &window.divided(2.0, 2.0), (*size, chroma))?;
        }
        self.convert(|luma, chroma| luma.iter().copied().zip(chroma.chunks_exact(2).map(|pair| [pair[0], pair[1]])));
        Ok(())
    }

    /// Converts the resampled brightness and colours to RGB; `pixels` pairs them.
    fn convert<'a, I: Iterator<Item = (u8, [u8; 2])>>(&'a mut self, pixels: impl FnOnce(&'a [u8], &'a [u8]) -> I) {
        self.layout = Layout::Rgb;
        self.resampled.clear();
        self.resampled.extend(pixels(&self.luma, &self.chroma).flat_map(|(y, [u, v])| yuv::rgb(y, u, v)));
    }
}

/// Scales a window of an image of packed rows to a square, for one pixel type: the resizer's code for all other types, more
/// than a megabyte, is not linked.
fn scale<P: PixelTrait>(
    resizer: &mut Resizer,
    options: &ResizeOptions,
    (source, width, height): (&[u8], u32, u32),
    window: &Window,
    (size, target): (u32, &mut Vec<u8>),
) -> Result<(), DataError> {
    target.resize(size as usize * size as usize * P::size(), 0);
    let source = TypedImageRef::<P>::from_buffer(width, height, source).map_err(unresampled)?;
    let mut target = TypedImage::<P>::from_buffer(size, size, target).map_err(unresampled)?;
    let options = options.crop(window.left, window.top, window.width, window.height);
    resizer.resize_typed(&source, &mut target, &options).map_err(unresampled)
}

fn unresampled(error: impl std::error::Error + Send + Sync + 'static) -> DataError {
    DataError::Resample(Box::new(error))
}

fn convolution(filter: Filter) -> FilterType {
    match filter {
        Filter::Bilinear => FilterType::Bilinear,
        Filter::Bicubic => FilterType::CatmullRom,
        Filter::Lanczos3 => FilterType::Lanczos3,
    }
}

/// Rows without padding: borrowed where there is none, else copied into the buffer.
fn packed_rows<'a>(Plane { data, stride }: Plane<'a>, row: usize, buffer: &'a mut Vec<u8>) -> &'a [u8] {
    if stride == row {
        return data;
    }
    buffer.clear();
    for padded in data.chunks(stride) {
        buffer.extend_from_slice(&padded[..row]);
    }
    buffer
}
