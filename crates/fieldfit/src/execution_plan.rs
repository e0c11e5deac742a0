//! Execution plan: whether a delta's network runs on its base, and the memory that it takes, from the header alone.

use crate::Error;
use fieldfit_data::Preprocessor;
use fieldfit_delta::Header;
use fieldfit_exec::Precision;
use fieldfit_exec::memory::{BatchSize, inference, inference_int8};
use fieldfit_model::Base;

/// Plans the network of a delta at the input size of its header, and returns the bytes that it takes to run: its merged
/// weights while they are prepared, the prepared ones, and the activations of one frame. Allocates none of them. There are
/// `more_outputs` beside those of the header's classes.
///
/// # Errors
/// If preprocessing or network cannot take images of that size.
pub(crate) fn plan_version(
    base: &Base,
    header: &Header,
    precision: Precision,
    more_outputs: usize,
) -> Result<u64, Error> {
    let preprocessor = Preprocessor::new(base.preprocessing(), header.input_size, header.crop)?;
    let network = base.network().with_classes(header.classes as usize + more_outputs);
    let [height, width] = preprocessor.input();
    let size = BatchSize { batch: 1, height, width };
    let footprint = match precision {
        Precision::F32 => inference(&network, size),
        Precision::Int8 => inference_int8(&network, size),
    }?;
    let weights: usize = network.tensors().map(|(_, spec)| spec.len() * size_of::<f32>()).sum();
    Ok((weights + footprint.total()) as u64)
}
