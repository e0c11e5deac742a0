//! Labels of a run: the classes that its images are labelled by, where they are not the images' own.

use crate::error::AdaptError;
use crate::kept_head;
use crate::options::HeadMode;
use crate::request::AdaptRequest;
use crate::start;
use fieldfit_data::Dataset;

/// Images of a request as it trains on them: labelled by the base's classes where its head is kept, by those of the version that
/// training starts at and their own where it does not start at the base; else `None`.
///
/// # Errors
/// If the images cannot be labelled so.
pub(crate) fn labelled(request: &AdaptRequest<'_>) -> Result<Option<Dataset>, AdaptError> {
    match request.options.head {
        HeadMode::Keep => kept_head::labelled(request).map(Some),
        HeadMode::Replace => start::labelled(request),
    }
}
