//! int8 inference: agrees with f32 within the step of its codes, gives the same bits on any number of threads and at any
//! batch size, allocates what the plan says, and refuses what it cannot represent.

#![allow(clippy::unwrap_used, reason = "helpers of tests may end them")]

mod common;

use common::{images, networks, params, wide_convolutions};
use fieldfit_exec::cpu::{Calibrator, PreparedCpu, int8_coverage};
use fieldfit_exec::memory::{BatchSize, inference_int8};
use fieldfit_exec::{Device, ExecError, Prepared, prepare_int8};
use fieldfit_nets::{Network, by_name};
use fieldfit_tensor::{ActivationRanges, Images, Params};

/// Least cosine between the centred logits of both precisions: random weights amplify what trained ones average out.
const COSINE: f64 = 0.98;

/// Networks of every int8 kernel, with the size of their images: the tiny ones, and a transformer.
fn all() -> Vec<(Network, [usize; 2])> {
    let of_any_size = networks().into_iter().map(|network| (network, [33, 26]));
    of_any_size.chain([(wide_convolutions(), [33, 26]), (by_name("vit-micro").unwrap(), [32, 32])]).collect()
}

fn ranges(network: &Network, params: &Params<f32>, images: &Images) -> ActivationRanges {
    let mut calibrator = Calibrator::new(network, 2).unwrap();
    calibrator.add(params, images).unwrap();
    calibrator.finish().unwrap()
}

fn int8(network: &Network, params: &Params<f32>, images: &Images, threads: usize) -> PreparedCpu {
    PreparedCpu::int8(network, params, &ranges(network, params, images), threads).unwrap()
}

/// Returns the cosine of two lists of values, each less its mean.
fn cosine(left: &[f32], right: &[f32]) -> f64 {
    let centred = |values: &[f32]| -> Vec<f64> {
        let mean = values.iter().map(|value| f64::from(*value)).sum::<f64>() / values.len() as f64;
        values.iter().map(|value| f64::from(*value) - mean).collect()
    };
    let (left, right) = (centred(left), centred(right));
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    dot(&left, &right) / (dot(&left, &left) * dot(&right, &right)).sqrt()
}

/// Catches: a scale, zero point, bias, shortcut or activation that is merged wrongly; a conversion that is left out; a
/// buffer that is reused while it is read.
#[test]
fn logits_agree_with_f32() {
    for (network, [height, width]) in all() {
        let (params, images) = (params(&network), images(4, height, width));
        let float = PreparedCpu::new(&network, &params, 2).unwrap().logits(&images).unwrap();
        let int8 = int8(&network, &params, &images, 2).logits(&images).unwrap();
        assert_ne!(float.values, int8.values, "{}: nothing is quantised", network.architecture);
        let cosine = cosine(&float.values, &int8.values);
        assert!(cosine > COSINE, "{}: {cosine}", network.architecture);
    }
}

/// Catches: work that depends on where threads or tiles split it, an image that is read or written as another.
#[test]
fn bits_depend_on_neither_threads_nor_batch() {
    for (network, [height, width]) in all() {
        let (params, images) = (params(&network), images(3, height, width));
        let whole = int8(&network, &params, &images, 1).logits(&images).unwrap();
        let prepared = int8(&network, &params, &images, 3);
        assert_eq!(prepared.logits(&images).unwrap(), whole, "{}", network.architecture);
        let rows = whole.values.len() / images.count;
        for (index, expected) in whole.values.chunks_exact(rows).enumerate() {
            let values = images.image(index).to_vec();
            let one = Images { count: 1, values, ..images };
            assert_eq!(prepared.logits(&one).unwrap().values, expected, "{}, image {index}", network.architecture);
        }
    }
}

/// Catches: a buffer or a packed weight that the plan of memory leaves out or counts twice.
#[test]
fn the_planned_footprint_is_the_allocated_one() {
    for (network, [height, width]) in all() {
        let (params, images) = (params(&network), images(2, height, width));
        let prepared = int8(&network, &params, &images, 2);
        prepared.logits(&images).unwrap();
        let planned = inference_int8(&network, BatchSize { batch: 2, height, width }).unwrap();
        assert_eq!(prepared.footprint(), planned, "{}", network.architecture);
    }
}

/// Catches: an op that stays f32 silently.
#[test]
fn coverage_names_what_stays_f32() {
    let lite0 = int8_coverage(&by_name("efficientnet-lite0").unwrap(), 224, 224).unwrap();
    assert_eq!(
        lite0.to_string(),
        "49 ops and 100.0 % of the multiplications in int8; in f32: the head, 1 × global average pool"
    );
    let deit = int8_coverage(&by_name("deit-tiny").unwrap(), 224, 224).unwrap();
    assert_eq!(deit.float.get("attention"), Some(&12));
}

/// Catches: weights or ranges whose codes would hide that they are no numbers, ranges of another network.
#[test]
fn what_cannot_be_represented_is_refused() {
    let [network, _, other, _] = networks();
    let (mut params, images) = (params(&network), images(1, 33, 26));
    let ranges = ranges(&network, &params, &images);
    assert!(matches!(
        PreparedCpu::int8(&other, &common::params(&other), &ranges, 1).err(),
        Some(ExecError::RangeCount { .. })
    ));
    let device = prepare_int8(Device::Cuda { ordinal: 0 }, &network, &params, &ranges);
    assert!(matches!(device.err(), Some(ExecError::Device { device: "cuda", .. })));
    let empty = Calibrator::new(&network, 1).unwrap().finish();
    assert!(matches!(empty.err(), Some(ExecError::NoCalibration)));
    // A ReLU6 would hide it: the block ends without one.
    let id = network.find("_blocks.2._project_conv.weight").unwrap();
    params[id][7] = f32::INFINITY;
    let error = PreparedCpu::int8(&network, &params, &ranges, 1).err();
    assert!(matches!(error, Some(ExecError::NotFinite { index: 7, .. })), "{error:?}");
    params[id][7] = 0.0;
    // No activation clamps what a projection gives.
    let shift = network.find("_blocks.0._bn2.bias").unwrap();
    params[shift][0] = f32::NAN;
    let mut calibrator = Calibrator::new(&network, 1).unwrap();
    calibrator.add(&params, &images).unwrap();
    assert!(matches!(calibrator.finish().err(), Some(ExecError::ActivationNotFinite { .. })));
}
