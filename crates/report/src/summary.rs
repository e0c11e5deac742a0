//! Results table: one row per method, with means and standard errors over seeds.

use std::collections::BTreeMap;

use crate::record::{RunRecord, distinct, unique};
use crate::statistics::MeanEstimate;

/// Results table of a comparison: methods by metrics, aggregated over seeds.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Summary {
    /// Training data set of the runs; `None` for the table over all sources.
    pub source: Option<String>,
    /// Columns, from left to right.
    pub columns: Vec<SummaryColumn>,
    /// One row per method, in the order of first appearance among the runs.
    pub rows: Vec<SummaryRow>,
}

/// SummaryRow of a results table: one method.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SummaryRow {
    /// Name of the method.
    pub method: String,
    /// Number of runs that the row aggregates.
    pub runs: usize,
    /// Number of those runs that the gate accepted.
    pub accepted: usize,
    /// One cell per column; `None` where no run has a value.
    pub cells: Vec<Option<SummaryCell>>,
}

/// SummaryCell of a results table: the estimate of one method in one column.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct SummaryCell {
    /// Mean ± standard error over seeds, in the unit of [`SummaryColumn::value`].
    pub estimate: MeanEstimate,
    /// Whether no other method has a better mean. Never set in a table of one method.
    pub best: bool,
}

/// Column of a results table: a metric or a cost.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SummaryColumn {
    /// Accuracy, or of pixels mean IoU, on held-out images of the source.
    InDistribution,
    /// The same on the shift of that name.
    Shift(String),
    /// Its mean over the shifts.
    Shifts,
    /// Agreement with the base: see [`RunRecord::retention`].
    Retention,
    /// Accuracy on the base's own classes: see [`RunRecord::base_task`].
    BaseTask,
    /// Expected calibration error: see [`RunRecord::calibration_error`].
    CalibrationError,
    /// Wall time of the adaptation.
    Seconds,
    /// Peak resident memory.
    PeakMemory,
    /// Size of the delta file.
    DeltaSize,
}

/// Direction in which a metric improves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Higher is better.
    Maximize,
    /// Lower is better.
    Minimize,
}

impl SummaryColumn {
    /// Returns the heading of the column, without its unit.
    pub fn title(&self) -> &str {
        match self {
            Self::InDistribution => "in distribution",
            Self::Shift(name) => name,
            Self::Shifts => "mean of shifts",
            Self::Retention => "retention",
            Self::BaseTask => "base task",
            Self::CalibrationError => "calibration error",
            Self::Seconds => "time",
            Self::PeakMemory => "peak memory",
            Self::DeltaSize => "delta",
        }
    }

    /// Returns the unit of [`SummaryColumn::format`].
    pub fn unit(&self) -> &'static str {
        match self {
            Self::Seconds => "s",
            Self::PeakMemory | Self::DeltaSize => "MiB",
            Self::InDistribution
            | Self::Shift(_)
            | Self::Shifts
            | Self::Retention
            | Self::BaseTask
            | Self::CalibrationError => "%",
        }
    }

    /// Returns the direction in which the column improves.
    pub fn direction(&self) -> Direction {
        match self {
            Self::InDistribution | Self::Shift(_) | Self::Shifts | Self::Retention | Self::BaseTask => {
                Direction::Maximize
            }
            Self::CalibrationError | Self::Seconds | Self::PeakMemory | Self::DeltaSize => Direction::Minimize,
        }
    }

    /// Returns the value of a run: fractions as 0..1, seconds, bytes; `None` if the run has none.
    pub fn value(&self, run: &RunRecord) -> Option<f64> {
        match self {
            Self::InDistribution => Some(run.in_distribution.quality()),
            Self::Shift(name) => run.shifts.iter().find(|shift| shift.name == *name).map(|shift| shift.quality()),
            Self::Shifts => run.mean_shift_accuracy(),
            Self::Retention => Some(run.retention()),
            Self::BaseTask => run.base_task,
            Self::CalibrationError => Some(run.calibration_error()),
            Self::Seconds => Some(run.seconds),
            Self::PeakMemory => run.peak_bytes.map(|bytes| bytes as f64),
            Self::DeltaSize => Some(run.delta_bytes as f64),
        }
    }

    /// Formats an estimate in the unit of the column, e.g. `87.3 ± 0.4`; without ± for a single repetition.
    pub fn format(&self, estimate: &MeanEstimate) -> String {
        const MEBIBYTE: f64 = (1 << 20) as f64;
        let (factor, digits) = match self {
            Self::Seconds => (1.0, 1),
            Self::PeakMemory => (1.0 / MEBIBYTE, 0),
            Self::DeltaSize => (1.0 / MEBIBYTE, 2),
            Self::InDistribution
            | Self::Shift(_)
            | Self::Shifts
            | Self::Retention
            | Self::BaseTask
            | Self::CalibrationError => (100.0, 1),
        };
        let number = |value: f64| format!("{:.digits$}", value * factor);
        match estimate.standard_error {
            Some(error) => format!("{} ± {}", number(estimate.mean), number(error)),
            None => number(estimate.mean),
        }
    }
}

