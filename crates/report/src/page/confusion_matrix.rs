//! Confusion section: a confusion matrix per method and data set, or the most frequent confusions of many classes.

use super::Content;
use super::html::{collapsible, escape, figure, panel, percent, section as section_of};
use super::svg::{Anchor, CHARACTER_WIDTH, PLOT_WIDTH, Svg};
use crate::record::{RunRecord, Scores, unique};

/// Maximum number of classes of a drawn matrix; above it, cells are smaller than a few pixels.
const MOST_CLASSES: usize = 40;
/// Least side of a cell with a name beside it, and with a number in it, in pixels.
const NAMED_CELL: f64 = 13.0;
const NUMBERED_CELL: f64 = 23.0;
/// Number of confusions in a list, and in one below a matrix.
const LISTED: usize = 20;
const LISTED_BELOW: usize = 8;

/// Confusion matrix: number of images or pixels `[truth][predicted]`, with the names of the classes.
struct ConfusionMatrix<'a> {
    classes: &'a [String],
    counts: Vec<Vec<usize>>,
    /// What the counts are of.
    counted: &'static str,
}

/// Layout of a drawn matrix, in pixels.
struct Layout {
    /// Space for class names and axis title, left of the cells and below them.
    margin: f64,
    cell: f64,
    /// Labels of the classes; empty for a class without one.
    labels: Vec<String>,
}

/// Renders the section; empty without counts.
pub(super) fn section(content: &Content) -> String {
    let names = content.methods.names();
    let methods: String = names
        .iter()
        .map(|method| {
            let panels: String = content.sources.iter().map(|source| source_panels(content, method, source)).collect();
            if panels.is_empty() {
                return panels;
            }
            collapsible(names.len() > 1, method, &figure("confusion", &panels, ""))
        })
        .collect();
    if methods.is_empty() {
        return String::new();
    }
    let counted = content.terms.counted;
    let summed = if content.runs.len() > 1 { " Counts are summed over seeds." } else { "" };
    let note = format!(
        "<p class=\"note\">Rows are true classes, columns predicted classes. Shade and number of a cell are its percentage \
         of the row’s {counted}, so the diagonal is the accuracy of each class.{summed}</p>\n"
    );
    section_of("Confusion", &(note + &methods))
}

/// Renders the matrices of a method on one source: in distribution, and on each shift.
fn source_panels(content: &Content, method: &str, source: &str) -> String {
    let runs: Vec<&RunRecord> = content.of_method(method).into_iter().filter(|run| run.source == source).collect();
    let names = unique(runs.iter().flat_map(|run| named_scores(run)).map(|(name, _)| name));
    names
        .into_iter()
        .filter_map(|set| {
            let scores = runs.iter().flat_map(|run| named_scores(run)).filter(|(name, _)| *name == set);
            let matrix =
                ConfusionMatrix::sum(&runs.first()?.classes, content.terms.counted, scores.map(|(_, scores)| scores))?;
            let name = if content.sources.len() > 1 { format!("{source} → {set}") } else { set.to_owned() };
            Some(panel(&name, &matrix.render(method, &name)))
        })
        .collect()
}

/// Returns the scores of a run with the names of their data sets on the page.
pub(super) fn named_scores(run: &RunRecord) -> impl Iterator<Item = (&str, &Scores)> {
    let shifts = run.shifts.iter().map(|shift| (&*shift.name, shift));
    std::iter::once(("in distribution", &run.in_distribution)).chain(shifts)
}

