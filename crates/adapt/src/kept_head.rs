//! Kept head: the base's own head as the start of training, and images labelled by the base's classes.

use crate::error::AdaptError;
use crate::options::{HeadMode, Options};
use crate::request::AdaptRequest;
use crate::train::training_state::HeadParams;
use fieldfit_data::{DataError, Dataset};
use fieldfit_model::Base;
use fieldfit_tensor::{Task, TensorId};

/// Most labels that are named as near to a folder's name.
const NEAREST: usize = 3;

/// Images of a request whose head is the base's, labelled by the base's classes.
///
/// # Errors
/// If the base has no head, images have no classes, or an image's class is not a label of the base.
pub(crate) fn labelled(request: &AdaptRequest<'_>) -> Result<Dataset, AdaptError> {
    match request.dataset.task() {
        Task::Classification | Task::Segmentation => {}
        task @ (Task::Regression | Task::MultiLabel) => {
            return Err(AdaptError::Task { what: "the base's own head", task });
        }
    }
    let base = request.base;
    if base.network().is_headless() {
        return Err(refused("replace: this base is a backbone without a head that could be kept"));
    }
    match request.dataset.clone().with_labels(base.labels()) {
        Err(DataError::Labels { unknown, .. }) => Err(unknown_classes(unknown, base.labels())),
        labelled => Ok(labelled?),
    }
}

/// Refuses to keep a head that the method would not train, with all else.
///
/// # Errors
/// [`AdaptError::Option`].
pub(crate) fn require_training(options: &Options, trains: bool) -> Result<(), AdaptError> {
    match options.head {
        HeadMode::Keep if !trains => {
            Err(refused("replace, or another method: this one learns nothing but a new head, and would change nothing"))
        }
        HeadMode::Keep | HeadMode::Replace => Ok(()),
    }
}

/// Returns the base's head, converted.
pub(crate) fn of_base(base: &Base) -> HeadParams {
    let values = |id: TensorId| {
        let view = base.tensor(id);
        let mut values = vec![0.0; view.len()];
        view.copy_into(&mut values);
        values
    };
    let head = base.network().head;
    HeadParams { weight: values(head.weight), bias: values(head.bias) }
}

fn refused(expected: &'static str) -> AdaptError {
    AdaptError::Option { name: "head", found: HeadMode::Keep.name().into(), expected }
}

/// The error of folders that are not named by the base's labels: names the first, and labels that are spelled much like it.
fn unknown_classes(unknown: Vec<String>, labels: &[String]) -> AdaptError {
    let others = unknown.len().saturating_sub(1);
    let class = unknown.into_iter().next().unwrap_or_default();
    let name = class.to_lowercase();
    let mut near: Vec<(f64, &String)> =
        labels.iter().map(|label| (strsim::jaro_winkler(&name, &label.to_lowercase()), label)).collect();
    near.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    let nearest = near.into_iter().take(NEAREST).map(|(_, label)| label.clone()).collect();
    AdaptError::NotALabel { class, others, nearest }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a hint that names labels in their own order, or tells upper from lower case.
    #[test]
    fn labels_that_are_spelled_alike_are_named() {
        let labels = ["tench", "goldfish", "great white shark", "banana"].map(str::to_owned);
        let error = unknown_classes(vec!["Bananna".into(), "mug".into()], &labels).to_string();
        assert!(error.contains("`Bananna` and 1 more") && error.contains("nearest: `banana`, "), "{error}");
    }
}
