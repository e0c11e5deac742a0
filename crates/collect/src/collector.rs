//! Collector: buffers frames before a trigger, and stores those that a label selects.

use crate::clock::{Clock, SystemClock};
use crate::collection::{Added, Collection, NewImage};
use crate::contents::{ImageId, Statistics};
use crate::error::CollectError;
use crate::flat_options::FlatOptions;
use crate::label::{Label, PredictedClass};
use crate::limits::Limits;
use crate::privacy::Privacy;
use crate::ring::{BufferedFrame, FrameId, Ring, Span};
use crate::selection::{Appearance, LeftOut, Measured, Selection};
use fieldfit_data::{Frame, RgbImage, encode_jpeg, encoded_extension};
use fieldfit_durable::{Disk, FileSystem};
use fieldfit_tensor::text::find_unprintable;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Options of a [`Collector`].
///
/// As JSON, one object of what differs from the defaults, times in seconds: `{"rate":5,"buffer":3.5,"per_class":500}`. `session`,
/// `rate`, `all`, `buffer`, `buffer_bytes`, `block`, `quality`, `bytes`, `per_class`, `min_per_class`, `age`, `free_disk`, `masks` and
/// `max_side` are known; `all` keeps every frame, whatever its exposure, sharpness and likeness to others.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "FlatOptions")]
#[non_exhaustive]
pub struct CollectorOptions {
    /// Limits of the collection.
    pub limits: Limits,
    /// Rules by which frames are selected.
    pub selection: Selection,
    /// What frames go through before they are kept.
    pub privacy: Privacy,
    /// Name of the recording; `None` makes one from the time and a random number.
    pub session: Option<String>,
    /// Time before the trigger that is buffered.
    pub buffer: Duration,
    /// Maximum bytes of the buffer.
    pub buffer_bytes: usize,
    /// Length of the stretches of a recording that are one group.
    pub block: Duration,
    /// JPEG quality at which pixels are encoded, 1 to 100. Encoded frames are stored as they are.
    pub quality: u8,
}

/// 10 seconds and 64 MiB of buffer, groups of 10 seconds, JPEG quality 92.
impl Default for CollectorOptions {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            selection: Selection::default(),
            privacy: Privacy::default(),
            session: None,
            buffer: Duration::from_secs(10),
            buffer_bytes: 64 << 20,
            block: Duration::from_secs(10),
            quality: 92,
        }
    }
}

impl CollectorOptions {
    /// Returns the options with those [`limits`](Self::limits).
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Returns the options with that [`selection`](Self::selection).
    #[must_use]
    pub fn with_selection(mut self, selection: Selection) -> Self {
        self.selection = selection;
        self
    }

    /// Returns the options with that [`privacy`](Self::privacy).
    #[must_use]
    pub fn with_privacy(mut self, privacy: Privacy) -> Self {
        self.privacy = privacy;
        self
    }

    /// Returns the options with that name of the [recording](Self::session).
    #[must_use]
    pub fn with_session(mut self, session: Option<String>) -> Self {
        self.session = session;
        self
    }

    /// Returns the options with that [`buffer`](Self::buffer), in time and bytes.
    #[must_use]
    pub const fn with_buffer(mut self, duration: Duration, bytes: usize) -> Self {
        self.buffer = duration;
        self.buffer_bytes = bytes;
        self
    }

    /// Checks ranges.
    fn check(&self) -> Result<(), CollectError> {
        self.privacy.check()?;
        let is_rate = self.selection.rate > 0.0;
        let checks = [
            (is_rate, "rate", self.selection.rate.to_string(), "a number above 0"),
            (!self.block.is_zero(), "block", format!("{:?}", self.block), "a time above 0"),
            ((1..=100).contains(&self.quality), "quality", self.quality.to_string(), "1 to 100"),
            (
                self.session.as_ref().is_none_or(|name| !name.is_empty() && find_unprintable(name).is_none()),
                "session",
                self.session.clone().unwrap_or_default(),
                "printable text",
            ),
        ];
        match checks.into_iter().find(|(is_valid, ..)| !is_valid) {
            Some((_, option, found, expected)) => Err(CollectError::Option { option, found, expected }),
            None => Ok(()),
        }
    }
}

/// What the running model made of a frame, if it ran.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct ModelOutput {
    /// The best class. A full collection keeps frames of which the model was unsure.
    pub prediction: Option<PredictedClass>,
    /// Feature vector before the head, by which similar frames are found.
    pub features: Option<Arc<[f32]>>,
}

impl ModelOutput {
    /// Returns a model's output.
    pub const fn new(prediction: Option<PredictedClass>, features: Option<Arc<[f32]>>) -> Self {
        Self { prediction, features }
    }
}

/// Result of [`Collector::label`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct Kept {
    /// Images that have the label now: stored, known or relabelled.
    pub images: Vec<ImageId>,
    /// Number of those that were stored under another class before.
    pub relabelled: usize,
    /// Frames of the span that were not stored.
    pub left_out: LeftOut,
    /// Number of images that were removed for the new ones.
    pub evicted: usize,
}

