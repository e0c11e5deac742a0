//! Prediction diff: compares the predictions of two machines for the same images.

use crate::PredictionDiffArgs;
use crate::error::XtaskError;
use serde_json::Value;
use std::fs;
use std::path::Path;

/// Prediction of one machine for one image.
#[derive(Debug, Clone, PartialEq)]
struct ImagePrediction {
    image: String,
    /// Labels and probabilities, most probable first.
    top: Vec<(String, f64)>,
}

/// Compares two files of predictions; returns a summary.
pub fn run(args: &PredictionDiffArgs) -> Result<String, XtaskError> {
    let (one, other) = (read(&args.one)?, read(&args.other)?);
    let difference = largest_difference(&one, &other, args.tolerance)?;
    Ok(format!(
        "{} images: same top labels, log-probabilities differ by at most {difference:.1e} nats (tolerance {:.0e})",
        one.len(),
        args.tolerance
    ))
}

fn read(path: &Path) -> Result<Vec<ImagePrediction>, XtaskError> {
    let text = fs::read_to_string(path).map_err(|source| XtaskError::File { path: path.to_owned(), source })?;
    let parse = |(index, line): (usize, &str)| {
        parse_prediction(line).ok_or_else(|| {
            let reason = "expected an object with `image` and `top`, as `fieldfit infer --json` prints".into();
            XtaskError::PredictionLine { path: path.to_owned(), line: index + 1, reason }
        })
    };
    text.lines().enumerate().map(parse).collect()
}

fn parse_prediction(line: &str) -> Option<ImagePrediction> {
    let object: Value = serde_json::from_str(line).ok()?;
    let top = object["top"].as_array()?.iter();
    let class = |class: &Value| Some((class["label"].as_str()?.to_owned(), class["score"].as_f64()?));
    Some(ImagePrediction { image: object["image"].as_str()?.to_owned(), top: top.map(class).collect::<Option<_>>()? })
}

/// Returns the largest difference of the log-probabilities of a class; fails on different images, different top labels, or a
/// difference above the tolerance. Log-probabilities are logits up to a constant per image.
fn largest_difference(one: &[ImagePrediction], other: &[ImagePrediction], tolerance: f64) -> Result<f64, XtaskError> {
    if one.is_empty() || one.len() != other.len() {
        let reason =
            format!("expected the same number of predictions, at least one; found {} and {}", one.len(), other.len());
        return Err(XtaskError::PredictionsDiffer { image: "all images".into(), reason });
    }
    let mut largest = 0.0_f64;
    for (one, other) in one.iter().zip(other) {
        let differs = |reason: String| Err(XtaskError::PredictionsDiffer { image: one.image.clone(), reason });
        if one.image != other.image || one.top.first().map(|class| &class.0) != other.top.first().map(|class| &class.0)
        {
            return differs(format!(
                "top label {:?}, of the other file for {} {:?}",
                one.top.first(),
                other.image,
                other.top.first()
            ));
        }
        for (label, probability) in &one.top {
            // A class that is the fifth of five on one machine may be the sixth on the other.
            let Some((_, same)) = other.top.iter().find(|(name, _)| name == label) else { continue };
            let difference = (probability.ln() - same.ln()).abs();
            if difference.is_nan() || difference > tolerance {
                return differs(format!(
                    "probability of {label} {probability} and {same}, {difference:.1e} nats apart"
                ));
            }
            largest = largest.max(difference);
        }
    }
    Ok(largest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn predictions(label: &str, probability: f64) -> Vec<ImagePrediction> {
        vec![ImagePrediction { image: "owl.png".into(), top: vec![(label.into(), probability), ("wren".into(), 0.1)] }]
    }

    /// Catches: different predictions that pass as equal, and files without predictions.
    #[test]
    fn different_labels_and_probabilities_are_found() {
        assert!(largest_difference(&predictions("owl", 0.5), &predictions("owl", 0.50001), 1e-3).unwrap() > 0.0);
        for other in [predictions("crow", 0.5), predictions("owl", 0.51), predictions("owl", f64::NAN), Vec::new()] {
            assert!(largest_difference(&predictions("owl", 0.5), &other, 1e-3).is_err(), "{other:?}");
        }
        assert!(largest_difference(&[], &[], 1e-3).is_err());
        assert!(parse_prediction(r#"{"image":"a","top":[{"index":1,"label":"owl","score":0.5}]}"#).is_some());
        assert!(parse_prediction(r#"{"image":"a"}"#).is_none());
    }
}
