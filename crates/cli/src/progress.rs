//! Bars on standard error while there is something to wait for; nothing where nobody looks.

use crate::output::mebibytes;
use fieldfit::delta::Fidelity;
use fieldfit::train::{Event, Phase};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::Duration;

/// What is being waited for, as one bar, and what has been reached, as lines. The bar is hidden where standard error is
/// no terminal.
pub struct Progress {
    bar: ProgressBar,
    is_silent: bool,
}

impl Progress {
    /// A bar that has nothing to show yet; one that never has, beside JSON.
    pub fn new(is_silent: bool) -> Self {
        let target = if is_silent { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(None, target);
        bar.set_style(style());
        bar.enable_steady_tick(Duration::from_millis(100));
        Self { bar, is_silent }
    }

    /// How many of the images are done.
    pub fn images(&self, what: &str, done: usize, total: usize) {
        self.count(what, done as u64, total as u64);
    }

    /// Something to wait for whose length nobody knows.
    pub fn wait(&self, what: &str) {
        self.bar.unset_length();
        self.bar.set_message(what.to_owned());
    }

    /// A line above the bar, that stays.
    pub fn line(&self, text: impl AsRef<str>) {
        if !self.is_silent {
            self.bar.suspend(|| eprintln!("{}", text.as_ref()));
        }
    }

    /// Shows what an adaptation says of itself.
    pub fn event(&self, event: &Event) {
        match event {
            Event::Plan { classes, train, validation, gate, skipped, notes, .. } => {
                let classes = classes.len();
                self.line(format!("{classes} classes: {train} images train, {validation} validate, {gate} judge"));
                if *skipped > 0 {
                    self.line(format!("{skipped} images could not be read and are left out"));
                }
                notes.iter().for_each(|note| self.line(note));
            }
            Event::Memory(plan) => {
                let (peak, at_once) = (mebibytes(plan.total), plan.micro_batch);
                let twice = match plan.recomputed_stages {
                    0 => String::new(),
                    stages => format!(", {stages} stages computed twice"),
                };
                self.line(format!("{peak} of memory at the peak, by plan: {at_once} images at once{twice}"));
            }
            Event::Frozen { stages, views, in_file, .. } => {
                let last = stages.last().map_or("", String::as_str);
                let place = if *in_file { "in a file" } else { "in memory" };
                self.line(format!("frozen up to {last}: computed once for each of {views} views, kept {place}"));
            }
            Event::Resumed { step } => self.line(format!("goes on after step {step}")),
            Event::Progress { phase, done, total } => self.images(phase_name(*phase), *done, *total),
            Event::Paused => self.line("paused"),
            Event::Unpaused { seconds } => self.line(format!("goes on after a pause of {seconds:.0} s")),
            Event::Probe { accuracy, .. } => {
                self.line(format!("linear probe: {:.1} % of validation", 100.0 * accuracy))
            }
            Event::Step { step, steps, loss, .. } => self.count(&format!("training, loss {loss:.3}"), *step, *steps),
            Event::Epoch { epoch, epochs, loss, accuracy } => {
                let accuracy = 100.0 * accuracy;
                self.line(format!("epoch {epoch} of {epochs}: loss {loss:.3}, {accuracy:.1} % of validation"));
            }
            Event::Interpolation { alpha, .. } => self.line(format!("keeps {:.0} % of the difference", 100.0 * alpha)),
            Event::Coded(Fidelity { images, changed, divergence }) => self
                .line(format!("stored: {changed} of {images} validation answers changed, divergence {divergence:.4}")),
            Event::Degenerate { reason } => self.line(format!("note: {reason}")),
            event => log::debug!("{event:?}"),
        }
    }

    /// Shows where an adaptation among others stands, without what it says of itself.
    pub fn step(&self, event: &Event) {
        if matches!(event, Event::Progress { .. } | Event::Step { .. } | Event::Degenerate { .. }) {
            self.event(event);
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn count(&self, what: &str, done: u64, total: u64) {
        self.bar.set_length(total);
        self.bar.set_position(done);
        self.bar.set_message(what.to_owned());
    }
}

fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Features => "looking at the images with the base",
        Phase::Frozen => "computing the frozen stages",
        Phase::Validation => "validating",
        Phase::Radii => "learning radii",
        Phase::Interpolation => "looking for the best way back",
        Phase::Coding => "looking for the smallest file",
        Phase::Gate => "judging",
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {msg} {wide_bar} {pos}/{len} {eta}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}
