//! Radii section: the relative radius of each tensor by depth, one plot per method.

use super::Content;
use super::html::{figure, panel, section as section_of};
use super::plot::{Axis, Plot};
use crate::record::RunRecord;
use crate::statistics::MeanEstimate;

/// Relative radii of one tensor over the runs of a method.
struct Spread<'a> {
    tensor: &'a str,
    stage: usize,
    shares: Vec<f64>,
}

/// Renders the section; empty if no run has radii.
pub(super) fn section(content: &Content) -> String {
    let with_radii = |method: &&str| content.of_method(method).iter().any(|run| !run.radii.is_empty());
    let methods = content.methods.names().iter().copied().filter(with_radii);
    let panels: String = methods
        .filter_map(|method| {
            Some(panel(content.heading(method), &profile(method, &spreads(&content.of_method(method)), content)?))
        })
        .collect();
    if panels.is_empty() {
        return String::new();
    }
    let spread = if content.runs.len() > 1 {
        " A dot is the mean of a tensor over runs, its bar their range."
    } else {
        " A dot is a tensor."
    };
    let caption = format!(
        "Radius profile by depth: the radius of each tensor relative to its unconstrained distance (0: held at the base, \
         1: unconstrained), in the order of the network and grouped by stage.{spread} The line is the mean of a stage."
    );
    section_of("Radii", &figure("radii", &panels, &caption))
}

/// Collects the tensors of some runs by stage; within a stage in the order of first appearance.
fn spreads<'a>(runs: &[&'a RunRecord]) -> Vec<Spread<'a>> {
    let mut spreads: Vec<Spread> = Vec::new();
    for radius in runs.iter().flat_map(|run| &run.radii).filter(|radius| radius.share.is_finite()) {
        match spreads.iter_mut().find(|spread| spread.tensor == radius.tensor) {
            Some(spread) => spread.shares.push(radius.share),
            None => spreads.push(Spread { tensor: &radius.tensor, stage: radius.stage, shares: vec![radius.share] }),
        }
    }
    spreads.sort_by_key(|spread| spread.stage);
    spreads
}

/// Draws the plot of a method; `None` if it has no radii.
fn profile(method: &str, spreads: &[Spread], content: &Content) -> Option<String> {
    let shares = spreads.iter().flat_map(|spread| spread.shares.iter().copied());
    let x = Axis::spanning("Stage, from the input", spreads.len() as f64);
    let y = Axis::over("Radius / unconstrained distance", shares.chain([0.0, 1.0]))?;
    let mut plot = Plot::without_horizontal_ticks(x, y);
    let colour = content.methods.style(method).colour;
    let mut first = 0;
    for (index, stage) in spreads.chunk_by(|one, other| one.stage == other.stage).enumerate() {
        let class = if index % 2 == 0 { "band even" } else { "band" };
        let ends = (first as f64, (first + stage.len()) as f64);
        plot.band(class, ends, &stage[0].stage.to_string());
        draw_stage(&mut plot, stage, first, &colour);
        first += stage.len();
    }
    let label = format!("{method}: radii of {} tensors by stage", spreads.len());
    Some(plot.finish(&label))
}

/// Draws the tensors of a stage, the first at index `first`, and their mean.
fn draw_stage(plot: &mut Plot, stage: &[Spread], first: usize, colour: &str) {
    let means: Vec<f64> =
        stage.iter().filter_map(|spread| MeanEstimate::of(&spread.shares)).map(|estimate| estimate.mean).collect();
    for (index, (spread, mean)) in stage.iter().zip(&means).enumerate() {
        let x = (first + index) as f64 + 0.5;
        let low = spread.shares.iter().copied().fold(f64::INFINITY, f64::min);
        let high = spread.shares.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let (from, to, at) = (plot.position((x, low)), plot.position((x, high)), plot.position((x, *mean)));
        plot.svg.line(&format!("spread {colour}"), from, to);
        let title = format!("{}: {mean:.3} ({low:.3} to {high:.3})", spread.tensor);
        plot.svg.shape(&format!("dot {colour}"), "M-1.8 0a1.8 1.8 0 1 0 3.6 0a1.8 1.8 0 1 0 -3.6 0Z", at, &title);
    }
    if let Some(MeanEstimate { mean, .. }) = MeanEstimate::of(&means) {
        let (from, to) = (plot.position((first as f64, mean)), plot.position(((first + stage.len()) as f64, mean)));
        plot.svg.line("stage-mean", from, to);
    }
}
