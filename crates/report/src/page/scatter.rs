//! Scatter plots: one point per method and seed, one panel per source.

use super::Content;
use super::html::{figure, panel, percent, section as section_of};
use super::plot::{Axis, Plot};
use super::svg::Point;
use super::terms::Terms;
use crate::record::RunRecord;

/// Axes of a figure: their titles, and the coordinates of a run, as fractions.
struct Axes<'a> {
    x: &'a str,
    y: &'a str,
    point: &'a dyn Fn(&RunRecord) -> Option<Point>,
}

/// Renders the section; empty for a single run.
pub(super) fn section(content: &Content) -> String {
    if content.runs.len() < 2 {
        return String::new();
    }
    let figures = robustness(content) + &retention(content);
    if figures.is_empty() {
        return String::new();
    }
    let legend = content.methods.legend();
    // The panels of several sources fill a row by themselves.
    let class = if content.sources.len() == 1 { "pair" } else { "stack" };
    let heading = format!("{}, shifts and retention", content.terms.heading());
    section_of(&heading, &format!("{legend}<div class=\"{class}\">\n{figures}</div>\n"))
}

/// Renders the quality in distribution against that under shift.
fn robustness(content: &Content) -> String {
    let (quality, heading) = (content.terms.quality, content.terms.heading());
    let axes = Axes {
        x: &format!("{heading} in distribution (%)"),
        y: &format!("{heading}, mean of shifts (%)"),
        point: &|run| Some((run.in_distribution.quality(), run.mean_shift_accuracy()?)),
    };
    let caption = format!(
        "{heading} in distribution (held-out images of the source) against the mean {quality} over the shifts. One point \
         per method and seed. Of two points with the same {quality} in distribution, the upper one is more robust \
         (effective robustness)."
    );
    scatter(content, &axes, &caption)
}

/// Renders the gain on shifted images against retention.
fn retention(content: &Content) -> String {
    let probes: Vec<&RunRecord> = content.runs.iter().copied().filter(|run| is_linear_probe(&run.method)).collect();
    let Terms { quality, counted } = content.terms;
    let caption = |gain: &str| {
        format!(
            "Gain against forgetting: {gain}, and retention, the fraction of shifted {counted} for which the adapted \
             backbone under the base’s own head predicts the same class as the base. One point per method and seed. \
             Up and to the right is better."
        )
    };
    let y = "Retention (%)";
    if probes.is_empty() {
        let point = |run: &RunRecord| Some((run.mean_shift_accuracy()?, run.retention()));
        let x = format!("{}, mean of shifts (%)", content.terms.heading());
        let axes = Axes { x: &x, y, point: &point };
        return scatter(content, &axes, &caption(&format!("mean {quality} over the shifts")));
    }
    let gain = |run: &RunRecord| {
        let probe = probes.iter().find(|probe| probe.source == run.source && probe.seed == run.seed)?;
        Some((run.mean_shift_accuracy()? - probe.mean_shift_accuracy()?, run.retention()))
    };
    let axes = Axes { x: "Gain on shifts over the linear probe (points)", y, point: &gain };
    let gained = format!(
        "mean {quality} over the shifts minus that of the linear probe of the same source and seed (runs without one are \
         left out)"
    );
    scatter(content, &axes, &caption(&gained))
}

/// Returns whether a method trains only a head on the frozen backbone, whatever its hyper-parameters.
fn is_linear_probe(method: &str) -> bool {
    method.split_whitespace().next() == Some("linear-probe")
}

/// Renders a figure with a panel for each source.
fn scatter(content: &Content, axes: &Axes, caption: &str) -> String {
    let panels: String = content.sources.iter().filter_map(|source| source_panel(content, axes, source)).collect();
    if panels.is_empty() {
        return String::new();
    }
    figure("scatter", &panels, caption)
}

fn source_panel(content: &Content, axes: &Axes, source: &str) -> Option<String> {
    let of_source = content.runs.iter().filter(|run| run.source == source);
    let points: Vec<(&RunRecord, Point)> = of_source
        .filter_map(|run| Some((*run, (axes.point)(run)?)))
        .map(|(run, (x, y))| (run, (100.0 * x, 100.0 * y)))
        .filter(|(_, (x, y))| x.is_finite() && y.is_finite())
        .collect();
    let x = Axis::over(axes.x, points.iter().map(|(_, (x, _))| *x))?;
    let y = Axis::over(axes.y, points.iter().map(|(_, (_, y))| *y))?;
    let mut plot = Plot::new(x, y);
    for (run, point) in &points {
        let style = content.methods.style(&run.method);
        let title = format!("{}: {}, {}", content.name(run), percent(point.0 / 100.0), percent(point.1 / 100.0));
        let position = plot.position(*point);
        plot.svg.shape(&format!("mark {}", style.colour), style.shape, position, &title);
    }
    let label = format!("{source}: {} against {}, {} points", axes.y, axes.x, points.len());
    Some(panel(if content.sources.len() > 1 { source } else { "" }, &plot.finish(&label)))
}
