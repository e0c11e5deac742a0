//! What it costs to store each tensor, codec by codec, and what that spoils.

use crate::base::Base;
use crate::error::ModelError;
use crate::params::Params;
use crate::view::TensorView;
use fieldfit_delta::{Codec, DeltaError};
use fieldfit_nets::{TensorId, TensorSpec};

/// Bytes and error of every codec for every tensor that moved, so that a file's bytes can be spent where they count.
///
/// A tensor's error is the sum over its rows of `‖δ̂ − δ‖² / ‖θ0‖²`: a norm follows most convolutions, and makes a row's
/// relative error that of its channel. For a tensor of one dimension each value is a row, under the tensor's mean square.
#[derive(Debug, Clone)]
pub struct CodecRates(Vec<Vec<Rate>>);

#[derive(Debug, Clone, Copy)]
struct Rate {
    codec: Codec,
    bytes: usize,
    error: f64,
}

impl CodecRates {
    /// Tries every codec on δ = θ − θ0, in the order of the base's tensors; the head's are not looked at.
    ///
    /// # Errors
    /// If a value is not finite or beyond a codec's range.
    pub fn of(base: &Base, delta: &Params<f32>) -> Result<Self, ModelError> {
        let rates = |(id, spec): (TensorId, &TensorSpec)| {
            let moved = !spec.role.is_head() && delta[id].iter().any(|&value| value != 0.0);
            if moved { rates(base.tensor(id), &delta[id], spec) } else { Ok(Vec::new()) }
        };
        Ok(Self(base.network().tensors().map(rates).collect::<Result<_, _>>()?))
    }

    /// The codec of each tensor where a byte is worth as much error as `price`: the higher, the smaller the file.
    /// [`Codec::F16`] for those that didn't move.
    pub fn at_price(&self, price: f64) -> Vec<Codec> {
        let cost = |rate: &Rate| rate.error + price * rate.bytes as f64;
        let cheapest = |rates: &Vec<Rate>| {
            let least = rates.iter().min_by(|a, b| cost(a).total_cmp(&cost(b)));
            least.map_or(Codec::F16, |rate| rate.codec)
        };
        self.0.iter().map(cheapest).collect()
    }

    /// Whether no tensor moved.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Vec::is_empty)
    }
}

/// Few values that matter much.
const VECTORS: [Codec; 2] = [Codec::Int8, Codec::F16];
const KERNELS: [Codec; 5] = [Codec::Sign, Codec::Ternary, Codec::Int4, Codec::Int8, Codec::F16];

fn rates(start: TensorView<'_>, delta: &[f32], spec: &TensorSpec) -> Result<Vec<Rate>, ModelError> {
    let mut base = vec![0.0; spec.len()];
    start.copy_into(&mut base);
    let candidates: &[Codec] = if spec.shape.len() < 2 { &VECTORS } else { &KERNELS };
    let rate = |&codec: &Codec| {
        let decoded = codec.decoded(delta, spec.rows())?;
        let bytes = codec.payload_bytes(delta.len(), spec.rows());
        Ok(Rate { codec, bytes, error: relative_error(&decoded, delta, &base, &spec.shape) })
    };
    let payload = |source| DeltaError::Payload { name: spec.name.as_str().into(), source };
    Ok(candidates.iter().map(rate).collect::<Result<_, _>>().map_err(payload)?)
}

fn relative_error(decoded: &[f32], delta: &[f32], start: &[f32], shape: &[usize]) -> f64 {
    let square = |values: &mut dyn Iterator<Item = f32>| values.map(|value| f64::from(value).powi(2)).sum::<f64>();
    let (span, weight) = match *shape {
        [rows, _, ..] => (delta.len() / rows, 1.0),
        _ => (delta.len(), delta.len() as f64),
    };
    let rows = decoded.chunks(span).zip(delta.chunks(span)).zip(start.chunks(span));
    let of_row = |((decoded, delta), start): ((&[f32], &[f32]), &[f32])| {
        let error = square(&mut decoded.iter().zip(delta).map(|(decoded, delta)| decoded - delta));
        error / square(&mut start.iter().copied()).max(f64::from(f32::MIN_POSITIVE))
    };
    weight * rows.map(of_row).sum::<f64>()
}
