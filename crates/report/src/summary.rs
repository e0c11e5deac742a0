//! One row a method: what a comparison's table shows.

use std::collections::BTreeMap;

use crate::record::{Run, distinct, unique};
use crate::statistics::Estimate;

/// A table of methods, each over its seeds.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// The source that the runs learned from; nothing for the table over all sources.
    pub source: Option<String>,
    /// What is shown, from left to right.
    pub columns: Vec<Column>,
    /// The methods, in the order in which they first appear among the runs.
    pub rows: Vec<Row>,
}

/// A method's line in a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The method.
    pub method: String,
    /// Runs that the row is made of.
    pub runs: usize,
    /// How many of them the gate accepted.
    pub accepted: usize,
    /// A cell for each column; nothing where no run has a value.
    pub cells: Vec<Option<Cell>>,
}

/// A method's figure in a column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cell {
    /// Mean ± standard error over seeds, as [`Column::value`] has it.
    pub estimate: Estimate,
    /// Whether no other method's mean is better. Never set in a table of one method.
    pub best: bool,
}

/// What a column shows.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Column {
    /// Accuracy on held-out images of the source.
    InDistribution,
    /// Accuracy on a shift, by its name.
    Shift(String),
    /// Mean accuracy over the shifts.
    Shifts,
    /// Agreement with the base: see [`Run::retention`].
    Retention,
    /// Expected calibration error: see [`Run::calibration_error`].
    CalibrationError,
    /// Wall time of the adaptation.
    Seconds,
    /// The most memory that was resident.
    PeakMemory,
    /// Size of the delta file.
    DeltaSize,
}

/// Which of two values is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// The higher one.
    Higher,
    /// The lower one.
    Lower,
}

impl Column {
    /// The column's heading, without its unit.
    pub fn title(&self) -> &str {
        match self {
            Self::InDistribution => "in distribution",
            Self::Shift(name) => name,
            Self::Shifts => "mean of shifts",
            Self::Retention => "retention",
            Self::CalibrationError => "calibration error",
            Self::Seconds => "time",
            Self::PeakMemory => "peak memory",
            Self::DeltaSize => "delta",
        }
    }

    /// The unit in which [`Column::format`] writes.
    pub fn unit(&self) -> &'static str {
        match self {
            Self::Seconds => "s",
            Self::PeakMemory | Self::DeltaSize => "MiB",
            _ => "%",
        }
    }

    /// Which of two values of the column is better.
    pub fn better(&self) -> Better {
        match self {
            Self::InDistribution | Self::Shift(_) | Self::Shifts | Self::Retention => Better::Higher,
            Self::CalibrationError | Self::Seconds | Self::PeakMemory | Self::DeltaSize => Better::Lower,
        }
    }

    /// A run's value: shares as 0..1, seconds, bytes; nothing where the run has none.
    pub fn value(&self, run: &Run) -> Option<f64> {
        match self {
            Self::InDistribution => Some(run.in_distribution.accuracy()),
            Self::Shift(name) => run.shifts.iter().find(|shift| shift.name == *name).map(|shift| shift.accuracy()),
            Self::Shifts => run.shifted(),
            Self::Retention => Some(run.retention()),
            Self::CalibrationError => Some(run.calibration_error()),
            Self::Seconds => Some(run.seconds),
            Self::PeakMemory => run.peak_bytes.map(|bytes| bytes as f64),
            Self::DeltaSize => Some(run.delta_bytes as f64),
        }
    }

    /// A figure of the column in its unit, such as `87.3 ± 0.4`; without ± for a single repetition.
    pub fn format(&self, estimate: &Estimate) -> String {
        const MEBIBYTE: f64 = (1 << 20) as f64;
        let (factor, digits) = match self {
            Self::Seconds => (1.0, 1),
            Self::PeakMemory => (1.0 / MEBIBYTE, 0),
            Self::DeltaSize => (1.0 / MEBIBYTE, 2),
            _ => (100.0, 1),
        };
        let number = |value: f64| format!("{:.digits$}", value * factor);
        match estimate.error {
            Some(error) => format!("{} ± {}", number(estimate.mean), number(error)),
            None => number(estimate.mean),
        }
    }
}

impl Summary {
    /// A table for each source, in the order of their first appearance, and, where there are several, one over all.
    ///
    /// In the table over all sources a seed's figure is its mean over the sources, and the standard error is that over
    /// seeds: sources are not repetitions of each other. A method's seeds that lack a source are left out of it, so that
    /// no method is judged on easier sources than another, and a shift has a column only where every source has it.
    pub fn of(runs: &[Run]) -> Vec<Self> {
        let runs = distinct(runs);
        let sources = unique(runs.iter().map(|run| &*run.source));
        let mut summaries: Vec<Self> = sources.iter().map(|source| Self::of_source(&runs, source)).collect();
        if sources.len() > 1 {
            summaries.push(Self::over_sources(&runs, &sources));
        }
        summaries
    }

