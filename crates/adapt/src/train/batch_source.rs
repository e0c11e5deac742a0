//! Batch source: makes batches of slices of the images, in a fixed order, behind frozen stages where there are some.

use crate::error::AdaptError;
use crate::event::{Event, Phase};
use crate::options::Options;
use crate::train::frozen_prefix::{Activations, FrozenPrefix, ImageSet, View};
use crate::train::reporter::Reporter;
use fieldfit_data::{
    Augmentation, Batch, DataError, Dataset, Loader, LoaderOptions, Preprocessor, ReadFailure, ReadFailures, shuffled,
};
use fieldfit_exec::Device;
use std::ops::ControlFlow;
use std::rc::Rc;

/// Number of batches that a [`Cycle`]'s loader is started for at a time.
const ROUND: usize = 64;

/// Batch source over slices of a data set. What a batch holds depends on the seed, the epoch and its position alone.
///
/// Behind a [`FrozenPrefix`], a batch holds the activations of the images instead of their pixels.
#[derive(Clone)]
pub(crate) struct BatchSource<'a> {
    dataset: &'a Dataset,
    set: ImageSet,
    preprocessor: Preprocessor,
    batch: usize,
    seed: u64,
    augmentation: Augmentation,
    /// Number of threads that make batches.
    threads: usize,
    /// Rows and columns of masks; `None` for the images'.
    mask_size: Option<[usize; 2]>,
    /// Targets that a flip negates; `None` if images with values are not flipped.
    negated_by_flips: Option<Vec<usize>>,
    prefix: Option<Rc<FrozenPrefix>>,
    /// Images that can't be read any more: batches go on without them.
    failures: ReadFailures,
}

impl<'a> BatchSource<'a> {
    /// Creates a source of a data set's images, preprocessed so. Images that cannot be read any more are counted in
    /// `failures`.
    pub fn new(dataset: &'a Dataset, preprocessor: Preprocessor, options: &Options, failures: &ReadFailures) -> Self {
        Self {
            dataset,
            set: ImageSet::Labelled,
            preprocessor,
            batch: options.batch,
            seed: options.seed,
            augmentation: options.augmentation,
            threads: loading(options.device),
            mask_size: None,
            negated_by_flips: None,
            prefix: None,
            failures: failures.clone(),
        }
    }

    /// The same with another number of images a batch.
    pub fn of(self, batch: usize) -> Self {
        Self { batch, ..self }
    }

    /// The same with masks of these rows and columns.
    pub fn with_masks(self, mask_size: Option<[usize; 2]>) -> Self {
        Self { mask_size, ..self }
    }

    /// The same with flips of images with values, which negate these targets.
    pub fn with_flips(self, negated_by_flips: Option<Vec<usize>>) -> Self {
        Self { negated_by_flips, ..self }
    }

    /// The same over images on which the base's predictions are to stay what they are.
    pub fn over_retained(self, dataset: &'a Dataset) -> Self {
        Self { dataset, set: ImageSet::Retained, failures: ReadFailures::new(dataset), ..self }
    }

    /// The same behind frozen stages, if there are some.
    pub fn behind(self, prefix: Option<Rc<FrozenPrefix>>) -> Self {
        Self { prefix, ..self }
    }

    /// One epoch of augmented images in random order, from the batch of that number on.
    pub fn training(&self, slice: &[usize], epoch: u64, batch: u64) -> Result<Numbered, AdaptError> {
        let order = shuffled(slice, self.seed, epoch);
        let done = (batch as usize * self.batch).min(order.len());
        let batches = self.batches(slice, &order[done..], self.batch, Some(self.training_view(epoch)))?;
        Ok(Numbered { batches, order, batch: self.batch })
    }

    /// Reports the images that became unreadable since the last call.
    pub fn report_failures(&self, reporter: &mut Reporter<'_>) {
        for ReadFailure { path, reason, .. } in self.failures.take_new() {
            reporter.report(Event::Unreadable { path, reason });
        }
    }

    /// Every image once, as at inference.
    pub fn in_order(&self, slice: &[usize]) -> Result<Batches, AdaptError> {
        self.batches(slice, slice, self.batch, None)
    }

