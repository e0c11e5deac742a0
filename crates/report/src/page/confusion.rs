//! Which classes were taken for which.

use super::Content;
use super::html::{escape, figure, fold, panel, percent, section as section_of};
use super::svg::{Anchor, Svg};
use crate::record::{Run, Scores, unique};

/// Above so many classes a matrix can't be read, and the commonest confusions are listed.
const MOST_CLASSES: usize = 40;
/// Up to so many classes a cell has room for its number.
const MOST_NUMBERED: usize = 12;
/// Confusions in a list.
const LISTED: usize = 20;

/// Counts `[truth][predicted]` under the classes' names.
struct Matrix<'a> {
    classes: &'a [String],
    counts: Vec<Vec<usize>>,
}

pub(super) fn section(content: &Content) -> String {
    let names = content.methods.names();
    let methods: String = names
        .iter()
        .map(|method| {
            let panels: String = content.sources.iter().map(|source| source_panels(content, method, source)).collect();
            if panels.is_empty() { panels } else { fold(names.len() > 1, method, &figure("confusion", &panels, "")) }
        })
        .collect();
    if methods.is_empty() {
        return String::new();
    }
    let summed = if content.runs.len() > 1 { " Images are summed over seeds." } else { "" };
    let note = format!(
        "<p class=\"note\">A row is an image’s own class, a column the class that it was given; a cell’s shade and number \
         are the share of the row’s images in per cent, so that the diagonal is each class’ accuracy.{summed}</p>\n"
    );
    section_of("Confusion", &(note + &methods))
}

/// A method's matrices on one source: in distribution, and each shift.
fn source_panels(content: &Content, method: &str, source: &str) -> String {
    let runs: Vec<&Run> = content.of_method(method).into_iter().filter(|run| run.source == source).collect();
    let names = unique(runs.iter().flat_map(|run| sets(run)).map(|(name, _)| name));
    names
        .into_iter()
        .filter_map(|set| {
            let scores = runs.iter().flat_map(|run| sets(run)).filter(|(name, _)| *name == set);
            let matrix = Matrix::sum(&runs.first()?.classes, scores.map(|(_, scores)| scores))?;
            let name = if content.sources.len() > 1 { format!("{source} → {set}") } else { set.to_owned() };
            let drawn = if matrix.classes.len() > MOST_CLASSES { matrix.list() } else { matrix.draw(method, &name) };
            Some(panel(&name, &drawn))
        })
        .collect()
}

/// The sets that a run was judged on, by the name that the page gives them.
pub(super) fn sets(run: &Run) -> impl Iterator<Item = (&str, &Scores)> {
    let shifts = run.shifts.iter().map(|shift| (&*shift.name, shift));
    std::iter::once(("in distribution", &run.in_distribution)).chain(shifts)
}

impl<'a> Matrix<'a> {
    /// The sum over sets; nothing without classes or images.
    fn sum<'b>(classes: &'a [String], sets: impl Iterator<Item = &'b Scores>) -> Option<Self> {
        let mut counts = vec![vec![0; classes.len()]; classes.len()];
        for scores in sets {
            for (row, found) in counts.iter_mut().zip(&scores.confusion) {
                row.iter_mut().zip(found).for_each(|(count, found)| *count += found);
            }
        }
        let images: usize = counts.iter().flatten().sum();
        (images > 0).then_some(Self { classes, counts })
    }

    fn share(&self, truth: usize, predicted: usize) -> f64 {
        let images: usize = self.counts[truth].iter().sum();
        self.counts[truth][predicted] as f64 / images.max(1) as f64
    }

    fn draw(&self, method: &str, name: &str) -> String {
        let classes = self.classes.len();
        // Room for a class' name and an axis title beside and below the cells.
        let longest = self.classes.iter().map(|class| shortened(class).chars().count()).max().unwrap_or(0);
        let (label, side) = (30.0 + 6.0 * longest as f64, 300.0);
        let cell = side / classes as f64;
        let mut svg = Svg::new(label + side + 6.0, side + label + 4.0);
        for truth in 0..classes {
            let middle = (truth as f64 + 0.5) * cell;
            svg.text("tick", (label - 6.0, middle + 4.0), Anchor::End, &shortened(&self.classes[truth]));
            let below = (label + middle + 4.0, side + 10.0);
            svg.turned_text("tick", below, Anchor::End, -60, &shortened(&self.classes[truth]));
            for predicted in 0..classes {
                self.draw_cell(
                    &mut svg,
                    (truth, predicted),
                    (label + predicted as f64 * cell, truth as f64 * cell),
                    cell,
                );
            }
        }
        svg.turned_text("title", (12.0, 0.5 * side), Anchor::Middle, -90, "Own class");
        svg.text("title", (label + 0.5 * side, side + label - 6.0), Anchor::Middle, "Given class");
        svg.finish("plot", &format!("Confusion matrix of {method}, {name}: {classes} classes"))
    }

    fn draw_cell(&self, svg: &mut Svg, (truth, predicted): (usize, usize), (x, y): (f64, f64), side: f64) {
        let share = self.share(truth, predicted);
        let title = format!(
            "{} taken for {}: {} images, {} %",
            self.classes[truth],
            self.classes[predicted],
            self.counts[truth][predicted],
            percent(share)
        );
        svg.rect("cell", (x, y), (side, side), &format!("fill-opacity:{share:.3}"), &title);
        if self.classes.len() <= MOST_NUMBERED && share >= 0.005 {
            let class = if share > 0.7 { "number on-dark" } else { "number" };
            svg.text(class, (x + 0.5 * side, y + 0.5 * side + 4.0), Anchor::Middle, &format!("{:.0}", 100.0 * share));
        }
    }

    /// The commonest confusions, as a table.
    fn list(&self) -> String {
        let classes = self.classes.len();
        let pairs = (0..classes).flat_map(|truth| (0..classes).map(move |predicted| (truth, predicted)));
        let wrong = |(truth, predicted): &(usize, usize)| truth != predicted && self.counts[*truth][*predicted] > 0;
        let mut wrong: Vec<(usize, usize)> = pairs.filter(wrong).collect();
        wrong.sort_by_key(|(truth, predicted)| std::cmp::Reverse(self.counts[*truth][*predicted]));
        let row = |(truth, predicted): &(usize, usize)| {
            format!(
                "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td></tr>\n",
                escape(&self.classes[*truth]),
                escape(&self.classes[*predicted]),
                self.counts[*truth][*predicted],
                percent(self.share(*truth, *predicted))
            )
        };
        let rows: String = wrong.iter().take(LISTED).map(row).collect();
        format!(
            "<div class=\"scroll\">\n<table>\n<caption>Of {classes} classes, the commonest confusions</caption>\n<thead>\n<tr>\
             <th scope=\"col\">class</th><th scope=\"col\">taken for</th><th scope=\"col\">images</th>\
             <th scope=\"col\">% of class</th></tr>\n</thead>\n<tbody>\n{rows}</tbody>\n</table>\n</div>\n"
        )
    }
}

/// A class' name, cut to the room beside a matrix; a cell's tooltip has it whole.
fn shortened(name: &str) -> String {
    const LETTERS: usize = 14;
    if name.chars().count() <= LETTERS {
        return name.to_owned();
    }
    name.chars().take(LETTERS - 1).chain(['…']).collect()
}
