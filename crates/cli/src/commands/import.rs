//! `fieldfit import`.

use crate::args::ImportArgs;
use crate::error::CliError;
use crate::output::{Output, bytes};
use crate::progress::Progress;
use fieldfit::import::{Format, ImportReport, ImportRequest, Recognised, import};

pub fn run(args: &ImportArgs) -> Result<(), CliError> {
    let mut request = ImportRequest::new(&args.weights, &args.out);
    request.architecture = args.architecture();
    request.labels = args.labels.as_deref();
    request.dtype = args.dtype.into();
    request.source = args.source.as_deref().unwrap_or(request.source);
    request.licence = args.licence.as_deref().unwrap_or(request.licence);
    let progress = Progress::new(false);
    progress.wait("importing");
    let report = import(&request).map_err(fieldfit::Error::from)?;
    progress.finish();
    Output::new(false).text(text(args, &report))
}

fn text(args: &ImportArgs, report: &ImportReport) -> String {
    let format = match report.format {
        Format::TorchLegacy => "a checkpoint of torch before 1.6",
        Format::TorchZip => "a checkpoint of torch 1.6 or later",
        Format::Safetensors => "safetensors",
    };
    let mut lines = vec![
        format!(
            "{out}: {architecture}, {tensors} tensors from {format}, {bytes}",
            out = args.out.display(),
            architecture = report.recognised.architecture,
            tensors = report.recognised.tensors,
            bytes = bytes(report.bytes),
        ),
        format!("identity {}", report.id),
        grounds(&report.recognised),
    ];
    if let Some(wrapper) = report.wrapper {
        lines.push(format!("taken from the checkpoint's entry `{wrapper}`"));
    }
    if !report.recognised.prefix.is_empty() {
        lines.push(format!("prefix `{}` taken off the names", report.recognised.prefix));
    }
    lines.push(match report.classes {
        0 => "no head: adapt it to your classes before it can name anything".to_owned(),
        classes => format!("{classes} classes"),
    });
    lines.push(preprocessing(report));
    lines.extend(left_out(&report.ignored));
    lines.join("\n")
}

/// What a checkpoint has for training alone: some dozens of counters that share their last name.
fn left_out(names: &[String]) -> Option<String> {
    let (first, others) = names.split_first()?;
    let others = if others.is_empty() { String::new() } else { format!(" and {} others", others.len()) };
    Some(format!("left out, for training only: `{first}`{others}"))
}

/// Why it was taken for that network.
fn grounds(recognised: &Recognised) -> String {
    let Recognised { architecture, spelling, tensors, runner_up, .. } = recognised;
    let others = runner_up.map_or_else(String::new, |(other, differing)| {
        format!("; {other}, which comes nearest, differs in {differing}")
    });
    format!("{architecture}, because all {tensors} tensors fit by name and shape, under {spelling} names{others}")
}

fn preprocessing(report: &ImportReport) -> String {
    let fieldfit::model::Preprocessing { size, crop, mean, std, filter } = report.preprocessing;
    let whence = report.config.as_ref().map_or_else(
        || "as the architecture's published checkpoint was evaluated".to_owned(),
        |config| format!("as {} says", config.display()),
    );
    format!("input: {size} px, crop {crop}, mean {mean:?}, std {std:?}, {}, {whence}", filter.name())
}
