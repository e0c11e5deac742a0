//! Target loss: the loss of a batch's targets, by its task, and its gradient.

use crate::train::target_scaling::{TargetScaling, WeightedLabels};
use fieldfit_data::{LabelSets, Masks, TargetValues, Targets};
use fieldfit_exec::{ExecError, Objective, binary_cross_entropy, huber, pixel_cross_entropy};
use fieldfit_tensor::Real;

/// Loss of a batch's targets. Each task has one.
#[derive(Debug, Clone, Copy)]
pub enum TargetLoss<'a> {
    /// Cross-entropy of each image's class.
    Classes(WeightedLabels<'a>),
    /// Mean cross-entropy of the pixels that count.
    Masks(WeightedPixels<'a>),
    /// Huber loss of each image's values, in standard deviations.
    Values(StandardisedValues<'a>),
    /// Mean binary cross-entropy of each image's labels.
    Labels(WeightedLabelSets<'a>),
}

impl TargetScaling {
    /// Loss of these targets, scaled so.
    pub fn objective<'a>(&'a self, targets: &'a Targets) -> TargetLoss<'a> {
        match targets {
            Targets::Classes(labels) => TargetLoss::Classes(self.of_labels(labels)),
            Targets::Masks(masks) => TargetLoss::Masks(WeightedPixels::new(masks, self)),
            Targets::Values(values) => TargetLoss::Values(StandardisedValues { values, scaling: self }),
            Targets::Labels(sets) => TargetLoss::Labels(WeightedLabelSets { sets, scaling: self }),
        }
    }
}

impl<T: Real> Objective<T> for TargetLoss<'_> {
    fn check(&self, images: usize, columns: usize) -> Result<(), ExecError> {
        match self {
            Self::Classes(labels) => Objective::<T>::check(labels, images, columns),
            Self::Masks(pixels) => Objective::<T>::check(pixels, images, columns),
            Self::Values(values) => Objective::<T>::check(values, images, columns),
            Self::Labels(sets) => Objective::<T>::check(sets, images, columns),
        }
    }

    fn loss_and_gradient(&self, image: usize, logits: &mut [T]) -> f64 {
        match self {
            Self::Classes(labels) => labels.loss_and_gradient(image, logits),
            Self::Masks(pixels) => pixels.loss_and_gradient(image, logits),
            Self::Values(values) => values.loss_and_gradient(image, logits),
            Self::Labels(sets) => sets.loss_and_gradient(image, logits),
        }
    }
}

/// Weighted cross-entropy of pixels: that of each pixel's class in nats, times the factor of its class.
///
/// The mean over the images is the mean over all pixels of the batch that count, as PyTorch's `CrossEntropyLoss` with an
/// `ignore_index` has it: an image with few of them counts less than one with many.
#[derive(Debug, Clone, Copy)]
pub struct WeightedPixels<'a> {
    masks: &'a Masks,
    weights: &'a TargetScaling,
    /// Factor of each pixel in the loss of its image: images over pixels that count; 0 where none does.
    share: f64,
}

impl<'a> WeightedPixels<'a> {
    fn new(masks: &'a Masks, weights: &'a TargetScaling) -> Self {
        let images = masks.values.len() / masks.area().max(1);
        let counted = masks.values.iter().filter(|class| **class != Masks::IGNORED).count();
        let share = if counted == 0 { 0.0 } else { images as f64 / counted as f64 };
        Self { masks, weights, share }
    }
}

impl<T: Real> Objective<T> for WeightedPixels<'_> {
    fn check(&self, images: usize, columns: usize) -> Result<(), ExecError> {
        let (area, masks) = (self.masks.area(), self.masks.values.len() / self.masks.area().max(1));
        if masks != images {
            return Err(ExecError::LabelCount { images, labels: masks });
        }
        if area == 0 || !columns.is_multiple_of(area) {
            return Err(ExecError::MaskPixels { pixels: area, logits: columns });
        }
        let classes = columns / area;
        let is_beyond = |class: &u8| *class != Masks::IGNORED && usize::from(*class) >= classes;
        match self.masks.values.iter().position(is_beyond) {
            Some(pixel) => {
                let (position, found) = (pixel / area, self.masks.values[pixel].into());
                Err(ExecError::Label { position, found, classes })
            }
            None => Ok(()),
        }
    }

    fn loss_and_gradient(&self, image: usize, logits: &mut [T]) -> f64 {
        let factor = |class: u8| if class == Masks::IGNORED { 0.0 } else { self.share * self.weights.of(class.into()) };
        pixel_cross_entropy(logits, self.masks.image(image), factor)
    }
}

/// Huber loss of standardised values: the mean over targets, each in its standard deviations.
#[derive(Debug, Clone, Copy)]
pub struct StandardisedValues<'a> {
    values: &'a TargetValues,
    scaling: &'a TargetScaling,
}

impl<T: Real> Objective<T> for StandardisedValues<'_> {
    fn check(&self, images: usize, columns: usize) -> Result<(), ExecError> {
        require_outputs([self.values.values.len(), self.values.targets], [images, columns])
    }

    fn loss_and_gradient(&self, image: usize, outputs: &mut [T]) -> f64 {
        let values = self.values.image(image);
        huber(outputs, |target| self.scaling.standardised(target, values[target]))
    }
}

/// Refuses values or labels that are not one for each output of each image.
fn require_outputs([values, of_image]: [usize; 2], [images, outputs]: [usize; 2]) -> Result<(), ExecError> {
    if of_image != outputs {
        return Err(ExecError::TargetCount { outputs, found: of_image });
    }
    match values == images * of_image {
        true => Ok(()),
        false => Err(ExecError::LabelCount { images, labels: values / of_image.max(1) }),
    }
}

