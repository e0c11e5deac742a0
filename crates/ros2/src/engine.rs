//! Engine of a configured node: the runtime, the collection of labelled images, and the adaptation that runs beside the frames.

use crate::event::{Events, NodeEvent};
use crate::parameters::Parameters;
use fieldfit::collect::{Collector, CollectorOptions, Contents, Kept, Label, ModelOutput, Origin, Span};
use fieldfit::data::FolderOptions;
use fieldfit::train::{Control, Options};
use fieldfit::{Drift, Error, Frame, Prediction, Runtime, Version};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Span that labels the newest image alone: images are buffered twice a second at most.
const NEWEST: Duration = Duration::from_millis(1);

/// Engine: what a node has while it is configured.
pub struct Engine {
    runtime: Arc<Runtime>,
    collection: Option<(PathBuf, Collector)>,
    progress: Progress,
    adaptation: Mutex<Option<Adaptation>>,
    events: Events,
    opened: Instant,
}

/// Adaptation that was started.
struct Adaptation {
    control: Control,
    has_ended: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Engine {
    /// Opens model, store and collection.
    ///
    /// # Errors
    /// If one of them cannot be opened.
    pub fn open(parameters: &Parameters, events: Events) -> Result<Self, Error> {
        let listener = events.clone();
        let mut builder =
            Runtime::builder(&parameters.model).device(parameters.device()).on_event(move |event| listener.send(event));
        if let Some(store) = &parameters.store {
            builder = builder.store_or_new(store);
        }
        if let Some(frames) = parameters.drift_every {
            builder = builder.drift_every(frames);
        }
        let runtime = Arc::new(builder.open()?);
        let collection = parameters.collection.as_ref().map(|path| {
            let collector = Collector::open(path, CollectorOptions::default())?;
            Ok::<_, Error>((path.clone(), collector))
        });
        let collection = collection.transpose()?;
        let (progress, adaptation) = (Progress::default(), Mutex::default());
        Ok(Self { runtime, collection, progress, adaptation, events, opened: Instant::now() })
    }

    /// Returns the runtime.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Classifies a frame, hands the prediction to `publish`, and then offers the frame to the collection: an answer does not wait
    /// for its image to be encoded.
    ///
    /// # Errors
    /// If the runtime does not answer.
    pub fn infer(&self, frame: &Frame<'_>, stamp: Duration, publish: impl FnOnce(&Prediction)) -> Result<(), Error> {
        let prediction = self.runtime.infer(frame)?;
        let _offered = self.progress.begin();
        publish(&prediction);
        if let Some((_, collector)) = &self.collection {
            // Where the camera does not stamp its images, they have the time of their arrival.
            let at = if stamp.is_zero() { self.opened.elapsed() } else { stamp };
            if let Err(error) = collector.observe(frame, at, ModelOutput::from(&prediction)) {
                log::warn!("an image is not collected: {error}");
            }
        }
        Ok(())
    }

    /// Returns the drift figures.
    pub fn drift(&self) -> Drift {
        self.runtime.drift()
    }

    /// Runs the store's active version, if another process has changed it.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn poll(&self) -> Result<Option<Version>, Error> {
        self.runtime.poll()
    }

    /// Returns whether an adaptation is running.
    pub fn is_adapting(&self) -> bool {
        self.adaptation().as_ref().is_some_and(|adaptation| !adaptation.has_ended.load(Ordering::Acquire))
    }

    /// Labels the images of the last seconds, or the newest alone for 0.
    ///
    /// # Errors
    /// If the node has no collection, the class or the seconds cannot be used, or nothing can be stored.
    pub fn label(&self, class: &str, seconds: f64) -> Result<Kept, String> {
        let (_, collector) = self.collection("label images")?;
        let span = match Duration::try_from_secs_f64(seconds) {
            Ok(span) if span.is_zero() => NEWEST,
            Ok(span) => span,
            Err(_) => return Err(format!("the time {seconds} s cannot be used: expected 0 or more seconds")),
        };
        // Whoever has an answer labels its image.
        self.progress.wait();
        let label = Label::new(class, Origin::Operator);
        collector.label(Span::Last(span), &label).map_err(|error| error.to_string())
    }

    /// Starts an adaptation to the collection on a thread of its own.
    ///
    /// # Errors
    /// If the node has no store or no collection, or an adaptation is running.
    pub fn adapt(&self, options: Options) -> Result<String, String> {
        let (path, _) = self.collection("adapt")?;
        if self.runtime.store().is_none() {
            return Err("there is no store to keep a version in: start the node with -p store:=FOLDER".into());
        }
        let mut adaptation = self.adaptation();
        if adaptation.as_ref().is_some_and(|running| !running.has_ended.load(Ordering::Acquire)) {
            return Err("an adaptation is running: wait for its event `done`, or call ~/stop_adaptation".into());
        }
        let run = Run {
            runtime: self.runtime.clone(),
            images: path.clone(),
            options,
            control: Control::new(),
            events: self.events.clone(),
        };
        let started = Adaptation::start(run).map_err(|error| format!("no thread for the adaptation: {error}"))?;
        // What ran before has ended.
        *adaptation = Some(started);
        Ok(format!(
            "an adaptation to {} has begun; ~/events says how it goes",
            fieldfit::escape(&path.to_string_lossy())
        ))
    }

