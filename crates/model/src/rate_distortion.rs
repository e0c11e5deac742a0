//! Rate–distortion table: bytes and weighted error of every codec for every tensor that moved.

use crate::error::ModelError;
use fieldfit_delta::{Codec, DeltaError};
use fieldfit_nets::{Network, TensorSpec};
use fieldfit_tensor::{Params, TensorId};

/// Error weights: the cost of a squared error of 1, for each row of each tensor, as the mean over the row's values. A tensor
/// of one dimension is one row.
#[derive(Debug, Clone, PartialEq)]
pub struct RowWeights(Vec<Vec<f64>>);

impl RowWeights {
    /// Returns weights of zero.
    pub fn zeros(network: &Network) -> Self {
        Self(network.tensors().map(|(_, spec)| vec![0.0; spec.rows()]).collect())
    }

    /// Adds `scale` times the mean square of each row of `slopes`; a tensor that is empty there stays as it is.
    ///
    /// # Panics
    /// If the slopes are another network's.
    pub fn add(&mut self, slopes: &Params<f32>, scale: f64) {
        for (rows, slopes) in self.0.iter_mut().zip(slopes.buffers()).filter(|(_, slopes)| !slopes.is_empty()) {
            assert!(slopes.len().is_multiple_of(rows.len()), "slopes of another network");
            let span = slopes.len() / rows.len();
            for (row, slopes) in rows.iter_mut().zip(slopes.chunks_exact(span)) {
                *row += scale * squares(slopes.iter().copied()) / span as f64;
            }
        }
    }
}

/// Rate–distortion table of a δ, from which a codec is chosen for each tensor.
///
/// A tensor's error is the sum over its rows of what the row's ‖δ̂ − δ‖² costs.
#[derive(Debug, Clone)]
pub struct CodecRates(Vec<Vec<Rate>>);

#[derive(Debug, Clone, Copy)]
struct Rate {
    codec: Codec,
    bytes: usize,
    error: f64,
}

impl CodecRates {
    /// Encodes each tensor of δ with every codec, in the order of the network's tensors. The head's are left out, unless it
    /// is the base's, which is kept.
    ///
    /// # Errors
    /// If a value is not finite or beyond a codec's range.
    pub fn of(
        network: &Network,
        delta: &Params<f32>,
        weights: &RowWeights,
        keeps_head: bool,
    ) -> Result<Self, ModelError> {
        let rates = |(id, spec): (TensorId, &TensorSpec)| {
            let moved = (keeps_head || !spec.role.is_head()) && delta.has_moved(id);
            if moved { rates(&delta[id], spec, &weights.0[id.index()]) } else { Ok(Vec::new()) }
        };
        Ok(Self(network.tensors().map(rates).collect::<Result<_, _>>()?))
    }

    /// Returns the codec of each tensor that minimises error + `price` · bytes: the higher the price, the smaller the file.
    /// [`Codec::F16`] for tensors that did not move.
    pub fn at_price(&self, price: f64) -> Vec<Codec> {
        let cost = |rate: &Rate| rate.error + price * rate.bytes as f64;
        let cheapest = |rates: &Vec<Rate>| {
            let least = rates.iter().min_by(|a, b| cost(a).total_cmp(&cost(b)));
            least.map_or(Codec::F16, |rate| rate.codec)
        };
        self.0.iter().map(cheapest).collect()
    }
}

/// Codecs of vectors, which are few values that matter much.
const VECTORS: [Codec; 2] = [Codec::Int8, Codec::F16];
/// Codecs of tensors of two or more dimensions.
const KERNELS: [Codec; 5] = [Codec::Sign, Codec::Ternary, Codec::Int4, Codec::Int8, Codec::F16];

fn rates(delta: &[f32], spec: &TensorSpec, weights: &[f64]) -> Result<Vec<Rate>, ModelError> {
    let candidates: &[Codec] = if spec.shape.len() < 2 { &VECTORS } else { &KERNELS };
    let span = delta.len() / weights.len();
    let rate = |&codec: &Codec| {
        let decoded = codec.decoded(delta, spec.rows())?;
        let rows = decoded.chunks_exact(span).zip(delta.chunks_exact(span)).zip(weights);
        let of_row = |((decoded, delta), weight): ((&[f32], &[f32]), &f64)| {
            weight * squares(decoded.iter().zip(delta).map(|(decoded, delta)| decoded - delta))
        };
        let error = rows.map(of_row).sum();
        Ok(Rate { codec, bytes: codec.payload_bytes(delta.len(), spec.rows()), error })
    };
    let payload = |source| DeltaError::Payload { name: spec.name.as_str().into(), source };
    Ok(candidates.iter().map(rate).collect::<Result<_, _>>().map_err(payload)?)
}

fn squares(values: impl Iterator<Item = f32>) -> f64 {
    values.map(|value| f64::from(value).powi(2)).sum()
}
