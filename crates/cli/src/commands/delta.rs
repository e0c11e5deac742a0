//! Subcommands of `delta`: sign, verify, compare, export, merge, pack and unpack delta files.

use crate::args::{
    DeltaCommand, DeltaDiffArgs, DeltaExportArgs, DeltaMergeArgs, DeltaOutArgs, DeltaSignArgs, DeltaVerifyArgs,
};
use crate::error::CliError;
use crate::output::{Output, Table, Text, bytes, signature};
use fieldfit::delta::{
    self, Codec, DeltaDiff, Exported, MergeParent, Merged, Packed, Signature, TensorDiff, Verified, read_key,
};
use serde::Serialize;

/// Result of `delta sign`.
#[derive(Serialize)]
struct Signed {
    key: String,
    sequence: u64,
}

/// Result of `delta unpack`.
#[derive(Serialize)]
struct Unpacked {
    bytes: u64,
}

pub fn run(command: &DeltaCommand, output: &Output) -> Result<(), CliError> {
    match command {
        DeltaCommand::Sign(args) => sign(args, output),
        DeltaCommand::Verify(args) => verify(args, output),
        DeltaCommand::Diff(args) => diff(args, output),
        DeltaCommand::Export(args) => export(args, output),
        DeltaCommand::Merge(args) => merge(args, output),
        DeltaCommand::Pack(args) => pack(args, output),
        DeltaCommand::Unpack(args) => unpack(args, output),
    }
}

fn sign(args: &DeltaSignArgs, output: &Output) -> Result<(), CliError> {
    let out = args.out.as_ref().unwrap_or(&args.delta);
    let Signature { key, sequence } = delta::sign(&args.delta, &read_key(&args.key)?, args.sequence, out)?;
    let signed = Signed { key: key.to_string(), sequence };
    output.show(&signed, |Signed { key, sequence }| format!("{}: {}", out.display(), signature(*sequence, key)))
}

fn verify(args: &DeltaVerifyArgs, output: &Output) -> Result<(), CliError> {
    let verified = delta::verify(&args.delta, args.model.as_deref(), args.trust.as_deref())?;
    output.show(&verified, verified_text)
}

fn verified_text(verified: &Verified) -> Text {
    let Verified { hash, base, key, sequence, signer, fits, .. } = verified;
    let signed = match (key, sequence) {
        (Some(key), Some(sequence)) => {
            let by = signer.as_ref().map_or_else(String::new, |name| format!(" of {name}"));
            format!("{}{by}", signature(*sequence, key))
        }
        _ => "not signed".into(),
    };
    let fits = if *fits { ", which it fits, every tensor in its ball" } else { "" };
    let mut text = Text::from(format!("whole: {hash}"));
    text.line(format!("for the base {base}{fits}"));
    text.line(signed);
    text
}

fn diff(args: &DeltaDiffArgs, output: &Output) -> Result<(), CliError> {
    output.show(&delta::diff(&args.left, &args.right)?, diff_text)
}

fn diff_text(diff: &DeltaDiff) -> Text {
    let mut table = Table::new(&["tensor", "left", "right", "‖left‖", "‖right‖", "‖left − right‖", "cosine"], 3);
    for TensorDiff { name, left_codec, right_codec, left, right, difference, cosine, .. } in &diff.tensors {
        let codec = |codec: &Option<Codec>| codec.map_or("unchanged", Codec::name).to_owned();
        let figure = |figure: &Option<f64>| figure.map_or_else(String::new, |figure| format!("{figure:.4}"));
        table.row([
            name.clone(),
            codec(left_codec),
            codec(right_codec),
            format!("{left:.4}"),
            format!("{right:.4}"),
            figure(difference),
            figure(cosine),
        ]);
    }
    let same = |same: bool| if same { "the same" } else { "another" };
    let mut text = Text::default();
    text.table(&table);
    text.line(format!("base: {}; classes: {}", same(diff.same_base), same(diff.same_labels)));
    text
}