    /// Computes the activations of that epoch's images that the frozen stages, if there are some, don't know yet; breaks
    /// off, with nothing lost, if the run is to stop.
    pub fn fill(
        &self,
        slice: &[usize],
        epoch: u64,
        reporter: &mut Reporter<'_>,
    ) -> Result<ControlFlow<()>, AdaptError> {
        let total = slice.len();
        self.fill_view(slice, self.told_apart(Some(self.training_view(epoch))), &mut |done| {
            reporter.report(Event::Progress { phase: Phase::Frozen, done, total });
            if reporter.is_stopped() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
    }

    fn fill_view(
        &self,
        slice: &[usize],
        view: Option<u64>,
        report: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, AdaptError> {
        let Some(prefix) = &self.prefix else { return Ok(ControlFlow::Continue(())) };
        let readable = slice.iter().filter(|&&sample| !self.failures.contains(sample));
        let views: Vec<_> = readable.map(|&sample| View { set: self.set, sample, view }).collect();
        prefix.fill(&views, &mut |unknown| self.pixels(unknown, view), report)
    }

    /// The view that training sees in that epoch.
    fn training_view(&self, epoch: u64) -> u64 {
        self.prefix.as_ref().map_or(epoch, |prefix| prefix.view_of(epoch))
    }

    /// Batches of some of a slice, in that order and view.
    fn batches(
        &self,
        slice: &[usize],
        order: &[usize],
        batch: usize,
        view: Option<u64>,
    ) -> Result<Batches, AdaptError> {
        let Some(prefix) = &self.prefix else { return Ok(Batches(Kind::Images(self.load(order, batch, view)?))) };
        let view = self.told_apart(view);
        let _ = self.fill_view(slice, view, &mut |_| ControlFlow::Continue(()))?;
        let views = order.iter().map(|&sample| View { set: self.set, sample, view }).collect();
        Ok(Batches(Kind::Activations(Activations::new(prefix.clone(), views, batch))))
    }

    /// The view's key: views that don't differ have one.
    fn told_apart(&self, view: Option<u64>) -> Option<u64> {
        view.filter(|_| self.augmentation != Augmentation::None)
    }

    /// The images themselves in that order and view, whatever is frozen.
    pub fn pixels(&self, order: &[usize], view: Option<u64>) -> Result<Loader, DataError> {
        self.load(order, self.batch, view)
    }

    fn load(&self, order: &[usize], batch: usize, view: Option<u64>) -> Result<Loader, DataError> {
        let (epoch, augmentation) = view.map_or((0, Augmentation::None), |view| (view, self.augmentation));
        let (seed, threads, mask_size) = (self.seed, self.threads, self.mask_size);
        let negated_by_flips = self.negated_by_flips.clone();
        let options = LoaderOptions {
            batch,
            augmentation,
            seed,
            epoch,
            threads,
            mask_size,
            negated_by_flips,
            ..LoaderOptions::default()
        };
        Ok(Loader::new(self.dataset, order, &self.preprocessor, &options)?.recording(&self.failures))
    }
}

/// Number of threads that make batches: no more than compute, so that a run beside frames leaves them the other cores.
fn loading(device: Device) -> usize {
    let most = LoaderOptions::default().threads;
    match device {
        Device::Cpu { threads } => threads.clamp(1, most),
        Device::Cuda { .. } | Device::Metal | Device::Candle => most,
    }
}

/// Iterator over batches in a fixed order: of images, or of their activations behind frozen stages.
pub struct Batches(Kind);

enum Kind {
    Images(Loader),
    Activations(Activations),
}

impl Iterator for Batches {
    type Item = Result<Batch, AdaptError>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Kind::Images(loader) => Some(loader.next()?.map_err(AdaptError::from)),
            Kind::Activations(activations) => activations.next(),
        }
    }
}

/// Iterator over an epoch's batches with their numbers in it: one whose images all became unreadable is passed over.
pub(crate) struct Numbered {
    batches: Batches,
    /// Order of the whole epoch.
    order: Vec<usize>,
    batch: usize,
}

impl Iterator for Numbered {
    type Item = Result<(u64, Batch), AdaptError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = match self.batches.next()? {
            Ok(batch) => batch,
            Err(error) => return Some(Err(error)),
        };
        let position = batch.samples.first().and_then(|first| self.order.iter().position(|sample| sample == first));
        Some(Ok(((position.unwrap_or_default() / self.batch) as u64, batch)))
    }
}

