//! A plot's frame: axes with round ticks, and where a value lies between them.

use super::svg::{Anchor, Point, Svg};

const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 290.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 386.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 238.0;

/// An axis: its title with the unit, and the range of its round ticks.
pub(super) struct Axis {
    title: String,
    step: f64,
    /// The first and last tick, in steps.
    ticks: (i64, i64),
}

impl Axis {
    /// An axis over some values, to the next ticks; nothing where no value is finite.
    pub(super) fn over(title: &str, values: impl Iterator<Item = f64>) -> Option<Self> {
        let finite = values.filter(|value| value.is_finite());
        let (low, high) =
            finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        if low > high {
            return None;
        }
        // Equal values still want an axis about them.
        let span = (high - low).max(1e-6 * high.abs()).max(1e-9);
        let step = round_step(span / 4.0);
        let first = (low / step).floor() as i64;
        let last = ((high / step).ceil() as i64).max(first + 1);
        Some(Self { title: title.to_owned(), step, ticks: (first, last) })
    }

    /// An axis from 0 to a positive end, whose ticks are of no use.
    pub(super) fn spanning(title: &str, end: f64) -> Self {
        Self { title: title.to_owned(), step: end, ticks: (0, 1) }
    }

    pub(super) fn low(&self) -> f64 {
        self.ticks.0 as f64 * self.step
    }

    pub(super) fn high(&self) -> f64 {
        self.ticks.1 as f64 * self.step
    }

    pub(super) fn title(&self) -> &str {
        &self.title
    }

    /// Where a value lies, 0..1.
    pub(super) fn share(&self, value: f64) -> f64 {
        (value - self.low()) / (self.high() - self.low())
    }

    /// The ticks' values and labels.
    pub(super) fn ticks(&self) -> Vec<(f64, String)> {
        let digits = (-self.step.log10().floor()).clamp(0.0, 9.0) as usize;
        let label = |value: f64| format!("{value:.digits$}").replace('-', "−");
        (self.ticks.0..=self.ticks.1).map(|tick| tick as f64 * self.step).map(|value| (value, label(value))).collect()
    }
}

/// The least of 1, 2, 5 times a power of ten that is no less than `step`.
fn round_step(step: f64) -> f64 {
    let power = 10_f64.powf(step.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= step * (1.0 - 1e-9));
    factor.unwrap_or(10.0) * power
}

/// A picture with two axes, on which marks are laid.
pub(super) struct Plot {
    pub(super) svg: Svg,
    x: Axis,
    y: Axis,
}

impl Plot {
    /// A plot with ticks and a grid both ways.
    pub(super) fn new(x: Axis, y: Axis) -> Self {
        let mut plot = Self::without_ticks_below(x, y);
        for (value, label) in plot.x.ticks() {
            let x = plot.at((value, 0.0)).0;
            plot.svg.line("grid", (x, TOP), (x, BOTTOM));
            plot.svg.text("tick", (x, BOTTOM + 16.0), Anchor::Middle, &label);
        }
        plot
    }

    /// A plot whose caller labels the horizontal axis itself.
    pub(super) fn without_ticks_below(x: Axis, y: Axis) -> Self {
        let mut plot = Self { svg: Svg::new(WIDTH, HEIGHT), x, y };
        for (value, label) in plot.y.ticks() {
            let y = plot.at((0.0, value)).1;
            plot.svg.line("grid", (LEFT, y), (RIGHT, y));
            plot.svg.text("tick", (LEFT - 7.0, y + 4.0), Anchor::End, &label);
        }
        plot.svg.text("title", (0.5 * (LEFT + RIGHT), BOTTOM + 40.0), Anchor::Middle, &plot.x.title);
        let middle = (15.0, 0.5 * (TOP + BOTTOM));
        plot.svg.turned_text("title", middle, Anchor::Middle, -90, &plot.y.title);
        plot
    }

    /// Where values lie in the picture.
    pub(super) fn at(&self, (x, y): Point) -> Point {
        (LEFT + self.x.share(x) * (RIGHT - LEFT), BOTTOM - self.y.share(y) * (BOTTOM - TOP))
    }

    /// A band of the plot's whole height between two values of the horizontal axis, and a label beneath it.
    pub(super) fn band(&mut self, class: &str, (from, to): Point, label: &str) {
        let (left, right) = (self.at((from, 0.0)).0, self.at((to, 0.0)).0);
        self.svg.rect(class, (left, TOP), (right - left, BOTTOM - TOP), "", "");
        self.svg.text("tick", (0.5 * (left + right), BOTTOM + 16.0), Anchor::Middle, label);
    }

    pub(super) fn finish(self, label: &str) -> String {
        self.svg.finish("plot", label)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(values: &[f64]) -> Vec<String> {
        let axis = Axis::over("", values.iter().copied()).unwrap();
        axis.ticks().into_iter().map(|(_, label)| label).collect()
    }

    /// Would catch ticks that are not round, that leave a value outside, or whose labels have lost their digits.
    #[test]
    fn ticks_are_round_and_hold_every_value() {
        assert_eq!(labels(&[81.3, 93.9]), ["80", "85", "90", "95"]);
        assert_eq!(labels(&[-0.7, 0.31]), ["−1.0", "−0.5", "0.0", "0.5"]);
        assert_eq!(labels(&[0.0, 1.0, f64::NAN]), ["0.0", "0.5", "1.0"]);
        assert_eq!(labels(&[5.0, 5.0]).len(), 2, "a single value has an axis, too");
    }

    /// Would catch an endless or empty axis where a run diverged.
    #[test]
    fn values_that_are_not_finite_have_no_axis() {
        assert!(Axis::over("", [f64::NAN, f64::INFINITY].into_iter()).is_none());
        assert!(Axis::over("", std::iter::empty()).is_none());
    }
}
