//! What each method has over a reference, in pairs.

use super::Content;
use super::html::{escape, section as section_of};
use super::plot::Axis;
use super::svg::{Anchor, Svg};
use crate::record::Run;
use crate::statistics::{Difference, Measure};

const MEASURES: [(Measure, &str, &str); 3] = [
    (Measure::InDistribution, "In distribution", "accuracy"),
    (Measure::Shifts, "Shifts", "accuracy"),
    (Measure::Retention, "Retention", "agreement"),
];

/// A strip's picture: its size, and how far the axis stays from its edges.
const WIDTH: f64 = 180.0;
const HEIGHT: f64 = 28.0;
const MARGIN: f64 = 14.0;

type Rows<'a> = Vec<(&'a str, Difference)>;

pub(super) fn section(runs: &[Run], content: &Content, wanted: Option<&str>) -> String {
    let names = content.methods.names();
    let Some(first) = names.first() else { return String::new() };
    let reference = names.iter().copied().find(|name| Some(*name) == wanted).unwrap_or(*first);
    let tables: String = MEASURES
        .iter()
        .map(|(measure, name, what)| {
            let others = names.iter().filter(|name| **name != reference);
            let difference = |method| Difference::between(runs, method, reference, *measure);
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
         paired differences, its bar the 95&nbsp;% interval (Student’s t). Right of the line is better than the reference; \
         a bar that crosses the line may be chance, and is grey. n: pairs. The pairs of a source, or of a seed, are \
         not quite independent, so that an interval may be somewhat too narrow."
    );
    let figure = format!(
        "<figure class=\"differences\">\n<div class=\"panels\">\n{tables}</div>\n<figcaption>{caption}</figcaption>\n</figure>\n"
    );
    section_of("Paired differences", &figure)
}

fn table(rows: &Rows, name: &str, what: &str, content: &Content) -> String {
    let ends = rows.iter().flat_map(|(_, difference)| {
        let (low, high) = difference.interval.unwrap_or((difference.mean, difference.mean));
        [100.0 * low, 100.0 * high]
    });
    let some = (!rows.is_empty()).then_some(0.0);
    let Some(axis) = Axis::over(&format!("Δ {what} (points)"), ends.chain(some)) else { return String::new() };
    let lines: String = rows.iter().map(|(method, difference)| line(method, difference, &axis, content)).collect();
    let scale = scale(&axis);
    format!(
        "<div class=\"panel scroll\">\n<table class=\"differences\">\n<caption>{name}</caption>\n<thead>\n<tr>\
         <th scope=\"col\">method</th><th scope=\"col\">difference</th><th scope=\"col\">mean [95 % interval]</th>\
         <th scope=\"col\">n</th></tr>\n</thead>\n<tbody>\n{lines}</tbody>\n<tfoot><tr><td></td><td>{scale}</td>\
         <td></td><td></td></tr></tfoot>\n</table>\n</div>\n"
    )
}

fn line(method: &str, difference: &Difference, axis: &Axis, content: &Content) -> String {
    let figures = figures(difference);
    let strip = strip(method, difference, axis, content, &figures);
    let (key, pairs) = (content.methods.key(method), difference.pairs);
    format!("<tr><th scope=\"row\">{key}</th><td>{strip}</td><td>{}</td><td>{pairs}</td></tr>\n", escape(&figures))
}

/// Such as `+1.2 [+0.3, +2.1]`, in points.
fn figures(difference: &Difference) -> String {
    let number = |value: f64| {
        // Rounded first, so that nothing is written as −0.0.
        let tenths = (1000.0 * value).round() as i64;
        let sign = if tenths < 0 { "−" } else { "+" };
        format!("{sign}{}.{}", tenths.abs() / 10, tenths.abs() % 10)
    };
    match difference.interval {
        Some((low, high)) => format!("{} [{}, {}]", number(difference.mean), number(low), number(high)),
        None => number(difference.mean),
    }
}

fn strip(method: &str, difference: &Difference, axis: &Axis, content: &Content, figures: &str) -> String {
    let mut svg = Svg::new(WIDTH, HEIGHT);
    let middle = 0.5 * HEIGHT;
    svg.line("zero", (at(axis, 0.0), 0.0), (at(axis, 0.0), HEIGHT));
    let look = content.methods.look(method);
    let colour = if difference.is_clear() { &*look.colour } else { "unclear" };
    if let Some((low, high)) = difference.interval {
        let (low, high) = (at(axis, 100.0 * low), at(axis, 100.0 * high));
        svg.line(&format!("bar {colour}"), (low, middle), (high, middle));
    }
    svg.shape(&format!("mark {colour}"), look.shape, (at(axis, 100.0 * difference.mean), middle), figures);
    svg.finish("strip", &format!("{method}: {figures} points"))
}

/// The axis under the strips.
fn scale(axis: &Axis) -> String {
    let mut svg = Svg::new(WIDTH, 36.0);
    svg.line("axis", (at(axis, axis.low()), 1.0), (at(axis, axis.high()), 1.0));
    for (value, label) in axis.ticks() {
        svg.line("axis", (at(axis, value), 1.0), (at(axis, value), 5.0));
        svg.text("tick", (at(axis, value), 17.0), Anchor::Middle, &label);
    }
    svg.text("title", (0.5 * WIDTH, 32.0), Anchor::Middle, axis.title());
    svg.finish("strip", axis.title())
}

fn at(axis: &Axis, value: f64) -> f64 {
    MARGIN + axis.share(value) * (WIDTH - 2.0 * MARGIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Would catch shares that are shown as points, a lost sign, and a minus zero.
    #[test]
    fn figures_are_signed_points() {
        let difference = |mean, interval| Difference { mean, interval, pairs: 3 };
        assert_eq!(figures(&difference(0.012, Some((-0.003, 0.0271)))), "+1.2 [−0.3, +2.7]");
        assert_eq!(figures(&difference(-0.0001, None)), "+0.0");
    }
}
