//! Subcommand `compare`: adapts by several methods and seeds and compares the results.

use crate::args::{CompareArgs, MethodSpec};
use crate::error::CliError;
use crate::output::{Output, Table, Text, percent};
use crate::progress_bar::ProgressBar;
use crate::signals::Signals;
use fieldfit::data::{FolderOptions, ImageSet, Purpose};
use fieldfit::report::{PageOptions, RunLog, RunRecord, Summary, SummaryCell, SummaryColumn, write_page};
use fieldfit::train::{AdaptError, BaseSteadiness, Comparison, Control, Options};
use fieldfit::{OutputKind, Runtime, check_output, refuse_inputs};
use serde::Serialize;

/// Method that the report compares the others with in pairs, if it is among them.
const REFERENCE: &str = "lp-ft";
/// Maximum number of shifts with a column of their own in the table.
const MOST_SHIFTS: usize = 4;

pub fn run(args: &CompareArgs, output: &Output) -> Result<(), CliError> {
    let plan = plan(args);
    plan.iter().try_for_each(|options| options.validate().map_err(fieldfit::Error::from))?;
    args.out.as_deref().map_or(Ok(()), |path| check_output(path, OutputKind::Page))?;
    let signals = Signals::install()?;
    let mut journal = args.jsonl.as_deref().map(RunLog::open).transpose()?;
    if let (Some(page), Some(log)) = (&args.out, &args.jsonl) {
        refuse_inputs(page, &[log])?;
    }
    let progress = ProgressBar::new(output);
    let device = super::device(&args.training.device);
    let runtime = Runtime::open(&args.model, device)?;
    let folder = FolderOptions::new(Purpose::Adapt).with_group(args.training.group.clone());
    let images = super::images(&args.data, &folder, &progress)?;
    let source = args.name.clone().unwrap_or_else(|| super::folder_name(&args.data));
    let comparison = Comparison::new(&runtime, source, &images, Options::default().fractions)?;
    let shifts = super::shifts(&args.shift, comparison.held_out(), &progress)?;
    let mut comparison = comparison.with_shifts(shifts)?;
    if let Some(folder) = &args.base_task {
        let images = super::images(folder, &FolderOptions::new(Purpose::Evaluate), &progress)?;
        comparison = comparison.with_base_task(&ImageSet::of("base task", images))?;
    }
    let steadiness = match args.base_steadiness {
        true => comparison.base_steadiness(&super::training(&args.training))?,
        false => Vec::new(),
    };
    let mut runs = Vec::new();
    for (number, options) in plan.iter().enumerate() {
        let known = journal.as_ref().and_then(|journal| journal.find(&comparison.identity(options))).cloned();
        let run = match known {
            Some(run) => run,
            None => {
                let (method, seed) = (&options.method, options.seed);
                progress.line(format!("run {} of {}: {method}, seed {seed}", number + 1, plan.len()));
                let measured = signals.during(|control| measure(&mut comparison, options, control, &progress));
                let Some(run) = measured? else { continue };
                journal.as_mut().map_or(Ok(()), |journal| journal.add(run.clone()))?;
                run
            }
        };
        if output.is_json() {
            output.object(&run)?;
        }
        runs.push(run);
    }
    progress.finish();
    if let Some(path) = &args.out {
        let title = format!("Methods on {}", comparison.held_out().name);
        write_page(path, &runs, &PageOptions::new(title).with_reference(Some(REFERENCE.into())))?;
    }
    if output.is_json() {
        return steadiness.iter().try_for_each(|base| output.object(&Steady { base_steadiness: base }));
    }
    let mut text = text(&runs);
    if !steadiness.is_empty() {
        text.line("");
        text.line("the base against itself: images that keep their class (%)");
        text.table(&steadiness_table(&steadiness));
    }
    output.text(text)
}

/// The base's agreement with itself on a set, as it is printed.
#[derive(Serialize)]
struct Steady<'a> {
    base_steadiness: &'a BaseSteadiness,
}

/// Returns a table with one row per set.
fn steadiness_table(steadiness: &[BaseSteadiness]) -> Table {
    let mut table = Table::new(&["set", "mirrored", "shifted by 4 pixels", "JPEG 75"], 1);
    for base in steadiness {
        let [flip, shift, jpeg] = [base.flip, base.shift, base.jpeg].map(|share| format!("{:.1}", 100.0 * share));
        table.row([base.set.clone(), flip, shift, jpeg]);
    }
    table
}