/// Weighted binary cross-entropy: the mean over labels of that of each in nats, of images that have it times the label's factor.
#[derive(Debug, Clone, Copy)]
pub struct WeightedLabelSets<'a> {
    sets: &'a LabelSets,
    scaling: &'a TargetScaling,
}

impl<T: Real> Objective<T> for WeightedLabelSets<'_> {
    fn check(&self, images: usize, columns: usize) -> Result<(), ExecError> {
        require_outputs([self.sets.values.len(), self.sets.labels], [images, columns])
    }

    fn loss_and_gradient(&self, image: usize, logits: &mut [T]) -> f64 {
        binary_cross_entropy(logits, self.sets.image(image), |label| self.scaling.of(label as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::ClassWeights;

    const LOGITS: [f64; 12] = [0.3, -0.4, 1.2, 0.8, 0.1, -0.9, 2.0, -1.0, 0.4, 0.0, 0.5, -0.2];

    fn masks() -> Masks {
        Masks { height: 2, width: 2, values: vec![2, 0, Masks::IGNORED, 1, 1, Masks::IGNORED, Masks::IGNORED, 0] }
    }

    /// Catches: a slope of another loss than the one that is reported, at pixels that count and at ignored ones; a mean over
    /// all pixels instead of those that count, or over each image's own.
    #[test]
    fn slopes_are_those_of_the_mean_over_the_pixels_that_count() {
        let (masks, even) = (masks(), TargetScaling::default());
        let loss = WeightedPixels::new(&masks, &even);
        Objective::<f64>::check(&loss, 2, 12).unwrap();
        let at = |image: usize, index: usize, step: f64| {
            let mut logits = LOGITS;
            logits[index] += step;
            loss.loss_and_gradient(image, &mut logits)
        };
        for image in 0..2 {
            let mut slopes = LOGITS;
            loss.loss_and_gradient(image, &mut slopes);
            for (index, slope) in slopes.into_iter().enumerate() {
                let expected = (at(image, index, 1e-5) - at(image, index, -1e-5)) / 2e-5;
                assert!((slope - expected).abs() < 1e-8, "{image} {index}: {slope}, not {expected}");
            }
        }
        let of_pixel =
            |pixel: usize, class: u32| fieldfit_exec::cross_entropy(&mut LOGITS[3 * pixel..][..3].to_vec(), class);
        let all = [of_pixel(0, 2), of_pixel(1, 0), of_pixel(3, 1), of_pixel(0, 1), of_pixel(3, 0)];
        let mean = (at(0, 0, 0.0) + at(1, 0, 0.0)) / 2.0;
        assert!((mean - all.iter().sum::<f64>() / 5.0).abs() < 1e-12, "{mean}");
    }

    /// Catches: factors of classes that masks leave out.
    #[test]
    fn factors_of_classes_count_for_pixels() {
        let weights = TargetScaling::of_counts(ClassWeights::Balanced, &[1, 3, 2]);
        let masks = Masks { height: 1, width: 2, values: vec![1, Masks::IGNORED] };
        let mut slopes = [0.0_f64; 6];
        let loss = weights.objective(&Targets::Masks(masks.clone())).loss_and_gradient(0, &mut slopes);
        assert!((loss - 3_f64.ln() * 6.0 / 9.0).abs() < 1e-12, "{loss}");
        assert_eq!(slopes[3..], [0.0; 3]);
    }

    /// Catches: values or labels of another image, or not one for each output, which would be read beyond their end.
    #[test]
    fn values_and_labels_are_each_images_own() {
        let even = TargetScaling::default();
        let values = Targets::Values(TargetValues { targets: 2, values: vec![0.0, 0.0, 1.0, -2.0] });
        let sets = Targets::Labels(LabelSets { labels: 2, values: vec![0, 0, 1, 1] });
        for (targets, expected) in [(&values, (0.5 + 1.5) / 2.0), (&sets, 2_f64.ln())] {
            let loss = even.objective(targets);
            assert!((loss.loss_and_gradient(1, &mut [0.0, 0.0]) - expected).abs() < 1e-12);
            Objective::<f64>::check(&loss, 2, 2).unwrap();
            let refused = |images, columns| Objective::<f64>::check(&loss, images, columns).unwrap_err();
            assert!(matches!(refused(2, 3), ExecError::TargetCount { outputs: 3, found: 2 }));
            assert!(matches!(refused(3, 2), ExecError::LabelCount { images: 3, labels: 2 }));
        }
    }

    /// Catches: masks of another size or with classes that the head lacks, which would read beyond a pixel's logits; masks
    /// that are all ignored, whose mean is not a number.
    #[test]
    fn masks_that_do_not_fit_are_refused() {
        let (mut masks, even) = (masks(), TargetScaling::default());
        let check = |masks: &Masks, images, columns| {
            Objective::<f64>::check(&WeightedPixels::new(masks, &even), images, columns)
                .map_err(|error| error.to_string())
        };
        assert!(check(&masks, 1, 12).is_err_and(|error| error.contains("found 2")));
        assert!(check(&masks, 2, 13).is_err_and(|error| error.contains("4 pixels")));
        assert!(check(&masks, 2, 8).is_err_and(|error| error.contains("less than 2, found 2")));
        masks.values.fill(Masks::IGNORED);
        check(&masks, 2, 12).unwrap();
        let mut slopes = LOGITS;
        let loss = WeightedPixels::new(&masks, &even).loss_and_gradient(0, &mut slopes);
        assert_eq!((loss, slopes), (0.0, [0.0; 12]));
    }
}
