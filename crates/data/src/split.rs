//! Three-way split: divides a data set into train, validation and gate slices by a hash of each image's group.

use crate::dataset::{Dataset, Group, Sample};
use crate::error::{DataError, SplitError};
use crate::layout::Subset;
use fieldfit_tensor::Task;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Minimum number of images of every class in each slice.
pub const MIN_IMAGES_PER_SLICE: usize = 2;

/// Fractions of a data set, 0..1, that do not train weights.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct Fractions {
    /// Fraction that radii learn from.
    pub validation: f64,
    /// Fraction that decides whether the result is accepted.
    pub gate: f64,
}

impl Fractions {
    /// Returns the fractions of the validation and of the gate slice. [`Dataset::split`] checks them.
    pub const fn new(validation: f64, gate: f64) -> Self {
        Self { validation, gate }
    }
}

/// Formats every fraction, as the provenance of a delta records them.
impl fmt::Display for Fractions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { validation, gate } = self;
        write!(f, "validation={validation} gate={gate}")
    }
}

impl Default for Fractions {
    /// 80 % train, 10 % validation, 10 % gate.
    fn default() -> Self {
        Self { validation: 0.1, gate: 0.1 }
    }
}

/// Result of [`Dataset::split`]: indices into [`Dataset::samples`], each in at most one slice, ascending.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Split {
    /// Training slice: weights learn from it.
    pub train: Vec<usize>,
    /// Validation slice: radii learn from it; weights never do.
    pub validation: Vec<usize>,
    /// Gate slice: decides whether the result is accepted, and nothing else.
    pub gate: Vec<usize>,
    /// Departures from the hash alone, for people to read.
    pub notes: Vec<String>,
}

impl Dataset {
    /// Splits the images by a hash of their group: which slice an image is in depends on nothing else, so adding images
    /// moves none, and a group is never on two sides.
    ///
    /// Where the folder has a `val` subset, all of `train` trains, and `val` is divided between validation and gate in
    /// the ratio of the fractions; images of `train` whose group is also in `val` are left out.
    ///
    /// A class with fewer than [`MIN_IMAGES_PER_SLICE`] images in validation or gate gets groups that the hash puts nearest to that
    /// slice; the notes say so. Such a group may go back once the class has more images. Images without one
    /// class count as of one.
    ///
    /// Images with [pseudo-labels](crate::Sample::is_pseudo_labelled) are never in the gate: a group of them alone trains
    /// instead, and of a group with others they are left out.
    ///
    /// # Errors
    /// If images have fewer than two classes, a fraction leaves a slice empty, or a class is too small to be in all three.
    pub fn split(&self, fractions: &Fractions) -> Result<Split, DataError> {
        let Fractions { validation, gate } = *fractions;
        if !(validation > 0.0 && gate > 0.0 && validation + gate < 1.0) {
            return Err(SplitError::Fractions { validation, gate }.into());
        }
        let present = self.samples.iter().map(Sample::stratum).collect::<BTreeSet<_>>();
        if present.len() < 2 && self.task() == Task::Classification {
            return Err(SplitError::Classes { classes: present.len() }.into());
        }
        let mut draft = Draft::new(self, fractions);
        for class in present.iter().copied() {
            draft.top_up(class, Slice::Gate);
            draft.top_up(class, Slice::Validation);
        }
        for class in present {
            draft.check(class)?;
        }
        let split = draft.finish();
        self.require_labels(&split)?;
        Ok(split)
    }

    /// Refuses a label that no training image has, or that all have: there is nothing to learn it by.
    fn require_labels(&self, split: &Split) -> Result<(), SplitError> {
        if self.task() != Task::MultiLabel {
            return Ok(());
        }
        let (images, counts) = (split.train.len(), self.label_counts(&split.train));
        match counts.iter().position(|&count| count == 0 || count == images) {
            Some(label) => Err(SplitError::Label { label: self.classes[label].clone(), found: counts[label], images }),
            None => Ok(()),
        }
    }
}

