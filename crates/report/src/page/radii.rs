//! How far each tensor was allowed to move, from the input to the head.

use super::Content;
use super::html::{figure, panel, section as section_of};
use super::plot::{Axis, Plot};
use crate::record::Run;
use crate::statistics::Estimate;

/// A tensor's shares over the runs of a method.
struct Spread<'a> {
    tensor: &'a str,
    stage: usize,
    shares: Vec<f64>,
}

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
        " A dot is a tensor’s mean over runs, its bar their least and greatest."
    } else {
        " A dot is a tensor."
    };
    let caption = format!(
        "Radius profile by depth: the radius of each tensor over the distance that it would have gone freely (0: held at \
         the base, 1: free), in the order of the network and grouped by stage.{spread} The line is the mean of a stage."
    );
    section_of("Radii", &figure("radii", &panels, &caption))
}

/// The tensors of some runs by stage, within a stage in the order of their first appearance.
fn spreads<'a>(runs: &[&'a Run]) -> Vec<Spread<'a>> {
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

fn profile(method: &str, spreads: &[Spread], content: &Content) -> Option<String> {
    let shares = spreads.iter().flat_map(|spread| spread.shares.iter().copied());
    let x = Axis::spanning("Stage, from the input", spreads.len() as f64);
    let y = Axis::over("Radius / free distance", shares.chain([0.0, 1.0]))?;
    let mut plot = Plot::without_ticks_below(x, y);
    let colour = content.methods.look(method).colour;
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

/// A stage's tensors from `first` on, and their mean.
fn draw_stage(plot: &mut Plot, stage: &[Spread], first: usize, colour: &str) {
    let means: Vec<f64> =
        stage.iter().filter_map(|spread| Estimate::of(&spread.shares)).map(|estimate| estimate.mean).collect();
    for (index, (spread, mean)) in stage.iter().zip(&means).enumerate() {
        let x = (first + index) as f64 + 0.5;
        let low = spread.shares.iter().copied().fold(f64::INFINITY, f64::min);
        let high = spread.shares.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let (from, to, at) = (plot.at((x, low)), plot.at((x, high)), plot.at((x, *mean)));
        plot.svg.line(&format!("spread {colour}"), from, to);
        let title = format!("{}: {mean:.3} ({low:.3} to {high:.3})", spread.tensor);
        plot.svg.shape(&format!("dot {colour}"), "M-1.8 0a1.8 1.8 0 1 0 3.6 0a1.8 1.8 0 1 0 -3.6 0Z", at, &title);
    }
    if let Some(Estimate { mean, .. }) = Estimate::of(&means) {
        let (from, to) = (plot.at((first as f64, mean)), plot.at(((first + stage.len()) as f64, mean)));
        plot.svg.line("stage-mean", from, to);
    }
}
