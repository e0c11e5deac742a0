//! Subcommand `collect`: labels the frames of a folder, a stream or a camera, and stores those that are worth it.

use crate::args::CollectArgs;
use crate::error::{CliError, counted};
use crate::output::{Output, Text, bytes};
use crate::progress_bar::ProgressBar;
use fieldfit::Frame;
use fieldfit::collect::stream::{FrameStream, StreamError, StreamFrame};
use fieldfit::collect::{
    CollectError, Collector, CollectorOptions, Label, LeftOut, ModelOutput, Privacy, Selection, Span,
};
use fieldfit::data::{MAX_IMAGE_FILE_BYTES, SkipSummary, images_below};
use fieldfit::read_bounded;
use serde::Serialize;
use std::io::{self, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Result of the command.
#[derive(Debug, Default, Serialize)]
struct Collected {
    /// Frames that the source gave.
    frames: usize,
    /// Frames that were taken, at most at the rate.
    taken: usize,
    stored: usize,
    relabelled: usize,
    evicted: usize,
    left_out: LeftOut,
    /// Images of the collection, and bytes of their files.
    images: usize,
    bytes: u64,
}

pub fn run(args: &CollectArgs, output: &Output) -> Result<(), CliError> {
    let label = Label::from(&args.label);
    // Before a collection is created, and before a stream is waited for.
    label.check().map_err(fieldfit::Error::from)?;
    let collector = Collector::open(&args.out, options(args)).map_err(fieldfit::Error::from)?;
    let progress = ProgressBar::new(output);
    let mut run = Run { args, collector, label, progress, collected: Collected::default() };
    let outcome = run.source();
    run.progress.finish();
    let statistics = run.collector.statistics();
    let collected = Collected { images: statistics.images, bytes: statistics.bytes, ..run.collected };
    // What was collected before an error is stored, and is reported.
    let shown = output.show(&collected, |collected| text(collected, &args.out));
    outcome.and(shown)
}

fn options(args: &CollectArgs) -> CollectorOptions {
    let selection = Selection::default().with_rate(args.rate as f32);
    let selection = match args.all {
        true => selection.of_all(),
        false => selection,
    };
    let privacy = args.mask.iter().cloned().fold(Privacy::default(), Privacy::with_mask);
    CollectorOptions::default()
        .with_limits((&args.limits).into())
        .with_selection(selection)
        .with_privacy(privacy.with_max_side(args.max_side))
        .with_session(args.session.clone())
}

/// Run of the command.
struct Run<'a> {
    args: &'a CollectArgs,
    collector: Collector,
    label: Label,
    progress: ProgressBar,
    collected: Collected,
}

