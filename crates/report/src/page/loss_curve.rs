//! Training section: the loss curves of each method.

use super::Content;
use super::html::{figure, panel, section as section_of};
use super::plot::{Axis, Plot};
use super::svg::Point;
use crate::record::RunRecord;

/// Maximum number of points of a curve, each the mean of an interval: more are indistinguishable at the width of a plot.
const POINTS: usize = 80;

/// Renders the section; empty if no run has a curve.
pub(super) fn section(content: &Content) -> String {
    let curves: Vec<(&RunRecord, Vec<Point>)> =
        content.runs.iter().map(|run| (*run, curve(run))).filter(|(_, curve)| curve.len() > 1).collect();
    let all = || curves.iter().flat_map(|(_, curve)| curve);
    // The same axes for every method, so that panels can be compared.
    let x = || Axis::over("Optimiser steps", all().map(|(step, _)| *step).chain([0.0]));
    let y = || Axis::over("Training loss (nats)", all().map(|(_, loss)| *loss).chain([0.0]));

    let panels: String = content
        .methods
        .names()
        .iter()
        .filter_map(|method| {
            let of_method: Vec<_> = curves.iter().filter(|(run, _)| run.method == *method).collect();
            (!of_method.is_empty()).then_some(())?;
            let mut plot = Plot::new(x()?, y()?);
            let colour = content.methods.style(method).colour;
            for (run, curve) in &of_method {
                let points: Vec<Point> = curve.iter().map(|point| plot.position(*point)).collect();
                plot.svg.path(&format!("curve {colour}"), &points, &content.name(run));
            }
            let label = format!("{method}: training loss over optimiser steps, {} runs", of_method.len());
            Some(panel(content.heading(method), &plot.finish(&label)))
        })
        .collect();
    if panels.is_empty() {
        return String::new();
    }
    let lines = match (content.runs.len(), content.sources.len()) {
        (1, _) => "",
        (_, 1) => " One line per seed.",
        _ => " One line per source and seed.",
    };
    let shared = if content.methods.names().len() > 1 { " All panels share their axes." } else { "" };
    let caption = format!(
        "Training loss: mean cross-entropy (natural logarithm) of the batches, averaged over intervals of equal \
         length.{lines}{shared}"
    );
    section_of("Training", &figure("losses", &panels, &caption))
}

/// Returns the losses of a run as at most [`POINTS`] means; batches with a non-finite loss are left out.
fn curve(run: &RunRecord) -> Vec<Point> {
    let losses: Vec<Point> =
        run.losses.iter().map(|loss| (loss.step as f64, loss.loss)).filter(|(_, loss)| loss.is_finite()).collect();
    losses.chunks(losses.len().div_ceil(POINTS).max(1)).map(mean).collect()
}

fn mean(points: &[Point]) -> Point {
    let (x, y) = points.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
    (x / points.len() as f64, y / points.len() as f64)
}