impl Summary {
    /// Aggregates runs into one table per source, in the order of first appearance, and, for several sources, one over all.
    ///
    /// In the table over all sources, the value of a seed is its mean over the sources, and the standard error is over seeds:
    /// sources are not repetitions of each other. Seeds of a method that lack a source are left out, so that no method is
    /// judged on easier sources than another, and a shift has a column only if every source has it.
    pub fn of(runs: &[RunRecord]) -> Vec<Self> {
        let runs = distinct(runs);
        let sources = unique(runs.iter().map(|run| &*run.source));
        let mut summaries: Vec<Self> = sources.iter().map(|source| Self::of_source(&runs, source)).collect();
        if sources.len() > 1 {
            summaries.push(Self::over_sources(&runs, &sources));
        }
        summaries
    }

    fn of_source(runs: &[&RunRecord], source: &str) -> Self {
        let runs: Vec<&RunRecord> = runs.iter().copied().filter(|run| run.source == source).collect();
        let shifts = unique(runs.iter().flat_map(|run| &run.shifts).map(|shift| &*shift.name));
        Self::table(Some(source.to_owned()), &runs, &shifts, |runs| runs.iter().map(|run| vec![*run]).collect())
    }

    fn over_sources(runs: &[&RunRecord], sources: &[&str]) -> Self {
        let has = |source: &str, shift: &str| {
            let mut of_source = runs.iter().filter(|run| run.source == source);
            of_source.any(|run| run.shifts.iter().any(|scores| scores.name == shift))
        };
        let mut shifts = unique(runs.iter().flat_map(|run| &run.shifts).map(|shift| &*shift.name));
        shifts.retain(|shift| sources.iter().all(|source| has(source, shift)));
        Self::table(None, runs, &shifts, |runs| complete_seeds(runs, sources.len()))
    }