/// Collector of labelled images. It can be shared between threads: [`observe`](Self::observe) never waits for the disk.
#[derive(Debug)]
pub struct Collector {
    options: CollectorOptions,
    session: String,
    buffer: Mutex<Buffer>,
    archive: Mutex<Archive>,
}

/// Frames before the trigger.
#[derive(Debug)]
struct Buffer {
    ring: Ring,
    /// Time of the last frame that was taken.
    last: Option<Duration>,
}

/// The collection, and what new frames are compared with.
#[derive(Debug)]
struct Archive {
    collection: Collection,
    /// Recent images of this recording, by class.
    recent: BTreeMap<String, VecDeque<Recent>>,
}

#[derive(Debug, Clone)]
struct Recent {
    id: ImageId,
    fingerprint: u64,
    features: Option<Arc<[f32]>>,
}

impl Collector {
    /// Opens a collector that stores into the collection at `path`, which is made if there is none.
    ///
    /// # Errors
    /// [`CollectError::Option`], and as [`Collection::open`].
    pub fn open(path: &Path, options: CollectorOptions) -> Result<Self, CollectError> {
        Self::open_on(Arc::new(Disk), path, options, Box::new(SystemClock::default()))
    }

    /// As [`open`](Self::open), on that file system and with that clock.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_on(
        files: Arc<dyn FileSystem>,
        path: &Path,
        options: CollectorOptions,
        clock: Box<dyn Clock>,
    ) -> Result<Self, CollectError> {
        options.check()?;
        let session = options.session.clone().unwrap_or_else(|| new_session(clock.as_ref()));
        let collection = Collection::open_on(files, path, options.limits, clock)?;
        let mut archive = Archive { collection, recent: BTreeMap::new() };
        archive.recall(&session, options.selection.recent);
        let ring = Ring::new(options.buffer, options.buffer_bytes);
        let buffer = Mutex::new(Buffer { ring, last: None });
        Ok(Self { options, session, buffer, archive: Mutex::new(archive) })
    }

    /// Name of the recording.
    pub fn session(&self) -> &str {
        &self.session
    }

    /// Takes a frame of the camera into the buffer, unless one was taken less than 1 / [`rate`](Selection::rate) before: then
    /// `None`. `at` is the time of capture on the camera's clock.
    ///
    /// Pixels are encoded; encoded frames are copied. With [`Privacy`] options, frames are masked and scaled down here, so that
    /// the buffer never holds what is not to be kept.
    ///
    /// # Errors
    /// [`CollectError::Frame`] if the frame can't be converted, [`CollectError::NotAnImage`] if it is of no known format.
    pub fn observe(
        &self,
        frame: &Frame<'_>,
        at: Duration,
        output: ModelOutput,
    ) -> Result<Option<FrameId>, CollectError> {
        if !self.is_due(at) {
            return Ok(None);
        }
        let bytes: Arc<[u8]> = match frame {
            Frame::Encoded(bytes) if !self.options.privacy.is_on() => {
                let known = encoded_extension(bytes).map(|_| Arc::from(*bytes));
                known.ok_or_else(|| CollectError::NotAnImage { name: format!("at {at:?}") })?
            }
            frame => self.encoded(frame.to_rgb()?)?.into(),
        };
        let mut buffer = self.buffer();
        buffer.last = Some(at);
        Ok(Some(buffer.ring.push(at, bytes, output.prediction, output.features)))
    }

    /// Labels buffered frames, and stores those that are worth it ([`Selection`]). The frames of one call are one group.
    ///
    /// # Errors
    /// [`CollectError::NoFrames`] if the buffer has none of that span, and as [`Collection::add`].
    pub fn label(&self, span: Span, label: &Label) -> Result<Kept, CollectError> {
        let (frames, buffered) = {
            let buffer = self.buffer();
            (buffer.ring.select(span), buffer.ring.len())
        };
        let Some(first) = frames.first() else {
            return Err(CollectError::NoFrames { span: span.to_string(), buffered });
        };
        let block = first.at.as_nanos() / self.options.block.as_nanos();
        let group = format!("{}/{block}", self.session);
        let mut archive = self.archive();
        let Choice { frames, same, mut left_out } = archive.choose(frames, &label.class, &self.options.selection);
        let images: Vec<NewImage<'_>> = frames
            .iter()
            .map(|(frame, measured)| NewImage {
                bytes: &frame.bytes,
                session: &self.session,
                group: Some(&group),
                at: Some(frame.at),
                fingerprint: measured.fingerprint,
                prediction: frame.prediction.as_ref(),
            })
            .collect();
        let added = archive.collection.add_counting(&images, label, &same)?;
        left_out.full += added.full;
        archive.remember(&frames, &label.class, self.options.selection.recent);
        let Added { stored, known, relabelled, evicted, .. } = added;
        let counted = relabelled.len();
        let images = [stored, known, relabelled].concat();
        Ok(Kept { images, relabelled: counted, left_out, evicted })
    }

    /// Changes the collection: relabels, discards, forgets. [`Collection::forget`] does not reach the buffer:
    /// [`clear_buffer`](Self::clear_buffer) does.
    pub fn with_collection<T>(&self, change: impl FnOnce(&mut Collection) -> T) -> T {
        change(&mut self.archive().collection)
    }

    /// Drops the buffered frames.
    pub fn clear_buffer(&self) {
        self.buffer().ring.clear();
    }

    /// Bytes of the buffered frames.
    pub fn buffered_bytes(&self) -> usize {
        self.buffer().ring.bytes()
    }

    /// Returns the numbers of the collection.
    pub fn statistics(&self) -> Statistics {
        self.archive().collection.contents().statistics()
    }

    /// Whether enough time has passed since the last frame, or the camera's clock went back.
    fn is_due(&self, at: Duration) -> bool {
        let interval =
            Duration::try_from_secs_f64(1.0 / f64::from(self.options.selection.rate)).unwrap_or(Duration::MAX);
        self.buffer().last.is_none_or(|last| at < last || at - last >= interval)
    }

    fn encoded(&self, image: RgbImage) -> Result<Vec<u8>, CollectError> {
        Ok(encode_jpeg(&self.options.privacy.apply(image), self.options.quality)?)
    }

    fn buffer(&self) -> MutexGuard<'_, Buffer> {
        // Nothing of it is half-done between two statements that can panic.
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn archive(&self) -> MutexGuard<'_, Archive> {
        self.archive.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Frames of a span that are worth storing.