/// Runs a method with one seed; `None` if it diverged or collapsed, which is noted and leaves it without a row.
fn measure(
    comparison: &mut Comparison<'_>,
    options: &Options,
    control: &Control,
    progress: &ProgressBar,
) -> Result<Option<RunRecord>, CliError> {
    match comparison.run(options, control, &mut |event| progress.step(&event)) {
        Ok(run) => {
            progress.line(line(&run));
            Ok(Some(run))
        }
        Err(fieldfit::Error::Adapt(error @ (AdaptError::Diverged { .. } | AdaptError::Collapsed { .. }))) => {
            progress.line(format!("{} seed {}: {error}", options.method, options.seed));
            Ok(None)
        }
        Err(fieldfit::Error::Adapt(AdaptError::Interrupted { .. })) => Err(CliError::ComparisonStopped),
        Err(error) => Err(error.into()),
    }
}

/// Returns the options of every run, seed after seed, so that an early end leaves whole comparisons.
fn plan(args: &CompareArgs) -> Vec<Options> {
    let all =
        || fieldfit::train::METHODS.iter().map(|method| MethodSpec { name: method.name.into(), settings: Vec::new() });
    let methods = if args.methods.is_empty() { all().collect() } else { args.methods.clone() };
    let options = |seed: u32, method: &MethodSpec| {
        super::training(&args.training)
            .with_method(method.name.clone())
            .with_settings(method.settings.iter().cloned().collect())
            .with_seed(seed.into())
    };
    args.seeds.clone().flat_map(|seed| methods.iter().map(move |method| options(seed, method))).collect()
}

fn line(run: &RunRecord) -> String {
    let shifted =
        run.mean_shift_accuracy().map_or_else(String::new, |shifted| format!(", shifts {}", percent(shifted)));
    let (own, kept) = (percent(run.in_distribution.quality()), percent(run.retention()));
    format!("{} seed {}: {own}{shifted}, retention {kept}, {:.1} s", run.method, run.seed, run.seconds)
}

/// Returns a table for each source and over all, the best value of a column in bold.
fn text(runs: &[RunRecord]) -> Text {
    let mut summaries = Summary::of(runs);
    summaries.iter_mut().for_each(narrow);
    let mut text = Text::default();
    for (position, summary) in summaries.iter().enumerate() {
        if position > 0 {
            text.line("");
        }
        let source = summary.source.as_deref();
        text.line(source.map_or_else(|| "over all sources".into(), |source| format!("from {source}")));
        text.table(&summary_table(summary));
    }
    text
}

/// Removes the columns of single shifts if they are too many for a terminal; their mean stays.
fn narrow(summary: &mut Summary) {
    let shown: Vec<bool> = summary.columns.iter().map(|column| !matches!(column, SummaryColumn::Shift(_))).collect();
    if shown.iter().filter(|shown| !**shown).count() <= MOST_SHIFTS {
        return;
    }
    keep(&mut summary.columns, &shown);
    summary.rows.iter_mut().for_each(|row| keep(&mut row.cells, &shown));
}

fn keep<T>(values: &mut Vec<T>, which: &[bool]) {
    let mut which = which.iter();
    values.retain(|_| which.next() == Some(&true));
}

fn summary_table(summary: &Summary) -> Table {
    let heading = |column: &SummaryColumn| format!("{} ({})", column.title(), column.unit());
    let headings: Vec<String> =
        std::iter::once("method".to_owned()).chain(summary.columns.iter().map(heading)).collect();
    let mut table = Table::new(&headings, 1);
    for row in &summary.rows {
        let cells = summary.columns.iter().zip(&row.cells).map(|(column, shown)| cell(column, shown.as_ref()));
        table.emphasised_row(std::iter::once((row.method.clone(), false)).chain(cells));
    }
    table
}

/// Returns the text of a cell, and whether it is the best of its column.
fn cell(column: &SummaryColumn, shown: Option<&SummaryCell>) -> (String, bool) {
    shown.map_or_else(|| ("–".into(), false), |shown| (column.format(&shown.estimate), shown.best))
}
