//! Outputs, loss and gradients of an imported network, for the comparison with PyTorch of `tests/peers/coverage`.
//!
//! ```text
//! network_parity MODEL INPUTS OUT --precision f64|f32
//! ```
//!
//! MODEL is a model folder. INPUTS, safetensors, has `images`, `[N, C, H, W]`, and `labels` or `weight.0`. OUT, safetensors,
//! gets `output.0`, `loss` and `gradient.PARAMETER` in the order that the imported file has: f64 by the oracle, or f32 by the
//! CPU kernels.

mod computation;

use computation::{Computed, Error, Inputs, kernels, oracle};
use fieldfit_model::Base;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", fieldfit_tests::message(&*error));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<(), Error> {
    let [model, inputs, out, flag, precision] = arguments else { return Err(USAGE.into()) };
    let base = Base::open(Path::new(model))?;
    let inputs = Inputs::parse(&fs::read(inputs)?)?;
    let (computed, dtype) = match (flag.as_str(), precision.as_str()) {
        ("--precision", "f64") => (oracle(&base, &inputs)?, Dtype::F64),
        ("--precision", "f32") => (kernels(&base, &inputs)?, Dtype::F32),
        _ => return Err(USAGE.into()),
    };
    Ok(fs::write(out, serialise(&computed, dtype)?)?)
}

const USAGE: &str = "usage: network_parity MODEL INPUTS OUT --precision f64|f32";

fn serialise(computed: &Computed, dtype: Dtype) -> Result<Vec<u8>, Error> {
    let encode = |values: &[f64]| -> Vec<u8> {
        match dtype {
            Dtype::F64 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            _ => values.iter().flat_map(|value| (*value as f32).to_le_bytes()).collect(),
        }
    };
    let tensors: Vec<_> = computed.tensors().map(|(name, shape, values)| (name, shape, encode(values))).collect();
    let views = tensors.iter().map(|(name, shape, bytes)| Ok((name, TensorView::new(dtype, shape.clone(), bytes)?)));
    let views: Vec<_> = views.collect::<Result<_, safetensors::SafeTensorError>>()?;
    Ok(safetensors::serialize(views, None::<HashMap<String, String>>)?)
}