/// Endless batches of a slice without augmentation: pass after pass in random order, cut into full batches.
///
/// A slice smaller than a batch is a batch.
pub struct Cycle<'a> {
    source: BatchSource<'a>,
    slice: &'a [usize],
    batch: usize,
    drawn: u64,
    batches: Option<Batches>,
    /// The next batch, loaded ahead.
    ahead: Option<Batch>,
}

impl<'a> Cycle<'a> {
    pub(crate) fn new(source: BatchSource<'a>, slice: &'a [usize]) -> Self {
        Self { batch: source.batch.min(slice.len()), source, slice, drawn: 0, batches: None, ahead: None }
    }

    /// Returns the next batch.
    ///
    /// # Errors
    /// If an image can't be loaded any more.
    pub fn next_batch(&mut self) -> Result<Batch, AdaptError> {
        loop {
            self.load_ahead()?;
            if let Some(batch) = self.ahead.take() {
                self.drawn += 1;
                return Ok(batch);
            }
        }
    }

    /// Loads the next batch, so that [`next_batch`](Self::next_batch) reads no file.
    ///
    /// # Errors
    /// If an image can't be loaded any more. Nothing is drawn then.
    pub(crate) fn load_ahead(&mut self) -> Result<(), AdaptError> {
        while self.ahead.is_none() {
            let batches = match &mut self.batches {
                Some(batches) => batches,
                empty => {
                    let order = order(self.slice, self.source.seed, self.drawn, self.batch);
                    empty.insert(self.source.batches(self.slice, &order, self.batch, None)?)
                }
            };
            match batches.next().transpose() {
                Ok(Some(batch)) => self.ahead = Some(batch),
                Ok(None) => self.batches = None,
                Err(error) => {
                    self.batches = None;
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Returns every image of the slice once, in order, without drawing from the endless batches. `view` augments them as training images
    /// are in an epoch of that number.
    ///
    /// # Errors
    /// If the images can't be prepared.
    pub fn whole_slice(&self, view: Option<u64>) -> Result<Batches, AdaptError> {
        self.source.batches(self.slice, self.slice, self.source.batch, view)
    }

    /// Number of images in the slice.
    pub const fn images(&self) -> usize {
        self.slice.len()
    }

    /// Number of batches drawn.
    pub(crate) const fn drawn(&self) -> u64 {
        self.drawn
    }

    /// Goes on as if that many batches had been drawn.
    pub(crate) fn skip_to(&mut self, drawn: u64) {
        self.drawn = drawn;
        (self.batches, self.ahead) = (None, None);
    }
}

/// The samples of the next [`ROUND`] batches after those drawn.
fn order(slice: &[usize], seed: u64, drawn: u64, batch: usize) -> Vec<usize> {
    let length = slice.len().max(1) as u64;
    let start = drawn * batch as u64;
    let passes = (start / length..).flat_map(|pass| shuffled(slice, seed, pass));
    passes.skip((start % length) as usize).take(ROUND * batch).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a stream that depends on where it was resumed: a resumed run would see other validation images.
    #[test]
    fn a_cycle_resumed_anywhere_goes_on_as_it_would_have() {
        let slice: Vec<usize> = (100..123).collect();
        let whole = order(&slice, 5, 0, 4);
        for drawn in 0..20 {
            let resumed = order(&slice, 5, drawn, 4);
            let done = drawn as usize * 4;
            assert_eq!(resumed[..whole.len() - done], whole[done..]);
        }
    }

    /// Catches: images that are drawn more often than others, or passes in one and the same order.
    #[test]
    fn every_pass_is_a_new_order_of_the_whole_slice() {
        let slice: Vec<usize> = (100..123).collect();
        let stream = order(&slice, 5, 0, 4);
        let sorted = |pass: &[usize]| {
            let mut pass = pass.to_vec();
            pass.sort_unstable();
            pass
        };
        assert_eq!(sorted(&stream[..23]), slice);
        assert_eq!(sorted(&stream[23..46]), slice);
        assert_ne!(stream[..23], stream[23..46]);
    }
}
