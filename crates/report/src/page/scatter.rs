//! Points: one a method and seed, a panel for each source.

use super::Content;
use super::html::{figure, panel, percent, section as section_of};
use super::plot::{Axis, Plot};
use super::svg::Point;
use crate::record::Run;

/// What the runs of one figure are put at, in per cent.
struct Axes<'a> {
    x: &'a str,
    y: &'a str,
    point: &'a dyn Fn(&Run) -> Option<Point>,
}

pub(super) fn section(content: &Content) -> String {
    if content.runs.len() < 2 {
        return String::new();
    }
    let figures = robustness(content) + &retention(content);
    if figures.is_empty() {
        return String::new();
    }
    let legend = content.methods.legend();
    // Panels of several sources fill a row by themselves.
    let class = if content.sources.len() == 1 { "pair" } else { "stack" };
    section_of("Accuracy, shifts and retention", &format!("{legend}<div class=\"{class}\">\n{figures}</div>\n"))
}

fn robustness(content: &Content) -> String {
    let axes = Axes {
        x: "Accuracy in distribution (%)",
        y: "Accuracy, mean of shifts (%)",
        point: &|run| Some((run.in_distribution.accuracy(), run.shifted()?)),
    };
    let caption = "In- against out-of-distribution: accuracy on held-out images of the source, and its mean over the \
                   shifts. One point a method and seed. Of two points above each other, the upper one has \
                   robustness that accuracy in distribution does not explain.";
    cloud(content, &axes, caption)
}

fn retention(content: &Content) -> String {
    let probes: Vec<&Run> = content.runs.iter().copied().filter(|run| is_linear_probe(&run.method)).collect();
    let caption = |gain: &str| {
        format!(
            "What adapting gained against what it forgot: {gain}, and retention, the share of shifted images to which the \
             adapted backbone still gives the base’s class under the base’s own head. One point a method and seed. \
             Up and to the right is better."
        )
    };
    let y = "Retention (%)";
    if probes.is_empty() {
        let point = |run: &Run| Some((run.shifted()?, run.retention()));
        let axes = Axes { x: "Accuracy, mean of shifts (%)", y, point: &point };
        return cloud(content, &axes, &caption("mean accuracy over the shifts"));
    }
    let gain = |run: &Run| {
        let probe = probes.iter().find(|probe| probe.source == run.source && probe.seed == run.seed)?;
        Some((run.shifted()? - probe.shifted()?, run.retention()))
    };
    let axes = Axes { x: "Gain on shifts over the linear probe (points)", y, point: &gain };
    let gained = "mean accuracy over the shifts minus that of the linear probe of the same source and seed (runs without \
                  one are left out)";
    cloud(content, &axes, &caption(gained))
}

/// A method that trains a head on the untouched backbone, whatever its settings.
fn is_linear_probe(method: &str) -> bool {
    method.split_whitespace().next() == Some("linear-probe")
}

fn cloud(content: &Content, axes: &Axes, caption: &str) -> String {
    let panels: String = content.sources.iter().filter_map(|source| source_panel(content, axes, source)).collect();
    if panels.is_empty() {
        return String::new();
    }
    figure("scatter", &panels, caption)
}

fn source_panel(content: &Content, axes: &Axes, source: &str) -> Option<String> {
    let of_source = content.runs.iter().filter(|run| run.source == source);
    let points: Vec<(&Run, Point)> = of_source
        .filter_map(|run| Some((*run, (axes.point)(run)?)))
        .map(|(run, (x, y))| (run, (100.0 * x, 100.0 * y)))
        .filter(|(_, (x, y))| x.is_finite() && y.is_finite())
        .collect();
    let x = Axis::over(axes.x, points.iter().map(|(_, (x, _))| *x))?;
    let y = Axis::over(axes.y, points.iter().map(|(_, (_, y))| *y))?;
    let mut plot = Plot::new(x, y);
    for (run, point) in &points {
        let look = content.methods.look(&run.method);
        let title = format!("{}: {}, {}", content.name(run), percent(point.0 / 100.0), percent(point.1 / 100.0));
        let at = plot.at(*point);
        plot.svg.shape(&format!("mark {}", look.colour), look.shape, at, &title);
    }
    let label = format!("{source}: {} against {}, {} points", axes.y, axes.x, points.len());
    Some(panel(if content.sources.len() > 1 { source } else { "" }, &plot.finish(&label)))
}
