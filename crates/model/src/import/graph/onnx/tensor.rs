//! Tensors of ONNX: `TensorProto`.

use super::external::{ExternalFiles, Place};
use super::wire::{Field, FixedNumbers, Message};
use crate::import::graph::error::{GraphError, TensorProblem};
use crate::import::graph::name::Name;
use crate::import::graph::raw::{RawArgument, RawDtype};
use crate::import::graph::tensor::{RawData, RawTensor, RawTensorKind};
use std::borrow::Cow;

const DIMS: u32 = 1;
const DATA_TYPE: u32 = 2;
const SEGMENT: u32 = 3;
const FLOAT_DATA: u32 = 4;
const INT32_DATA: u32 = 5;
const STRING_DATA: u32 = 6;
const INT64_DATA: u32 = 7;
const NAME: u32 = 8;
const RAW_DATA: u32 = 9;
const DOUBLE_DATA: u32 = 10;
const UINT64_DATA: u32 = 11;
const EXTERNAL_DATA: u32 = 13;
const DATA_LOCATION: u32 = 14;
/// The data location of values in a file beside the network.
const EXTERNAL: i64 = 1;

/// Tensor, as its message has it.
#[derive(Debug)]
pub(super) struct TensorProto<'a> {
    pub name: Name<'a>,
    dims: Vec<i64>,
    dtype: RawDtype,
    values: Values<'a>,
    /// Where the values are, if they are in a file beside the network.
    place: Option<Place<'a>>,
}

/// Values in one of the fields that a tensor can have them in, named as in the protocol.
#[derive(Debug)]
enum Values<'a> {
    None,
    Raw(&'a [u8]),
    Fixed { field: &'static str, size: usize, numbers: FixedNumbers<'a> },
    Ints { field: &'static str, numbers: Vec<i64> },
}

impl Values<'_> {
    const fn field(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Raw(_) => "raw_data",
            Self::Fixed { field, .. } | Self::Ints { field, .. } => field,
        }
    }
}

impl<'a> TensorProto<'a> {
    /// Reads a message. `owner` names the tensor in errors where it has no name of its own.
    pub fn read(message: Message<'a>, owner: &str) -> Result<Self, GraphError> {
        let mut tensor =
            Self { name: Name::default(), dims: Vec::new(), dtype: dtype(0), values: Values::None, place: None };
        let (mut place, mut is_external) = (Place::default(), false);
        for field in message.fields() {
            let field = field?;
            match field.number {
                DIMS => field.push_ints(&mut tensor.dims)?,
                DATA_TYPE => tensor.dtype = dtype(field.int()?),
                NAME => tensor.name = field.name()?,
                EXTERNAL_DATA => place.add(field.message()?)?,
                DATA_LOCATION => is_external = field.int()? == EXTERNAL,
                SEGMENT => return Err(tensor.failed(owner, TensorProblem::Segment)),
                FLOAT_DATA | INT32_DATA | STRING_DATA | INT64_DATA | RAW_DATA | DOUBLE_DATA | UINT64_DATA => {
                    tensor.add_values(&field, owner)?;
                }
                _ => {}
            }
        }
        tensor.place = is_external.then_some(place);
        Ok(tensor)
    }

    fn failed(&self, owner: &str, problem: TensorProblem) -> GraphError {
        GraphError::tensor(if self.name.is_empty() { owner } else { &self.name }, problem)
    }

    fn add_values(&mut self, field: &Field<'a>, owner: &str) -> Result<(), GraphError> {
        let name = match field.number {
            FLOAT_DATA => "float_data",
            INT32_DATA => "int32_data",
            INT64_DATA => "int64_data",
            DOUBLE_DATA => "double_data",
            UINT64_DATA => "uint64_data",
            RAW_DATA => "raw_data",
            _ => return Err(self.failed(owner, TensorProblem::Dtype { found: "text" })),
        };
        let size = if field.number == FLOAT_DATA { size_of::<f32>() } else { size_of::<f64>() };
        if matches!(self.values, Values::None) {
            self.values = match field.number {
                RAW_DATA => Values::Raw(&[]),
                FLOAT_DATA | DOUBLE_DATA => Values::Fixed { field: name, size, numbers: FixedNumbers::default() },
                _ => Values::Ints { field: name, numbers: Vec::new() },
            };
        }
        match &mut self.values {
            values if values.field() != name => {
                let twice = TensorProblem::Twice(values.field(), name);
                Err(self.failed(owner, twice))
            }
            Values::None => Ok(()),
            Values::Raw(bytes) => {
                *bytes = field.bytes()?;
                Ok(())
            }
            Values::Fixed { numbers, .. } => field.push_fixed(size, numbers),
            Values::Ints { numbers, .. } => field.push_ints(numbers),
        }
    }

