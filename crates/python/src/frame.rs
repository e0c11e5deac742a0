//! Frames of Python programs: NumPy arrays and DLPack tensors where they lie, encoded images as bytes or as a path.

use crate::error::FrameError;
use fieldfit::{Frame, PixelFormat, Pixels, Plane, Rect};
use numpy::{PyArrayDyn, PyArrayMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::path::PathBuf;
use std::slice;
use std::time::Duration;

// `PixelFormat::Gray16` has its low byte first, as the arrays of such a machine.
const _: () = assert!(cfg!(target_endian = "little"));

/// Names of the pixel formats of arrays.
const FORMATS: [(&str, PixelFormat); 9] = [
    ("bgr", PixelFormat::Bgr8),
    ("rgb", PixelFormat::Rgb8),
    ("bgra", PixelFormat::Bgra8),
    ("rgba", PixelFormat::Rgba8),
    ("gray", PixelFormat::Gray8),
    ("gray16", PixelFormat::Gray16),
    ("yuyv", PixelFormat::Yuyv),
    ("uyvy", PixelFormat::Uyvy),
    ("nv12", PixelFormat::Nv12),
];

/// DLPack's numbers of devices in whose memory the CPU reads: its own, and what CUDA has pinned there.
const CPU_DEVICES: [i32; 2] = [1, 3];

/// Frame of a Python program; it keeps the object that holds the pixels.
pub enum PyFrame<'py> {
    Array(PixelArray<'py>),
    Bytes(Bound<'py, PyBytes>),
    File(Vec<u8>),
}

/// Array of pixels with their layout.
pub struct PixelArray<'py> {
    /// Keeps the pixels.
    _array: Bound<'py, PyUntypedArray>,
    layout: Layout,
    crop: Option<Rect>,
}

/// Layout of an array's pixels, checked against its shape and strides.
#[derive(Debug, Clone, Copy)]
struct Layout {
    data: *const u8,
    format: PixelFormat,
    width: u32,
    height: u32,
    /// Bytes from row to row.
    stride: usize,
    /// Rows of the array: of NV12 those of both planes.
    rows: usize,
}

impl<'py> PyFrame<'py> {
    /// Takes `bytes` and paths as encoded images, and everything else as an array of pixels.
    pub fn new(value: &Bound<'py, PyAny>, format: Option<&str>, crop: Option<[u32; 4]>) -> PyResult<Self> {
        if !is_encoded(value) {
            return PixelArray::new(value, format, crop).map(Self::Array);
        }
        if format.is_some() || crop.is_some() {
            return Err(FrameError::new_err(
                "an encoded image has neither `format` nor `crop`: decode it to an array first",
            ));
        }
        match value.cast::<PyBytes>() {
            Ok(bytes) => Ok(Self::Bytes(bytes.clone())),
            Err(_) => read(value.py(), &value.extract::<PathBuf>()?).map(Self::File),
        }
    }

    /// Takes a sequence of frames of one format.
    pub fn all(values: &Bound<'py, PyAny>, format: Option<&str>) -> PyResult<Vec<Self>> {
        values.try_iter()?.map(|value| Self::new(&value?, format, None)).collect()
    }

    /// Borrows the frame. Nobody may write to an array while it is computed; it is read either way.
    pub fn borrow(&self) -> PyResult<Frame<'_>> {
        match self {
            Self::Bytes(bytes) => Ok(Frame::Encoded(bytes.as_bytes())),
            Self::File(bytes) => Ok(Frame::Encoded(bytes)),
            Self::Array(array) => array.borrow(),
        }
    }
}

/// Whether a frame is an encoded image: bytes or a path.
pub fn is_encoded(value: &Bound<'_, PyAny>) -> bool {
    // An array first: it is the frame of a camera's loop.
    !value.is_instance_of::<PyUntypedArray>()
        && (value.is_instance_of::<PyBytes>() || value.extract::<PathBuf>().is_ok())
}

