//! Subcommand `demo`: adapts the bundled model to sample images by three methods while a camera is answered.

mod camera;
mod files;
mod live;
mod page;
mod playback;
mod played;
mod robot;

use crate::args::DemoArgs;
use crate::error::CliError;
use crate::output::{Output, Table, Text, bytes, percent};
use crate::progress_bar::ProgressBar;
use crate::signals::Signals;
use camera::{Camera, Spell};
use fieldfit::data::{Dataset, FolderOptions, ImageSet, Purpose};
use fieldfit::train::{AdaptError, Adapted, Event, Options};
use fieldfit::{Runtime, Version};
use files::Files;
use serde::Serialize;
use std::path::Path;
use std::process::ExitCode;

/// Drawing styles: the first is learned, the others are shifts.
const STYLES: [&str; 3] = ["google", "twitter", "fluent"];
/// Group pattern that keeps a concept with its variants on one side of the split.
const CONCEPT: &str = "^([^_]+)_";
/// Methods that are compared, with a description.
const METHODS: [(&str, &str); 3] = [
    ("linear-probe", "a new head on the base's features"),
    ("lp-ft", "the probe, then every weight"),
    ("tpgm-relative", "the probe, then every weight, then each stage back into a learned radius of the base"),
];

/// Row of the demo's table.
#[derive(Serialize)]
struct Row {
    method: &'static str,
    accuracies: Vec<f64>,
    agreement: f64,
    #[serde(skip)]
    adapted: Adapted,
}

/// State of the demo.
struct Demo<'a> {
    files: Files,
    out: &'a Path,
    progress: ProgressBar,
    signals: Signals,
    train: Dataset,
    /// One set per style.
    tests: Vec<ImageSet>,
}

pub fn run(args: &DemoArgs, output: &Output) -> Result<ExitCode, CliError> {
    if args.live { live::run(args, output) } else { compare(args, output) }
}