/// Slice of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slice {
    Train,
    Validation,
    Gate,
}

/// Images of one group, which stay in one slice.
struct Bucket {
    group: Group,
    slice: Slice,
    samples: Vec<usize>,
}

/// Split in the making: buckets and the slices that they are in.
struct Draft<'a> {
    dataset: &'a Dataset,
    buckets: Vec<Bucket>,
    has_val: bool,
    /// From 0 to the first is the gate, on to the second validation, the rest trains.
    borders: [f64; 2],
    notes: Vec<String>,
}

impl<'a> Draft<'a> {
    fn new(dataset: &'a Dataset, fractions: &Fractions) -> Self {
        let has_val = dataset.samples.iter().any(|sample| sample.subset == Some(Subset::Val));
        let held_out = fractions.validation + fractions.gate;
        let borders = if has_val { [fractions.gate / held_out, 1.0] } else { [fractions.gate, held_out] };
        let mut draft = Self { dataset, buckets: Vec::new(), has_val, borders, notes: Vec::new() };
        draft.fill();
        draft
    }

    /// Puts every group where its hash says.
    fn fill(&mut self) {
        let mut groups: BTreeMap<Group, Vec<usize>> = BTreeMap::new();
        for (index, sample) in self.dataset.samples.iter().enumerate() {
            groups.entry(sample.group).or_default().push(index);
        }
        let mut left_out = 0;
        for (group, mut samples) in groups {
            let in_val = |index: &usize| self.dataset.samples[*index].subset == Some(Subset::Val);
            let is_judging = samples.iter().any(|index| !self.dataset.samples[*index].is_pseudo_labelled);
            let slice = match self.slice_of(&group) {
                _ if self.has_val && !samples.iter().any(in_val) => Slice::Train,
                Slice::Gate if !is_judging => Slice::Train,
                slice => slice,
            };
            if self.has_val && slice != Slice::Train {
                let before = samples.len();
                samples.retain(in_val);
                left_out += before - samples.len();
            }
            self.buckets.push(Bucket { group, slice, samples });
        }
        (0..self.buckets.len()).for_each(|bucket| self.leave_out_pseudo_labels(bucket));
        if left_out > 0 {
            self.notes.push(format!("left {left_out} images of train out: val has images of the same groups"));
        }
    }

    /// Leaves images with pseudo-labels out of a group in the gate.
    fn leave_out_pseudo_labels(&mut self, bucket: usize) {
        let bucket = &mut self.buckets[bucket];
        if bucket.slice == Slice::Gate {
            bucket.samples.retain(|index| !self.dataset.samples[*index].is_pseudo_labelled);
        }
    }

    fn slice_of(&self, group: &Group) -> Slice {
        match group.position() {
            position if position < self.borders[0] => Slice::Gate,
            position if position < self.borders[1] => Slice::Validation,
            _ => Slice::Train,
        }
    }

    /// Moves groups of the class into the slice until it has enough of them or no slice can give any more.
    fn top_up(&mut self, class: u32, slice: Slice) {
        let donor = match slice {
            _ if !self.has_val => Slice::Train,
            Slice::Gate => Slice::Validation,
            _ => Slice::Gate,
        };
        let before = self.count(class, slice);
        while self.count(class, slice) < MIN_IMAGES_PER_SLICE {
            let Some(bucket) = self.nearest(class, slice, donor) else { break };
            self.buckets[bucket].slice = slice;
            self.leave_out_pseudo_labels(bucket);
        }
        let moved = self.count(class, slice) - before;
        if moved > 0 {
            let of = match self.dataset.task() {
                Task::Classification => format!(" of `{}`", self.dataset.classes[class as usize]),
                Task::Segmentation | Task::Regression | Task::MultiLabel => String::new(),
            };
            let (slice, donor) = (slice.name(), donor.name());
            self.notes.push(format!("moved {moved} images{of} from {donor} to {slice}, which had {before}"));
        }
    }

