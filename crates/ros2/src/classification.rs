//! Answers as messages: the top classes of a prediction above a least probability.

use crate::msg::std_msgs::Header;
use crate::msg::vision_msgs::{Classification, ObjectHypothesis};
use crate::parameters::Parameters;
use fieldfit::Prediction;

/// Which classes of a prediction an answer has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AnswerOptions {
    /// Most classes.
    pub top_k: usize,
    /// Probability below which a class is left out, 0..1.
    pub min_probability: f64,
}

impl From<&Parameters> for AnswerOptions {
    fn from(parameters: &Parameters) -> Self {
        Self { top_k: parameters.top_k, min_probability: parameters.min_probability }
    }
}

/// Returns the answer to an image with that header.
pub fn classification(header: Header, prediction: &Prediction, options: AnswerOptions) -> Classification {
    Classification { header, results: hypotheses(prediction, options).collect() }
}

/// Returns the classes of an answer by descending probability.
pub fn hypotheses(prediction: &Prediction, options: AnswerOptions) -> impl Iterator<Item = ObjectHypothesis> {
    let ranked = prediction.top().map(|ranked| (ranked.label, f64::from(ranked.probability)));
    let shown = ranked.take(options.top_k).take_while(move |(_, score)| *score >= options.min_probability);
    shown.map(|(label, score)| ObjectHypothesis { class_id: label.to_owned(), score })
}
