//! Replay: images of earlier days beside those of today, so that what they taught is not unlearned.

use crate::dataset::{Dataset, Sample};
use crate::error::{DataError, ReplayError};
use crate::layout::Subset;
use crate::rng::shuffled;
use std::collections::VecDeque;

impl Dataset {
    /// Adds images of earlier days, of at most `budget` bytes in all: class after class in turn, drawn by the seed; `None` adds all.
    /// The classes are those of both, its own first.
    ///
    /// A [split](Self::split) goes by the hash of each image's group alone, so that an image which was held out on its day is
    /// held out now.
    ///
    /// # Errors
    /// [`ReplayError`] if the images are labelled for another task or their masks in another way, if they have a `val` subset and
    /// its own do not, or if the budget is too small for one image. As [`Dataset::with_labels`] where images have values or labels
    /// of other names.
    pub fn replaying(self, earlier: Self, budget: Option<u64>, seed: u64) -> Result<Self, DataError> {
        if self.task() != earlier.task() {
            return Err(ReplayError::Task { expected: self.task(), found: earlier.task() }.into());
        }
        if earlier.has_val() && !self.has_val() {
            return Err(ReplayError::Subsets.into());
        }
        let found = earlier.samples.len();
        let (earlier, bytes) = earlier.within_bytes(budget.unwrap_or(u64::MAX), seed)?;
        let own = self.classes.iter();
        let labels: Vec<String> =
            own.chain(earlier.classes.iter().filter(|class| !self.classes.contains(class))).cloned().collect();
        let (mut all, earlier) = (self.with_labels(&labels)?, earlier.with_labels(&labels)?);
        if all.labelling.encoding() != earlier.labelling.encoding() {
            return Err(ReplayError::Masks.into());
        }
        all.notes.extend(earlier.notes);
        all.notes.push(format!("replayed {} of {found} earlier images, {bytes} bytes", earlier.samples.len()));
        all.samples.extend(earlier.samples);
        all.skipped.extend(earlier.skipped);
        Ok(all)
    }

    fn has_val(&self) -> bool {
        self.samples.iter().any(|sample| sample.subset == Some(Subset::Val))
    }

