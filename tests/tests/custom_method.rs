//! Custom methods: a method from outside the workspace's crates trains, resumes, fails and panics as a built-in one does.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests, and methods that panic on purpose")]

#[allow(dead_code, reason = "the example's `main` is for people")]
#[path = "../../crates/fieldfit/examples/custom_method.rs"]
mod example;

use fieldfit::data::{Dataset, FolderOptions, Fractions};
use fieldfit::delta::Codec;
use fieldfit::model::Base;
use fieldfit::store::Store;
use fieldfit::train::method::{
    Batch, CheckpointDamage, ConstraintSet, ExecError, HeadStart, HostSession, HostSteps, Method, MethodEntry, Network,
    Norm, Objective, Reporter, Requirements, ResumePoint, Setting, Steps, TensorSpec, TrainingState,
};
use fieldfit::train::{AdaptError, Adapted, Coding, Comparison, Control, Event, Options};
use fieldfit::{Device, Error, Runtime};
use fieldfit_delta::{Delta, TensorKind};
use fieldfit_tests::tiny;
use std::fs;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use tempfile::TempDir;

/// A base, images and an empty store.
struct Scene {
    folder: TempDir,
    runtime: Runtime,
    images: Dataset,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let model = tiny::base(folder.path(), 1);
        let images = folder.path().join("images");
        tiny::images(&images, 16, 1);
        let images = Dataset::open(&images, &FolderOptions::default()).unwrap();
        let runtime = Runtime::builder(model).store_or_new(folder.path().join("store")).open().unwrap();
        Self { folder, runtime, images }
    }

    /// Whether nothing is stored.
    fn is_empty(&self) -> bool {
        Store::open(self.folder.path().join("store")).unwrap().versions().unwrap().is_empty()
    }

    fn adapt(&self, method: MethodEntry, options: Options) -> Result<Adapted, Error> {
        self.runtime.adaptation(&self.images).options(options).method(method).run()
    }
}

fn options() -> Options {
    Options::default()
        .with_epochs(2)
        .with_size(Some(32))
        .with_batch(8)
        .with_fractions(Fractions::new(0.2, 0.2))
        .with_device(Device::Cpu { threads: 1 })
        .with_coding(Coding::Kernels(Codec::F32))
}

/// Number of values of the backbone that moved, as the delta file stores them.
fn moved(delta: &[u8]) -> usize {
    let delta = Delta::parse(delta).unwrap();
    let differences = delta.records().filter(|record| record.kind == TensorKind::Difference);
    let moved = differences.map(|record| {
        let mut values = vec![0.0; record.len()];
        record.decode_into(&mut values).unwrap();
        values.iter().filter(|&&value| value != 0.0).count()
    });
    moved.sum()
}

/// Catches: a custom method that is not called at each step, whose hyper-parameter does not reach it, or whose name and
/// effective hyper-parameters the delta does not record.
#[test]
fn the_example_trains_and_its_delta_states_it() {
    let scene = Scene::new();
    let of = |threshold| {
        let adapted = scene.adapt(example::L1_SP, options().with_setting("threshold", threshold)).unwrap();
        fs::read(&adapted.delta).unwrap()
    };
    let (free, held, still) = (moved(&of(0.0)), moved(&of(2e-5)), moved(&of(1.0)));
    assert!(still == 0 && held > 0 && held < free, "{still}, {held} and {free} values moved");

    let adapted = scene.adapt(example::L1_SP, options()).unwrap();
    let delta = fs::read(&adapted.delta).unwrap();
    let provenance = Delta::parse(&delta).unwrap().header().provenance.clone();
    assert_eq!(provenance.method, "l1-sp");
    assert!(provenance.options.starts_with("method=l1-sp threshold=0.00002 epochs=2 "), "{}", provenance.options);
}

/// Method that implements the whole trait: trains kernels alone, keeps a moving average of the loss as its state,
/// shrinks δ by it, and draws validation images.
struct Averaging {
    average: f64,
    finished: u64,
}

const FINISH: u64 = 3;

