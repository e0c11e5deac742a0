//! `fieldfit demo`: the whole way on the shipped model and images, from the base to a version that is rolled back.

mod camera;
mod files;

use crate::args::DemoArgs;
use crate::error::CliError;
use crate::interrupt;
use crate::output::{Output, bytes, percent, table};
use crate::progress::Progress;
use camera::{Camera, Spell};
use fieldfit::data::{Dataset, FolderOptions, ImageSet, Purpose};
use fieldfit::train::{AdaptError, Adapted, Control, Event, OptimiserOptions, Options};
use fieldfit::{Runtime, Version};
use files::Files;
use std::path::Path;
use std::process::ExitCode;

/// The style that is learned, then the ones that never are.
const STYLES: [&str; 3] = ["google", "twitter", "fluent"];
/// A concept with its skin tones and variants stays on one side of the split.
const CONCEPT: &str = "^([^_]+)_";
/// What is compared, and what to say while it goes on.
const METHODS: [(&str, &str); 3] = [
    ("linear-probe", "a new head on the base's features"),
    ("lp-ft", "the probe, then every weight"),
    ("tpgm-relative", "the probe, then every weight, then each stage back into a learned radius of the base"),
];

/// One line of the demo's table.
struct Row {
    method: &'static str,
    accuracies: Vec<f64>,
    agreement: f64,
    adapted: Adapted,
}

/// What every part of the demo needs.
struct Demo<'a> {
    files: Files,
    out: &'a Path,
    progress: Progress,
    control: Control,
    train: Dataset,
    /// One a style.
    tests: Vec<ImageSet>,
}

