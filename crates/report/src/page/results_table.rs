//! Results section: the tables of methods by metrics, or the metrics of a single run.

use super::Content;
use super::html::{escape, labelled_cell, section as section_of};
use super::terms::Terms;
use crate::record::RunRecord;
use crate::summary::{Direction, Summary, SummaryCell, SummaryColumn, SummaryRow};

/// Maximum number of columns of a table, besides the method: so many fit a page of 1200 pixels.
const MOST_COLUMNS: usize = 10;
/// Maximum number of shifts of a table of shifts, whose names and figures may be long.
const MOST_SHIFTS: usize = 8;

/// Renders the section; empty without runs.
pub(super) fn section(runs: &[RunRecord], content: &Content) -> String {
    let summaries = Summary::of(runs);
    let body: String = match summaries.as_slice() {
        [lone] if content.runs.len() == 1 => lone.rows.iter().map(|row| metric_list(&lone.columns, row)).collect(),
        summaries => summaries.iter().map(|summary| tables(summary, content)).collect(),
    };
    let note = if body.is_empty() { String::new() } else { note(content) };
    section_of("Results", &(body + &note))
}

/// Renders the metrics of a single run, each with its name.
fn metric_list(columns: &[SummaryColumn], row: &SummaryRow) -> String {
    let figure = |(column, cell): (&SummaryColumn, &Option<SummaryCell>)| {
        let (title, unit) = (escape(column.title()), column.unit());
        cell.map(|cell| {
            let value = column.format(&cell.estimate);
            format!("<div><dt>{title}</dt><dd>{value}<span class=\"unit\"> {unit}</span></dd></div>\n")
        })
    };
    let figures: String = columns.iter().zip(&row.cells).filter_map(figure).collect();
    format!("<dl class=\"figures\">\n{figures}</dl>\n")
}

/// Part of a summary that becomes one table: some columns by their index, and whether a last one counts accepted runs.
struct Part<'a> {
    heading: &'a str,
    columns: Vec<usize>,
    accepted: bool,
}

/// Renders a summary as one table or, where it has too many shifts, as one of means and some of single shifts.
fn tables(summary: &Summary, content: &Content) -> String {
    parts(&summary.columns).iter().map(|part| table(summary, part, content)).collect()
}

/// Divides columns into tables of at most [`MOST_COLUMNS`].
fn parts(columns: &[SummaryColumn]) -> Vec<Part<'_>> {
    if columns.len() < MOST_COLUMNS {
        return vec![Part { heading: "", columns: (0..columns.len()).collect(), accepted: true }];
    }
    let is_shift = |index: &usize| matches!(columns[*index], SummaryColumn::Shift(_));
    let (shifts, means): (Vec<usize>, Vec<usize>) = (0..columns.len()).partition(is_shift);
    // Tables of about the same number of columns.
    let size = shifts.len().div_ceil(shifts.len().div_ceil(MOST_SHIFTS).max(1)).max(1);
    let by_shift = shifts.chunks(size).map(|shifts| Part {
        heading: "accuracy by shift",
        columns: shifts.to_vec(),
        accepted: false,
    });
    std::iter::once(Part { heading: "", columns: means, accepted: true }).chain(by_shift).collect()
}

fn table(summary: &Summary, part: &Part, content: &Content) -> String {
    let caption = caption(summary, part, content);
    let columns = || part.columns.iter().map(|index| &summary.columns[*index]);
    let head: String = columns().map(heading_cell).collect();
    let accepted = if part.accepted { "<th scope=\"col\">accepted</th>" } else { "" };
    let rows: String = summary.rows.iter().map(|row| table_row(summary, part, row, content)).collect();
    format!(
        "<table class=\"results\">\n{caption}<thead>\n<tr><th scope=\"col\">method</th>{head}{accepted}</tr>\n</thead>\n\
         <tbody>\n{rows}</tbody>\n</table>\n"
    )
}