    fn of_source(runs: &[&Run], source: &str) -> Self {
        let runs: Vec<&Run> = runs.iter().copied().filter(|run| run.source == source).collect();
        let shifts = unique(runs.iter().flat_map(|run| &run.shifts).map(|shift| &*shift.name));
        Self::table(Some(source.to_owned()), &runs, &shifts, |runs| runs.iter().map(|run| vec![*run]).collect())
    }

    fn over_sources(runs: &[&Run], sources: &[&str]) -> Self {
        let has = |source: &str, shift: &str| {
            let mut of_source = runs.iter().filter(|run| run.source == source);
            of_source.any(|run| run.shifts.iter().any(|scores| scores.name == shift))
        };
        let mut shifts = unique(runs.iter().flat_map(|run| &run.shifts).map(|shift| &*shift.name));
        shifts.retain(|shift| sources.iter().all(|source| has(source, shift)));
        Self::table(None, runs, &shifts, |runs| complete_seeds(runs, sources.len()))
    }

    /// `repetitions` divides the runs of a method into groups, each of which counts as one.
    fn table<'a>(
        source: Option<String>,
        runs: &[&'a Run],
        shifts: &[&str],
        repetitions: impl Fn(&[&'a Run]) -> Vec<Vec<&'a Run>>,
    ) -> Self {
        let columns = columns(runs, shifts);
        let methods = unique(runs.iter().map(|run| &*run.method)).into_iter();
        let mut rows: Vec<Row> = methods
            .map(|method| {
                let of_method: Vec<&Run> = runs.iter().copied().filter(|run| run.method == method).collect();
                Row::of(method, &columns, &repetitions(&of_method))
            })
            .collect();
        for (index, column) in columns.iter().enumerate() {
            mark_best(&mut rows, index, column.better());
        }
        Self { source, columns, rows }
    }
}

impl Row {
    fn of(method: &str, columns: &[Column], repetitions: &[Vec<&Run>]) -> Self {
        let cell = |column: &Column| {
            let values: Vec<f64> = repetitions.iter().filter_map(|runs| mean_over(runs, column)).collect();
            Estimate::of(&values).map(|estimate| Cell { estimate, best: false })
        };
        let runs = || repetitions.iter().flatten();
        Self {
            method: method.to_owned(),
            runs: runs().count(),
            accepted: runs().filter(|run| run.accepted).count(),
            cells: columns.iter().map(cell).collect(),
        }
    }
}

/// The columns that some run has a value for. Where runs have one shift each, it is its own mean.
fn columns(runs: &[&Run], shifts: &[&str]) -> Vec<Column> {
    let mut columns = vec![Column::InDistribution];
    columns.extend(shifts.iter().map(|shift| Column::Shift((*shift).to_owned())));
    if runs.iter().any(|run| run.shifts.len() > 1) || shifts.is_empty() {
        columns.push(Column::Shifts);
    }
    columns.extend([
        Column::Retention,
        Column::CalibrationError,
        Column::Seconds,
        Column::PeakMemory,
        Column::DeltaSize,
    ]);
    columns.retain(|column| runs.iter().any(|run| column.value(run).is_some()));
    columns
}

/// The seeds that ran on every one of so many sources, each with its runs.
fn complete_seeds<'a>(runs: &[&'a Run], sources: usize) -> Vec<Vec<&'a Run>> {
    let mut seeds: BTreeMap<u64, Vec<&Run>> = BTreeMap::new();
    for run in runs {
        seeds.entry(run.seed).or_default().push(run);
    }
    seeds.into_values().filter(|runs| unique(runs.iter().map(|run| &*run.source)).len() == sources).collect()
}

/// The mean of a column over the runs of one repetition; nothing where one of them has no value.
fn mean_over(runs: &[&Run], column: &Column) -> Option<f64> {
    let values: Option<Vec<f64>> = runs.iter().map(|run| column.value(run)).collect();
    Estimate::of(&values?).map(|estimate| estimate.mean)
}

