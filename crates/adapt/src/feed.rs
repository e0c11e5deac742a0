//! Where batches come from.

use crate::frozen::{Activations, Beginning};
use crate::{AdaptError, Event, Phase, Request, Tracker};
use fieldfit_data::{
    Augmentation, Batch, DataError, Dataset, Loader, LoaderOptions, Preprocessor, ReadFailures, shuffled,
};
use fieldfit_exec::Device;
use fieldfit_tensor::Preprocessing;
use std::ops::ControlFlow;
use std::rc::Rc;

/// Batches that a [`Cycle`]'s loader is started for at a time.
const ROUND: usize = 64;

/// Whose pictures a feed hands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pictures {
    /// Those to learn from.
    Learned,
    /// Those on which the base's predictions are to stay what they are.
    Retained,
}

/// Makes batches of slices of the images. What a batch holds depends on the seed, the epoch and its position alone.
///
/// Behind a frozen [`Beginning`], a batch holds what that made of the images.
#[derive(Clone)]
pub(crate) struct Feed<'a> {
    dataset: &'a Dataset,
    pictures: Pictures,
    recipe: &'a Preprocessing,
    size: u32,
    crop: f32,
    batch: usize,
    seed: u64,
    augmentation: Augmentation,
    /// Threads that make batches.
    threads: usize,
    beginning: Option<Rc<Beginning>>,
    /// Images that training passed over because they can't be read any more.
    failures: ReadFailures,
}

impl<'a> Feed<'a> {
    /// Images of that size and crop, otherwise as the request says.
    pub fn new(request: &Request<'a>, size: u32, crop: f32) -> Self {
        let options = request.options;
        Self {
            dataset: request.dataset,
            pictures: Pictures::Learned,
            recipe: request.base.preprocessing(),
            size,
            crop,
            batch: options.batch,
            seed: options.seed,
            augmentation: options.augmentation,
            threads: loading(options.device),
            beginning: None,
            failures: ReadFailures::new(request.dataset),
        }
    }

    /// The same with another number of images a batch.
    pub fn of(self, batch: usize) -> Self {
        Self { batch, ..self }
    }

    /// The same over images on which the base's predictions are to stay what they are.
    pub fn over_retained(self, dataset: &'a Dataset) -> Self {
        Self { dataset, pictures: Pictures::Retained, failures: ReadFailures::new(dataset), ..self }
    }

    /// The same behind frozen stages, if there are some.
    pub fn behind(self, beginning: Option<Rc<Beginning>>) -> Self {
        Self { beginning, ..self }
    }

    /// Whose pictures these are.
    pub const fn pictures(&self) -> Pictures {
        self.pictures
    }

    /// One epoch of augmented images in random order, from the batch of that number on.
    pub fn training(&self, slice: &[usize], epoch: u64, batch: u64) -> Result<Batches<'a>, AdaptError> {
        let order = shuffled(slice, self.seed, epoch);
        let done = (batch as usize * self.batch).min(order.len());
        Ok(self.batches(slice, &order[done..], self.batch, Some(self.training_view(epoch)))?.recording(&self.failures))
    }

    /// Record of the images that became unreadable while training.
    pub const fn failures(&self) -> &ReadFailures {
        &self.failures
    }

    /// Every image once, as at inference.
    pub fn in_order(&self, slice: &[usize]) -> Result<Batches<'a>, AdaptError> {
        self.batches(slice, slice, self.batch, None)
    }

    /// Has the frozen stages, if there are some, look at what they don't know yet of that epoch's images; breaks off, with
    /// nothing lost, if the run is to stop.
    pub fn look(&self, slice: &[usize], epoch: u64, tracker: &mut Tracker<'_>) -> Result<ControlFlow<()>, AdaptError> {
        let Some(beginning) = &self.beginning else { return Ok(ControlFlow::Continue(())) };
        let total = slice.len();
        beginning.look(self, slice, self.told_apart(Some(self.training_view(epoch))), &mut |done| {
            tracker.tell(Event::Progress { phase: Phase::Frozen, done, total });
            if tracker.is_stopped() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
    }

    /// Which view training sees in that epoch.
    fn training_view(&self, epoch: u64) -> u64 {
        self.beginning.as_ref().map_or(epoch, |beginning| beginning.view_of(epoch))
    }

    /// Batches of some of a slice, in that order and view.
    fn batches(
        &self,
        slice: &[usize],
        order: &[usize],
        batch: usize,
        view: Option<u64>,
    ) -> Result<Batches<'a>, AdaptError> {
        let Some(beginning) = &self.beginning else { return Ok(Batches(Kind::Images(self.load(order, batch, view)?))) };
        let view = self.told_apart(view);
        let _ = beginning.look(self, slice, view, &mut |_| ControlFlow::Continue(()))?;
        let known = Activations::new(beginning.clone(), self.dataset, self.pictures, (order, view), batch);
        Ok(Batches(Kind::Activations(known)))
    }

    /// Views that don't differ are one.
    fn told_apart(&self, view: Option<u64>) -> Option<u64> {
        view.filter(|_| self.augmentation != Augmentation::None)
    }

    /// The images themselves in that order and view, whatever is frozen.
    pub fn pixels(&self, order: &[usize], view: Option<u64>) -> Result<Loader, DataError> {
        self.load(order, self.batch, view)
    }

    fn load(&self, order: &[usize], batch: usize, view: Option<u64>) -> Result<Loader, DataError> {
        let (epoch, augmentation) = view.map_or((0, Augmentation::None), |view| (view, self.augmentation));
        let preprocessor = Preprocessor::new(self.recipe, self.size, self.crop)?;
        let (seed, threads) = (self.seed, self.threads);
        let options = LoaderOptions { batch, augmentation, seed, epoch, threads, ..LoaderOptions::default() };
        Loader::new(self.dataset, order, &preprocessor, &options)
    }
}