/// Borrows all frames.
pub fn borrow_all<'a>(frames: &'a [PyFrame<'_>]) -> PyResult<Vec<Frame<'a>>> {
    frames.iter().map(PyFrame::borrow).collect()
}

impl<'py> PixelArray<'py> {
    fn new(value: &Bound<'py, PyAny>, format: Option<&str>, crop: Option<[u32; 4]>) -> PyResult<Self> {
        let array = as_array(value)?;
        let layout = Layout::of(&array, format)?;
        let crop = crop.map(|[left, top, width, height]| Rect { left, top, width, height });
        Ok(Self { _array: array, layout, crop })
    }

    fn borrow(&self) -> PyResult<Frame<'_>> {
        let Layout { data, format, width, height, stride, rows } = self.layout;
        let row = width as usize * format.bytes();
        // SAFETY: `Layout::of` has checked that the array's rows, `stride` bytes apart, each hold `row` bytes from `data` on, and
        // `self._array` keeps them alive. That nobody writes to them meanwhile is the contract of the package, as of all that
        // reads arrays without the interpreter's lock.
        let bytes = unsafe { slice::from_raw_parts(data, (rows - 1) * stride + row) };
        let pixels = match format {
            PixelFormat::Nv12 => {
                let (luma, chroma) = bytes.split_at(height as usize * stride);
                let luma = &luma[..(height as usize - 1) * stride + row];
                let chroma = Some(Plane { data: chroma, stride });
                Pixels { data: luma, format, width, height, stride, chroma, timestamp: Duration::ZERO }
            }
            _ => Pixels { data: bytes, format, width, height, stride, chroma: None, timestamp: Duration::ZERO },
        };
        let pixels = match self.crop {
            Some(rect) => pixels.crop(rect).map_err(|error| FrameError::new_err(error.to_string()))?,
            None => pixels,
        };
        Ok(Frame::Pixels(pixels))
    }
}

impl Layout {
    fn of(array: &Bound<'_, PyUntypedArray>, format: Option<&str>) -> PyResult<Self> {
        let (data, format) = data_and_format(array, format)?;
        let bytes = format.bytes();
        let (shape, strides) = (array.shape(), array.strides());
        let item = if format == PixelFormat::Gray16 { 2 } else { 1 };
        let channels = bytes / item;
        let (rows, columns) = match (shape, channels) {
            (&[rows, columns], 1) => (rows, columns),
            (&[rows, columns, found], channels) if found == channels => (rows, columns),
            _ => return Err(wrong_shape(shape, format)),
        };
        let is_packed = |axis: usize, expected: usize| shape[axis] == 1 || strides[axis] == expected as isize;
        let row = columns * bytes;
        let row_stride = if rows == 1 { row as isize } else { strides[0] };
        if !is_packed(1, bytes) || (shape.len() == 3 && !is_packed(2, item)) || row_stride < row as isize {
            return Err(FrameError::new_err(format!(
                "the pixels of a row must lie side by side: found strides {strides:?} of shape {shape:?}, as of a mirrored or \
                 transposed view; pass np.ascontiguousarray(frame)"
            )));
        }
        if rows == 0 || columns == 0 {
            return Err(wrong_shape(shape, format));
        }
        let height = match format {
            PixelFormat::Nv12 if rows.is_multiple_of(3) => rows / 3 * 2,
            PixelFormat::Nv12 => return Err(wrong_shape(shape, format)),
            _ => rows,
        };
        let side = |side: usize| u32::try_from(side).map_err(|_| wrong_shape(shape, format));
        Ok(Self { data, format, width: side(columns)?, height: side(height)?, stride: row_stride as usize, rows })
    }
}

