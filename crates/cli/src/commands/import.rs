//! `fieldfit import`.

use crate::args::ImportArgs;
use crate::error::Error;
use crate::output::{Output, bytes};
use crate::progress::Progress;
use fieldfit::import::{Format, Report, Request, import};

pub fn run(args: &ImportArgs) -> Result<(), Error> {
    let mut request = Request::new(&args.weights, &args.arch, &args.labels, &args.out);
    request.dtype = args.dtype.into();
    request.source = args.source.as_deref().unwrap_or(request.source);
    request.licence = args.licence.as_deref().unwrap_or(request.licence);
    let progress = Progress::new(false);
    progress.wait("importing");
    let report = import(&request).map_err(fieldfit::Error::from)?;
    progress.finish();
    Output::new(false).text(text(args, &report))
}

fn text(args: &ImportArgs, report: &Report) -> String {
    let format = match report.format {
        Format::TorchLegacy => "a checkpoint of torch before 1.6",
        Format::TorchZip => "a checkpoint of torch 1.6 or later",
        Format::Safetensors => "safetensors",
    };
    let mut text = format!(
        "{out}: {architecture}, {tensors} tensors from {format}, {bytes}\nidentity {id}",
        out = args.out.display(),
        architecture = args.arch,
        tensors = report.tensors,
        bytes = bytes(report.bytes),
        id = report.id,
    );
    if !report.ignored.is_empty() {
        text.push_str(&format!("\nleft out, for training from scratch only: {}", report.ignored.join(", ")));
    }
    text
}
