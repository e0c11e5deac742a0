//! Errors of teaching: why a class was neither added nor removed.

use fieldfit_data::DataError;
use fieldfit_tensor::text::escape;
use thiserror::Error;

/// Error of a class that cannot be taught or removed. Nothing is stored then.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TeachError {
    /// No image to learn from.
    #[error("no image of `{}` is given: give at least one, or better ten", escape(class))]
    NoImages {
        /// The class.
        class: String,
    },
    /// An image that cannot be decoded.
    #[error("image {number} cannot be used ({source}): leave it out, or repair it")]
    Image {
        /// Number of the image, from 1.
        number: usize,
        /// The cause.
        source: DataError,
    },
    /// An image that is there twice.
    #[error("image {second} is the same as image {first}: leave out one of them, or it counts twice")]
    Twice {
        /// Number of the first, from 1.
        first: usize,
        /// Number of the second, from 1.
        second: usize,
    },
    /// A class that exists.
    #[error("the class `{}` exists already: choose another name, or remove it first if it was taught", escape(class))]
    Exists {
        /// The class.
        class: String,
    },
    /// A name that no label can have.
    #[error(
        "`{}` cannot name a class: give 1 to 256 bytes without control characters, and no spaces at its ends",
        escape(class)
    )]
    Name {
        /// The name.
        class: String,
    },
    /// Classes whose means are not known.
    #[error(
        "the mean features of {missing} of the active version's classes are unknown, first `{}`: give images of its classes",
        escape(class)
    )]
    NoMeans {
        /// Number of classes without a mean.
        missing: usize,
        /// The first of them.
        class: String,
    },
    /// Images of known classes where there are none.
    #[error("the base runs, and the first taught class begins a head of its own: give no images of other classes")]
    NoKnownClasses,
    /// A class that was not taught.
    #[error("no class `{}` was taught: it may be removed if it is one of [{}]", escape(class), listed(taught))]
    NotTaught {
        /// The class.
        class: String,
        /// The taught classes.
        taught: Vec<String>,
    },
    /// The only class of a head.
    #[error("`{}` is the only class of the active version: roll back to the version before it", escape(class))]
    LastClass {
        /// The class.
        class: String,
    },
}

fn listed(classes: &[String]) -> String {
    classes.iter().map(|class| format!("`{}`", escape(class))).collect::<Vec<_>>().join(", ")
}