/// The array itself, or that of a DLPack tensor in the memory of the CPU.
fn as_array<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyUntypedArray>> {
    if let Ok(array) = value.cast::<PyUntypedArray>() {
        return Ok(array.clone());
    }
    if !value.hasattr("__dlpack__")? {
        return Err(FrameError::new_err(format!(
            "expected a NumPy array, a DLPack tensor on the CPU, bytes of an encoded image or a path, found {}",
            value.get_type().name()?
        )));
    }
    let (device, _) = value.call_method0("__dlpack_device__")?.extract::<(i32, i32)>()?;
    if !CPU_DEVICES.contains(&device) {
        return Err(FrameError::new_err(format!(
            "the tensor is in the memory of DLPack device {device}: copy it to the CPU"
        )));
    }
    let array = value.py().import("numpy")?.call_method1("from_dlpack", (value,));
    let array =
        array.map_err(|error| FrameError::new_err(format!("the tensor is not readable on the CPU: {error}")))?;
    Ok(array.cast_into::<PyUntypedArray>()?)
}

/// Address and pixel format of an array, by the given name or by its shape.
fn data_and_format(array: &Bound<'_, PyUntypedArray>, format: Option<&str>) -> PyResult<(*const u8, PixelFormat)> {
    let (data, wide) = if let Ok(array) = array.cast::<PyArrayDyn<u8>>() {
        (array.data().cast_const(), false)
    } else if let Ok(array) = array.cast::<PyArrayDyn<u16>>() {
        (array.data().cast_const().cast(), true)
    } else {
        return Err(FrameError::new_err(format!(
            "expected an array of uint8, or of uint16 for \"gray16\", found {}: scale it to 0..255 and cast it",
            array.dtype()
        )));
    };
    let format = match format {
        Some(name) => named(name)?,
        None => by_shape(array.shape(), wide)?,
    };
    match wide == (format == PixelFormat::Gray16) {
        true => Ok((data, format)),
        false => Err(FrameError::new_err("\"gray16\" is for arrays of uint16, every other format for uint8")),
    }
}

fn named(name: &str) -> PyResult<PixelFormat> {
    let found = FORMATS.iter().find(|(known, _)| *known == name);
    found.map(|(_, format)| *format).ok_or_else(|| {
        let known = FORMATS.map(|(known, _)| known).join(", ");
        FrameError::new_err(format!("unknown format {name:?}: use one of {known}"))
    })
}

/// Format of an array without a given one: BGR of three channels, as OpenCV reads images, and grey of two dimensions.
fn by_shape(shape: &[usize], wide: bool) -> PyResult<PixelFormat> {
    match (shape, wide) {
        ([_, _], false) => Ok(PixelFormat::Gray8),
        ([_, _], true) => Ok(PixelFormat::Gray16),
        ([_, _, 3], false) => Ok(PixelFormat::Bgr8),
        ([_, _, 4], false) => {
            Err(FrameError::new_err("four channels may be BGRA or RGBA: pass format=\"bgra\" or \"rgba\""))
        }
        ([_, _, 2], false) => {
            Err(FrameError::new_err("two channels may be YUYV or UYVY: pass format=\"yuyv\" or \"uyvy\""))
        }
        _ => Err(FrameError::new_err(format!(
            "expected an array of shape (height, width, 3), BGR unless `format` says otherwise, or (height, width), found {shape:?}"
        ))),
    }
}

fn wrong_shape(shape: &[usize], format: PixelFormat) -> PyErr {
    let expected = match format {
        PixelFormat::Gray8 | PixelFormat::Gray16 => "(height, width)".to_owned(),
        PixelFormat::Nv12 => "(height · 3 / 2, width), both planes below each other".to_owned(),
        _ => format!("(height, width, {})", format.bytes()),
    };
    FrameError::new_err(format!(
        "an array of {format:?} has the shape {expected}, and at least one pixel: found {shape:?}"
    ))
}

fn read(py: Python<'_>, path: &std::path::Path) -> PyResult<Vec<u8>> {
    let bytes = py.detach(|| fieldfit::data::read_bounded(path, fieldfit::data::MAX_IMAGE_FILE_BYTES));
    bytes.map_err(|error| {
        let exception = FrameError::new_err(error.to_string());
        let named = exception.value(py).setattr("path", path);
        named.map_or_else(|error| error, |()| exception)
    })
}