impl Run<'_> {
    fn source(&mut self) -> Result<(), CliError> {
        let path = &self.args.source;
        if path == Path::new("-") {
            self.stream(io::stdin().lock())
        } else if path.is_dir() {
            self.folder()
        } else if is_device(path) {
            self.camera()
        } else {
            Err(CliError::NoSource { path: path.clone() })
        }
    }

    /// Images of a folder in the order of their names, one a second or at `--fps`.
    fn folder(&mut self) -> Result<(), CliError> {
        let (images, skipped) = images_below(&self.args.source).map_err(fieldfit::Error::from)?;
        if let Some(skipped) = SkipSummary::of(&skipped) {
            self.progress.line(skipped.to_string());
        }
        let rate = self.args.fps.unwrap_or(self.args.rate.min(1.0));
        for (index, path) in images.iter().enumerate() {
            self.progress.images("collecting", index, images.len());
            let file = read_bounded(path, MAX_IMAGE_FILE_BYTES)?;
            let at = frame_time(index, rate);
            let unreadable = self.collected.left_out.unreadable;
            let goes_on = self.frame(&Frame::Encoded(&file), at)?;
            if self.collected.left_out.unreadable > unreadable {
                self.progress.line(format!("{} cannot be decoded", path.display()));
            }
            if !goes_on {
                break;
            }
        }
        Ok(())
    }

    fn camera(&mut self) -> Result<(), CliError> {
        let path = self.args.source.clone();
        let mut child = KilledOnDrop(ffmpeg(&path).map_err(|source| CliError::Ffmpeg { path: path.clone(), source })?);
        let Some(frames) = child.0.stdout.take() else { return Ok(()) };
        let (before, outcome) = (self.collected.frames, self.stream(frames));
        let has_ended = outcome.is_err() || !self.is_done(Duration::ZERO) && self.args.duration.is_none();
        if has_ended {
            let status = child.0.wait()?;
            // Without a frame, ffmpeg's own message is the cause.
            if !status.success() && (outcome.is_ok() || self.collected.frames == before) {
                return Err(CliError::FfmpegFailed { path, status });
            }
        }
        outcome
    }

    fn stream(&mut self, reader: impl Read) -> Result<(), CliError> {
        let path = self.args.source.clone();
        let failed = |source: StreamError| CliError::Stream { path: path.clone(), source };
        self.progress.wait("collecting");
        let frames = FrameStream::open(reader).map_err(failed)?;
        let rate = self.args.fps.or(frames.rate());
        let start = Instant::now();
        for (index, frame) in frames.enumerate() {
            let frame: StreamFrame = frame.map_err(failed)?;
            let at = rate.map_or_else(|| start.elapsed(), |rate| frame_time(index, rate));
            if !self.frame(&frame.frame(), at)? {
                break;
            }
        }
        Ok(())
    }

    /// Takes a frame. Returns whether the run goes on.
    fn frame(&mut self, frame: &Frame<'_>, at: Duration) -> Result<bool, CliError> {
        if self.is_done(at) {
            return Ok(false);
        }
        self.collected.frames += 1;
        match self.collector.observe(frame, at, ModelOutput::default()) {
            Ok(None) => {}
            Ok(Some(id)) => {
                self.collected.taken += 1;
                let kept = self.collector.label(Span::Frame(id), &self.label).map_err(fieldfit::Error::from)?;
                let is_new = kept.left_out.total() == 0 && kept.relabelled == 0;
                self.collected.stored += if is_new { kept.images.len() } else { 0 };
                self.collected.relabelled += kept.relabelled;
                self.collected.evicted += kept.evicted;
                self.collected.left_out += kept.left_out;
            }
            Err(CollectError::Frame(_) | CollectError::NotAnImage { .. }) => self.collected.left_out.unreadable += 1,
            Err(error) => return Err(fieldfit::Error::from(error).into()),
        }
        Ok(!self.is_done(at))
    }

    fn is_done(&self, at: Duration) -> bool {
        let is_full = self.args.images.is_some_and(|images| self.collected.stored >= images as usize);
        is_full || self.args.duration.is_some_and(|duration| at > duration)
    }
}

/// Returns the time of a frame at a rate in frames a second; the longest time there is for a rate below all sense.
fn frame_time(index: usize, rate: f64) -> Duration {
    Duration::try_from_secs_f64(index as f64 / rate).unwrap_or(Duration::MAX)
}

/// Whether a path is a character device, such as a camera.
fn is_device(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_char_device())
}

/// Starts ffmpeg, which writes the camera's frames as MJPEG.
fn ffmpeg(camera: &Path) -> io::Result<Child> {
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-loglevel", "error", "-nostdin", "-f", "v4l2", "-i"]).arg(camera);
    command.args(["-an", "-c:v", "mjpeg", "-q:v", "3", "-f", "mjpeg", "-"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()
}

/// Child process that ends with this value.
struct KilledOnDrop(Child);

impl Drop for KilledOnDrop {
    fn drop(&mut self) {
        // It has ended, or ends now.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn text(collected: &Collected, out: &Path) -> Text {
    let Collected { frames, taken, stored, relabelled, evicted, left_out, images, bytes: length } = collected;
    let mut text = Text::from(format!("{stored} of {} stored", counted(*frames, "frame", "frames")));
    let LeftOut { similar, dark, bright, blurred, unreadable, full, .. } = left_out;
    let reasons = [
        (frames - taken - unreadable.min(&(frames - taken)), "between two that were taken"),
        (*similar, "like others"),
        (*dark, "too dark"),
        (*bright, "too bright"),
        (*blurred, "blurred"),
        (*unreadable, "unreadable"),
        (*full, "of a full class"),
        (*relabelled, "of another class before, now relabelled"),
    ];
    let reasons = reasons.iter().filter(|(count, _)| *count > 0).map(|(count, reason)| format!("{count} {reason}"));
    let reasons: Vec<String> = reasons.collect();
    if !reasons.is_empty() {
        text.line(format!("not stored: {}", reasons.join(", ")));
    }
    if *evicted > 0 {
        text.line(format!("removed for them: {}", counted(*evicted, "image", "images")));
    }
    text.line(format!("{}: {}, {}", out.display(), counted(*images, "image", "images"), bytes(*length)));
    text
}