    /// Asks the adaptation to stop.
    ///
    /// # Errors
    /// If none is running, or it is complete already.
    pub fn stop_adaptation(&self) -> Result<String, String> {
        let adaptation = self.adaptation();
        let running = adaptation.as_ref().filter(|adaptation| !adaptation.has_ended.load(Ordering::Acquire));
        match running {
            None => Err("no adaptation is running".into()),
            Some(running) if running.control.stop() => Ok("the adaptation stops after its batch".into()),
            Some(_) => Err("the adaptation is complete, and its result is being stored".into()),
        }
    }

    /// Confirms the running version.
    ///
    /// # Errors
    /// If there is no store, it cannot be written, or the base runs.
    pub fn confirm(&self) -> Result<String, String> {
        let version = self.runtime.version();
        if version == Version::Base {
            return Err("the base runs, which needs no confirmation".into());
        }
        self.runtime.confirm().map_err(|error| error.to_string())?;
        Ok(format!("{version} is confirmed"))
    }

    /// Rolls back to the version before.
    ///
    /// # Errors
    /// If there is no store, it cannot be written, or the base is active.
    pub fn rollback(&self) -> Result<String, String> {
        let version = self.runtime.rollback().map_err(|error| error.to_string())?;
        Ok(format!("{version} runs now"))
    }

    fn collection(&self, action: &str) -> Result<&(PathBuf, Collector), String> {
        let missing = || format!("there is no collection to {action} with: start the node with -p collection:=FOLDER");
        self.collection.as_ref().ok_or_else(missing)
    }

    fn adaptation(&self) -> MutexGuard<'_, Option<Adaptation>> {
        self.adaptation.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Stops the adaptation and waits for its thread, so that the store is closed when the engine is gone.
impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(adaptation) = self.adaptation().take() {
            adaptation.control.stop();
            if adaptation.thread.join().is_err() {
                log::error!("the adaptation panicked: nothing was stored");
            }
        }
    }
}

/// Progress of the frames: how many were published, and how many of them were offered to the collection.
#[derive(Debug, Default)]
struct Progress {
    counts: Mutex<Counts>,
    offered: Condvar,
}

#[derive(Debug, Default)]
struct Counts {
    published: u64,
    offered: u64,
}

/// A frame that is published, and offered when this is dropped.
struct Offer<'a>(&'a Progress);

impl Progress {
    fn begin(&self) -> Offer<'_> {
        self.counts().published += 1;
        Offer(self)
    }

    /// Waits until all frames that were published by now have been offered.
    fn wait(&self) {
        let counts = self.counts();
        let published = counts.published;
        let waited = self.offered.wait_while(counts, |counts| counts.offered < published);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Offer<'_> {
    fn drop(&mut self) {
        self.0.counts().offered += 1;
        self.0.offered.notify_all();
    }
}

/// What an adaptation needs.
struct Run {
    runtime: Arc<Runtime>,
    images: PathBuf,
    options: Options,
    control: Control,
    events: Events,
}

impl Adaptation {
    fn start(run: Run) -> std::io::Result<Self> {
        let (control, has_ended) = (run.control.clone(), Arc::new(AtomicBool::new(false)));
        let ended = Ended(has_ended.clone());
        let work = move || {
            let _ended = ended;
            run.events.send(&NodeEvent::AdaptationBegun { collection: shown(&run.images) });
            if let Err(error) = run.run() {
                let reason = error.to_string();
                log::warn!("the adaptation ended without a result: {reason}");
                run.events.send(&NodeEvent::AdaptationFailed { reason });
            }
        };
        let thread = thread::Builder::new().name("fieldfit-adapt".into()).spawn(work)?;
        Ok(Self { control, has_ended, thread })
    }
}

impl Run {
    fn run(&self) -> Result<(), Error> {
        let mut progress =
            |_| if self.control.is_stopped() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
        let images = Contents::read(&self.images)?.dataset(&FolderOptions::default(), &mut progress)?;
        let adaptation = self.runtime.adaptation(&images).options(self.options.clone()).control(&self.control);
        adaptation.on_event(|event| self.events.send(&event)).run().map(drop)
    }
}

/// Says that an adaptation has ended, also by a panic.
struct Ended(Arc<AtomicBool>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
