//! Ops of any format: what a network computes, appended to the sketch, with arguments that no longer depend on the file's.

mod arithmetic;
mod attention;
mod axes;
mod concat;
mod layers;
mod pools;
mod slice;
mod values;

pub(super) use axes::View;
pub(super) use layers::NormTensors;