const AVERAGING: MethodEntry =
    MethodEntry::new("averaging", "shrinks δ by a moving average of the loss", &[], averaging);

fn averaging(_: &Options, _: &Network) -> Result<Box<dyn Method>, AdaptError> {
    Ok(Box::new(Averaging { average: 0.0, finished: 0 }))
}

impl Method for Averaging {
    fn head(&self) -> HeadStart {
        HeadStart::Random
    }

    fn trains(&self, spec: &TensorSpec) -> bool {
        spec.shape.len() > 1
    }

    fn requirements(&self) -> Requirements {
        Requirements::default().with_validation_batches(true)
    }

    fn steps(&mut self) -> Steps<'_> {
        Steps::Host(self)
    }

    fn drawn(&self, step: u64) -> u64 {
        step + self.finished
    }

    fn begin(&mut self, state: &TrainingState<'_, f32>) {
        assert!(!state.has_moved());
    }

    fn finish(
        &mut self,
        session: &mut HostSession<'_>,
        reporter: &mut Reporter<'_>,
    ) -> Result<ControlFlow<()>, AdaptError> {
        while self.finished < FINISH {
            if reporter.is_stopped() {
                return Ok(ControlFlow::Break(()));
            }
            let batch = session.validation.next_batch()?;
            self.average += session.descend_labels(&batch)?;
            self.finished += 1;
            reporter.report(Event::Progress {
                phase: fieldfit::train::Phase::Radii,
                done: self.finished as usize,
                total: FINISH as usize,
            });
        }
        Ok(ControlFlow::Continue(()))
    }

    fn constraint(&self) -> Option<ConstraintSet> {
        None
    }

    fn save(&self) -> Result<Vec<u8>, AdaptError> {
        Ok([self.average.to_le_bytes(), self.finished.to_le_bytes()].concat())
    }

    fn restore(&mut self, bytes: &[u8], point: &ResumePoint<'_>) -> Result<(), CheckpointDamage> {
        let wrong = |what: &str, found: String| CheckpointDamage::Contents {
            what: what.to_owned(),
            expected: "16 bytes: a finite average, and a count".to_owned(),
            found,
        };
        let (Some(average), Some(finished), 16) = (bytes.first_chunk(), bytes.last_chunk(), bytes.len()) else {
            return Err(wrong("the method's state", format!("{} bytes", bytes.len())));
        };
        (self.average, self.finished) = (f64::from_le_bytes(*average), u64::from_le_bytes(*finished));
        let most = if point.is_trained { FINISH } else { 0 };
        if !self.average.is_finite() || self.finished > most {
            return Err(wrong("the method's state", format!("{} and {}", self.average, self.finished)));
        }
        Ok(())
    }
}

impl HostSteps for Averaging {
    fn descend(&mut self, session: &mut HostSession<'_>, batch: &Batch) -> Result<f64, AdaptError> {
        let loss = session.descend_labels(batch)?;
        self.average = 0.9 * self.average + 0.1 * loss;
        Ok(loss)
    }

    fn after_step(&mut self, _: u64, session: &mut HostSession<'_>, _: &mut Reporter<'_>) -> Result<(), AdaptError> {
        session.validation.next_batch()?;
        let share = (1.0 / (1.0 + 0.01 * self.average)) as f32;
        session.state.delta.buffers_mut().iter_mut().flatten().for_each(|value| *value *= share);
        Ok(())
    }
}