fn export(args: &DeltaExportArgs, output: &Output) -> Result<(), CliError> {
    let exported = match &args.model {
        Some(model) => fieldfit::delta::export_merged(&args.delta, model, args.dtype.into(), &args.out)?,
        None => fieldfit::delta::export_differences(&args.delta, &args.out)?,
    };
    if let Some(worst) = exported.rivals.iter().max_by(|a, b| a.share.total_cmp(&b.share)) {
        log::warn!(
            "rounding rivals the adaptation in {} of {} tensors, most in `{}`, by {:.0} % of what changed: export as f32",
            exported.rivals.len(),
            exported.tensors,
            worst.name,
            100.0 * worst.share
        );
    }
    output.show(&exported, |Exported { tensors, bytes: length, .. }| {
        let beside = match args.model {
            Some(_) => String::new(),
            None => format!(", described in {}", fieldfit::delta::beside(&args.out).display()),
        };
        format!("{}: {tensors} tensors, {}{beside}", args.out.display(), bytes(*length))
    })
}

/// Ratio of the norms of two heads above which their logits are said to have different scales.
const HEAD_NORM_RATIO: f64 = 2.0;

fn merge(args: &DeltaMergeArgs, output: &Output) -> Result<(), CliError> {
    let merged = delta::merge(&args.deltas, &args.model, args.weights.as_deref(), &args.out)?;
    if merged.drops_statistics {
        log::warn!(
            "feature statistics and thresholds of novelty are left out: they describe the features of another backbone"
        );
    }
    if let Some(ratio) = head_norm_ratio(&merged).filter(|ratio| *ratio > HEAD_NORM_RATIO) {
        log::warn!(
            "the heads have rows of different norms, by a factor of {ratio:.1}, and different classes: classes of the larger \
             head may win over the others"
        );
    }
    output.show(&merged, |merged| merged_text(args, merged))
}

/// Returns the ratio of the largest head's norm to the smallest one's, where a delta lacks a class of another.
fn head_norm_ratio(merged: &Merged) -> Option<f64> {
    let is_union = merged.classes.iter().any(|class| class.deltas < merged.parents.len());
    let norms = || merged.parents.iter().filter_map(|parent| parent.head_norm);
    let (least, most) = (norms().reduce(f64::min)?, norms().reduce(f64::max)?);
    is_union.then_some(most / least)
}

fn merged_text(args: &DeltaMergeArgs, merged: &Merged) -> Text {
    let mut table = Table::new(&["delta", "weight", "classes", "mean row norm"], 1);
    for MergeParent { path, weight, classes, head_norm, .. } in &merged.parents {
        let norm = head_norm.map_or_else(|| "–".to_owned(), |norm| format!("{norm:.3}"));
        table.row([path.display().to_string(), format!("{weight:.4}"), classes.to_string(), norm]);
    }
    let shared = merged.classes.iter().filter(|class| class.deltas > 1).count();
    let (out, tensors, classes) = (args.out.display(), merged.tensors, merged.classes.len());
    let mut text = Text::from(format!("{out}: {tensors} tensors, {}", bytes(merged.bytes)));
    text.line(format!("{classes} classes, {shared} of them known to several deltas"));
    text.table(&table);
    text.line("no gate has judged it: measure it with `eval --delta` before a robot runs it");
    text
}

fn pack(args: &DeltaOutArgs, output: &Output) -> Result<(), CliError> {
    let packed = delta::pack(&args.delta, &args.out)?;
    output.show(&packed, |Packed { bytes: length, packed, .. }| {
        format!("{}: {} of {}", args.out.display(), bytes(*packed), bytes(*length))
    })
}

fn unpack(args: &DeltaOutArgs, output: &Output) -> Result<(), CliError> {
    let unpacked = Unpacked { bytes: delta::unpack(&args.delta, &args.out)? };
    output.show(&unpacked, |unpacked| format!("{}: {}", args.out.display(), bytes(unpacked.bytes)))
}
