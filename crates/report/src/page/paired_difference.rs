//! Paired differences section: each method minus a reference method, one table per metric.

use super::Content;
use super::html::{escape, figure, labelled_cell, section as section_of};
use super::plot::Axis;
use super::svg::{Anchor, Svg};
use super::terms::Terms;
use crate::record::RunRecord;
use crate::statistics::{Metric, PairedDifference};

/// Returns the metrics, each with the heading of its table and the quantity on its axis.
const fn metrics(terms: Terms) -> [(Metric, &'static str, &'static str); 3] {
    [
        (Metric::InDistribution, "In distribution", terms.quality),
        (Metric::Shifts, "Shifts", terms.quality),
        (Metric::Retention, "Retention", "agreement"),
    ]
}

/// Size of an interval plot, and the distance of the axis from its edges, in pixels.
const WIDTH: f64 = 180.0;
const HEIGHT: f64 = 28.0;
const MARGIN: f64 = 14.0;

type Rows<'a> = Vec<(&'a str, PairedDifference)>;

/// Renders the section; empty if no method has a pair with the reference: `wanted` if a run has it, or else the first method.
pub(super) fn section(runs: &[RunRecord], content: &Content, wanted: Option<&str>) -> String {
    let names = content.methods.names();
    let Some(first) = names.first() else { return String::new() };
    let reference = names.iter().copied().find(|name| Some(*name) == wanted).unwrap_or(*first);
    let tables: String = metrics(content.terms)
        .iter()
        .map(|(metric, name, what)| {
            let others = names.iter().filter(|name| **name != reference);
            let difference = |method| PairedDifference::between(runs, method, reference, *metric);
            let rows: Rows = others
                .filter_map(|method| Some((*method, difference(method)?)))
                .filter(|(_, difference)| difference.mean.is_finite())
                .collect();
            table(&rows, name, what, content)
        })
        .collect();
    if tables.is_empty() {
        return String::new();
    }
    let key = content.methods.key(reference);
    let caption = format!(
        "Each method minus {key}, in percentage points, paired over source, seed and shift. A mark is the mean of the \
         paired differences, its bar the 95&nbsp;% confidence interval (Student’s t). Right of the line is better than the \
         reference; a bar that crosses the line is not significant, and grey. n: number of pairs. The pairs of a source, or \
         of a seed, are not fully independent, so an interval may be somewhat too narrow."
    );
    section_of("Paired differences", &figure("differences", &tables, &caption))
}

/// Renders the table of a metric; empty without rows.
fn table(rows: &Rows, name: &str, what: &str, content: &Content) -> String {
    let ends = rows.iter().flat_map(|(_, difference)| {
        let (low, high) = difference.interval.unwrap_or((difference.mean, difference.mean));
        [100.0 * low, 100.0 * high]
    });
    let some = (!rows.is_empty()).then_some(0.0);
    let Some(axis) = Axis::over(&format!("Δ {what} (points)"), ends.chain(some)) else { return String::new() };
    let lines: String = rows.iter().map(|(method, difference)| row(method, difference, &axis, content)).collect();
    let scale = axis_plot(&axis);
    format!(
        "<div class=\"panel\">\n<table class=\"differences\">\n<caption>{name}</caption>\n<thead>\n<tr>\
         <th scope=\"col\">method</th><th scope=\"col\">difference</th><th scope=\"col\">mean [95 % interval]</th>\
         <th scope=\"col\">n</th></tr>\n</thead>\n<tbody>\n{lines}</tbody>\n<tfoot><tr><td></td><td>{scale}</td>\
         <td></td><td></td></tr></tfoot>\n</table>\n</div>\n"
    )
}

fn row(method: &str, difference: &PairedDifference, axis: &Axis, content: &Content) -> String {
    let figures = figures(difference);
    let plot = interval_plot(method, difference, axis, content, &figures);
    let key = content.methods.key(method);
    // A line breaks before an interval, not within it.
    let figures = escape(&figures).to_string().replace(", ", ",&nbsp;");
    let pairs = labelled_cell("n", &difference.pairs.to_string());
    format!("<tr><th scope=\"row\">{key}</th><td>{plot}</td><td>{figures}</td>{pairs}</tr>\n")
}

/// Formats a difference in percentage points, e.g. `+1.2 [+0.3, +2.1]`.
fn figures(difference: &PairedDifference) -> String {
    let number = |value: f64| {
        // Rounded first, so that no value prints as −0.0.
        let tenths = (1000.0 * value).round() as i64;
        let sign = if tenths < 0 { "−" } else { "+" };
        format!("{sign}{}.{}", tenths.abs() / 10, tenths.abs() % 10)
    };
    match difference.interval {
        Some((low, high)) => format!("{} [{}, {}]", number(difference.mean), number(low), number(high)),
        None => number(difference.mean),
    }
}

/// Draws the mean and the interval of a difference.
fn interval_plot(method: &str, difference: &PairedDifference, axis: &Axis, content: &Content, figures: &str) -> String {
    let mut svg = Svg::new(WIDTH, HEIGHT);
    let middle = 0.5 * HEIGHT;
    svg.line("zero", (x_position(axis, 0.0), 0.0), (x_position(axis, 0.0), HEIGHT));
    let style = content.methods.style(method);
    let colour = if difference.is_significant() { &*style.colour } else { "unclear" };
    if let Some((low, high)) = difference.interval {
        let (low, high) = (x_position(axis, 100.0 * low), x_position(axis, 100.0 * high));
        svg.line(&format!("bar {colour}"), (low, middle), (high, middle));
    }
    svg.shape(&format!("mark {colour}"), style.shape, (x_position(axis, 100.0 * difference.mean), middle), figures);
    svg.finish("strip", &format!("{method}: {figures} points"))
}

/// Draws the axis below the interval plots of a table.
fn axis_plot(axis: &Axis) -> String {
    let mut svg = Svg::new(WIDTH, 36.0);
    svg.line("axis", (x_position(axis, axis.low()), 1.0), (x_position(axis, axis.high()), 1.0));
    for (value, label) in axis.horizontal_ticks(WIDTH - 2.0 * MARGIN) {
        svg.line("axis", (x_position(axis, value), 1.0), (x_position(axis, value), 5.0));
        svg.text("tick", (x_position(axis, value), 17.0), Anchor::Middle, &label);
    }
    svg.text("title", (0.5 * WIDTH, 32.0), Anchor::Middle, axis.title());
    svg.finish("strip", axis.title())
}

/// Maps a value to a horizontal position of an interval plot.
fn x_position(axis: &Axis, value: f64) -> f64 {
    MARGIN + axis.fraction(value) * (WIDTH - 2.0 * MARGIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: fractions shown as points, a lost sign, and a negative zero.
    #[test]
    fn figures_are_signed_points() {
        let difference = |mean, interval| PairedDifference { mean, interval, pairs: 3 };
        assert_eq!(figures(&difference(0.012, Some((-0.003, 0.0271)))), "+1.2 [−0.3, +2.7]");
        assert_eq!(figures(&difference(-0.0001, None)), "+0.0");
    }
}
