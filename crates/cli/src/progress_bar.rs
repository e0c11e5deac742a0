//! Progress bar and notes on standard error, while the command works.

use crate::error::{counted, list};
use crate::output::{Output, escape, mebibytes, print_error_line};
use fieldfit::delta::Fidelity;
use fieldfit::train::{BranchMean, Event, Phase};
use indicatif::{ProgressDrawTarget, ProgressStyle};
use std::time::Duration;

/// Progress bar with notes above it. The bar is hidden where standard error is no terminal; bar and notes are left out
/// with `--json` and `--quiet`.
pub struct ProgressBar {
    bar: indicatif::ProgressBar,
    is_silent: bool,
}

impl ProgressBar {
    /// Creates an empty bar.
    pub fn new(output: &Output) -> Self {
        let is_silent = output.is_json() || output.is_quiet();
        let target = if is_silent { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = indicatif::ProgressBar::with_draw_target(None, target);
        bar.set_style(style());
        bar.enable_steady_tick(Duration::from_millis(100));
        Self { bar, is_silent }
    }

    /// Shows how many images are done.
    pub fn images(&self, what: &str, done: usize, total: usize) {
        self.count(what, done as u64, total as u64);
    }

    /// Shows work of unknown length.
    pub fn wait(&self, what: &str) {
        self.bar.unset_length();
        self.bar.set_message(what.to_owned());
    }

    /// Writes a note above the bar, escaped.
    pub fn line(&self, text: impl AsRef<str>) {
        if !self.is_silent {
            self.bar.suspend(|| print_error_line(escape(text.as_ref())));
        }
    }

    /// Shows an event of an adaptation.
    pub fn event(&self, event: &Event) {
        match event {
            Event::Progress { phase, done, total } => self.images(phase_name(*phase), *done, *total),
            Event::Step { step, steps, loss, .. } => self.count(&format!("training, loss {loss:.3}"), *step, *steps),
            event => notes(event).iter().for_each(|note| self.line(note)),
        }
    }

    /// Shows the progress of one adaptation among others, without its notes.
    pub fn step(&self, event: &Event) {
        if matches!(event, Event::Progress { .. } | Event::Step { .. } | Event::Degenerate { .. }) {
            self.event(event);
        }
    }

    /// Notes classes that a new version lacks.
    pub fn fewer_classes(&self, version: u32, lost: &[String]) {
        let count = counted(lost.len(), "class", "classes");
        self.line(format!("the new version lacks {count} of version {version}: {}", list(lost)));
    }

    /// Removes the bar.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn count(&self, what: &str, done: u64, total: u64) {
        self.bar.set_length(total);
        self.bar.set_position(done);
        self.bar.set_message(what.to_owned());
    }
}

/// Returns what a person reads of an event.
fn notes(event: &Event) -> Vec<String> {
    let note = match event {
        Event::Plan { classes, train, validation, gate, notes, .. } => {
            let classes = counted(classes.len(), "class", "classes");
            let mut lines = vec![format!("{classes}: {train} images train, {validation} validate, {gate} in the gate")];
            lines.extend(notes.iter().cloned());
            return lines;
        }
        Event::Memory(plan) => {
            let (peak, at_once) = (mebibytes(plan.total), plan.micro_batch);
            let recomputed = match plan.recomputed_stages {
                0 => String::new(),
                stages => format!(", {stages} stages recomputed"),
            };
            format!("memory plan: {peak} at the peak, micro-batch {at_once}{recomputed}")
        }
        Event::Frozen { stages, views, in_file, .. } => {
            let last = stages.last().map_or("", String::as_str);
            let place = if *in_file { "a file" } else { "memory" };
            format!("frozen up to {last}: activations of {views} views cached in {place}")
        }
        Event::Unreadable { path, reason } => format!("skipped {}, unreadable since: {reason}", path.display()),
        Event::CheckpointFailed { reason, .. } => format!("no checkpoint written, the run continues: {reason}"),
        Event::EarlyStop { epoch, stale, .. } => {
            format!("training stopped after epoch {epoch}: no higher validation accuracy for {stale} epochs")
        }
        Event::Resumed { step } => format!("resumed after step {step}"),
        Event::Paused => "paused".into(),
        Event::Unpaused { seconds } => format!("resumed after a pause of {seconds:.0} s"),
        Event::Probe { accuracy, .. } => format!("linear probe: {:.1} % validation accuracy", 100.0 * accuracy),
        Event::Epoch { epoch, epochs, loss, accuracy } => {
            format!("epoch {epoch} of {epochs}: loss {loss:.3}, {:.1} % validation accuracy", 100.0 * accuracy)
        }
        Event::Branches(BranchMean { branches, cosine, single, mean, .. }) => {
            format!("mean of {branches} branches: cosine {cosine:.2}, distance from the base {single:.3} to {mean:.3}")
        }
        Event::Interpolation { alpha, .. } => format!("interpolation: {:.0} % of the difference kept", 100.0 * alpha),
        Event::Coded(Fidelity { images, changed, divergence }) => {
            format!("encoded: {changed} of {images} validation answers changed, divergence {divergence:.4} nats")
        }
        Event::Degenerate { reason } => format!("note: {reason}"),
        // The bar and the report show these; what stores the delta prints the last two.
        Event::Skipped(_)
        | Event::Progress { .. }
        | Event::Step { .. }
        | Event::Radii(_)
        | Event::Shares { .. }
        | Event::Collapse { .. }
        | Event::Checkpoint { .. }
        | Event::Gate(_)
        | Event::Done { .. } => return Vec::new(),
        // `Event` is `non_exhaustive`: the compiler asks for this arm, and lists no new variant here.
        event => {
            log::debug!("{event:?}");
            return Vec::new();
        }
    };
    vec![note]
}

fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Features => "extracting features",
        Phase::Frozen => "computing frozen stages",
        Phase::Validation => "validating",
        Phase::Radii => "learning radii",
        Phase::Interpolation => "interpolating",
        Phase::Coding => "selecting codecs",
        Phase::Gate => "evaluating the gate",
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {msg} {wide_bar} {pos}/{len} {eta}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}