impl<'a> ConfusionMatrix<'a> {
    /// Sums the matrices of some data sets; `None` without classes or counts.
    fn sum<'b>(classes: &'a [String], counted: &'static str, sets: impl Iterator<Item = &'b Scores>) -> Option<Self> {
        let mut counts = vec![vec![0; classes.len()]; classes.len()];
        for scores in sets {
            for (row, found) in counts.iter_mut().zip(&scores.confusion) {
                row.iter_mut().zip(found).for_each(|(count, found)| *count += found);
            }
        }
        let total: usize = counts.iter().flatten().sum();
        (total > 0).then_some(Self { classes, counts, counted })
    }

    /// Returns the fraction of a class that was predicted as another, 0..1.
    fn fraction(&self, truth: usize, predicted: usize) -> f64 {
        let of_class: usize = self.counts[truth].iter().sum();
        self.counts[truth][predicted] as f64 / of_class.max(1) as f64
    }

    /// Draws the matrix where its cells are visible, and lists confusions where its classes have no room for names.
    fn render(&self, method: &str, name: &str) -> String {
        let classes = self.classes.len();
        if classes > MOST_CLASSES {
            return self.list(LISTED);
        }
        match Layout::named(self.classes) {
            Some(layout) => self.draw(&layout, "class", method, name),
            None => self.draw(&Layout::numbered(classes), "class by number", method, name) + &self.list(LISTED_BELOW),
        }
    }

    fn draw(&self, layout: &Layout, axis: &str, method: &str, name: &str) -> String {
        let Layout { margin, cell, labels } = layout;
        let (classes, side) = (self.classes.len(), cell * self.classes.len() as f64);
        let mut svg = Svg::new(PLOT_WIDTH, side + margin + 4.0);
        for line in (0..=classes).map(|line| line as f64 * cell) {
            svg.line("grid", (*margin, line), (margin + side, line));
            svg.line("grid", (margin + line, 0.0), (margin + line, side));
        }
        for (truth, label) in labels.iter().enumerate() {
            let middle = (truth as f64 + 0.5) * cell;
            if !label.is_empty() {
                svg.text("tick", (margin - 6.0, middle + 4.0), Anchor::End, label);
                svg.rotated_text("tick", (margin + middle + 4.0, side + 10.0), Anchor::End, -60, label);
            }
            // Most cells of a large matrix are empty: they are left to the grid.
            for predicted in (0..classes).filter(|predicted| self.counts[truth][*predicted] > 0) {
                let corner = (margin + predicted as f64 * cell, truth as f64 * cell);
                self.draw_cell(&mut svg, (truth, predicted), corner, *cell);
            }
        }
        svg.rotated_text("title", (12.0, 0.5 * side), Anchor::Middle, -90, &format!("True {axis}"));
        svg.text("title", (margin + 0.5 * side, side + margin - 2.0), Anchor::Middle, &format!("Predicted {axis}"));
        svg.finish("plot", &format!("Confusion matrix of {method}, {name}: {classes} classes"))
    }

    fn draw_cell(&self, svg: &mut Svg, (truth, predicted): (usize, usize), (x, y): (f64, f64), side: f64) {
        let fraction = self.fraction(truth, predicted);
        let title = format!(
            "{} predicted as {}: {} {}, {} %",
            self.classes[truth],
            self.classes[predicted],
            self.counts[truth][predicted],
            self.counted,
            percent(fraction)
        );
        svg.rect("cell", (x, y), (side, side), &format!("fill-opacity:{fraction:.3}"), &title);
        if side >= NUMBERED_CELL && fraction >= 0.005 {
            let class = if fraction > 0.7 { "number on-dark" } else { "number" };
            let middle = (x + 0.5 * side, y + 0.5 * side + 4.0);
            svg.text(class, middle, Anchor::Middle, &format!("{:.0}", 100.0 * fraction));
        }
    }

    /// Renders the most frequent confusions as a table.
    fn list(&self, most: usize) -> String {
        let classes = self.classes.len();
        let pairs = (0..classes).flat_map(|truth| (0..classes).map(move |predicted| (truth, predicted)));
        let wrong = |(truth, predicted): &(usize, usize)| truth != predicted && self.counts[*truth][*predicted] > 0;
        let mut wrong: Vec<(usize, usize)> = pairs.filter(wrong).collect();
        wrong.sort_by_key(|(truth, predicted)| std::cmp::Reverse(self.counts[*truth][*predicted]));
        let row = |(truth, predicted): &(usize, usize)| {
            format!(
                "<tr><th scope=\"row\">{}</th><td class=\"name\">{}</td><td>{}</td><td>{}</td></tr>\n",
                self.numbered_name(*truth),
                self.numbered_name(*predicted),
                self.counts[*truth][*predicted],
                percent(self.fraction(*truth, *predicted))
            )
        };
        let rows: String = wrong.iter().take(most).map(row).collect();
        format!(
            "<table class=\"confusions\">\n<caption>Most frequent confusions of {classes} classes</caption>\n<thead>\n<tr>\
             <th scope=\"col\">true class</th><th scope=\"col\" class=\"name\">predicted class</th>\
             <th scope=\"col\">{}</th><th scope=\"col\">% of class</th></tr>\n</thead>\n<tbody>\n{rows}</tbody>\n\
             </table>\n",
            self.counted
        )
    }

    /// Returns the name of a class, escaped, after its number where a matrix shows that instead.
    fn numbered_name(&self, class: usize) -> String {
        let name = escape(&self.classes[class]);
        if self.classes.len() > MOST_CLASSES { name.to_string() } else { format!("{}&nbsp;{name}", class + 1) }
    }
}

impl Layout {
    /// Space for the axis title beside the labels.
    const TITLE: f64 = 30.0;

    /// Returns the layout with the classes' names; `None` if the cells would be smaller than the names.
    fn named(classes: &[String]) -> Option<Self> {
        let labels: Vec<String> = classes.iter().map(|class| shortened(class)).collect();
        let layout = Self::with(labels);
        (layout.cell >= NAMED_CELL).then_some(layout)
    }

    /// Returns the layout with the number of every fifth class.
    fn numbered(classes: usize) -> Self {
        let label = |number: usize| if number.is_multiple_of(5) { number.to_string() } else { String::new() };
        Self::with((1..=classes).map(label).collect())
    }

    fn with(labels: Vec<String>) -> Self {
        let longest = labels.iter().map(|label| label.chars().count()).max().unwrap_or(0);
        let margin = Self::TITLE + CHARACTER_WIDTH * longest as f64;
        // A single class needs no cell of 300 pixels.
        let cell = ((PLOT_WIDTH - margin - 2.0) / labels.len() as f64).min(60.0);
        Self { margin, cell, labels }
    }
}

/// Truncates a class name to the space beside a matrix; the tooltip of a cell has the full name.
fn shortened(name: &str) -> String {
    const LETTERS: usize = 14;
    if name.chars().count() <= LETTERS {
        return name.to_owned();
    }
    name.chars().take(LETTERS - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(classes: usize) -> String {
        let classes: Vec<String> = (0..classes).map(|class| format!("class {class}")).collect();
        let counts = vec![vec![1; classes.len()]; classes.len()];
        ConfusionMatrix { classes: &classes, counts, counted: "images" }.render("full", "dusk")
    }

    /// Catches: names that overlap where cells are small, and a confusion matrix of numbers without the names.
    #[test]
    fn classes_without_room_for_names_have_numbers_and_a_list() {
        let (few, many, most) = (render(5), render(30), render(41));
        assert!(few.contains(">class 4</text>") && few.contains(">20</text>") && !few.contains("<table"));
        assert!(!many.contains(">class 4</text>") && many.contains(">25</text>") && !many.contains(">26</text>"));
        assert!(many.contains("<table") && many.contains("1&nbsp;class 0"));
        assert!(!most.contains("<svg") && most.contains("<table"));
    }
}