    /// Builds a table; `repetitions` groups the runs of a method, and each group counts as one repetition.
    fn table<'a>(
        source: Option<String>,
        runs: &[&'a RunRecord],
        shifts: &[&str],
        repetitions: impl Fn(&[&'a RunRecord]) -> Vec<Vec<&'a RunRecord>>,
    ) -> Self {
        let columns = columns(runs, shifts);
        let methods = unique(runs.iter().map(|run| &*run.method)).into_iter();
        let mut rows: Vec<SummaryRow> = methods
            .map(|method| {
                let of_method: Vec<&RunRecord> = runs.iter().copied().filter(|run| run.method == method).collect();
                SummaryRow::of(method, &columns, &repetitions(&of_method))
            })
            .collect();
        for (index, column) in columns.iter().enumerate() {
            mark_best(&mut rows, index, column.direction());
        }
        Self { source, columns, rows }
    }
}

impl SummaryRow {
    fn of(method: &str, columns: &[SummaryColumn], repetitions: &[Vec<&RunRecord>]) -> Self {
        let cell = |column: &SummaryColumn| {
            let values: Vec<f64> = repetitions.iter().filter_map(|runs| mean_over(runs, column)).collect();
            MeanEstimate::of(&values).map(|estimate| SummaryCell { estimate, best: false })
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

/// Returns the columns for which some run has a value. With one shift per run there is no column for the mean.
fn columns(runs: &[&RunRecord], shifts: &[&str]) -> Vec<SummaryColumn> {
    let mut columns = vec![SummaryColumn::InDistribution];
    columns.extend(shifts.iter().map(|shift| SummaryColumn::Shift((*shift).to_owned())));
    if runs.iter().any(|run| run.shifts.len() > 1) || shifts.is_empty() {
        columns.push(SummaryColumn::Shifts);
    }
    columns.extend([
        SummaryColumn::Retention,
        SummaryColumn::BaseTask,
        SummaryColumn::CalibrationError,
        SummaryColumn::Seconds,
        SummaryColumn::PeakMemory,
        SummaryColumn::DeltaSize,
    ]);
    columns.retain(|column| runs.iter().any(|run| column.value(run).is_some()));
    columns
}

/// Returns the runs of each seed that has all `sources` sources.
fn complete_seeds<'a>(runs: &[&'a RunRecord], sources: usize) -> Vec<Vec<&'a RunRecord>> {
    let mut seeds: BTreeMap<u64, Vec<&RunRecord>> = BTreeMap::new();
    for run in runs {
        seeds.entry(run.seed).or_default().push(run);
    }
    seeds.into_values().filter(|runs| unique(runs.iter().map(|run| &*run.source)).len() == sources).collect()
}

/// Computes the mean of a column over the runs of one repetition; `None` if one of them has no value.
fn mean_over(runs: &[&RunRecord], column: &SummaryColumn) -> Option<f64> {
    let values: Option<Vec<f64>> = runs.iter().map(|run| column.value(run)).collect();
    MeanEstimate::of(&values?).map(|estimate| estimate.mean)
}

fn mark_best(rows: &mut [SummaryRow], column: usize, direction: Direction) {
    let mean = |row: &SummaryRow| row.cells[column].map(|cell| cell.estimate.mean);
    let means: Vec<f64> = rows.iter().filter_map(mean).collect();
    if means.len() < 2 {
        return;
    }
    let best = match direction {
        Direction::Maximize => means.into_iter().fold(f64::NEG_INFINITY, f64::max),
        Direction::Minimize => means.into_iter().fold(f64::INFINITY, f64::min),
    };
    // Means of the same values in a different order differ in the last bits.
    let slack = 1e-12 * best.abs();
    for cell in rows.iter_mut().filter_map(|row| row.cells[column].as_mut()) {
        cell.best = (cell.estimate.mean - best).abs() <= slack;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::run;

    fn with_seconds(method: &str, seed: u64, source: &str, seconds: f64) -> RunRecord {
        RunRecord { seconds, ..run(method, seed, source) }
    }

    fn cell(summary: &Summary, method: &str, column: &SummaryColumn) -> Option<SummaryCell> {
        let row = summary.rows.iter().find(|row| row.method == method).unwrap();
        row.cells[summary.columns.iter().position(|known| known == column).unwrap()]
    }

    /// Catches: a best mark that ignores the direction of the column, and one in a table of one method.
    #[test]
    fn the_best_is_the_highest_or_the_lowest() {
        let mut quick = with_seconds("quick", 0, "photo", 1.0);
        quick.in_distribution.confusion = vec![vec![1, 1], vec![0, 2]];
        let mut right = with_seconds("right", 0, "photo", 2.0);
        right.in_distribution.confusion = vec![vec![2, 0], vec![0, 2]];
        let alone = Summary::of(std::slice::from_ref(&quick));
        let both = Summary::of(&[quick, right]);

        let best = |method, column| cell(&both[0], method, column).unwrap().best;
        assert!(best("quick", &SummaryColumn::Seconds) && !best("right", &SummaryColumn::Seconds));
        assert!(best("right", &SummaryColumn::InDistribution) && !best("quick", &SummaryColumn::InDistribution));
        assert!(
            best("quick", &SummaryColumn::Retention) && best("right", &SummaryColumn::Retention),
            "a tie has two best"
        );
        assert!(alone[0].rows[0].cells.iter().flatten().all(|cell| !cell.best));
    }

    /// Catches: sources pooled as if they were seeds: the standard error is 0.5 here over seeds, 5 over runs.
    #[test]
    fn over_all_sources_a_seed_counts_once() {
        let mut runs = Vec::new();
        for (source, seconds) in [("photo", 10.0), ("sketch", 30.0)] {
            runs.extend((0..2).map(|seed| with_seconds("full", seed, source, seconds + seed as f64)));
        }
        // Seed 2 lacks a source, so its low value must not count.
        runs.push(with_seconds("full", 2, "photo", 0.0));

        let summaries = Summary::of(&runs);
        let sources: Vec<Option<&str>> = summaries.iter().map(|summary| summary.source.as_deref()).collect();
        assert_eq!(sources, [Some("photo"), Some("sketch"), None]);
        assert_eq!(summaries[0].rows[0].runs, 3);
        let all = cell(&summaries[2], "full", &SummaryColumn::Seconds).unwrap().estimate;
        assert_eq!(all, MeanEstimate { mean: 20.5, standard_error: Some(0.5), count: 2 });
    }

    /// Catches: a shift column of the table over all sources that averages over fewer sources than its neighbours.
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
            let shift =
                |column: &SummaryColumn| matches!(column, SummaryColumn::Shift(_)).then(|| column.title().to_owned());
            summary.columns.iter().filter_map(shift).collect()
        };
        assert_eq!(shifts(&summaries[0]), ["sketch", "cartoon"]);
        assert_eq!(shifts(&summaries[2]), ["cartoon"]);
        assert!(summaries[2].columns.contains(&SummaryColumn::Shifts), "one shared shift is not the mean of all");
    }

    /// Catches: a column without values, and figures in a unit other than the heading's.
    #[test]
    fn figures_are_in_their_units() {
        let mut lone = run("full", 0, "photo");
        lone.peak_bytes = None;
        lone.shifts.clear();
        let columns = &Summary::of(&[lone])[0].columns;
        assert!(!columns.contains(&SummaryColumn::PeakMemory) && !columns.contains(&SummaryColumn::Shifts));

        let of = |mean, standard_error| MeanEstimate { mean, standard_error, count: 2 };
        assert_eq!(SummaryColumn::Retention.format(&of(0.8734, Some(0.0041))), "87.3 ± 0.4");
        assert_eq!(SummaryColumn::DeltaSize.format(&of(1_572_864.0, None)), "1.50");
        assert_eq!(SummaryColumn::PeakMemory.unit(), "MiB");
    }
}
