//! Errors of splits: why a data set cannot be split.

use fieldfit_tensor::text::escape;

/// Reason why a data set can't be split.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SplitError {
    /// Fractions that leave a slice empty.
    #[error(
        "{validation} for validation and {gate} for the gate: each must be above 0, and something must be left to train on"
    )]
    Fractions {
        /// Fraction for the validation slice, which learns radii.
        validation: f64,
        /// Fraction for the gate slice, which the result is accepted by.
        gate: f64,
    },
    /// A class that would be missing from a slice.
    #[error(
        "class `{class}` is too small to split: its {images} images in {groups} groups give {train} to train, \
         {validation} to validation and {gate} to the gate, and each needs {}. Add images of it, or choose a group \
         pattern that makes smaller groups",
        crate::MIN_IMAGES_PER_SLICE
    )]
    ClassTooSmall {
        /// The class.
        class: String,
        /// Its images.
        images: usize,
        /// The groups that they come in.
        groups: usize,
        /// Images for the training slice.
        train: usize,
        /// Images for the validation slice.
        validation: usize,
        /// Images for the gate slice.
        gate: usize,
    },
    /// A class with too few images in the `train` or `val` folder, which hold all that training may see.
    #[error(
        "class `{class}` has {train} images in `train` and {val} in `val`: `train` needs {} of each class, and `val`, which \
         is divided between validation and gate, {}. Add images there, or remove `val` so that `train` is split in three",
        crate::MIN_IMAGES_PER_SLICE, 2 * crate::MIN_IMAGES_PER_SLICE
    )]
    ClassTooSmallInSubset {
        /// The class.
        class: String,
        /// Its images in `train`.
        train: usize,
        /// Its images in `val`.
        val: usize,
    },
    /// Images without one class each, of which a slice would have too few.
    #[error(
        "the data set is too small to split: its {images} images in {groups} groups give {train} to train, {validation} to \
         validation and {gate} to the gate, and each needs {}. Add images, or choose a group pattern that makes smaller groups",
        crate::MIN_IMAGES_PER_SLICE
    )]
    TooFewImages {
        /// The images.
        images: usize,
        /// The groups that they come in.
        groups: usize,
        /// Images for the training slice.
        train: usize,
        /// Images for the validation slice.
        validation: usize,
        /// Images for the gate slice.
        gate: usize,
    },
    /// A label that nothing can be learned of.
    #[error(
        "label `{}`: {found} of {images} training images have it: add images with it and images without it, or leave it out",
        escape(label)
    )]
    Label {
        /// The label.
        label: String,
        /// Training images that have it.
        found: usize,
        /// Training images.
        images: usize,
    },
    /// Fewer than two classes.
    #[error("the data set has {classes} classes: at least two are needed to learn to tell them apart")]
    Classes {
        /// Their number.
        classes: usize,
    },
}