    /// Keeps images of at most `budget` bytes in all, in their order, and returns their bytes. Each class in turn keeps the next of
    /// its images that fits, in the order that the seed draws.
    fn within_bytes(mut self, budget: u64, seed: u64) -> Result<(Self, u64), ReplayError> {
        let bytes: Vec<u64> = self.samples.iter().map(|sample| sample.image.identity().1).collect();
        let mut waiting = vec![VecDeque::new(); self.classes.len().max(1)];
        for index in shuffled(&Vec::from_iter(0..bytes.len()), seed, 0) {
            waiting[self.samples[index].stratum() as usize].push_back(index);
        }
        let (mut kept, mut taken) = (vec![false; bytes.len()], 0);
        while waiting.iter().any(|class| !class.is_empty()) {
            for class in &mut waiting {
                let fits = |index: &usize| bytes[*index] <= budget - taken;
                if let Some(index) = std::iter::from_fn(|| class.pop_front()).find(fits) {
                    kept[index] = true;
                    taken += bytes[index];
                }
            }
        }
        match bytes.iter().min() {
            Some(&smallest) if !kept.contains(&true) => Err(ReplayError::Budget { budget, smallest }),
            _ => {
                let mut kept = kept.into_iter();
                self.samples.retain(|_: &Sample| kept.next() == Some(true));
                Ok((self, taken))
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a data set that cannot be made ends the test")]
mod tests {
    use super::*;
    use crate::dataset_builder::DatasetBuilder;
    use crate::frame::{Frame, PixelFormat, Pixels};
    use crate::split::Fractions;
    use crate::target::Target;

    /// Images of 48 bytes, each of another shade, as many of each class.
    fn images(first: u8, classes: &[(&str, u8)]) -> Dataset {
        let mut images = DatasetBuilder::new();
        let mut shade = first;
        for (class, count) in classes {
            for _ in 0..*count {
                images
                    .push(&Frame::Pixels(Pixels::packed(&[shade; 48], PixelFormat::Rgb8, 4, 4)), class, None)
                    .unwrap();
                shade += 1;
            }
        }
        images.build().unwrap()
    }

    fn count(dataset: &Dataset, class: &str) -> usize {
        let position = dataset.classes.iter().position(|name| name == class).unwrap() as u32;
        dataset.samples.iter().filter(|sample| sample.target == Target::Class(position)).count()
    }

    /// Catches: labels that still count in another data set's classes, classes that are lost, images of today that are left out.
    #[test]
    fn both_days_keep_their_labels() {
        let today = images(0, &[("asphalt", 4), ("sand", 4)]);
        let earlier = images(100, &[("grass", 5), ("sand", 3)]);
        let both = today.replaying(earlier, None, 0).unwrap();
        assert_eq!(both.classes, ["asphalt", "sand", "grass"]);
        assert_eq!(["asphalt", "sand", "grass"].map(|class| count(&both, class)), [4, 7, 5]);
        assert_eq!(both.notes.last().unwrap(), "replayed 8 of 8 earlier images, 384 bytes");
    }

    /// Catches: a budget that is exceeded, or that the largest class uses up; a draw that differs from run to run.
    #[test]
    fn a_budget_is_shared_by_the_classes() {
        let today = images(0, &[("sand", 2), ("water", 2)]);
        let earlier = images(100, &[("grass", 30), ("sand", 3), ("water", 9)]);
        let with = |bytes| today.clone().replaying(earlier.clone(), Some(bytes), 7).unwrap();
        let both = with(12 * 48 + 47);
        assert_eq!(["grass", "sand", "water"].map(|class| count(&both, class)), [5, 2 + 3, 2 + 4]);
        assert_eq!(both, with(12 * 48 + 47));
        let other = today.clone().replaying(earlier.clone(), Some(12 * 48), 8).unwrap();
        assert_ne!(both.samples, other.samples);
        let refused = today.replaying(earlier, Some(47), 7);
        assert!(matches!(refused, Err(DataError::Replay(ReplayError::Budget { smallest: 48, .. }))), "{refused:?}");
    }

    /// Catches: an image that was held out on its day and trains when it is replayed.
    #[test]
    fn images_stay_in_the_slice_of_their_day() {
        let (today, earlier) = (images(0, &[("sand", 40), ("water", 40)]), images(100, &[("sand", 40), ("water", 40)]));
        let fractions = Fractions::new(0.2, 0.2);
        let alone = earlier.split(&fractions).unwrap();
        let first = today.samples.len();
        let both = today.replaying(earlier, None, 0).unwrap().split(&fractions).unwrap();
        let earlier = |slice: &[usize]| {
            slice.iter().filter(|&&index| index >= first).map(|index| index - first).collect::<Vec<_>>()
        };
        assert_eq!(earlier(&both.gate), alone.gate);
        assert_eq!(earlier(&both.validation), alone.validation);
        assert_eq!(earlier(&both.train), alone.train);
    }

    /// Catches: images of two tasks in one data set, and a validation subset that would keep all images of today out of validation.
    #[test]
    fn images_of_another_kind_are_refused() {
        let today = images(0, &[("sand", 2), ("water", 2)]);
        let mut values = DatasetBuilder::of_values(vec!["tilt [deg]".into()]);
        values.push_values(&Frame::Pixels(Pixels::packed(&[0; 48], PixelFormat::Rgb8, 4, 4)), &[1.0], None).unwrap();
        let refused = today.clone().replaying(values.build().unwrap(), None, 0);
        assert!(matches!(refused, Err(DataError::Replay(ReplayError::Task { .. }))), "{refused:?}");
        let mut with_val = images(100, &[("sand", 2), ("water", 2)]);
        with_val.samples[0].subset = Some(Subset::Val);
        let refused = today.replaying(with_val, None, 0);
        assert!(matches!(refused, Err(DataError::Replay(ReplayError::Subsets))), "{refused:?}");
    }
}