pub fn run(args: &DemoArgs) -> Result<ExitCode, CliError> {
    let demo = Demo::open(&args.out)?;
    let mut rows = Vec::new();
    let mut spells = Vec::new();
    for (step, (method, what)) in METHODS.into_iter().enumerate() {
        demo.progress.line(format!("\n[{}/{}] {method}: {what}", step + 1, METHODS.len()));
        let runtime = demo.runtime(method)?;
        let (adapted, seen) = demo.adapt(&runtime, method)?;
        rows.push(demo.measure(method, adapted)?);
        spells = seen;
    }
    demo.progress.finish();
    Output::new(false).text(report(&demo, &rows, &spells))?;
    let was_swapped = rows.last().is_some_and(|row| row.adapted.active);
    Ok(if was_swapped { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl<'a> Demo<'a> {
    fn open(out: &'a Path) -> Result<Self, CliError> {
        let (files, progress) = (Files::find()?, Progress::new(false));
        let open = |style: &str, purpose, group: Option<&str>| {
            let options = FolderOptions { purpose, group: group.map(str::to_owned) };
            super::images(&files.style(style), &options, &progress)
        };
        let train = open(STYLES[0], Purpose::Adapt, Some(CONCEPT))?;
        let test = |style: &&str| Ok(ImageSet::of(*style, open(style, Purpose::Evaluate, None)?));
        let tests = STYLES.iter().map(test).collect::<Result<_, CliError>>()?;
        Ok(Self { files, out, progress, control: interrupt::control()?, train, tests })
    }

    /// A runtime on the base, with a store of its own for the method; an earlier demo's versions stay in it.
    fn runtime(&self, method: &str) -> Result<Runtime, CliError> {
        self.progress.wait("opening the base");
        let runtime = Runtime::builder(&self.files.model).store_or_new(self.out.join(method)).open()?;
        while runtime.version() != Version::Base {
            runtime.rollback()?;
        }
        Ok(runtime)
    }

    /// Adapts while a camera's frames are answered, and rolls back when they have seen the new version.
    fn adapt(&self, runtime: &Runtime, method: &str) -> Result<(Adapted, Vec<Spell>), CliError> {
        let camera = Camera::new(runtime, &self.files.frame())?;
        std::thread::scope(|scope| {
            let frames = scope.spawn(|| camera.run());
            let adapted = self.train(runtime, method).and_then(|adapted| {
                if adapted.active {
                    camera.wait();
                    runtime.rollback()?;
                    camera.wait();
                }
                Ok(adapted)
            });
            camera.stop();
            let spells = frames.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            Ok((adapted?, spells))
        })
    }

    fn train(&self, runtime: &Runtime, method: &str) -> Result<Adapted, CliError> {
        let optimiser = OptimiserOptions::adamw().with_learning_rate(2e-4);
        let options = Options { method: method.into(), size: Some(96), epochs: 8, optimiser, ..Options::default() };
        let mut tell = |event: Event| {
            if !matches!(event, Event::Plan { .. }) || method == METHODS[0].0 {
                self.progress.event(&event);
            }
        };
        let adaptation = runtime.adaptation(&self.train).options(options).control(&self.control);
        let adapted = adaptation.on_event(&mut tell).run();
        adapted.map_err(|error| match error {
            fieldfit::Error::Adapt(AdaptError::Interrupted { .. }) => CliError::DemoStopped,
            error => error.into(),
        })
    }

    /// What the delta does in each style, and how much of the base it has kept in the unseen ones.
    fn measure(&self, method: &'static str, adapted: Adapted) -> Result<Row, CliError> {
        let version = Runtime::builder(&self.files.model).delta(&adapted.delta).open()?;
        let mut accuracies = Vec::new();
        for (style, images) in STYLES.iter().zip(&self.tests) {
            let what = format!("evaluating on {style}");
            let mut progress = |done, total| self.progress.images(&what, done, total);
            accuracies.push(version.evaluate(images, &mut progress)?.accuracy);
        }
        let mut agreement = 0.0;
        for unseen in &self.tests[1..] {
            let mut progress = |done, total| self.progress.images("comparing with the base", done, total);
            agreement += version.agreement(unseen, &mut progress)? / (self.tests.len() - 1) as f64;
        }
        Ok(Row { method, accuracies, agreement, adapted })
    }
}

fn report(demo: &Demo<'_>, rows: &[Row], spells: &[Spell]) -> String {
    let head =
        ["method", "google (learned)", "twitter (unseen)", "fluent (unseen)", "agrees with base", "time", "delta"];
    let mut table = table(&head, 1);
    for row in rows {
        let mut cells = vec![row.method.to_owned()];
        cells.extend(row.accuracies.iter().map(|&accuracy| percent(accuracy)));
        cells.extend([percent(row.agreement), format!("{:.1} s", row.adapted.seconds), bytes(row.adapted.delta_bytes)]);
        table.add_row(cells);
    }
    let spells: String = spells.iter().map(|spell| format!("\n  {spell}")).collect();
    let refused = rows.iter().filter(|row| !row.adapted.active);
    let refused: String =
        refused.map(|row| format!("\n{} was refused by its gate: {}", row.method, row.adapted.reason)).collect();
    format!(
        "\nAccuracy on things that were never trained on, in three drawing styles; only google's was learned:\n{table}\n\
         {refused}\n\
         Frames that a running Runtime answered while tpgm-relative was adapted, swapped in and rolled back:{spells}\n\n{}",
        next(demo, rows)
    )
}

/// Where everything is, and what to try with it.
fn next(demo: &Demo<'_>, rows: &[Row]) -> String {
    let Some(Row { adapted, .. }) = rows.last() else { return String::new() };
    let (model, delta, version) = (demo.files.model.display(), adapted.delta.display(), adapted.version);
    let (store, images) = (demo.out.join(METHODS[2].0), demo.files.style("fluent"));
    let (store, images, frame) = (store.display(), images.display(), demo.files.frame());
    let frame = frame.display();
    format!(
        "The deltas are in the stores {out}/linear-probe, {out}/lp-ft and {out}/tpgm-relative; the base was only read. Try next:\n\
         \x20 fieldfit info {delta}\n\
         \x20 fieldfit eval --model {model} --delta {delta} --data {images}\n\
         \x20 fieldfit store activate {store} {version}\n\
         \x20 fieldfit infer --model {model} --store {store} {frame}\n\
         \x20 fieldfit adapt --model {model} --data YOUR_IMAGES --store YOUR_STORE",
        out = demo.out.display(),
    )
}
