//! Tests of the frozen prefix behind a batch source.

use crate::error::AdaptError;
use crate::event::Event;
use crate::options::{Freeze, Options};
use crate::plan::run::Run;
use crate::plan::run_plan::RunPlan;
use crate::request::AdaptRequest;
use crate::train::batch_source::{BatchSource, Cycle};
use crate::train::control::Control;
use crate::train::reporter::Reporter;
use crate::train::training_state::TrainingState;
use fieldfit_data::{Augmentation, Batch, Dataset, FolderOptions, Preprocessor};
use fieldfit_exec::{Device, Executor, executor};
use fieldfit_model::Base;
use fieldfit_tensor::Params;
use fieldfit_tests::tiny;
use std::collections::BTreeMap;

const STAGE: &str = "block0";

/// Sources of the same images with and without a frozen prefix, and what computes the rest and the whole.
struct Bench<'a> {
    plan: RunPlan,
    plain: BatchSource<'a>,
    frozen: BatchSource<'a>,
    whole: Box<dyn Executor<f32>>,
    rest: Box<dyn Executor<f32>>,
    weights: Params<f32>,
}

impl<'a> Bench<'a> {
    fn new(request: &'a AdaptRequest<'a>) -> Self {
        let (plan, _) = RunPlan::new(request, &Control::new()).unwrap();
        let device = request.options.device;
        let head = plan.random_head(1);
        let weights = TrainingState::<f32>::new(request.base, plan.network.clone(), head, |_| false).weights();
        let preprocessing = request.base.preprocessing();
        let preprocessor = Preprocessor::new(preprocessing, plan.size, preprocessing.crop).unwrap();
        let plain = BatchSource::new(request.dataset, preprocessor, request.options, &plan.failures);
        let prefix = Run { request, plan: &plan }.frozen_prefix().unwrap();
        assert!(prefix.is_some());
        let passes = plan.memory.passes();
        Self {
            frozen: plain.clone().behind(prefix),
            plain,
            whole: executor(device, &plan.network, passes).unwrap(),
            rest: executor(device, &plan.network.after(plan.frozen).unwrap(), passes).unwrap(),
            weights,
            plan,
        }
    }

    /// Asserts that the rest makes of one source's batches what the whole makes of the other's, to the bit.
    fn same(
        &mut self,
        plain: impl Iterator<Item = Result<Batch, AdaptError>>,
        frozen: impl Iterator<Item = Result<Batch, AdaptError>>,
    ) {
        let (plain, frozen): (Vec<_>, Vec<_>) =
            (plain.map(Result::unwrap).collect(), frozen.map(Result::unwrap).collect());
        assert_eq!(plain.len(), frozen.len());
        for (plain, frozen) in plain.iter().zip(&frozen) {
            assert_eq!((&plain.targets, &plain.samples), (&frozen.targets, &frozen.samples));
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
    check(Bench::new(&AdaptRequest {
        base: &base,
        dataset: &dataset,
        options,
        methods: &[],
        active: None,
        start: None,
        checkpoint: None,
    }));
}

/// An epoch's batches from that one on.
fn epoch_of<'a>(
    source: &BatchSource<'a>,
    slice: &[usize],
    epoch: u64,
    from: u64,
) -> impl Iterator<Item = Result<Batch, AdaptError>> + use<'a> {
    source.training(slice, epoch, from).unwrap().map(|batch| batch.map(|(_, batch)| batch))
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

/// Catches: activations of another image, view or order; labels that were left behind; an epoch taken up in its middle.
#[test]
fn what_is_read_is_what_would_be_computed() {
    run(&options(2), |mut bench| {
        let (train, validation) = (bench.plan.split.train.clone(), bench.plan.split.validation.clone());
        for epoch in [1, 0] {
            let (plain, frozen) = (bench.plain.clone(), bench.frozen.clone());
            bench.same(epoch_of(&plain, &train, epoch, 1), epoch_of(&frozen, &train, epoch, 1));
            bench.same(plain.in_order(&validation).unwrap(), frozen.in_order(&validation).unwrap());
            let view = Some(u64::MAX);
            let whole_slice = |source: &BatchSource<'_>| -> Vec<_> {
                Cycle::new(source.clone(), &validation).whole_slice(view).unwrap().collect()
            };
            bench.same(whole_slice(&plain).into_iter(), whole_slice(&frozen).into_iter());
        }
    });
}

/// Catches: a view that is computed again, or another one in its place: epoch 2 of two views sees view 0 in an order of its own.
#[test]
fn views_come_in_turn_and_every_epoch_has_its_order() {
    run(&options(2), |bench| {
        let train = bench.plan.split.train.clone();
        let images = |epoch: u64| -> BTreeMap<usize, Vec<f32>> {
            let batches = epoch_of(&bench.frozen, &train, epoch, 0).map(Result::unwrap);
            batches
                .flat_map(|batch| {
                    (0..batch.samples.len())
                        .map(move |row| (batch.samples[row], batch.images.image(row).to_vec()))
                        .collect::<Vec<_>>()
                })
                .collect()
        };
        let order = |epoch: u64| -> Vec<usize> {
            epoch_of(&bench.frozen, &train, epoch, 0).flat_map(|batch| batch.unwrap().samples).collect()
        };
        let first = images(0);
        assert_ne!(images(1), first);
        assert_eq!(images(2), first);
        assert_ne!(order(2), order(0));
    });
}

/// Catches: a run that goes on while it is to stop, or one that does again what it had done by then.
#[test]
fn filling_breaks_off_and_goes_on() {
    run(&options(1), |bench| {
        let (control, mut told) = (Control::new(), Vec::new());
        let mut hear = |event: Event| {
            if let Event::Progress { done, .. } = event {
                told.push(done);
                control.stop();
            }
        };
        let reporter = &mut Reporter::new(&control, &mut hear);
        let train = &bench.plan.split.train;
        assert!(bench.frozen.fill(train, 0, reporter).unwrap().is_break());
        let control = Control::new();
        let mut hear = |event: Event| {
            if let Event::Progress { done, total, .. } = event {
                assert_eq!(total, train.len());
                told.push(done);
            }
        };
        assert!(bench.frozen.fill(train, 0, &mut Reporter::new(&control, &mut hear)).unwrap().is_continue());
        assert!(told.is_sorted() && told[..2] == [8, 16] && told.last() == Some(&train.len()), "{told:?}");
    });
}