/// Names the sources of a table, where there are several, and what it shows, where a summary has several tables.
fn caption(summary: &Summary, part: &Part, content: &Content) -> String {
    let sources = match (&summary.source, content.sources.len()) {
        (_, 1) => String::new(),
        (Some(source), _) => format!("Adapted to {}", escape(source)),
        (None, _) => "Over all sources".to_owned(),
    };
    let parts: Vec<&str> = [&*sources, part.heading].into_iter().filter(|text| !text.is_empty()).collect();
    if parts.is_empty() { String::new() } else { format!("<caption>{}</caption>\n", parts.join(": ")) }
}

fn heading_cell(column: &SummaryColumn) -> String {
    let arrow = match column.direction() {
        Direction::Maximize => "<span class=\"arrow\" title=\"higher is better\">↑</span>",
        Direction::Minimize => "<span class=\"arrow\" title=\"lower is better\">↓</span>",
    };
    let (title, unit) = (escape(column.title()), column.unit());
    // The name of a shift may be one long word.
    let class = if matches!(column, SummaryColumn::Shift(_)) { " class=\"shift\"" } else { "" };
    format!("<th scope=\"col\"{class}>{title} <span class=\"unit\">{unit} {arrow}</span></th>")
}

fn table_row(summary: &Summary, part: &Part, row: &SummaryRow, content: &Content) -> String {
    let cell = |index: &usize| {
        let column = &summary.columns[*index];
        // A line breaks before the ±, not after it.
        let figure = |cell: &SummaryCell| column.format(&cell.estimate).replace("± ", "±&nbsp;");
        let text = match &row.cells[*index] {
            None => "–".to_owned(),
            Some(cell) if cell.best => format!("<b>{}</b>", figure(cell)),
            Some(cell) => figure(cell),
        };
        labelled_cell(&format!("{} ({})", column.title(), column.unit()), &text)
    };
    let cells: String = part.columns.iter().map(cell).collect();
    let accepted = labelled_cell("accepted", &format!("{} of {}", row.accepted, row.runs));
    let accepted = if part.accepted { &*accepted } else { "" };
    let method = content.methods.key(&row.method);
    format!("<tr><th scope=\"row\">{method}</th>{cells}{accepted}</tr>\n")
}

/// Explains the columns.
fn note(content: &Content) -> String {
    let shifted = content.runs.iter().any(|run| !run.shifts.is_empty());
    let on = if shifted { "over the shifts" } else { "on held-out images of the source" };
    let Terms { quality, counted } = content.terms;
    let mut note = format!(
        "In distribution: {quality} on held-out images of the source. Retention: the fraction of {counted}, {on}, for which \
         the adapted backbone under the base’s own head predicts the same class as the base. Calibration error: expected, 15 \
         bins, {on}. Delta: size of the stored difference from the base."
    );
    if content.runs.len() > 1 {
        note.push_str(
            " Mean ± standard error over seeds; the best mean of a column (↑ higher, ↓ lower) is bold. Accepted: runs that \
             passed the gate.",
        );
    }
    if content.sources.len() > 1 {
        note.push_str(
            " Over all sources: the mean of each seed over the sources, for seeds that have every source; the standard \
             error is over seeds.",
        );
    }
    format!("<p class=\"note\">{note}</p>\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a table too wide for the page, and a column that is lost where a table is divided.
    #[test]
    fn a_wide_summary_is_divided_into_tables_that_fit() {
        for shifts in 0..40 {
            let mut columns = vec![SummaryColumn::InDistribution];
            columns.extend((0..shifts).map(|shift| SummaryColumn::Shift(format!("shift {shift}"))));
            columns.extend([SummaryColumn::Shifts, SummaryColumn::Retention, SummaryColumn::Seconds]);
            let parts = parts(&columns);
            let mut shown: Vec<usize> = parts.iter().flat_map(|part| part.columns.clone()).collect();
            shown.sort_unstable();
            assert_eq!(shown, (0..columns.len()).collect::<Vec<_>>());
            for part in &parts {
                assert!(part.columns.len() + usize::from(part.accepted) <= MOST_COLUMNS, "{shifts} shifts");
            }
            assert_eq!(parts.iter().filter(|part| part.accepted).count(), 1);
            assert_eq!(parts.len() > 1, columns.len() >= MOST_COLUMNS, "one table where it fits");
        }
    }
}
