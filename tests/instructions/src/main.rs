//! Frame of a network between markers, for the plugin that counts instructions (`plugin.c`): one image of 224 px on one thread, in
//! f32 and in int8.
//!
//! `fieldfit-instructions ARCHITECTURE` prints a line a marker, in order: precision and kind of op of what ends there; `-` where
//! what ends there is not counted.

#[path = "../../../crates/exec/benches/formula/mod.rs"]
mod formula;

use fieldfit_exec::cpu::{Calibrator, PreparedCpu};
use fieldfit_exec::{ExecError, Precision, Prepared};
use fieldfit_nets::{Network, by_name};
use fieldfit_tensor::Images;
use formula::{image, kind, params};
use std::error::Error;

const SIDE: usize = 224;
const THREADS: usize = 1;

fn main() -> Result<(), Box<dyn Error>> {
    let architecture = std::env::args().nth(1).ok_or("expected the name of an architecture")?;
    let network = by_name(&architecture)?;
    let (params, images) = (params(&network), image(SIDE));
    let float = PreparedCpu::new(&network, &params, THREADS)?;
    count(&network, Precision::F32, &float, &images)?;
    let mut calibrator = Calibrator::new(&network, THREADS)?;
    calibrator.add(&params, &images)?;
    let int8 = PreparedCpu::int8(&network, &params, &calibrator.finish()?, THREADS)?;
    count(&network, Precision::Int8, &int8, &images)?;
    Ok(())
}

/// Computes a frame, and the same frame again between markers.
fn count(network: &Network, precision: Precision, prepared: &PreparedCpu, images: &Images) -> Result<(), ExecError> {
    let mut logits = Vec::new();
    prepared.logits_into(images, &mut logits)?;
    let mut values = Vec::with_capacity(network.graph.values());
    mark();
    prepared.logits_by_value(images, &mut logits, |value| {
        mark();
        values.push(value);
    })?;
    mark();
    println!("-");
    for value in values {
        println!("{precision}\t{}", name(network, value));
    }
    println!("{precision}\thead");
    Ok(())
}

/// Returns the kind of the op that computes a value, with the side of its input.
fn name(network: &Network, value: usize) -> String {
    let Some(node) = value.checked_sub(1).map(|node| &network.graph.nodes[node]) else {
        return "image to int8".into();
    };
    let side = node.inputs.first().and_then(|input| Some(network.shapes(SIDE, SIDE).ok()?[input.index()].width));
    format!("{} at {}", kind(&node.op), side.unwrap_or(SIDE))
}

/// Executes the instruction at which the plugin writes what was executed since the last one.
fn mark() {
    // SAFETY: the hint has no effect, on registers or on memory. The compiler takes it for one on memory, and keeps it in place.
    unsafe { std::arch::asm!("hint #96", options(nostack, preserves_flags)) }
}