/// Catches: state of a custom method that a checkpoint loses, at a step, at an epoch's end or after training; a
/// checkpoint of one method that another one resumes.
#[test]
fn a_resumed_run_of_a_custom_method_ends_in_the_same_bits() {
    let whole = Scene::new();
    let whole = fs::read(whole.adapt(AVERAGING, options()).unwrap().delta).unwrap();
    let scene = Scene::new();
    let stopped_at = |stop: fn(&Event) -> bool, resume: bool| {
        let control = Control::new();
        let adaptation = scene.runtime.adaptation(&scene.images).options(options()).method(AVERAGING).resume(resume);
        let stopped = adaptation.control(&control).on_event(|event| _ = stop(&event) && control.stop()).run();
        assert!(matches!(stopped, Err(Error::Adapt(AdaptError::Interrupted { checkpoint: Some(_) }))), "{stopped:?}");
    };
    stopped_at(|event| matches!(event, Event::Step { step: 2, .. }), false);
    let other = MethodEntry::new("another", AVERAGING.about, &[], averaging);
    let refused = scene.runtime.adaptation(&scene.images).options(options()).method(other).resume(true).run();
    assert!(matches!(refused, Err(Error::Adapt(AdaptError::OtherCheckpoint { what: "options", .. }))), "{refused:?}");
    stopped_at(|event| matches!(event, Event::Epoch { epoch: 1, .. }), true);
    stopped_at(|event| matches!(event, Event::Progress { phase: fieldfit::train::Phase::Radii, done: 2, .. }), true);
    let resumed = scene.runtime.adaptation(&scene.images).options(options()).method(AVERAGING).resume(true).run();
    let resumed = fs::read(resumed.unwrap().delta).unwrap();
    assert!(resumed == whole, "the resumed run ends in other bits");
}

/// Catches: a custom method that takes the place of a built-in one of its name, which the delta would then state to have
/// trained; a malformed name; a setting that the method does not have.
#[test]
fn entries_that_cannot_be_told_apart_are_refused() {
    let scene = Scene::new();
    for name in ["tpgm", "lp-ft", "", "My method"] {
        let refused = scene.adapt(MethodEntry::new(name, "averaging under another name", &[], averaging), options());
        let Err(Error::Adapt(AdaptError::MethodEntry { name: found, .. })) = refused else { panic!("{refused:?}") };
        assert_eq!(found, name);
    }
    let refused = scene.adapt(example::L1_SP, options().with_setting("strength", 1.0));
    assert!(matches!(refused, Err(Error::Adapt(AdaptError::UnknownSetting { method: "l1-sp", .. }))), "{refused:?}");
    assert!(scene.is_empty());
}

/// Method that panics or fails, where its setting says.
struct Faulty(Fault);

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    PanicInStep,
    PanicInObjective,
    PanicInFinish,
    Error,
    Undrawn,
    Radii,
}

const WHERE: Setting = Setting { name: "where", default: None, range: 0.0..=5.0, about: "the fault" };

const FAULTY: MethodEntry = MethodEntry::new("faulty", "panics or fails", &[WHERE], |options, _| {
    use Fault::{Error, PanicInFinish, PanicInObjective, PanicInStep, Radii, Undrawn};
    let faults = [PanicInStep, PanicInObjective, PanicInFinish, Error, Undrawn, Radii];
    Ok(Box::new(Faulty(faults[WHERE.of(options) as usize])))
});

impl Method for Faulty {
    fn head(&self) -> HeadStart {
        HeadStart::Probe
    }

    fn steps(&mut self) -> Steps<'_> {
        Steps::Host(self)
    }

    fn finish(&mut self, _: &mut HostSession<'_>, _: &mut Reporter<'_>) -> Result<ControlFlow<()>, AdaptError> {
        assert!(self.0 != Fault::PanicInFinish, "a method's own fault");
        Ok(ControlFlow::Continue(()))
    }

    fn constraint(&self) -> Option<ConstraintSet> {
        (self.0 == Fault::Radii).then(|| ConstraintSet { norm: Norm::L2, radii: vec![Some(1.0)] })
    }
}

/// Objective that panics on the executor's threads.
struct PanickingObjective;

impl Objective<f32> for PanickingObjective {
    fn check(&self, _: usize, _: usize) -> Result<(), ExecError> {
        Ok(())
    }

    fn loss_and_gradient(&self, image: usize, _: &mut [f32]) -> f64 {
        assert!(image != 3, "an objective's own fault");
        0.0
    }
}

impl HostSteps for Faulty {
    fn descend(&mut self, session: &mut HostSession<'_>, batch: &Batch) -> Result<f64, AdaptError> {
        match self.0 {
            Fault::PanicInObjective => session.descend(&batch.images, &PanickingObjective),
            Fault::Error => {
                let source = "the sensor is off".into();
                Err(AdaptError::CustomMethod { method: "faulty".to_owned(), source })
            }
            Fault::PanicInStep | Fault::PanicInFinish | Fault::Undrawn | Fault::Radii => session.descend_labels(batch),
        }
    }