/// Adapts by each method in turn.
fn compare(args: &DemoArgs, output: &Output) -> Result<ExitCode, CliError> {
    let demo = Demo::open(&args.out, output)?;
    let mut rows = Vec::new();
    let mut spells = Vec::new();
    for (step, (method, what)) in METHODS.into_iter().enumerate() {
        demo.progress.line("");
        demo.progress.line(format!("[{}/{}] {method}: {what}", step + 1, METHODS.len()));
        let runtime = demo.runtime(method)?;
        let (adapted, seen) = demo.adapt(&runtime, method)?;
        rows.push(demo.measure(method, adapted)?);
        spells = seen;
    }
    demo.progress.finish();
    if output.is_json() {
        rows.iter().try_for_each(|row| output.object(row))?;
    } else {
        output.text(report(&demo, &rows, &spells))?;
    }
    let was_swapped = rows.last().is_some_and(|row| row.adapted.active);
    Ok(if was_swapped { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl<'a> Demo<'a> {
    fn open(out: &'a Path, output: &Output) -> Result<Self, CliError> {
        let (files, progress) = (Files::find()?, ProgressBar::new(output));
        let open = |style: &str, purpose, group: Option<&str>| {
            let options = FolderOptions::new(purpose).with_group(group.map(str::to_owned));
            super::images(&files.style(style), &options, &progress)
        };
        let train = open(STYLES[0], Purpose::Adapt, Some(CONCEPT))?;
        let test = |style: &&str| Ok(ImageSet::of(*style, open(style, Purpose::Evaluate, None)?));
        let tests = STYLES.iter().map(test).collect::<Result<_, CliError>>()?;
        Ok(Self { files, out, progress, signals: Signals::install()?, train, tests })
    }

    /// Opens a runtime on the base, with a store of its own for the method; versions of an earlier demo stay in it.
    fn runtime(&self, method: &str) -> Result<Runtime, CliError> {
        self.progress.wait("opening the base");
        let runtime = Runtime::builder(&self.files.model).store_or_new(self.out.join(method)).open()?;
        roll_back_all(&runtime)?;
        Ok(runtime)
    }

    /// Adapts while a camera's frames are answered, and rolls back when the new version has answered some.
    fn adapt(&self, runtime: &Runtime, method: &str) -> Result<(Adapted, Vec<Spell>), CliError> {
        let camera = Camera::new(runtime, &self.files.frame())?;
        std::thread::scope(|scope| {
            let frames = scope.spawn(|| camera.run());
            // Also when this thread panics: the scope waits for the camera.
            let _stop = camera.playback.stop_on_drop();
            let adapted = self.train(runtime, method).and_then(|adapted| {
                if adapted.active {
                    camera.wait();
                    runtime.rollback()?;
                    camera.wait();
                }
                Ok(adapted)
            });
            camera.playback.stop();
            let spells = frames.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            Ok((adapted?, spells))
        })
    }

    fn train(&self, runtime: &Runtime, method: &str) -> Result<Adapted, CliError> {
        let tell = |event: Event| {
            if !matches!(event, Event::Plan { .. }) || method == METHODS[0].0 {
                self.progress.event(&event);
            }
        };
        let adaptation = runtime.adaptation(&self.train).options(options().with_method(method)).on_event(tell);
        let adapted = self.signals.during(|control| adaptation.control(control).run());
        adapted.map_err(|error| match error {
            fieldfit::Error::Adapt(AdaptError::Interrupted { .. }) => CliError::DemoStopped,
            error => error.into(),
        })
    }

    /// Evaluates the delta in each style, and its agreement with the base in the unseen ones.
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

/// Rolls back to the base.
fn roll_back_all(runtime: &Runtime) -> Result<(), fieldfit::Error> {
    while runtime.version() != Version::Base {
        runtime.rollback()?;
    }
    Ok(())
}

/// Options of an adaptation to the sample images.
fn options() -> Options {
    Options::default().with_size(Some(96)).with_epochs(8)
}

fn report(demo: &Demo<'_>, rows: &[Row], spells: &[Spell]) -> Text {
    let head =
        ["method", "google (learned)", "twitter (unseen)", "fluent (unseen)", "agrees with base", "time", "delta"];
    let mut table = Table::new(&head, 1);
    for row in rows {
        let mut cells = vec![row.method.to_owned()];
        cells.extend(row.accuracies.iter().map(|&accuracy| percent(accuracy)));
        cells.extend([percent(row.agreement), format!("{:.1} s", row.adapted.seconds), bytes(row.adapted.delta_bytes)]);
        table.row(cells);
    }
    let mut text = Text::default();
    text.line("");
    text.line("Accuracy on things that were never trained on, in three drawing styles; only google's was learned:");
    text.table(&table);
    for row in rows.iter().filter(|row| !row.adapted.active) {
        text.line(format!("{} was refused by its gate: {}", row.method, row.adapted.reason));
    }
    text.line("");
    text.line("Frames that a running Runtime answered while tpgm-relative was adapted, swapped in and rolled back:");
    spells.iter().for_each(|spell| text.line(format!("  {spell}")));
    text.line("");
    rows.last().map_or_else(Vec::new, |row| next(demo, &row.adapted)).iter().for_each(|line| text.line(line));
    text
}

/// Returns where everything is, and commands to try with it.
fn next(demo: &Demo<'_>, adapted: &Adapted) -> Vec<String> {
    let (model, delta, version) = (demo.files.model.display(), adapted.delta.display(), adapted.version);
    let (store, images, frame) = (demo.out.join(METHODS[2].0), demo.files.style("fluent"), demo.files.frame());
    let (store, images, frame, out) = (store.display(), images.display(), frame.display(), demo.out.display());
    vec![
        format!("The deltas are in the stores {out}/linear-probe, {out}/lp-ft and {out}/tpgm-relative. Try next:"),
        format!("  fieldfit info {delta}"),
        format!("  fieldfit eval --model {model} --delta {delta} --data {images}"),
        format!("  fieldfit store activate {store} {version}"),
        format!("  fieldfit infer --model {model} --store {store} {frame}"),
        format!("  fieldfit adapt --model {model} --data YOUR_IMAGES --store YOUR_STORE"),
    ]
}
