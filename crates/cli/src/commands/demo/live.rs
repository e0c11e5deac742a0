//! Live demo: a camera plays, an operator labels what it saw, a collection fills, an adaptation runs, and a page shows it.

use super::files::Files;
use super::page::OpenPage;
use super::played::{Scene, scenes};
use super::robot::{Robot, Tally};
use crate::args::DemoArgs;
use crate::error::CliError;
use crate::output::{Output, Text};
use crate::progress_bar::ProgressBar;
use crate::signals::Signals;
use fieldfit::collect::{Collector, CollectorOptions, Label, Origin, Selection, Span, Statistics};
use fieldfit::data::{FolderOptions, Purpose};
use fieldfit::train::{AdaptError, Adapted, Control};
use fieldfit::{Error, Frame, Runtime};
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

/// Style that is learned, and one that the camera shows while the robot learns.
const STYLES: [&str; 2] = ["google/train", "twitter/test"];
/// Stretch of a recording that shows one thing, and is one group.
const SCENE: Duration = Duration::from_secs(1);
/// Time between two frames on the camera's clock.
const FRAME: Duration = Duration::from_millis(50);
/// Time between two looks at the store and at the clock.
const GLANCE: Duration = Duration::from_millis(100);
/// Frames that a new version answers before the demo goes on.
const LOOK: u64 = 10;

/// What the live demo did, as JSON events.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Shown {
    Page { url: String },
    Collected { images: usize, seen: u64, classes: usize },
    Adapted { version: u32, active: bool, reason: String },
    Answered { tallies: Vec<Tally> },
}

/// State of the live demo.
struct Live<'a> {
    args: &'a DemoArgs,
    output: &'a Output,
    progress: ProgressBar,
    signals: Signals,
    files: Files,
    store: PathBuf,
    collection: PathBuf,
    runtime: Runtime,
}

pub fn run(args: &DemoArgs, output: &Output) -> Result<ExitCode, CliError> {
    let live = Live::open(args, output)?;
    let page = OpenPage::open(args, &live.store, &live.collection)?;
    match &page {
        Some(page) => live.show(&Shown::Page { url: page.url() })?,
        None => live.progress.line("this command has no page: build it with the feature `serve` to watch"),
    }
    let outcome = live.run(page.is_some());
    page.map_or(Ok(()), OpenPage::close)?;
    outcome
}

impl<'a> Live<'a> {
    fn open(args: &'a DemoArgs, output: &'a Output) -> Result<Self, CliError> {
        let (files, progress) = (Files::find()?, ProgressBar::new(output));
        let (store, collection) = (args.out.join("live"), args.out.join("collection"));
        let runtime = Runtime::builder(&files.model).store_or_new(&store).open()?;
        super::roll_back_all(&runtime)?;
        Ok(Self { args, output, progress, signals: Signals::install()?, files, store, collection, runtime })
    }

    fn run(&self, has_page: bool) -> Result<ExitCode, CliError> {
        let robot = Robot::new(&self.runtime, scenes(&self.files.style(STYLES[1]))?);
        thread::scope(|scope| {
            let _stop = robot.playback.stop_on_drop();
            let adapted = self.signals.during(|control| {
                self.collect()?;
                scope.spawn(|| robot.answer());
                scope.spawn(|| robot.watch());
                let adapted = self.adapt(control)?;
                robot.playback.wait(LOOK);
                Ok::<_, CliError>(adapted)
            })?;
            self.linger(has_page);
            self.show(&Shown::Answered { tallies: robot.stop()? })?;
            Ok(if adapted.active { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        })
    }

    /// Plays the images as a camera; after each thing the operator says what it was.
    fn collect(&self) -> Result<(), CliError> {
        let mut options = CollectorOptions::default();
        options.block = SCENE;
        options.selection = Selection::default().with_rate(1.0 / FRAME.as_secs_f32());
        let collector = Collector::open(&self.collection, options).map_err(Error::from)?;
        let scenes = scenes(&self.files.style(STYLES[0]))?;
        for (number, scene) in (0..).zip(&scenes) {
            self.play(&collector, scene, number * SCENE)?;
            self.progress.images("a camera plays, an operator labels", number as usize + 1, scenes.len());
        }
        let Statistics { images, seen, classes, .. } = collector.statistics();
        self.show(&Shown::Collected { images, seen, classes: classes.len() })
    }

    /// Plays one thing, from that time on, and labels its frames.
    fn play(&self, collector: &Collector, scene: &Scene, begin: Duration) -> Result<(), CliError> {
        let mut at = begin;
        for path in &scene.frames {
            if self.signals.is_stopped() {
                return Err(CliError::DemoStopped);
            }
            let bytes = std::fs::read(path).map_err(|source| Error::Read { path: path.clone(), source })?;
            let frame = Frame::Encoded(&bytes);
            let prediction = self.runtime.infer(&frame)?;
            collector.observe(&frame, at, (&prediction).into()).map_err(Error::from)?;
            at += FRAME;
            thread::sleep(FRAME);
        }
        let label = Label::new(&scene.class, Origin::Operator).with_by(Some("scripted operator".into()));
        collector.label(Span::Between(begin, at), &label).map_err(Error::from)?;
        Ok(())
    }

    /// Adapts to the collection while the robot answers.
    fn adapt(&self, control: &Control) -> Result<Adapted, CliError> {
        let images = super::super::images(&self.collection, &FolderOptions::new(Purpose::Adapt), &self.progress)?;
        let adaptation = self.runtime.adaptation(&images).options(super::options()).control(control);
        let adapted = adaptation.on_event(|event| self.progress.event(&event)).run().map_err(|error| match error {
            Error::Adapt(AdaptError::Interrupted { .. }) => CliError::DemoStopped,
            error => error.into(),
        })?;
        let Adapted { version, active, reason, .. } = adapted.clone();
        self.show(&Shown::Adapted { version, active, reason })?;
        Ok(adapted)
    }

    /// Leaves the page open for as long as was asked for: while there is one, until a signal ends the process.
    fn linger(&self, has_page: bool) {
        let end = match self.args.linger {
            // A time that no clock reaches is none.
            Some(seconds) => Instant::now().checked_add(Duration::from_secs(seconds)),
            None if has_page => None,
            None => return,
        };
        if end.is_none() {
            self.progress.line("roll back, activate and watch on the page; Ctrl-C ends the demo");
        }
        while end.is_none_or(|end| Instant::now() < end) {
            thread::sleep(GLANCE);
        }
    }

    fn show(&self, shown: &Shown) -> Result<(), CliError> {
        self.output.show(shown, text)
    }
}

fn text(shown: &Shown) -> Text {
    let mut text = Text::default();
    match shown {
        Shown::Page { url } => text.line(format!("open {url}")),
        Shown::Collected { images, seen, classes } => {
            text.line(format!("collected {images} images of {classes} classes from {seen} frames"));
        }
        Shown::Adapted { version, active, reason } => {
            let verdict = if *active { "runs now, on trial" } else { "was refused" };
            text.line(format!("version {version} {verdict}: {reason}"));
        }
        Shown::Answered { tallies } => tallies.iter().for_each(|tally| text.line(tally.to_string())),
    }
    text
}