/// Threads that make batches: no more than compute, so that a run beside frames leaves them the other cores.
fn loading(device: Device) -> usize {
    let most = LoaderOptions::default().threads;
    match device {
        Device::Cpu { threads } => threads.clamp(1, most),
        Device::Cuda { .. } | Device::Metal | Device::Candle => most,
    }
}

/// Batches in a fixed order, for the stages that the session computes: of images, or of what frozen stages made of them.
pub struct Batches<'a>(Kind<'a>);

enum Kind<'a> {
    Images(Loader),
    Activations(Activations<'a>),
}

impl Batches<'_> {
    /// Passes over images that can't be read any more, and records them. Activations that are known need no image.
    fn recording(self, failures: &ReadFailures) -> Self {
        match self.0 {
            Kind::Images(loader) => Self(Kind::Images(loader.recording(failures))),
            Kind::Activations(activations) => Self(Kind::Activations(activations)),
        }
    }
}

impl Iterator for Batches<'_> {
    type Item = Result<Batch, AdaptError>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Kind::Images(loader) => Some(loader.next()?.map_err(AdaptError::from)),
            Kind::Activations(activations) => activations.next(),
        }
    }
}

/// Batches of a slice without end and without augmentation: pass after pass in random order, cut into full batches.
///
/// A slice smaller than a batch is a batch.
pub struct Cycle<'a> {
    feed: Feed<'a>,
    slice: &'a [usize],
    batch: usize,
    drawn: u64,
    batches: Option<Batches<'a>>,
}

impl<'a> Cycle<'a> {
    pub(crate) fn new(feed: Feed<'a>, slice: &'a [usize]) -> Self {
        Self { batch: feed.batch.min(slice.len()), feed, slice, drawn: 0, batches: None }
    }

    /// The next batch.
    ///
    /// # Errors
    /// If an image can't be loaded any more.
    pub fn next_batch(&mut self) -> Result<Batch, AdaptError> {
        loop {
            let batches = match &mut self.batches {
                Some(batches) => batches,
                empty => {
                    let order = order(self.slice, self.feed.seed, self.drawn, self.batch);
                    let batches = self.feed.batches(self.slice, &order, self.batch, None)?;
                    empty.insert(batches.recording(&self.feed.failures))
                }
            };
            if let Some(batch) = batches.next() {
                self.drawn += 1;
                return batch;
            }
            self.batches = None;
        }
    }

    /// Every image of the slice once, in order; no draw from the endless batches. `view` augments them as training images
    /// are in an epoch of that number.
    ///
    /// # Errors
    /// If the images can't be prepared.
    pub fn whole_slice(&self, view: Option<u64>) -> Result<Batches<'a>, AdaptError> {
        self.feed.batches(self.slice, self.slice, self.feed.batch, view)
    }

    /// How many images the slice has.
    pub const fn images(&self) -> usize {
        self.slice.len()
    }

    /// How many batches were drawn.
    pub(crate) const fn drawn(&self) -> u64 {
        self.drawn
    }

    /// Goes on as if that many batches had been drawn.
    pub(crate) fn skip_to(&mut self, drawn: u64) {
        self.drawn = drawn;
        self.batches = None;
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

    /// A stream that depends on where it was resumed: a resumed run would see other validation images.
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

    /// Images that are drawn more often than others, or passes in one and the same order.
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
