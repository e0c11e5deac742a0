//! Subcommand `import`: imports a checkpoint into a model folder and reports what it detected.

use crate::args::ImportArgs;
use crate::error::CliError;
use crate::output::{Output, Text, bytes};
use crate::progress_bar::ProgressBar;
use fieldfit::import::{Detected, Format, ImportReport, ImportRequest, import};
use serde::Serialize;
use std::path::Path;

/// Imported model as a JSON object.
#[derive(Serialize)]
struct Imported<'a> {
    path: &'a Path,
    id: String,
    architecture: &'a str,
    tensors: usize,
    classes: usize,
    bytes: u64,
}

pub fn run(args: &ImportArgs, output: &Output) -> Result<(), CliError> {
    let mut request = ImportRequest::new(&args.weights, &args.out);
    request.architecture = args.architecture();
    request.labels = args.labels.as_deref();
    request.dtype = args.dtype.into();
    request.source = args.source.as_deref().unwrap_or(request.source);
    request.licence = args.licence.as_deref().unwrap_or(request.licence);
    request.averages = args.averages();
    request.drop = &args.drop;
    let progress = ProgressBar::new(output);
    progress.wait("importing");
    let report = import(&request).map_err(fieldfit::Error::from)?;
    progress.finish();
    let imported = Imported {
        path: &args.out,
        id: report.id.to_string(),
        architecture: report.detected.architecture,
        tensors: report.detected.tensors,
        classes: report.classes,
        bytes: report.bytes,
    };
    output.show(&imported, |_| text(args, &report))
}

fn text(args: &ImportArgs, report: &ImportReport) -> Text {
    let format = match report.format {
        Format::TorchLegacy => "a checkpoint of torch before 1.6",
        Format::TorchZip => "a checkpoint of torch 1.6 or later",
        Format::Safetensors => "safetensors",
    };
    let files = if report.files == 1 { String::new() } else { format!(" in {} files", report.files) };
    let mut lines = vec![
        format!(
            "{out}: {architecture}, {tensors} tensors from {format}{files}, {bytes}",
            out = args.out.display(),
            architecture = report.detected.architecture,
            tensors = report.detected.tensors,
            bytes = bytes(report.bytes),
        ),
        format!("identity {}", report.id),
        grounds(&report.detected),
    ];
    lines.extend(entry(report));
    lines.extend(renamed(&report.detected));
    lines.push(match report.classes {
        0 => "no head: adapt it to your classes before it can name anything".to_owned(),
        classes => format!("{classes} classes"),
    });
    lines.extend(listed("classes of one name, told apart by their numbers", &report.renamed_labels));
    lines.push(preprocessing(report));
    lines.extend(listed("left out, for training only", &report.ignored));
    lines.extend(listed("left out by --drop", &report.dropped));
    let mut text = Text::default();
    lines.iter().for_each(|line| text.line(line));
    text
}

/// The checkpoint's entry that was taken, and the one that was not.
fn entry(report: &ImportReport) -> Option<String> {
    let entry = report.wrapper.as_ref().map_or("its top level".to_owned(), |entry| format!("entry `{entry}`"));
    let average = if report.is_average { ", a moving average of the weights" } else { "" };
    let flag = if report.is_average { "--no-ema" } else { "--ema" };
    match &report.alternative {
        Some(other) => Some(format!("taken from the checkpoint's {entry}{average}; {flag} takes `{other}`")),
        None => report.wrapper.as_ref().map(|_| format!("taken from the checkpoint's {entry}{average}")),
    }
}

/// What of the names is not the network's.
fn renamed(detected: &Detected) -> Vec<String> {
    let Detected { prefix, wrappers, head, .. } = detected;
    let mut lines = Vec::new();
    if !prefix.is_empty() {
        lines.push(format!("prefix `{prefix}` taken off the names"));
    }
    lines.extend(wrappers.iter().map(|wrapper| format!("`{wrapper}.` taken out of the names")));
    lines.extend(head.iter().map(|head| format!("the head is `{head}`")));
    lines
}

/// What these names have in common: some dozens of counters that share their last name.
fn listed(what: &str, names: &[String]) -> Option<String> {
    let (first, others) = names.split_first()?;
    let others = if others.is_empty() { String::new() } else { format!(" and {} others", others.len()) };
    Some(format!("{what}: `{first}`{others}"))
}

/// Why it was taken for that network.
fn grounds(detected: &Detected) -> String {
    let Detected { architecture, naming, tensors, runner_up, .. } = detected;
    let others = runner_up.map_or_else(String::new, |(other, differing)| {
        format!("; {other}, which comes nearest, differs in {differing}")
    });
    format!("{architecture}, because all {tensors} tensors fit by name and shape, under {naming} names{others}")
}

fn preprocessing(report: &ImportReport) -> String {
    let fieldfit::model::Preprocessing { size, crop, mean, std, filter } = report.preprocessing;
    let whence = report.config.as_ref().map_or_else(
        || "as the architecture's published checkpoint was evaluated".to_owned(),
        |config| format!("as {} says", config.display()),
    );
    format!("input: {size} px, crop {crop}, mean {mean:?}, std {std:?}, {}, {whence}", filter.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a prefix, a wrapper or a head of another name that is taken off without a word.
    #[test]
    fn what_is_taken_off_the_names_is_said() {
        let detected = Detected {
            architecture: "resnet18",
            naming: "the architecture's own",
            prefix: "net.".to_owned(),
            wrappers: vec!["_orig_mod"],
            head: Some("fc.1".to_owned()),
            tensors: 62,
            runner_up: None,
        };
        let expected =
            ["prefix `net.` taken off the names", "`_orig_mod.` taken out of the names", "the head is `fc.1`"];
        assert_eq!(renamed(&detected), expected);
    }
}
