//! Subcommand `import`: imports a checkpoint or network file into a model folder and reports what it detected.

use crate::args::ImportArgs;
use crate::error::CliError;
use crate::output::{Output, Text, bytes};
use crate::progress_bar::ProgressBar;
use fieldfit::Task;
use fieldfit::import::graph::EXPORT;
use fieldfit::import::{Detected, FinalOp, Format, ImportReport, ImportRequest, ImportedNetwork, import};
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
    /// Of a network file alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<Network<'a>>,
}

/// Network of a file as a JSON object.
#[derive(Serialize)]
struct Network<'a> {
    nodes: usize,
    parameters: usize,
    sections: &'a [String],
    head: Option<&'a str>,
    /// Rows and columns of the image that it was exported for.
    size: [usize; 2],
    /// Whether it accepts images of other sizes.
    any_size: bool,
    /// Convolutions into which the exporter folded a batch norm.
    folded_norms: usize,
    /// Kernels that the file computes from its parameters.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    computed_kernels: &'a [String],
    /// Ops behind the head's logits that are left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    final_ops: Vec<&'static str>,
    /// Least and greatest value of a pixel, of a network that normalises its images itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    input_range: Option<[f32; 2]>,
}

impl<'a> From<&'a ImportedNetwork> for Network<'a> {
    fn from(network: &'a ImportedNetwork) -> Self {
        Self {
            nodes: network.nodes,
            parameters: network.parameters,
            sections: &network.sections,
            head: network.head.as_deref(),
            size: network.size,
            any_size: network.any_size,
            folded_norms: network.folded_norms,
            computed_kernels: &network.computed,
            final_ops: network.final_ops.iter().map(|op| op.name()).collect(),
            input_range: network.input_range.map(|range| [0.0, range.greatest()]),
        }
    }
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
    request.input = args.input();
    request.output = args.output.as_deref();
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
        network: report.network.as_ref().map(Network::from),
    };
    output.show(&imported, |_| text(args, &report))
}

fn text(args: &ImportArgs, report: &ImportReport) -> Text {
    let format = match report.format {
        Format::TorchLegacy => "a checkpoint of torch before 1.6",
        Format::TorchZip => "a checkpoint of torch 1.6 or later",
        Format::Safetensors => "safetensors",
        Format::Pt2 => "an exported program of torch",
        Format::Onnx => "ONNX",
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
    ];
    match &report.network {
        Some(network) => lines.extend(described(network)),
        None => lines.push(grounds(&report.detected)),
    }
    lines.extend(entry(report));
    lines.extend(renamed(&report.detected));
    lines.push(match report.classes {
        0 => "no head: adapt it to your classes before it can name anything".to_owned(),
        classes if report.network.as_ref().is_some_and(|network| network.numbered_labels) => {
            format!("{classes} classes without names: `class0` to `class{}`; --labels names them", classes - 1)
        }
        classes => format!("{classes} classes"),
    });
    lines.extend(listed("classes of one name, told apart by their numbers", &report.renamed_labels));
    lines.push(preprocessing(report, args));
    let unread =
        if report.network.is_some() { "left out, not read by the network" } else { "left out, for training only" };
    lines.extend(listed(unread, &report.ignored));
    lines.extend(listed("left out by --drop", &report.dropped));
    let mut text = Text::default();
    lines.iter().for_each(|line| text.line(line));
    text
}

/// What a network file holds, and what of it is fixed.
fn described(network: &ImportedNetwork) -> Vec<String> {
    let ImportedNetwork { ops, nodes, parameters, sections, head, size: [rows, columns], .. } = network;
    let mut lines = vec![
        format!("{ops} ops became {nodes} nodes with {parameters} parameters"),
        format!("sections, for --freeze: {}", sections.join(", ")),
    ];
    lines.extend(head.iter().map(|head| match network.task {
        Task::Classification | Task::Regression | Task::MultiLabel => format!("the head is `{head}`"),
        Task::Segmentation => format!("the head is `{head}`, which classifies each pixel"),
    }));
    lines.extend(without_end(&network.final_ops));
    lines.push(if network.any_size {
        format!("exported for images of {rows}×{columns} pixels; accepts other sizes")
    } else {
        format!("fixed to images of {rows}×{columns} pixels: export it with a dynamic height and width for others")
    });
    if !network.accepts_input {
        lines.push(
            "it accepts no square images, which is what frames become: export it for square images to run it"
                .to_owned(),
        );
    }
    lines.extend(folded(network.folded_norms));
    lines.extend(listed("computed from other parameters, and trained in their place", &network.computed));
    lines.extend(listed("not in the file, and added", &network.added));
    lines
}

/// The ops behind the head that are left out.
fn without_end(ops: &[FinalOp]) -> Option<String> {
    let names: Vec<&str> = ops.iter().map(|op| op.name()).collect();
    let all = names.join(", then ");
    (!names.is_empty())
        .then(|| format!("behind the head, the file computes {all}: left out, so that the head's logits end it"))
}

/// What a file lost whose exporter folded batch norms into convolutions, and the line that exports a file that has it.
fn folded(norms: usize) -> Option<String> {
    (norms > 0).then(|| {
        format!(
            "{norms} batch norms are folded into the convolutions before them: their scales and statistics are lost, and only \
             the convolutions' weights and biases can be adapted; .pt2 keeps them: {EXPORT}"
        )
    })
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

fn preprocessing(report: &ImportReport, args: &ImportArgs) -> String {
    let fieldfit::model::Preprocessing { size, fit, crop, mean, std, filter } = report.preprocessing;
    let input = match fit.width() {
        None => format!("{size} px, crop {crop}"),
        Some(width) => format!("{size}×{width} px, the whole frame"),
    };
    let whence = match (&report.config, &report.network) {
        (Some(config), _) => format!("as {} says", config.display()),
        (None, Some(ImportedNetwork { input_range: Some(range), .. })) => {
            format!("as the network normalises its images itself: it takes pixels of 0 to {}", range.greatest())
        }
        (None, Some(_)) => {
            "as most networks are trained on ImageNet: the file does not state it, so check it".to_owned()
        }
        (None, None) => "as the architecture's published checkpoint was evaluated".to_owned(),
    };
    let flags = [("--size", args.size.is_some()), ("--mean", args.mean.is_some()), ("--std", args.std.is_some())];
    let set: Vec<&str> = flags.into_iter().filter(|(_, is_set)| *is_set).map(|(flag, _)| flag).collect();
    let set = if set.is_empty() { String::new() } else { format!(", but for {}", set.join(", ")) };
    format!("input: {input}, mean {mean:?}, std {std:?}, {}, {whence}{set}", filter.name())
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
