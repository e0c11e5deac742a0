//! What doesn't train is computed once: the activations behind frozen stages.

use crate::feed::{Feed, Pictures};
use crate::plan::Plan;
use crate::{AdaptError, Request};
use fieldfit_data::{Batch, Dataset};
use fieldfit_exec::{Executor, executor};
use fieldfit_nets::Shape;
use fieldfit_tensor::{Images, Params};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::rc::Rc;

/// The frozen stages at the network's beginning, and what they made of the images so far.
///
/// A view of an image is computed when it is first asked for, with the rest of its slice, and read from then on. Activations
/// are kept as the f32 that they are: what follows computes the bits that it would compute behind the stages themselves, and
/// reading them, be it from a file, is too little of a step's time for f16 to save any (the README has the figures).
pub(crate) struct Beginning {
    /// Of one image's activation.
    shape: Shape,
    /// Of each training image.
    views: u64,
    known: RefCell<Known>,
}

/// A view of an image: whose folder it is in, its number there, and how it is augmented, if it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct View {
    pictures: Pictures,
    sample: usize,
    view: Option<u64>,
}

struct Known {
    executor: Box<dyn Executor<f32>>,
    /// The base's.
    weights: Params<f32>,
    /// Where on the shelf each view is.
    places: BTreeMap<View, usize>,
    shelf: Shelf,
}

impl Beginning {
    /// The stages that the plan freezes, with nothing computed yet; nothing where none are.
    pub fn new(request: &Request<'_>, plan: &Plan) -> Result<Option<Rc<Self>>, AdaptError> {
        let (Some(freeze), Some(shape)) = (&request.options.freeze, plan.frozen_shape()?) else { return Ok(None) };
        let head = plan.random_head(request.options.seed);
        let weights = crate::TrainingState::<f32>::new(request.base, plan.network.clone(), head, |_| false).weights();
        let shelf = if plan.memory.frozen_file == 0 { Shelf::Memory(Vec::new()) } else { Shelf::file(request)? };
        let stages = plan.network.before(plan.frozen);
        let executor = executor(request.options.device, &stages, plan.memory.passes())?;
        let known = RefCell::new(Known { executor, weights, places: BTreeMap::new(), shelf });
        Ok(Some(Rc::new(Self { shape, views: freeze.views.into(), known })))
    }

    /// The view that training sees in that epoch.
    pub const fn view_of(&self, epoch: u64) -> u64 {
        epoch % self.views
    }

    /// Computes what isn't known yet of a slice in that view. `heard` is told how many images are done, and breaks off.
    pub fn look(
        &self,
        feed: &Feed<'_>,
        slice: &[usize],
        view: Option<u64>,
        heard: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, AdaptError> {
        let known = &mut *self.known.borrow_mut();
        let of = |sample| View { pictures: feed.pictures(), sample, view };
        let unknown: Vec<usize> =
            slice.iter().copied().filter(|&sample| !known.places.contains_key(&of(sample))).collect();
        let mut done = slice.len() - unknown.len();
        if unknown.is_empty() {
            return Ok(ControlFlow::Continue(()));
        }
        for batch in feed.pixels(&unknown, view)? {
            let batch = batch?;
            let activations = known.executor.features(&known.weights, &batch.images)?;
            for (row, &sample) in batch.samples.iter().enumerate() {
                let place = known.shelf.put(activations.row(row))?;
                known.places.insert(of(sample), place);
            }
            done += batch.samples.len();
            if heard(done).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// A batch of views that are known, in that order.
    fn batch(&self, dataset: &Dataset, views: &[View]) -> Result<Batch, AdaptError> {
        let Shape { height, width, channels } = self.shape;
        let Known { places, shelf, .. } = &mut *self.known.borrow_mut();
        let mut values = vec![0.0; views.len() * self.shape.len()];
        for (view, out) in views.iter().zip(values.chunks_exact_mut(self.shape.len())) {
            shelf.take(places[view], out)?;
        }
        let samples: Vec<usize> = views.iter().map(|view| view.sample).collect();
        let labels = samples.iter().map(|&sample| dataset.samples[sample].class).collect();
        Ok(Batch { images: Images { count: views.len(), height, width, channels, values }, labels, samples })
    }
}

/// Batches of activations that are known: an iterator in a fixed order.
pub(crate) struct Activations<'a> {
    beginning: Rc<Beginning>,
    dataset: &'a Dataset,
    views: Vec<View>,
    batch: usize,
    next: usize,
}

impl<'a> Activations<'a> {
    /// Batches of that many images in that order, of a slice that was [looked](Beginning::look) at.
    pub fn new(
        beginning: Rc<Beginning>,
        dataset: &'a Dataset,
        pictures: Pictures,
        (order, view): (&[usize], Option<u64>),
        batch: usize,
    ) -> Self {
        let views = order.iter().map(|&sample| View { pictures, sample, view }).collect();
        Self { beginning, dataset, views, batch, next: 0 }
    }
}

impl Iterator for Activations<'_> {
    type Item = Result<Batch, AdaptError>;

    fn next(&mut self) -> Option<Self::Item> {
        let left = &self.views[self.next..];
        let views = &left[..self.batch.min(left.len())];
        self.next += views.len();
        (!views.is_empty()).then(|| self.beginning.batch(self.dataset, views))
    }
}

/// Activations by place, all of one length.
enum Shelf {
    Memory(Vec<Box<[f32]>>),
    /// Without a name: the system takes it back with the process, whatever ends it.
    File {
        file: File,
        /// Where it was made, for errors.
        folder: PathBuf,
        images: usize,
    },
}

impl Shelf {
    /// A file beside the checkpoint; without one, where the system keeps temporary files.
    fn file(request: &Request<'_>) -> Result<Self, AdaptError> {
        let beside = request.checkpoint.and_then(|checkpoint| checkpoint.path.parent());
        let folder = beside.map_or_else(std::env::temp_dir, PathBuf::from);
        match tempfile::tempfile_in(&folder) {
            Ok(file) => Ok(Self::File { file, folder, images: 0 }),
            Err(source) => Err(AdaptError::Shelf { folder, source }),
        }
    }

