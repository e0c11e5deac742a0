//! Plot frame: axes with round ticks, and the mapping from values to pixels.

use super::svg::{Anchor, CHARACTER_WIDTH, PLOT_WIDTH, Point, Svg};

const HEIGHT: f64 = 250.0;
const LEFT: f64 = 54.0;
const RIGHT: f64 = 312.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 204.0;

/// Axis: its title with the unit, and the range of its round ticks.
pub(super) struct Axis {
    title: String,
    step: f64,
    /// First and last tick, in steps.
    ticks: (i64, i64),
}

impl Axis {
    /// Creates an axis over some values, extended to the next ticks; `None` if no value is finite.
    pub(super) fn over(title: &str, values: impl Iterator<Item = f64>) -> Option<Self> {
        let finite = values.filter(|value| value.is_finite());
        let (low, high) =
            finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        if low > high {
            return None;
        }
        // Equal values still need an axis of some length.
        let span = (high - low).max(1e-6 * high.abs()).max(1e-9);
        let step = round_step(span / 4.0);
        let first = (low / step).floor() as i64;
        let last = ((high / step).ceil() as i64).max(first + 1);
        Some(Self { title: title.to_owned(), step, ticks: (first, last) })
    }

    /// Creates an axis from 0 to a positive end, for a plot that labels it itself.
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

    /// Returns the relative position of a value, 0..1.
    pub(super) fn fraction(&self, value: f64) -> f64 {
        (value - self.low()) / (self.high() - self.low())
    }

    /// Returns the values and labels of the ticks.
    pub(super) fn ticks(&self) -> Vec<(f64, String)> {
        self.every(1)
    }

    /// Returns the values and labels of as many ticks as have room side by side on a horizontal axis of that length.
    pub(super) fn horizontal_ticks(&self, length: f64) -> Vec<(f64, String)> {
        let count = self.ticks.1 - self.ticks.0;
        let fits = |every: &i64| {
            let longest = self.every(*every).iter().map(|(_, label)| label.chars().count()).max().unwrap_or(0);
            (longest as f64 + 1.0) * CHARACTER_WIDTH * count as f64 <= length * *every as f64
        };
        self.every((1..count).find(fits).unwrap_or(count))
    }

    /// Returns the ticks at multiples of so many steps, 0 among them where the axis has it.
    fn every(&self, steps: i64) -> Vec<(f64, String)> {
        let digits = (-self.step.log10().floor()).clamp(0.0, 9.0) as usize;
        let label = |value: f64| format!("{value:.digits$}").replace('-', "−");
        let ticks = (self.ticks.0..=self.ticks.1).filter(|tick| tick % steps == 0).map(|tick| tick as f64 * self.step);
        ticks.map(|value| (value, label(value))).collect()
    }
}

/// Returns the least of 1, 2, 5 times a power of ten that is at least `step`.
fn round_step(step: f64) -> f64 {
    let power = 10_f64.powf(step.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= step * (1.0 - 1e-9));
    factor.unwrap_or(10.0) * power
}

/// Plot: a drawing with two axes, on which marks are placed.
pub(super) struct Plot {
    pub(super) svg: Svg,
    x: Axis,
    y: Axis,
    /// Right end of the last label of a band.
    labelled_to: f64,
}

impl Plot {
    /// Creates a plot with ticks and grid lines in both directions.
    pub(super) fn new(x: Axis, y: Axis) -> Self {
        let mut plot = Self::without_horizontal_ticks(x, y);
        for (value, label) in plot.x.horizontal_ticks(RIGHT - LEFT) {
            let x = plot.position((value, 0.0)).0;
            plot.svg.line("grid", (x, TOP), (x, BOTTOM));
            plot.svg.text("tick", (x, BOTTOM + 16.0), Anchor::Middle, &label);
        }
        plot
    }

    /// Creates a plot whose horizontal axis is labelled by [`Plot::band`].
    pub(super) fn without_horizontal_ticks(x: Axis, y: Axis) -> Self {
        let mut plot = Self { svg: Svg::new(PLOT_WIDTH, HEIGHT), x, y, labelled_to: LEFT };
        for (value, label) in plot.y.ticks() {
            let y = plot.position((0.0, value)).1;
            plot.svg.line("grid", (LEFT, y), (RIGHT, y));
            plot.svg.text("tick", (LEFT - 6.0, y + 4.0), Anchor::End, &label);
        }
        plot.svg.text("title", (0.5 * (LEFT + RIGHT), BOTTOM + 38.0), Anchor::Middle, &plot.x.title);
        let middle = (12.0, 0.5 * (TOP + BOTTOM));
        plot.svg.rotated_text("title", middle, Anchor::Middle, -90, &plot.y.title);
        plot
    }

    /// Maps values to a position in the drawing.
    pub(super) fn position(&self, (x, y): Point) -> Point {
        (LEFT + self.x.fraction(x) * (RIGHT - LEFT), BOTTOM - self.y.fraction(y) * (BOTTOM - TOP))
    }

    /// Adds a band of full height between two values of the horizontal axis, with a label below it where there is room.
    pub(super) fn band(&mut self, class: &str, (from, to): Point, label: &str) {
        let (left, right) = (self.position((from, 0.0)).0, self.position((to, 0.0)).0);
        self.svg.rect(class, (left, TOP), (right - left, BOTTOM - TOP), "", "");
        let (middle, half) = (0.5 * (left + right), 0.5 * (label.chars().count() as f64 + 0.5) * CHARACTER_WIDTH);
        if middle - half >= self.labelled_to {
            self.svg.text("tick", (middle, BOTTOM + 16.0), Anchor::Middle, label);
            self.labelled_to = middle + half;
        }
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

    /// Catches: ticks that are not round, that leave a value outside, or whose labels have lost their digits.
    #[test]
    fn ticks_are_round_and_enclose_every_value() {
        assert_eq!(labels(&[81.3, 93.9]), ["80", "85", "90", "95"]);
        assert_eq!(labels(&[-0.7, 0.31]), ["−1.0", "−0.5", "0.0", "0.5"]);
        assert_eq!(labels(&[0.0, 1.0, f64::NAN]), ["0.0", "0.5", "1.0"]);
        assert_eq!(labels(&[5.0, 5.0]).len(), 2, "a single value has an axis, too");
    }

    /// Catches: labels that overlap on a short axis, and a zero that is lost when labels are left out.
    #[test]
    fn horizontal_labels_do_not_overlap() {
        let axis = Axis::over("", [-31.0, 45.0].into_iter()).unwrap();
        let labels =
            |length| -> Vec<String> { axis.horizontal_ticks(length).into_iter().map(|(_, label)| label).collect() };
        assert_eq!(labels(400.0), ["−40", "−20", "0", "20", "40", "60"]);
        assert_eq!(labels(100.0), ["−40", "0", "40"]);
        assert_eq!(labels(1.0), ["0"]);
    }

    /// Catches: an endless or empty axis where a run diverged.
    #[test]
    fn values_that_are_not_finite_have_no_axis() {
        assert!(Axis::over("", [f64::NAN, f64::INFINITY].into_iter()).is_none());
        assert!(Axis::over("", std::iter::empty()).is_none());
    }
}
