//! HTML report page: results tables, plots, confusion matrices, and the hardest images or frames of a list of runs.
//!
//! The plots are SVG written here, not by a plotting crate: their colours follow the page in dark mode and print, their
//! text remains text for screen readers and has one size in all plots, and every mark has a tooltip. That takes CSS classes
//! and `<title>` elements that such crates don't emit.

mod confusion_matrix;
mod gallery;
mod hardest_images;
mod html;
mod loss_curve;
mod paired_difference;
mod plot;
mod radius_profile;
mod results_table;
mod scatter;
mod segmented_frames;
mod style;
mod svg;
mod terms;

use html::escape;
use style::Methods;
use terms::Terms;

use crate::record::{RunRecord, distinct, unique};
use fieldfit_tensor::Task;

/// Options of a report page.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PageOptions {
    /// Heading of the page.
    pub title: String,
    /// Reference method of the paired differences. `None`, or a name that no run has, selects the first method.
    pub reference: Option<String>,
}

impl PageOptions {
    /// Returns the options of a page under that heading, without a reference method.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), reference: None }
    }

    /// Returns the options with that [`reference`](Self::reference) method.
    #[must_use]
    pub fn with_reference(mut self, reference: Option<String>) -> Self {
        self.reference = reference;
        self
    }
}

/// Content of a page: what its sections render.
struct Content<'a> {
    runs: Vec<&'a RunRecord>,
    methods: Methods<'a>,
    sources: Vec<&'a str>,
    terms: Terms,
}

/// Renders a self-contained HTML page: no script, no network access, and the same bytes for the same runs.
///
/// Sections for which the runs have no data are left out, so that the page of a single run is complete, too. Runs with the
/// same identity are shown once. Every name is escaped; a thumbnail that is not a base64 `data:image/` URI is left out.
/// Tables and plots fit a screen of 360 pixels or more without horizontal scrolling.
pub fn render_page(runs: &[RunRecord], options: &PageOptions) -> String {
    let content = Content::of(runs);
    let sections = [
        results_table::section(runs, &content),
        paired_difference::section(runs, &content, options.reference.as_deref()),
        scatter::section(&content),
        radius_profile::section(&content),
        loss_curve::section(&content),
        confusion_matrix::section(&content),
        hardest_images::section(&content),
        segmented_frames::section(&content),
        settings(&content),
    ];
    let title = escape(&options.title);
    let style = include_str!("style.css");
    let about = about(&content);
    let body = sections.concat();
    format!(
        r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<header>
<h1>{title}</h1>
<p class="about">{about}</p>
</header>
<main>
{body}</main>
</body>
</html>
"#
    )
}

impl<'a> Content<'a> {
    fn of(runs: &'a [RunRecord]) -> Self {
        let runs = distinct(runs);
        let methods = Methods::new(unique(runs.iter().map(|run| &*run.method)));
        let sources = unique(runs.iter().map(|run| &*run.source));
        let terms = Terms::of(runs.first().map_or(Task::Classification, |run| run.in_distribution.task));
        Self { runs, methods, sources, terms }
    }

    /// Returns the runs of a method.
    fn of_method(&self, method: &str) -> Vec<&'a RunRecord> {
        self.runs.iter().copied().filter(|run| run.method == method).collect()
    }

    /// Returns the heading of a method's panel: its name, or an empty string on a page of one method.
    fn heading(&self, method: &'a str) -> &'a str {
        if self.methods.names().len() > 1 { method } else { "" }
    }

    /// Returns the name of a run in a mark's tooltip.
    fn name(&self, run: &RunRecord) -> String {
        match self.sources.len() {
            0 | 1 => format!("{}, seed {}", run.method, run.seed),
            _ => format!("{}, {}, seed {}", run.method, run.source, run.seed),
        }
    }
}

/// Renders the line below the heading.
fn about(content: &Content) -> String {
    let Some(first) = content.runs.first() else { return "No runs.".to_owned() };
    let sources: Vec<String> = content.sources.iter().map(|source| format!("<b>{}</b>", escape(source))).collect();
    let sources = sources.join(", ");
    if content.runs.len() == 1 {
        let verdict = if first.accepted { "accepted" } else { "rejected" };
        let (method, seed) = (escape(&first.method), first.seed);
        return format!("<b>{method}</b>, seed {seed}, adapted to {sources}: {verdict} by the gate.");
    }
    let (runs, methods) = (content.runs.len(), content.methods.names().len());
    let methods = if methods == 1 { "one method".to_owned() } else { format!("{methods} methods") };
    format!("{runs} adaptations by {methods} to {sources}.")
}

/// Renders the options of the runs, with which they can be repeated.
fn settings(content: &Content) -> String {
    let options = unique(content.runs.iter().map(|run| &*run.options).filter(|options| !options.is_empty()));
    if options.is_empty() {
        return String::new();
    }
    let lines: String = options.iter().map(|options| format!("<li><code>{}</code></li>\n", escape(options))).collect();
    format!("<section>\n<h2>Settings</h2>\n<ul class=\"settings\">\n{lines}</ul>\n</section>\n")
}

#[cfg(test)]
mod tests;