    /// Puts an activation behind the others; returns its place.
    fn put(&mut self, values: &[f32]) -> Result<usize, AdaptError> {
        match self {
            Self::Memory(rows) => {
                rows.push(values.into());
                Ok(rows.len() - 1)
            }
            Self::File { file, folder, images } => {
                let bytes: &[u8] = bytemuck::cast_slice(values);
                let written = seek(file, *images, bytes.len()).and_then(|()| file.write_all(bytes));
                written.map_err(|source| AdaptError::Shelf { folder: folder.clone(), source })?;
                *images += 1;
                Ok(*images - 1)
            }
        }
    }

    /// Copies the activation at that place.
    fn take(&mut self, place: usize, out: &mut [f32]) -> Result<(), AdaptError> {
        match self {
            Self::Memory(rows) => {
                out.copy_from_slice(&rows[place]);
                Ok(())
            }
            Self::File { file, folder, .. } => {
                let bytes: &mut [u8] = bytemuck::cast_slice_mut(out);
                let read = seek(file, place, bytes.len()).and_then(|()| file.read_exact(bytes));
                read.map_err(|source| AdaptError::Shelf { folder: folder.clone(), source })
            }
        }
    }
}

fn seek(file: &mut File, place: usize, bytes: usize) -> io::Result<()> {
    file.seek(SeekFrom::Start(place as u64 * bytes as u64)).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Control, Freeze, Options, Tracker};
    use fieldfit_data::{Augmentation, FolderOptions};
    use fieldfit_exec::Device;
    use fieldfit_model::Base;
    use fieldfit_tests::tiny;

    const STAGE: &str = "block0";

