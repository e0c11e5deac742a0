//! The table of methods, or the figures of a single run.

use super::Content;
use super::html::{escape, section as section_of};
use crate::record::Run;
use crate::summary::{Better, Cell, Column, Row, Summary};

pub(super) fn section(runs: &[Run], content: &Content) -> String {
    let summaries = Summary::of(runs);
    let body: String = match summaries.as_slice() {
        [lone] if content.runs.len() == 1 => lone.rows.iter().map(|row| figures(&lone.columns, row)).collect(),
        summaries => summaries.iter().map(|summary| table(summary, content)).collect(),
    };
    let note = if body.is_empty() { String::new() } else { note(content) };
    section_of("Results", &(body + &note))
}

/// A single run's figures, each under its name.
fn figures(columns: &[Column], row: &Row) -> String {
    let figure = |(column, cell): (&Column, &Option<Cell>)| {
        let (title, unit) = (escape(column.title()), column.unit());
        cell.map(|cell| {
            let value = column.format(&cell.estimate);
            format!("<div><dt>{title}</dt><dd>{value}<span class=\"unit\"> {unit}</span></dd></div>\n")
        })
    };
    let figures: String = columns.iter().zip(&row.cells).filter_map(figure).collect();
    format!("<dl class=\"figures\">\n{figures}</dl>\n")
}

fn table(summary: &Summary, content: &Content) -> String {
    let heading = match (&summary.source, content.sources.len()) {
        (_, 1) => String::new(),
        (Some(source), _) => format!("<caption>Adapted to {}</caption>\n", escape(source)),
        (None, _) => "<caption>Over all sources</caption>\n".to_owned(),
    };
    let head: String = summary.columns.iter().map(heading_cell).collect();
    let rows: String = summary.rows.iter().map(|row| line(&summary.columns, row, content)).collect();
    format!(
        "<div class=\"scroll\">\n<table class=\"results\">\n{heading}<thead>\n<tr><th scope=\"col\">method</th>{head}\
         <th scope=\"col\">accepted</th></tr>\n</thead>\n<tbody>\n{rows}</tbody>\n</table>\n</div>\n"
    )
}

fn heading_cell(column: &Column) -> String {
    let arrow = match column.better() {
        Better::Higher => "<span class=\"arrow\" title=\"higher is better\">↑</span>",
        Better::Lower => "<span class=\"arrow\" title=\"lower is better\">↓</span>",
    };
    let (title, unit) = (escape(column.title()), column.unit());
    format!("<th scope=\"col\">{title} <span class=\"unit\">{unit} {arrow}</span></th>")
}

fn line(columns: &[Column], row: &Row, content: &Content) -> String {
    let cell = |(column, cell): (&Column, &Option<Cell>)| match cell {
        None => "<td>–</td>".to_owned(),
        Some(Cell { estimate, best: false }) => format!("<td>{}</td>", column.format(estimate)),
        Some(Cell { estimate, best: true }) => format!("<td><b>{}</b></td>", column.format(estimate)),
    };
    let cells: String = columns.iter().zip(&row.cells).map(cell).collect();
    let method = content.methods.key(&row.method);
    format!("<tr><th scope=\"row\">{method}</th>{cells}<td>{} of {}</td></tr>\n", row.accepted, row.runs)
}

fn note(content: &Content) -> String {
    let shifted = content.runs.iter().any(|run| !run.shifts.is_empty());
    let on = if shifted { "over the shifts" } else { "on held-out images of the source" };
    let mut note = format!(
        "In distribution: accuracy on held-out images of the source. Retention: the share of images, {on}, to which the \
         adapted backbone still gives the base’s class under the base’s own head. Calibration error: expected, 15 bins, \
         {on}. Delta: the stored difference to the base."
    );
    if content.runs.len() > 1 {
        note.push_str(
            " Mean ± standard error over seeds; the best mean of a column (↑ higher, ↓ lower) is bold. Accepted: runs that \
             the gate let pass.",
        );
    }
    if content.sources.len() > 1 {
        note.push_str(
            " Over all sources: each seed’s mean over the sources, of seeds that ran on every one; the error is that over \
             seeds.",
        );
    }
    format!("<p class=\"note\">{note}</p>\n")
}
