//! Errors of replay: why images of earlier days cannot be added to a data set.

use fieldfit_tensor::Task;

/// Reason why images of earlier days can't be added to a data set.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// Images that are labelled for another task.
    #[error(
        "the replayed images are labelled for {found}, and the others for {expected}: replay images of the same task"
    )]
    Task {
        /// Task of the data set.
        expected: Task,
        /// Task of the replayed images.
        found: Task,
    },
    /// Images with a subset for validation beside images without one.
    #[error(
        "the replayed images have a `val` folder, and the others have none: give both one, or replay a folder of classes"
    )]
    Subsets,
    /// Masks whose values name other classes.
    #[error("the replayed masks write classes in another way than the others: give both the same classes file")]
    Masks,
    /// A budget that is too small for any image.
    #[error("{budget} bytes of replay hold no image: give at least {smallest}")]
    Budget {
        /// The budget, in bytes.
        budget: u64,
        /// Size of the smallest image, in bytes.
        smallest: u64,
    },
}
