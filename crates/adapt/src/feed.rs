//! Where batches come from.

use crate::{AdaptError, Request};
use fieldfit_data::{Augmentation, Batch, DataError, Dataset, Loader, LoaderOptions, Preprocessor, shuffled};
use fieldfit_model::Preprocessing;

/// Batches that a [`Cycle`]'s loader is started for at a time.
const ROUND: usize = 64;

/// Makes loaders over slices of the images. What a batch holds depends on the seed, the epoch and its position alone.
#[derive(Clone, Copy)]
pub(crate) struct Feed<'a> {
    dataset: &'a Dataset,
    recipe: &'a Preprocessing,
    size: u32,
    crop: f32,
    batch: usize,
    seed: u64,
    augmentation: Augmentation,
}

impl<'a> Feed<'a> {
    /// Images of that size and crop, otherwise as the request says.
    pub fn new(request: &Request<'a>, size: u32, crop: f32) -> Self {
        let options = request.options;
        Self {
            dataset: request.dataset,
            recipe: request.base.preprocessing(),
            size,
            crop,
            batch: options.batch,
            seed: options.seed,
            augmentation: options.augmentation,
        }
    }

    /// The same with another number of images a batch.
    pub const fn of(self, batch: usize) -> Self {
        Self { batch, ..self }
    }

    /// The same over other images.
    pub const fn over(self, dataset: &'a Dataset) -> Self {
        Self { dataset, ..self }
    }

    /// One epoch of augmented images in random order, from the batch of that number on.
    pub fn training(&self, slice: &[usize], epoch: u64, batch: u64) -> Result<Loader, DataError> {
        let order = shuffled(slice, self.seed, epoch);
        let done = (batch as usize * self.batch).min(order.len());
        self.load(&order[done..], self.batch, epoch, self.augmentation)
    }

    /// Every image once, as at inference.
    pub fn in_order(&self, slice: &[usize]) -> Result<Loader, DataError> {
        self.load(slice, self.batch, 0, Augmentation::None)
    }

    fn load(&self, order: &[usize], batch: usize, epoch: u64, augmentation: Augmentation) -> Result<Loader, DataError> {
        let preprocessor = Preprocessor::new(self.recipe, self.size, self.crop)?;
        let options = LoaderOptions { batch, augmentation, seed: self.seed, epoch, ..LoaderOptions::default() };
        Loader::new(self.dataset, order, &preprocessor, &options)
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
    loader: Option<Loader>,
}

impl<'a> Cycle<'a> {
    pub(crate) fn new(feed: Feed<'a>, slice: &'a [usize]) -> Self {
        Self { feed, slice, batch: feed.batch.min(slice.len()), drawn: 0, loader: None }
    }

    /// The next batch.
    ///
    /// # Errors
    /// If an image can't be loaded any more.
    pub fn next_batch(&mut self) -> Result<Batch, AdaptError> {
        loop {
            let loader = match &mut self.loader {
                Some(loader) => loader,
                empty => {
                    let order = order(self.slice, self.feed.seed, self.drawn, self.batch);
                    empty.insert(self.feed.load(&order, self.batch, 0, Augmentation::None)?)
                }
            };
            if let Some(batch) = loader.next() {
                self.drawn += 1;
                return Ok(batch?);
            }
            self.loader = None;
        }
    }

    /// Every image of the slice once, in order; no draw from the endless batches. `view` augments them as training images
    /// are in an epoch of that number.
    ///
    /// # Errors
    /// If the images can't be prepared.
    pub fn whole_slice(&self, view: Option<u64>) -> Result<Loader, AdaptError> {
        let (epoch, augmentation) = view.map_or((0, Augmentation::None), |view| (view, self.feed.augmentation));
        Ok(self.feed.load(self.slice, self.feed.batch, epoch, augmentation)?)
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
        self.loader = None;
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