fn mark_best(rows: &mut [Row], column: usize, better: Better) {
    let mean = |row: &Row| row.cells[column].map(|cell| cell.estimate.mean);
    let means: Vec<f64> = rows.iter().filter_map(mean).collect();
    if means.len() < 2 {
        return;
    }
    let best = match better {
        Better::Higher => means.into_iter().fold(f64::NEG_INFINITY, f64::max),
        Better::Lower => means.into_iter().fold(f64::INFINITY, f64::min),
    };
    // Means of the same values in another order differ in their last bits.
    let slack = 1e-12 * best.abs();
    for cell in rows.iter_mut().filter_map(|row| row.cells[column].as_mut()) {
        cell.best = (cell.estimate.mean - best).abs() <= slack;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::run;

    fn with_seconds(method: &str, seed: u64, source: &str, seconds: f64) -> Run {
        Run { seconds, ..run(method, seed, source) }
    }

    fn cell(summary: &Summary, method: &str, column: &Column) -> Option<Cell> {
        let row = summary.rows.iter().find(|row| row.method == method).unwrap();
        row.cells[summary.columns.iter().position(|known| known == column).unwrap()]
    }

    /// Would catch a best that ignores the column's direction, and one that is marked where there is nothing to beat.
    #[test]
    fn the_best_is_the_highest_or_the_lowest() {
        let mut quick = with_seconds("quick", 0, "photo", 1.0);
        quick.in_distribution.confusion = vec![vec![1, 1], vec![0, 2]];
        let mut right = with_seconds("right", 0, "photo", 2.0);
        right.in_distribution.confusion = vec![vec![2, 0], vec![0, 2]];
        let alone = Summary::of(std::slice::from_ref(&quick));
        let both = Summary::of(&[quick, right]);

        let best = |method, column| cell(&both[0], method, column).unwrap().best;
        assert!(best("quick", &Column::Seconds) && !best("right", &Column::Seconds));
        assert!(best("right", &Column::InDistribution) && !best("quick", &Column::InDistribution));
        assert!(best("quick", &Column::Retention) && best("right", &Column::Retention), "a tie has two best");
        assert!(alone[0].rows[0].cells.iter().flatten().all(|cell| !cell.best));
    }

    /// Would catch sources that are pooled as if they were seeds: the error over seeds is 0.5 here, over runs 5.
    #[test]
    fn over_all_sources_a_seed_counts_once() {
        let mut runs = Vec::new();
        for (source, seconds) in [("photo", 10.0), ("sketch", 30.0)] {
            runs.extend((0..2).map(|seed| with_seconds("full", seed, source, seconds + seed as f64)));
        }
        // Seed 2 lacks a source: its low figure must not count.
        runs.push(with_seconds("full", 2, "photo", 0.0));

        let summaries = Summary::of(&runs);
        let sources: Vec<Option<&str>> = summaries.iter().map(|summary| summary.source.as_deref()).collect();
        assert_eq!(sources, [Some("photo"), Some("sketch"), None]);
        assert_eq!(summaries[0].rows[0].runs, 3);
        let all = cell(&summaries[2], "full", &Column::Seconds).unwrap().estimate;
        assert_eq!(all, Estimate { mean: 20.5, error: Some(0.5), count: 2 });
    }

    /// Would catch a shift's mean over other sources than its neighbours' in the table over all.
    #[test]
    fn a_shift_has_a_column_where_every_source_has_it() {
        let mut photo = run("full", 0, "photo");
        photo.shifts[0].name = "sketch".into();
        photo.shifts[1].name = "cartoon".into();
        let mut sketch = run("full", 0, "sketch");
        sketch.shifts[0].name = "photo".into();
        sketch.shifts[1].name = "cartoon".into();
        let summaries = Summary::of(&[photo, sketch]);
        let shifts = |summary: &Summary| -> Vec<String> {
            let shift = |column: &Column| matches!(column, Column::Shift(_)).then(|| column.title().to_owned());
            summary.columns.iter().filter_map(shift).collect()
        };
        assert_eq!(shifts(&summaries[0]), ["sketch", "cartoon"]);
        assert_eq!(shifts(&summaries[2]), ["cartoon"]);
        assert!(summaries[2].columns.contains(&Column::Shifts), "one shared shift is not the mean of all");
    }

    /// Would catch a column without values, and figures in another unit than the heading's.
    #[test]
    fn figures_are_in_their_units() {
        let mut lone = run("full", 0, "photo");
        lone.peak_bytes = None;
        lone.shifts.clear();
        let columns = &Summary::of(&[lone])[0].columns;
        assert!(!columns.contains(&Column::PeakMemory) && !columns.contains(&Column::Shifts));

        let of = |mean, error| Estimate { mean, error, count: 2 };
        assert_eq!(Column::Retention.format(&of(0.8734, Some(0.0041))), "87.3 ± 0.4");
        assert_eq!(Column::DeltaSize.format(&of(1_572_864.0, None)), "1.50");
        assert_eq!(Column::PeakMemory.unit(), "MiB");
    }
}