    /// Feeds of the same images with and without a frozen beginning, and what computes the rest and the whole.
    struct Bench<'a> {
        plan: Plan,
        plain: Feed<'a>,
        frozen: Feed<'a>,
        whole: Box<dyn Executor<f32>>,
        rest: Box<dyn Executor<f32>>,
        weights: Params<f32>,
    }

    impl<'a> Bench<'a> {
        fn new(request: &'a Request<'a>) -> Self {
            let (plan, _) = Plan::new(request).unwrap();
            let device = request.options.device;
            let head = plan.random_head(1);
            let weights =
                crate::TrainingState::<f32>::new(request.base, plan.network.clone(), head, |_| false).weights();
            let plain = Feed::new(request, plan.size, request.base.preprocessing().crop);
            let beginning = Beginning::new(request, &plan).unwrap();
            assert!(beginning.is_some());
            let passes = plan.memory.passes();
            Self {
                frozen: plain.clone().behind(beginning),
                plain,
                whole: executor(device, &plan.network, passes).unwrap(),
                rest: executor(device, &plan.network.after(plan.frozen), passes).unwrap(),
                weights,
                plan,
            }
        }

        /// Asserts that the rest makes of one feed's batches what the whole makes of the other's, to the bit.
        fn same(
            &mut self,
            plain: impl Iterator<Item = Result<Batch, AdaptError>>,
            frozen: impl Iterator<Item = Result<Batch, AdaptError>>,
        ) {
            let (plain, frozen): (Vec<_>, Vec<_>) =
                (plain.map(Result::unwrap).collect(), frozen.map(Result::unwrap).collect());
            assert_eq!(plain.len(), frozen.len());
            for (plain, frozen) in plain.iter().zip(&frozen) {
                assert_eq!((&plain.labels, &plain.samples), (&frozen.labels, &frozen.samples));
                let whole = self.whole.logits(&self.weights, &plain.images).unwrap();
                let rest = self.rest.logits(&self.weights, &frozen.images).unwrap();
                assert!(whole.values.iter().zip(&rest.values).all(|(a, b)| a.to_bits() == b.to_bits()));
            }
        }
    }

    fn run(options: &Options, check: impl Fn(Bench<'_>)) {
        let folder = tempfile::TempDir::new().unwrap();
        let base = Base::open(&tiny::base(folder.path(), 3)).unwrap();
        tiny::images(&folder.path().join("images"), 12, 3);
        let dataset = Dataset::open(&folder.path().join("images"), &FolderOptions::default()).unwrap();
        check(Bench::new(&Request { base: &base, dataset: &dataset, options, active: None, checkpoint: None }));
    }

    fn options(views: u32) -> Options {
        Options {
            method: "lp-ft".into(),
            epochs: 4,
            size: Some(32),
            batch: 8,
            augmentation: Augmentation::Basic,
            freeze: Some(Freeze { stage: STAGE.into(), views }),
            device: Device::Cpu { threads: 1 },
            ..Options::default()
        }
    }

    /// Activations of another image, view or order; labels that were left behind; an epoch taken up in its middle.
    #[test]
    fn what_is_read_is_what_would_be_computed() {
        run(&options(2), |mut bench| {
            let (train, validation) = (bench.plan.split.train.clone(), bench.plan.split.validation.clone());
            for epoch in [1, 0] {
                let (plain, frozen) = (bench.plain.clone(), bench.frozen.clone());
                bench.same(plain.training(&train, epoch, 1).unwrap(), frozen.training(&train, epoch, 1).unwrap());
                bench.same(plain.in_order(&validation).unwrap(), frozen.in_order(&validation).unwrap());
                let view = Some(u64::MAX);
                let whole_slice = |feed: &Feed<'_>| -> Vec<_> {
                    crate::Cycle::new(feed.clone(), &validation).whole_slice(view).unwrap().collect()
                };
                bench.same(whole_slice(&plain).into_iter(), whole_slice(&frozen).into_iter());
            }
        });
    }

    /// A view that is computed again, or another one in its place: epoch 2 of two views sees view 0 in an order of its own.
    #[test]
    fn views_come_in_turn_and_every_epoch_has_its_order() {
        run(&options(2), |bench| {
            let train = bench.plan.split.train.clone();
            let images = |epoch: u64| -> BTreeMap<usize, Vec<f32>> {
                let batches = bench.frozen.training(&train, epoch, 0).unwrap().map(Result::unwrap);
                batches
                    .flat_map(|batch| {
                        (0..batch.samples.len())
                            .map(move |row| (batch.samples[row], batch.images.image(row).to_vec()))
                            .collect::<Vec<_>>()
                    })
                    .collect()
            };
            let order = |epoch: u64| -> Vec<usize> {
                bench.frozen.training(&train, epoch, 0).unwrap().flat_map(|batch| batch.unwrap().samples).collect()
            };
            let first = images(0);
            assert_ne!(images(1), first);
            assert_eq!(images(2), first);
            assert_ne!(order(2), order(0));
        });
    }

    /// Activations that a file cuts off, rounds or mixes up.
    #[test]
    fn a_file_gives_back_the_bits_of_memory() {
        run(&options(1), |mut bench| {
            let beginning = bench.plan.frozen_shape().unwrap().unwrap();
            let memory = bench.frozen.clone();
            bench.plan.memory.frozen_file = 1;
            let mut file = Shelf::File { file: tempfile::tempfile().unwrap(), folder: std::env::temp_dir(), images: 0 };
            let rows: Vec<Vec<f32>> = memory
                .in_order(&bench.plan.split.validation)
                .unwrap()
                .flat_map(|batch| {
                    batch.unwrap().images.values.chunks_exact(beginning.len()).map(<[f32]>::to_vec).collect::<Vec<_>>()
                })
                .collect();
            let places: Vec<usize> = rows.iter().map(|row| file.put(row).unwrap()).collect();
            for (row, place) in rows.iter().zip(places).rev() {
                let mut read = vec![0.0; row.len()];
                file.take(place, &mut read).unwrap();
                assert!(row.iter().zip(&read).all(|(a, b)| a.to_bits() == b.to_bits()));
            }
        });
    }

    /// A run that goes on while it is to stop, or one that does again what it had done by then.
    #[test]
    fn looking_breaks_off_and_goes_on() {
        run(&options(1), |bench| {
            let (control, mut told) = (Control::new(), Vec::new());
            let mut hear = |event: crate::Event| {
                if let crate::Event::Progress { done, .. } = event {
                    told.push(done);
                    control.stop();
                }
            };
            let tracker = &mut Tracker::new(&control, &mut hear);
            let train = &bench.plan.split.train;
            assert!(bench.frozen.look(train, 0, tracker).unwrap().is_break());
            let control = Control::new();
            let mut hear = |event: crate::Event| {
                if let crate::Event::Progress { done, total, .. } = event {
                    assert_eq!(total, train.len());
                    told.push(done);
                }
            };
            assert!(bench.frozen.look(train, 0, &mut Tracker::new(&control, &mut hear)).unwrap().is_continue());
            assert!(told.is_sorted() && told[..2] == [8, 16] && told.last() == Some(&train.len()), "{told:?}");
        });
    }
}
