//! Types of ONNX values: `ValueInfoProto` and `TypeProto`.

use super::tensor::dtype;
use super::wire::Message;
use crate::import::graph::error::GraphError;
use crate::import::graph::name::Name;
use crate::import::graph::raw::{RawDim, RawType};

/// Fields of `ValueInfoProto`.
const NAME: u32 = 1;
const TYPE: u32 = 2;
/// Fields of `TypeProto`.
const TENSOR: u32 = 1;
const SEQUENCE: u32 = 4;
const MAP: u32 = 5;
const SPARSE_TENSOR: u32 = 8;
const OPTIONAL: u32 = 9;
/// Fields of `TypeProto.Tensor`.
const ELEM_TYPE: u32 = 1;
const SHAPE: u32 = 2;
/// Field of `TensorShapeProto`.
const DIM: u32 = 1;
/// Fields of `TensorShapeProto.Dimension`.
const DIM_VALUE: u32 = 1;
const DIM_PARAM: u32 = 2;

/// A value's name and its type, if it is stated.
pub(super) fn value_info(message: Message<'_>) -> Result<(Name<'_>, Option<RawType<'_>>), GraphError> {
    let (mut name, mut kind) = (Name::default(), None);
    for field in message.fields() {
        let field = field?;
        match field.number {
            NAME => name = field.name()?,
            TYPE => kind = type_proto(field.message()?)?,
            _ => {}
        }
    }
    Ok((name, kind))
}

fn type_proto(message: Message<'_>) -> Result<Option<RawType<'_>>, GraphError> {
    let mut kind = None;
    for field in message.fields() {
        let field = field?;
        kind = match field.number {
            TENSOR => Some(tensor(field.message()?)?),
            SEQUENCE => Some(RawType::Other("a sequence")),
            MAP => Some(RawType::Other("a map")),
            SPARSE_TENSOR => Some(RawType::Other("a sparse tensor")),
            OPTIONAL => Some(RawType::Other("an optional value")),
            _ => kind,
        };
    }
    Ok(kind)
}

fn tensor(message: Message<'_>) -> Result<RawType<'_>, GraphError> {
    let (mut element, mut shape) = (0, None);
    for field in message.fields() {
        let field = field?;
        match field.number {
            ELEM_TYPE => element = field.int()?,
            SHAPE => shape = Some(dims(field.message()?)?),
            _ => {}
        }
    }
    Ok(RawType::Tensor { dtype: dtype(element), shape })
}

fn dims(message: Message<'_>) -> Result<Vec<RawDim<'_>>, GraphError> {
    let mut dims = Vec::new();
    for field in message.fields() {
        let field = field?;
        if field.number == DIM {
            dims.push(dim(field.message()?)?);
        }
    }
    Ok(dims)
}

fn dim(message: Message<'_>) -> Result<RawDim<'_>, GraphError> {
    let mut dim = RawDim::Unknown;
    for field in message.fields() {
        let field = field?;
        match field.number {
            DIM_VALUE => dim = u64::try_from(field.int()?).map_or(RawDim::Unknown, RawDim::Fixed),
            DIM_PARAM => {
                let symbol = field.name()?;
                dim = if symbol.is_empty() { RawDim::Unknown } else { RawDim::Symbol(symbol) };
            }
            _ => {}
        }
    }
    Ok(dim)
}
