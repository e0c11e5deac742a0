//! Pixel features: features of some pixels of each image, drawn at random, with their classes.

use crate::error::AdaptError;
use crate::plan::memory::PROBED_PIXELS;
use crate::plan::run::Run;
use crate::train::labelled_features::LabelledFeatures;
use fieldfit_data::{Batch, Masks, Targets};
use fieldfit_exec::{ExecError, Executor, executor};
use fieldfit_nets::{Network, Shape};
use fieldfit_tensor::{Matrix, Params};
use rand::seq::index;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// The most pixels of all images, as long as each has some.
const ALL_PIXELS: usize = 1 << 16;
/// The fewest pixels of an image.
const FEWEST: usize = 16;
/// Stream of a sample's generator that pixels are drawn from, beside its index.
const PIXEL_STREAM: u64 = 1 << 32;

/// Part of a dense network that computes the features that its head reads, and what draws pixels of them.
pub(crate) struct PixelFeatures {
    executor: Box<dyn Executor<f32>>,
    /// Shape of the features of one image.
    shape: Shape,
    /// Pixels of each image.
    pixels: usize,
    seed: u64,
}

impl PixelFeatures {
    /// Features of the run's network; `None` if it is not dense. `images` is the number of images that are drawn from.
    ///
    /// # Errors
    /// If the network cannot be computed.
    pub fn of(run: Run<'_>, images: usize) -> Result<Option<Self>, AdaptError> {
        let (options, plan) = (run.request.options, run.plan);
        let Some(network) = plan.network.pixel_features() else { return Ok(None) };
        let shape = feature_shape(&network, plan.input)?;
        let executor = executor(options.device, &network, plan.memory.passes())?;
        let pixels = (ALL_PIXELS / images.max(1)).clamp(FEWEST, PROBED_PIXELS);
        Ok(Some(Self { executor, shape, pixels, seed: options.seed }))
    }

    /// Appends the features and classes of pixels of a batch's images.
    ///
    /// # Errors
    /// If the images do not fit the network, or the device fails.
    pub fn extend(
        &mut self,
        out: &mut LabelledFeatures,
        weights: &Params<f32>,
        batch: &Batch,
    ) -> Result<(), AdaptError> {
        let Targets::Masks(masks) = &batch.targets else { return Ok(()) };
        let features = self.executor.features(weights, &batch.images)?;
        for (image, &sample) in batch.samples.iter().enumerate() {
            let drawn = self.drawn(sample, masks, image);
            let channels = self.shape.channels;
            let row = |pixel: usize| &features.row(image)[pixel * channels..][..channels];
            let values: Vec<f32> = drawn.iter().flat_map(|&(pixel, _)| row(pixel)).copied().collect();
            let classes = Targets::Classes(drawn.iter().map(|&(_, class)| class.into()).collect());
            out.extend(Matrix { rows: drawn.len(), columns: channels, values }, &classes);
        }
        Ok(())
    }

    /// Draws pixels of an image's features that count, in order, with the class of the mask's nearest pixel.
    fn drawn(&self, sample: usize, masks: &Masks, image: usize) -> Vec<(usize, u8)> {
        let Shape { height, width, .. } = self.shape;
        let mask = masks.nearest(image, [height, width]);
        let counted: Vec<(usize, u8)> = mask.enumerate().filter(|(_, class)| *class != Masks::IGNORED).collect();
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        random.set_stream(PIXEL_STREAM + sample as u64);
        let mut drawn = index::sample(&mut random, counted.len(), self.pixels.min(counted.len())).into_vec();
        drawn.sort_unstable();
        drawn.into_iter().map(|position| counted[position]).collect()
    }
}

fn feature_shape(network: &Network, [height, width]: [usize; 2]) -> Result<Shape, ExecError> {
    let shapes = network.shapes(height, width)?;
    Ok(shapes.last().copied().unwrap_or(Shape { height, width, channels: network.channels }))
}