    fn after_step(&mut self, step: u64, session: &mut HostSession<'_>, _: &mut Reporter<'_>) -> Result<(), AdaptError> {
        assert!(self.0 != Fault::PanicInStep || step < 2, "a method's own fault");
        if self.0 == Fault::Undrawn {
            session.validation.next_batch()?;
        }
        Ok(())
    }
}

/// Catches: a panic of a custom method that leaves a thread waiting, the store locked or the control as if the run
/// went on.
#[test]
fn a_panic_ends_the_run_and_nothing_else() {
    let scene = Scene::new();
    let control = Control::new();
    for (fault, threads, nice) in [(0, 1, 0), (0, 2, 1), (1, 2, 0), (1, 1, 1), (2, 1, 0)] {
        let options = options().with_setting("where", f64::from(fault)).with_nice(nice);
        let options = options.with_device(Device::Cpu { threads });
        let adaptation = scene.runtime.adaptation(&scene.images).options(options).method(FAULTY).control(&control);
        let panic = catch_unwind(AssertUnwindSafe(|| adaptation.run())).expect_err("a panic goes on");
        assert!(panic.downcast_ref::<&str>().is_some_and(|said| said.ends_with("own fault")));
    }
    assert!(scene.is_empty());
    let adapted =
        scene.runtime.adaptation(&scene.images).options(options()).method(example::L1_SP).control(&control).run();
    assert_eq!(adapted.unwrap().version, 1);
}

/// Catches: an error of a custom method that loses its cause or its method; validation images drawn without a count,
/// which would only show when the checkpoint is resumed; radii of another number of tensors, which would panic.
#[test]
fn an_error_names_the_method_and_the_cause() {
    let scene = Scene::new();
    let failed = |fault: u8| {
        let error = scene.adapt(FAULTY, options().with_setting("where", fault.into())).expect_err("a fault");
        error.to_string()
    };
    assert_eq!(failed(3), "method `faulty` failed: the sensor is off");
    let undrawn = failed(4);
    assert!(undrawn.contains("method `faulty` failed: it has drawn ") && undrawn.contains("returns 0"), "{undrawn}");
    assert!(failed(5).contains("method `faulty` failed: expected a radius or `None` for each of "));
    assert!(scene.is_empty());
}

/// Catches: a comparison that cannot name a custom method beside the built-in ones, or records it without its settings.
#[test]
fn a_comparison_measures_custom_methods_beside_the_others() {
    let scene = Scene::new();
    let fractions = options().fractions;
    let comparison = Comparison::new(&scene.runtime, "field", &scene.images, fractions).unwrap();
    let mut comparison = comparison.with_methods(&[example::L1_SP]);
    let mut run = |method: &str| comparison.run(&options().with_method(method), &Control::new(), &mut |_| ()).unwrap();
    let (probe, own) = (run("linear-probe"), run("l1-sp"));
    assert_eq!((probe.method.as_str(), own.method.as_str()), ("linear-probe", "l1-sp"));
    assert!(own.options.starts_with("method=l1-sp threshold=0.00002"), "{}", own.options);
    assert_ne!(probe.identity, own.identity);
}

/// Catches: a type of a custom method's signatures that a program outside cannot name.
#[test]
fn a_method_is_built_for_the_network_under_the_new_head() {
    const SEEN: MethodEntry = MethodEntry::new("seen", "states its network", &[], |_, network: &Network| {
        let source = format!("{} classes", network.head.classes).into();
        Err(AdaptError::CustomMethod { method: "seen".to_owned(), source })
    });
    let scene = Scene::new();
    let base: &Base = scene.runtime.base();
    assert_ne!(base.network().head.classes, 3);
    assert_eq!(scene.adapt(SEEN, options()).unwrap_err().to_string(), "method `seen` failed: 3 classes");
}
