//! int8: an adaptation for int8 records ranges of its activations, its gate judges the int8 network, and a base takes those of
//! its own file.
#![allow(clippy::unwrap_used, reason = "a test that cannot prepare its files has failed")]

mod common;

use common::{Field, options};
use fieldfit_adapt::{Classifier, ClassifierError, Gate, Outcome, Placement, plan_memory};
use fieldfit_delta::Delta;
use fieldfit_exec::{Device, ExecError, Precision};
use fieldfit_model::{ACTIVATION_RANGES_FILE, ModelError, Weights};
use fieldfit_tensor::{ActivationRanges, Images};

const CPU: Device = Device::Cpu { threads: 1 };

fn placement(precision: Precision) -> Placement {
    Placement { device: CPU, precision }
}

fn adapted(field: &Field, precision: Precision) -> (Outcome, Gate) {
    let (outcome, _) = field.adapt(&options("tpgm").with_precision(precision));
    let outcome = outcome.unwrap();
    let gate = outcome.gate.clone();
    (outcome, gate)
}

fn logits(field: &Field, weights: &Weights, precision: Precision) -> Result<Vec<f32>, ClassifierError> {
    let classifier = Classifier::new(&field.base, weights.clone(), placement(precision))?;
    let [height, width] = classifier.preprocessor().input();
    let mut images = Images::zeros(2, height, width);
    images.values.iter_mut().enumerate().for_each(|(index, value)| *value = (index as f32 * 0.37).sin());
    Ok(classifier.logits(&images)?.values)
}

/// Catches: ranges that are not recorded, or of other values than the network has; a delta for f32 whose bytes change; a
/// gate that judges the f32 network of a version that runs in int8.
#[test]
fn an_adaptation_for_int8_records_its_ranges() {
    let field = Field::new(1);
    let (float, _) = adapted(&field, Precision::F32);
    let (int8, gate) = adapted(&field, Precision::Int8);
    let weights = |outcome: &Outcome| Weights::adapted(&field.base, &Delta::parse(&outcome.delta).unwrap()).unwrap();
    let (float, int8) = (weights(&float), weights(&int8));
    assert_eq!(float.params, int8.params, "the precision of inference changes no training");
    assert_eq!(float.ranges, None);
    let ranges = int8.ranges.as_ref().unwrap().as_slice();
    assert_eq!(ranges.len(), field.base.network().graph.values());
    assert!(ranges.iter().filter(|[low, high]| low < high).count() > ranges.len() / 2, "{ranges:?}");
    assert!(gate.images > 0);
    let [exact, quantised] = Precision::ALL.map(|precision| logits(&field, &int8, precision).unwrap());
    assert_ne!(exact, quantised);
    let gap = exact.iter().zip(&quantised).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    let size = exact.iter().map(|value| value.abs()).fold(0.0, f32::max);
    assert!(gap < 0.2 * size, "{gap} of {size}");
}

/// Catches: a plan of memory that leaves out the calibration.
#[test]
fn the_memory_plan_counts_the_calibration() {
    let field = Field::new(1);
    let [float, int8] = Precision::ALL
        .map(|precision| plan_memory(&field.base, 3, 30, &options("tpgm").with_precision(precision)).unwrap());
    assert_eq!(int8.judging, float.judging + float.images);
    assert_eq!((int8.training(), int8.probing), (float.training(), float.probing));
}

/// Catches: a base that runs with scales of nothing; ranges that are lost on the way through the file; a file of another
/// base, or a malformed one, that is used.
#[test]
fn a_base_takes_the_ranges_of_its_file() {
    let field = Field::new(2);
    let weights = Weights::of_base(&field.base);
    let refused = logits(&field, &weights, Precision::Int8).unwrap_err();
    assert!(matches!(refused, ClassifierError::Exec(ExecError::RangeCount { found: 0, .. })), "{refused}");
    let values = field.base.network().graph.values();
    let ranges = ActivationRanges::new((0..values).map(|value| [-1.0, 1.0 + value as f32]).collect()).unwrap();
    field.base.write_activation_ranges(&ranges, 5).unwrap();
    assert_eq!(field.base.activation_ranges().unwrap(), Some(ranges.clone()));
    assert!(logits(&field, &weights, Precision::Int8).is_ok());
    let other = Field::new(3);
    std::fs::copy(field.base.path().join(ACTIVATION_RANGES_FILE), other.base.path().join(ACTIVATION_RANGES_FILE))
        .unwrap();
    let error = other.base.activation_ranges().unwrap_err();
    assert!(matches!(&error, ModelError::ActivationRanges { problem, .. } if problem.contains("expected the base")));
    std::fs::write(other.base.path().join(ACTIVATION_RANGES_FILE), b"{\"format\":1").unwrap();
    assert!(matches!(other.base.activation_ranges(), Err(ModelError::ActivationRanges { .. })));
}
