//! One HTML page that shows runs.
//!
//! The plots are SVG of our own writing rather than a plotting crate's: their colours follow the page into dark mode and
//! print, their text stays text for a screen reader and a phone, and every mark has a tooltip, which takes classes and
//! titles that such crates don't emit.

mod confusion;
mod differences;
mod html;
mod look;
mod losses;
mod plot;
mod radii;
mod scatter;
mod svg;
mod table;
mod worst;

use html::escape;
use look::Methods;

use crate::record::{Run, distinct, unique};

/// What a page is to say besides its runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageOptions {
    /// The page's heading.
    pub title: String,
    /// The method that the others are compared with in pairs; the first one among the runs where there is none, or none
    /// of that name.
    pub reference: Option<String>,
}

/// Everything that a part of the page draws from.
struct Content<'a> {
    runs: Vec<&'a Run>,
    methods: Methods<'a>,
    sources: Vec<&'a str>,
}

/// A self-contained HTML page: no script, nothing fetched from a network, the same bytes for the same runs.
///
/// A part that the runs have nothing for is not on it, so that the page of a single run is whole, too. Runs of the same
/// identity are shown once. Every name is escaped; a thumbnail that is not a `data:image/` URI in base64 is left out.
pub fn page(runs: &[Run], options: &PageOptions) -> String {
    let content = Content::of(runs);
    let sections = [
        table::section(runs, &content),
        differences::section(runs, &content, options.reference.as_deref()),
        scatter::section(&content),
        radii::section(&content),
        losses::section(&content),
        confusion::section(&content),
        worst::section(&content),
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
    fn of(runs: &'a [Run]) -> Self {
        let runs = distinct(runs);
        let methods = Methods::new(unique(runs.iter().map(|run| &*run.method)));
        let sources = unique(runs.iter().map(|run| &*run.source));
        Self { runs, methods, sources }
    }

    /// A method's runs.
    fn of_method(&self, method: &str) -> Vec<&'a Run> {
        self.runs.iter().copied().filter(|run| run.method == method).collect()
    }

    /// What stands over a method's panel: its name, where there are several.
    fn heading(&self, method: &'a str) -> &'a str {
        if self.methods.names().len() > 1 { method } else { "" }
    }

    /// What a mark's tooltip calls a run.
    fn name(&self, run: &Run) -> String {
        match self.sources.len() {
            0 | 1 => format!("{}, seed {}", run.method, run.seed),
            _ => format!("{}, {}, seed {}", run.method, run.source, run.seed),
        }
    }
}

/// The line under the heading.
fn about(content: &Content) -> String {
    let Some(first) = content.runs.first() else { return "No runs.".to_owned() };
    let sources: Vec<String> = content.sources.iter().map(|source| format!("<b>{}</b>", escape(source))).collect();
    let sources = sources.join(", ");
    if content.runs.len() == 1 {
        let verdict = if first.accepted { "accepted" } else { "refused" };
        let (method, seed) = (escape(&first.method), first.seed);
        return format!("<b>{method}</b>, seed {seed}, adapted to {sources}: {verdict} by the gate.");
    }
    let (runs, methods) = (content.runs.len(), content.methods.names().len());
    let methods = if methods == 1 { "one method".to_owned() } else { format!("{methods} methods") };
    format!("{runs} adaptations by {methods} to {sources}.")
}

/// What each run was given, for who wants to repeat it.
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
