//! Frozen prefix: computes the activations behind frozen stages once for each view of an image.

use crate::error::AdaptError;
use crate::train::activation_cache::ActivationCache;
use fieldfit_data::{Batch, DataError, Loader, Targets};
use fieldfit_exec::Executor;
use fieldfit_nets::Shape;
use fieldfit_tensor::{Images, Params};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::rc::Rc;

/// Frozen stages at the network's start, and the activations that they made of images so far.
///
/// A view of an image is computed when it is first asked for, with the rest of its slice, and read from then on. Activations
/// are kept as the f32 that they are: what follows computes the bits that it would compute behind the stages themselves.
pub(crate) struct FrozenPrefix {
    /// Shape of one image's activation.
    shape: Shape,
    /// Number of views of each training image.
    views: u64,
    known: RefCell<Known>,
}

/// Set of images that a view belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ImageSet {
    /// The labelled images.
    Labelled,
    /// Retained images, on which the base's predictions should stay as they are.
    Retained,
}

/// View of an image: its set, its index there, and how it is augmented, if it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct View {
    pub set: ImageSet,
    pub sample: usize,
    pub view: Option<u64>,
}

struct Known {
    executor: Box<dyn Executor<f32>>,
    /// The base's.
    weights: Params<f32>,
    positions: BTreeMap<View, Position>,
    cache: ActivationCache,
    /// Targets of the views of each set, which may be of different kinds. A mask is augmented as its image is.
    targets: BTreeMap<ImageSet, SetTargets>,
}

/// Position of a view.
#[derive(Debug, Clone, Copy)]
struct Position {
    /// In the cache.
    activation: usize,
    /// Among the targets of its set.
    target: usize,
}

/// Targets of the views of one set.
#[derive(Default)]
struct SetTargets {
    count: usize,
    targets: Targets,
}

impl SetTargets {
    /// Appends a target of a batch; returns its position.
    fn push(&mut self, targets: &Targets, row: usize) -> usize {
        if self.count == 0 {
            self.targets = targets.empty();
        }
        self.targets.push_from(targets, row);
        self.count += 1;
        self.count - 1
    }
}

/// Loads the images of these samples, in that order.
type Load<'l> = dyn FnMut(&[usize]) -> Result<Loader, DataError> + 'l;

impl FrozenPrefix {
    /// Frozen stages with nothing computed yet. `executor` computes them at `weights`, `shape` is what they make of one
    /// image, and `views` the number of views of each training image.
    pub fn new(
        executor: Box<dyn Executor<f32>>,
        weights: Params<f32>,
        cache: ActivationCache,
        shape: Shape,
        views: u32,
    ) -> Self {
        let known =
            RefCell::new(Known { executor, weights, positions: BTreeMap::new(), cache, targets: BTreeMap::new() });
        Self { shape, views: views.into(), known }
    }

    /// The view that training sees in that epoch.
    pub const fn view_of(&self, epoch: u64) -> u64 {
        epoch % self.views
    }

    /// Computes those of the views that aren't known yet, which `load` loads. They are of one set and one view. `report` is told the number of images done,
    /// and may break off.
    pub fn fill(
        &self,
        views: &[View],
        load: &mut Load<'_>,
        report: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, AdaptError> {
        let known = &mut *self.known.borrow_mut();
        let unknown: Vec<View> = views.iter().copied().filter(|view| !known.positions.contains_key(view)).collect();
        let mut done = views.len() - unknown.len();
        let Some(&first) = unknown.first() else { return Ok(ControlFlow::Continue(())) };
        let order: Vec<usize> = unknown.iter().map(|view| view.sample).collect();
        for batch in load(&order)? {
            let batch = batch?;
            let activations = known.executor.features(&known.weights, &batch.images)?;
            for (row, &sample) in batch.samples.iter().enumerate() {
                let activation = known.cache.push(activations.row(row))?;
                let target = known.targets.entry(first.set).or_default().push(&batch.targets, row);
                known.positions.insert(View { sample, ..first }, Position { activation, target });
            }
            done += batch.samples.len();
            if report(done).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Batch of those of the views that are known, in that order: images that can't be read any more are not.
    fn batch(&self, views: &[View]) -> Result<Batch, AdaptError> {
        let Shape { height, width, channels } = self.shape;
        let Known { positions, cache, targets: known, .. } = &mut *self.known.borrow_mut();
        let views: Vec<View> = views.iter().copied().filter(|view| positions.contains_key(view)).collect();
        let mut values = vec![0.0; views.len() * self.shape.len()];
        for (view, out) in views.iter().zip(values.chunks_exact_mut(self.shape.len())) {
            cache.copy_to(positions[view].activation, out)?;
        }
        let samples: Vec<usize> = views.iter().map(|view| view.sample).collect();
        let of_set = |view: &View| &known[&view.set].targets;
        let mut targets = views.first().map_or_else(Targets::default, |view| of_set(view).empty());
        views.iter().for_each(|view| targets.push_from(of_set(view), positions[view].target));
        Ok(Batch { images: Images { count: views.len(), height, width, channels, values }, targets, samples })
    }
}

/// Iterator over batches of activations that are known, in a fixed order.
pub(crate) struct Activations {
    prefix: Rc<FrozenPrefix>,
    views: Vec<View>,
    batch: usize,
    next: usize,
}

impl Activations {
    /// Batches of that many images, of views that were [filled](FrozenPrefix::fill) in.
    pub const fn new(prefix: Rc<FrozenPrefix>, views: Vec<View>, batch: usize) -> Self {
        Self { prefix, views, batch, next: 0 }
    }
}

impl Iterator for Activations {
    type Item = Result<Batch, AdaptError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.next < self.views.len() {
            let left = &self.views[self.next..];
            let views = &left[..self.batch.min(left.len())];
            self.next += views.len();
            let batch = self.prefix.batch(views);
            if !batch.as_ref().is_ok_and(|batch| batch.samples.is_empty()) {
                return Some(batch);
            }
        }
        None
    }
}
