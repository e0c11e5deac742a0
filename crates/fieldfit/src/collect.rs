//! Collection of labelled images from a camera: buffer, selection, bounds, and the folder on disk.

use crate::Prediction;
pub use crate::import_data::{
    Boxes, CutOff, DatasetFormat, Imported, LabelSource, RecordingOptions, SourceOptions, import_data,
};
pub use fieldfit_collect::{
    Added, CollectError, Collection, Collector, CollectorOptions, Contents, Export, ExportedImages, FrameId, ImageId,
    Kept, Label, LeftOut, Limits, ModelOutput, NewImage, Origin, PredictedClass, Privacy, Removal, Selection, Span,
    Statistics, StoredImage, is_collection, stream,
};

/// The best class of a prediction, and its lead over the second.
impl From<&Prediction> for ModelOutput {
    fn from(prediction: &Prediction) -> Self {
        let second = prediction.top().nth(1).map_or(0.0, |second| second.probability);
        let best = prediction.best();
        let best = best.map(|best| PredictedClass::new(best.label, best.probability, best.probability - second));
        Self::new(best, None)
    }
}