    /// The tensor, to which nodes refer by `value`.
    ///
    /// # Errors
    /// If its type can't be read, its values are not as many as its shape needs, or their file can't be read.
    pub fn into_raw(
        self,
        value: Name<'a>,
        kind: RawTensorKind,
        external: &mut ExternalFiles<'_>,
    ) -> Result<RawTensor<'a>, GraphError> {
        let name = if value.is_empty() { self.name.clone() } else { value.clone() };
        let failed = |problem| GraphError::tensor(&name, problem);
        let dims = self.dims.iter().map(|&dim| usize::try_from(dim));
        let shape = dims.collect::<Result<_, _>>().map_err(|_| failed(TensorProblem::Symbolic))?;
        let data = match (self.place, self.values) {
            (Some(place), Values::None) => external.values(&name, &place)?,
            (Some(_), values) => return Err(failed(TensorProblem::Twice("external_data", values.field()))),
            (None, values) => RawData::Inline(bytes(values, self.dtype).map_err(failed)?),
        };
        RawTensor::packed((name.clone(), value), kind, (self.dtype, shape), data).map_err(failed)
    }
}

/// The values' bytes, little-endian, in the size of their type.
fn bytes(values: Values<'_>, dtype: RawDtype) -> Result<Cow<'_, [u8]>, TensorProblem> {
    let wrong = TensorProblem::Dtype { found: dtype.name() };
    match values {
        Values::None => Ok(Cow::Borrowed(&[])),
        Values::Raw(bytes) => Ok(Cow::Borrowed(bytes)),
        Values::Fixed { size, numbers, .. } => match (dtype, size) {
            (RawDtype::F32, 4) | (RawDtype::F64, 8) => Ok(numbers.0),
            _ => Err(wrong),
        },
        Values::Ints { field, numbers } => {
            let is_held = match field {
                "int64_data" => dtype == RawDtype::I64,
                "uint64_data" => matches!(dtype, RawDtype::U32 | RawDtype::U64),
                _ => dtype.size().is_some_and(|size| size <= 4) && !matches!(dtype, RawDtype::F32 | RawDtype::U32),
            };
            if is_held { int_bytes(&numbers, dtype).map(Cow::Owned) } else { Err(wrong) }
        }
    }
}

/// Integers as bytes of their type; those of half-precision types are the bits of their values.
fn int_bytes(numbers: &[i64], dtype: RawDtype) -> Result<Vec<u8>, TensorProblem> {
    let (least, most) = match dtype {
        RawDtype::Bool => (0, 1),
        RawDtype::U8 => (0, u8::MAX.into()),
        RawDtype::I8 => (i8::MIN.into(), i8::MAX.into()),
        RawDtype::U16 | RawDtype::F16 | RawDtype::Bf16 => (0, u16::MAX.into()),
        RawDtype::I16 => (i16::MIN.into(), i16::MAX.into()),
        RawDtype::U32 => (0, u32::MAX.into()),
        RawDtype::I32 => (i32::MIN.into(), i32::MAX.into()),
        RawDtype::I64 | RawDtype::U64 => (i64::MIN, i64::MAX),
        RawDtype::F32 | RawDtype::F64 | RawDtype::Other(_) => {
            return Err(TensorProblem::Dtype { found: dtype.name() });
        }
    };
    let size = dtype.size().unwrap_or(0);
    let mut bytes = Vec::with_capacity(numbers.len() * size);
    for &value in numbers {
        if value < least || value > most {
            return Err(TensorProblem::Value { value, dtype: dtype.name() });
        }
        bytes.extend_from_slice(&value.to_le_bytes()[..size]);
    }
    Ok(bytes)
}

/// The element type of ONNX's number.
pub(super) const fn dtype(number: i64) -> RawDtype {
    match number {
        1 => RawDtype::F32,
        2 => RawDtype::U8,
        3 => RawDtype::I8,
        4 => RawDtype::U16,
        5 => RawDtype::I16,
        6 => RawDtype::I32,
        7 => RawDtype::I64,
        8 => RawDtype::Other("text"),
        9 => RawDtype::Bool,
        10 => RawDtype::F16,
        11 => RawDtype::F64,
        12 => RawDtype::U32,
        13 => RawDtype::U64,
        14 => RawDtype::Other("complex64"),
        15 => RawDtype::Other("complex128"),
        16 => RawDtype::Bf16,
        17..=20 | 24 => RawDtype::Other("an 8-bit float"),
        21 | 22 | 25 | 26 => RawDtype::Other("an integer of less than 8 bits"),
        23 | 27 | 28 => RawDtype::Other("a float of less than 8 bits"),
        _ => RawDtype::Other("an unknown type"),
    }
}

impl<'a> TensorProto<'a> {
    /// The tensor of a constant that is a number or a list of numbers; `None` of another value.
    pub fn of_value(value: &RawArgument<'a>) -> Option<Self> {
        let floats = |floats: &[f64]| {
            let bytes = floats.iter().flat_map(|float| (*float as f32).to_le_bytes()).collect::<Vec<_>>();
            let numbers = FixedNumbers(Cow::Owned(bytes));
            (RawDtype::F32, Values::Fixed { field: "float_data", size: size_of::<f32>(), numbers })
        };
        let ints = |ints: &[i64]| (RawDtype::I64, Values::Ints { field: "int64_data", numbers: ints.to_vec() });
        let (dims, (dtype, values)) = match value {
            RawArgument::Float(float) => (Vec::new(), floats(&[*float])),
            RawArgument::Floats(list) => (vec![list.len() as i64], floats(list)),
            RawArgument::Int(int) => (Vec::new(), ints(&[*int])),
            RawArgument::Ints(list) => (vec![list.len() as i64], ints(list)),
            _ => return None,
        };
        Some(Self { name: Name::default(), dims, dtype, values, place: None })
    }
}
