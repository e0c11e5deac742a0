//! Two machines' answers to the same images.

use crate::AnswersArgs;
use crate::error::Error;
use serde_json::Value;
use std::fs;
use std::path::Path;

/// What one machine says is on an image.
#[derive(Debug, Clone, PartialEq)]
struct Answer {
    image: String,
    /// Labels and probabilities, most probable first.
    top: Vec<(String, f64)>,
}

pub fn run(args: &AnswersArgs) -> Result<String, Error> {
    let (one, other) = (read(&args.one)?, read(&args.other)?);
    let furthest = furthest(&one, &other, args.tolerance)?;
    Ok(format!(
        "{} images: same first labels, {furthest:.1e} nats apart at most ({:.0e} allowed)",
        one.len(),
        args.tolerance
    ))
}

fn read(path: &Path) -> Result<Vec<Answer>, Error> {
    let text = fs::read_to_string(path).map_err(|source| Error::File { path: path.to_owned(), source })?;
    let parse = |(index, line): (usize, &str)| {
        answer(line).ok_or_else(|| {
            let reason = "expected an object with `image` and `top`, as `fieldfit infer --json` prints".into();
            Error::Answer { path: path.to_owned(), line: index + 1, reason }
        })
    };
    text.lines().enumerate().map(parse).collect()
}

fn answer(line: &str) -> Option<Answer> {
    let object: Value = serde_json::from_str(line).ok()?;
    let top = object["top"].as_array()?.iter();
    let class = |class: &Value| Some((class["label"].as_str()?.to_owned(), class["score"].as_f64()?));
    Some(Answer { image: object["image"].as_str()?.to_owned(), top: top.map(class).collect::<Option<_>>()? })
}

/// The largest difference of two log-probabilities of one class; refuses another image, another first label, and more than
/// the tolerance. Log-probabilities are logits but for a term that all of an image's share.
fn furthest(one: &[Answer], other: &[Answer], tolerance: f64) -> Result<f64, Error> {
    if one.is_empty() || one.len() != other.len() {
        let reason = format!("{} and {} answers: expected as many of each, and some", one.len(), other.len());
        return Err(Error::Differs { image: "all".into(), reason });
    }
    let mut furthest = 0.0_f64;
    for (one, other) in one.iter().zip(other) {
        let differs = |reason: String| Err(Error::Differs { image: one.image.clone(), reason });
        if one.image != other.image || one.top.first().map(|class| &class.0) != other.top.first().map(|class| &class.0)
        {
            return differs(format!(
                "one says {:?}, the other of {} {:?}",
                one.top.first(),
                other.image,
                other.top.first()
            ));
        }
        for (label, probability) in &one.top {
            // A class that is the last of five on one machine may be the sixth on the other.
            let Some((_, same)) = other.top.iter().find(|(name, _)| name == label) else { continue };
            let apart = (probability.ln() - same.ln()).abs();
            if apart.is_nan() || apart > tolerance {
                return differs(format!("{label} has probability {probability} and {same}, {apart:.1e} nats apart"));
            }
            furthest = furthest.max(apart);
        }
    }
    Ok(furthest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(label: &str, probability: f64) -> Vec<Answer> {
        vec![Answer { image: "owl.png".into(), top: vec![(label.into(), probability), ("wren".into(), 0.1)] }]
    }

    /// Answers that are called the same though they are not, and files without any.
    #[test]
    fn other_labels_and_other_probabilities_are_seen() {
        assert!(furthest(&answers("owl", 0.5), &answers("owl", 0.50001), 1e-3).unwrap() > 0.0);
        for other in [answers("crow", 0.5), answers("owl", 0.51), answers("owl", f64::NAN), Vec::new()] {
            assert!(furthest(&answers("owl", 0.5), &other, 1e-3).is_err(), "{other:?}");
        }
        assert!(furthest(&[], &[], 1e-3).is_err());
        assert!(answer(r#"{"image":"a","top":[{"index":1,"label":"owl","score":0.5}]}"#).is_some());
        assert!(answer(r#"{"image":"a"}"#).is_none());
    }
}