struct Choice {
    frames: Vec<(BufferedFrame, Measured)>,
    /// Images that show the same as a frame that is left out.
    same: Vec<ImageId>,
    left_out: LeftOut,
}

impl Archive {
    /// Chooses the frames that are worth storing under a class.
    fn choose(&self, span: Vec<BufferedFrame>, class: &str, selection: &Selection) -> Choice {
        let mut choice = Choice { frames: Vec::new(), same: Vec::new(), left_out: LeftOut::default() };
        let mut recent: VecDeque<Recent> = self.recent.get(class).cloned().unwrap_or_default();
        for frame in span {
            let Ok(image) = Frame::Encoded(&frame.bytes).to_rgb() else {
                choice.left_out.unreadable += 1;
                continue;
            };
            let measured = Measured::of(&image);
            let own = Recent::of(&frame, &measured);
            let is_same = |recent: &&Recent| selection.is_same(&own.appearance(), &recent.appearance());
            if let Some(flaw) = selection.flaw(&measured) {
                choice.left_out.count(flaw);
            } else if let Some(same) = recent.iter().rev().find(is_same).filter(|same| same.id != own.id) {
                choice.left_out.similar += 1;
                choice.same.push(same.id);
            } else {
                push_bounded(&mut recent, own, selection.recent);
                choice.frames.push((frame, measured));
            }
        }
        choice
    }

    /// Remembers what was stored under a class, for frames to come to be compared with.
    fn remember(&mut self, frames: &[(BufferedFrame, Measured)], class: &str, limit: usize) {
        let contents = self.collection.contents();
        let recent = self.recent.entry(class.to_owned()).or_default();
        for own in frames.iter().map(|(frame, measured)| Recent::of(frame, measured)) {
            if contents.image(&own.id).is_some() {
                push_bounded(recent, own, limit);
            }
        }
        recent.retain(|recent| contents.image(&recent.id).is_some_and(|(_, label)| label.class == class));
    }

    /// Remembers the latest images that the collection has of a recording.
    fn recall(&mut self, session: &str, limit: usize) {
        let of_session = self.collection.contents().images().filter(|(image, _)| image.session == session);
        for (image, label) in of_session {
            let own = Recent { id: image.id, fingerprint: image.fingerprint, features: None };
            push_bounded(self.recent.entry(label.class.clone()).or_default(), own, limit);
        }
    }
}

impl Recent {
    fn of(frame: &BufferedFrame, measured: &Measured) -> Self {
        Self { id: ImageId::of(&frame.bytes), fingerprint: measured.fingerprint, features: frame.features.clone() }
    }

    fn appearance(&self) -> Appearance<'_> {
        Appearance { fingerprint: self.fingerprint, features: self.features.as_deref() }
    }
}

/// Adds the newest of a bounded list.
fn push_bounded(recent: &mut VecDeque<Recent>, newest: Recent, limit: usize) {
    recent.push_back(newest);
    while recent.len() > limit {
        recent.pop_front();
    }
}

/// Returns the name of a new recording: the time, where it is known, and a random number.
fn new_session(clock: &dyn Clock) -> String {
    format!("{}-{:08x}", clock.wall().as_secs(), RandomState::new().hash_one(()) as u32)
}
