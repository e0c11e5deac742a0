//! `fieldfit delta`.

use crate::args::{DeltaCommand, DeltaDiffArgs, DeltaExportArgs, DeltaOutArgs, DeltaSignArgs, DeltaVerifyArgs};
use crate::error::CliError;
use crate::output::{Output, bytes, signature, table};
use fieldfit::delta::{self, Codec, DeltaDiff, Exported, Packed, Signature, TensorDiff, Verified, read_key};
use serde::Serialize;

/// What a delta was signed with.
#[derive(Serialize)]
struct Signed {
    key: String,
    sequence: u64,
}

/// A delta's length.
#[derive(Serialize)]
struct Unpacked {
    bytes: u64,
}

pub fn run(command: &DeltaCommand) -> Result<(), CliError> {
    match command {
        DeltaCommand::Sign(args) => sign(args),
        DeltaCommand::Verify(args) => verify(args),
        DeltaCommand::Diff(args) => diff(args),
        DeltaCommand::Export(args) => export(args),
        DeltaCommand::Pack(args) => pack(args),
        DeltaCommand::Unpack(args) => unpack(args),
    }
}

fn sign(args: &DeltaSignArgs) -> Result<(), CliError> {
    let out = args.out.as_ref().unwrap_or(&args.delta);
    let Signature { key, sequence } = delta::sign(&args.delta, &read_key(&args.key)?, args.sequence, out)?;
    let signed = Signed { key: key.to_string(), sequence };
    Output::new(args.json)
        .show(&signed, |Signed { key, sequence }| format!("{}: {}", out.display(), signature(*sequence, key)))
}

fn verify(args: &DeltaVerifyArgs) -> Result<(), CliError> {
    let verified = delta::verify(&args.delta, args.model.as_deref(), args.trust.as_deref())?;
    Output::new(args.json).show(&verified, verified_text)
}

fn verified_text(verified: &Verified) -> String {
    let Verified { hash, base, key, sequence, signer, fits, .. } = verified;
    let signed = match (key, sequence) {
        (Some(key), Some(sequence)) => {
            let by = signer.as_ref().map_or_else(String::new, |name| format!(" of {name}"));
            format!("{}{by}", signature(*sequence, key))
        }
        _ => "not signed".into(),
    };
    let fits = if *fits { ", which it fits, every tensor in its ball" } else { "" };
    format!("whole: {hash}\nfor the base {base}{fits}\n{signed}")
}

fn diff(args: &DeltaDiffArgs) -> Result<(), CliError> {
    Output::new(args.json).show(&delta::diff(&args.left, &args.right)?, diff_text)
}

fn diff_text(diff: &DeltaDiff) -> String {
    let mut table = table(&["tensor", "left", "right", "‖left‖", "‖right‖", "‖left − right‖", "cosine"], 3);
    for TensorDiff { name, left_codec, right_codec, left, right, difference, cosine, .. } in &diff.tensors {
        let codec = |codec: &Option<Codec>| codec.map_or("unchanged", Codec::name).to_owned();
        let figure = |figure: &Option<f64>| figure.map_or_else(String::new, |figure| format!("{figure:.4}"));
        table.add_row([
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
    format!("{table}\nbase: {}; classes: {}", same(diff.same_base), same(diff.same_labels))
}

fn export(args: &DeltaExportArgs) -> Result<(), CliError> {
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
    Output::new(args.json).show(&exported, |Exported { tensors, bytes: length, .. }| {
        let beside = match args.model {
            Some(_) => String::new(),
            None => format!(", described in {}", fieldfit::delta::beside(&args.out).display()),
        };
        format!("{}: {tensors} tensors, {}{beside}", args.out.display(), bytes(*length))
    })
}

fn pack(args: &DeltaOutArgs) -> Result<(), CliError> {
    let packed = delta::pack(&args.delta, &args.out)?;
    Output::new(args.json).show(&packed, |Packed { bytes: length, packed, .. }| {
        format!("{}: {} of {}", args.out.display(), bytes(*packed), bytes(*length))
    })
}

fn unpack(args: &DeltaOutArgs) -> Result<(), CliError> {
    let unpacked = Unpacked { bytes: delta::unpack(&args.delta, &args.out)? };
    Output::new(args.json).show(&unpacked, |unpacked| format!("{}: {}", args.out.display(), bytes(unpacked.bytes)))
}