    /// The donor's group of that class nearest to the slice that the donor can spare.
    fn nearest(&self, class: u32, slice: Slice, donor: Slice) -> Option<usize> {
        let available = self.count(class, donor);
        let can_spare = |bucket: &Bucket| {
            let given = self.count_in(bucket, class);
            let is_taken = |index: &&usize| {
                let sample = &self.dataset.samples[**index];
                sample.stratum() == class && !(slice == Slice::Gate && sample.is_pseudo_labelled)
            };
            bucket.slice == donor
                && bucket.samples.iter().any(|index| is_taken(&index))
                && available - given >= MIN_IMAGES_PER_SLICE
        };
        let candidates = self.buckets.iter().enumerate().filter(|(_, bucket)| can_spare(bucket));
        let distance = |bucket: &Bucket| self.distance(bucket.group.position(), slice);
        candidates.min_by(|(_, a), (_, b)| distance(a).total_cmp(&distance(b))).map(|(index, _)| index)
    }

    /// How far the position is from the slice's stretch.
    fn distance(&self, position: f64, slice: Slice) -> f64 {
        let [gate, validation] = self.borders;
        let (from, to) = match slice {
            Slice::Gate => (0.0, gate),
            Slice::Validation => (gate, validation),
            Slice::Train => (validation, 1.0),
        };
        (from - position).max(position - to).max(0.0)
    }

    fn check(&self, class: u32) -> Result<(), SplitError> {
        let [train, validation, gate] =
            [Slice::Train, Slice::Validation, Slice::Gate].map(|slice| self.count(class, slice));
        if train.min(validation).min(gate) >= MIN_IMAGES_PER_SLICE {
            return Ok(());
        }
        let images = train + validation + gate;
        let groups = self.buckets.iter().filter(|bucket| self.count_in(bucket, class) > 0).count();
        match self.dataset.task() {
            Task::Segmentation | Task::Regression | Task::MultiLabel => {
                Err(SplitError::TooFewImages { images, groups, train, validation, gate })
            }
            Task::Classification => Err(self.lacks_in_subset(class).unwrap_or_else(|| {
                let class = self.dataset.classes[class as usize].clone();
                SplitError::ClassTooSmall { class, images, groups, train, validation, gate }
            })),
        }
    }

    /// The error for a class that has too few images in `train` or in `val`, whatever their groups.
    fn lacks_in_subset(&self, class: u32) -> Option<SplitError> {
        let count = |is_val: bool| {
            let of_class = self.dataset.samples.iter().filter(|sample| sample.stratum() == class);
            of_class.filter(|sample| (sample.subset == Some(Subset::Val)) == is_val).count()
        };
        let (train, val) = (count(false), count(true));
        let is_lacking = train < MIN_IMAGES_PER_SLICE || val < 2 * MIN_IMAGES_PER_SLICE;
        let class = self.dataset.classes[class as usize].clone();
        (self.has_val && is_lacking).then_some(SplitError::ClassTooSmallInSubset { class, train, val })
    }

    fn count(&self, class: u32, slice: Slice) -> usize {
        let buckets = self.buckets.iter().filter(|bucket| bucket.slice == slice);
        buckets.map(|bucket| self.count_in(bucket, class)).sum()
    }

    fn count_in(&self, bucket: &Bucket, class: u32) -> usize {
        bucket.samples.iter().filter(|index| self.dataset.samples[**index].stratum() == class).count()
    }

    fn finish(self) -> Split {
        let of = |slice| {
            let buckets = self.buckets.iter().filter(|bucket| bucket.slice == slice);
            let mut samples: Vec<usize> = buckets.flat_map(|bucket| bucket.samples.iter().copied()).collect();
            samples.sort_unstable();
            samples
        };
        let [train, validation, gate] = [Slice::Train, Slice::Validation, Slice::Gate].map(of);
        Split { train, validation, gate, notes: self.notes }
    }
}

impl Slice {
    const fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Gate => "gate",
        }
    }
}
