//! Subcommand `info`: shows a model folder, a delta file, a store or a memory plan.

use crate::args::InfoArgs;
use crate::error::CliError;
use crate::output::{Output, Table, Text, bytes, mebibytes, percent, signature};
use fieldfit::delta::{Codec, DeltaInfo, Fidelity, HeadDescription, HeadOrigin, NoveltyThreshold, TensorInfo};
use fieldfit::model::{Base, ModelInfo, StageInfo};
use fieldfit::store::StoreInfo;
use fieldfit::train::MemoryPlan;
use fieldfit::{Device, Info};

/// Number of training images in a plan, if none is given.
pub(super) const IMAGES: usize = 400;

pub fn run(args: &InfoArgs, output: &Output) -> Result<(), CliError> {
    if args.plan {
        return output.show(&plan(args)?, |plan| {
            let mut text = Text::default();
            plan_text(plan, &mut text);
            text
        });
    }
    let info = fieldfit::info(&args.path)?;
    output.show(&info, text)
}

fn plan(args: &InfoArgs) -> Result<MemoryPlan, CliError> {
    let base = Base::open(&args.path).map_err(fieldfit::Error::from)?;
    let defaults = super::defaults(args.target_profile.as_ref());
    let options = defaults
        .clone()
        .with_method(args.method.clone().unwrap_or(defaults.method))
        .with_size(args.size)
        .with_batch(args.batch.map_or(defaults.batch, |images| images as usize))
        .with_micro_batch(args.micro_batch.map(|images| images as usize))
        .with_memory_budget(args.memory_budget.or(defaults.memory_budget))
        .with_device(args.threads.map_or(defaults.device, |threads| Device::Cpu { threads: threads as usize }));
    let classes = args.classes.map_or(base.labels().len(), |classes| classes as usize);
    let images = args.images.map_or(IMAGES, |images| images as usize);
    Ok(fieldfit::train::plan_memory(&base, classes, images, &options).map_err(fieldfit::Error::from)?)
}

/// Adds a memory plan to a text.
pub(super) fn plan_text(plan: &MemoryPlan, text: &mut Text) {
    let mut table = Table::new(&["when", "what", "memory"], 2);
    let rows = [
        ("always", "process", plan.process),
        ("", "base, mapped", plan.base),
        ("", "weights of the active version", plan.running),
        ("", "delta", plan.delta),
        ("before training", "features of the linear probe", plan.probing),
        ("training", "merged weights", plan.weights),
        ("", "gradients", plan.gradients),
        ("", "optimiser", plan.optimiser),
        ("", "packed weights", plan.kernels),
        ("", "activations", plan.activations),
        ("", "images", plan.images),
        ("", "the base's predictions", plan.retention),
        ("", "checkpoint", plan.checkpoint),
        ("gate, swap", "decoded weights, prepared", plan.judging),
        ("peak", "", plan.total),
    ];
    for (when, what, bytes) in rows {
        table.row([when, what, &mebibytes(bytes)]);
    }
    text.table(&table);
    text.line(format!("micro-batch: {}; recomputed stages: {}", plan.micro_batch, plan.recomputed_stages));
}

fn text(info: &Info) -> Text {
    match info {
        Info::Model(model) => model_text(model),
        Info::Delta(delta) => delta_text(delta),
        Info::Store(store) => store_text(store),
    }
}

fn model_text(model: &ModelInfo) -> Text {
    let classes = match model.labels.len() {
        0 => "none: a backbone without a head, to be adapted".to_owned(),
        classes => classes.to_string(),
    };
    let mut text = Text::default();
    text.fields(&[
        ("model", format!("{} in {}", model.name, model.path.display())),
        ("architecture", model.architecture.clone()),
        ("identity", model.id.clone()),
        ("parameters", format!("{} in {} tensors, {}", model.parameters, model.tensors, bytes(model.weights_bytes))),
        ("classes", classes),
        ("task", model.task.to_string()),
        (
            "input",
            match model.input_width {
                None => format!("{} px, crop {}", model.input_size, model.crop),
                Some(width) => format!("{}×{width} px, the whole frame", model.input_size),
            },
        ),
        ("origin", model.origin.clone()),
        ("licence", model.licence.clone()),
    ]);
    text.line("");
    text.table(&stages(model));
    text
}

/// Images of a training step, for which activations are shown.
const BATCH: u64 = 16;

/// One line a stage: what comes out of an image, what it takes.
fn stages(model: &ModelInfo) -> Table {
    let activations = format!("activations, {BATCH} images");
    let mut table = Table::new(&["stage", "output", "parameters", "MFLOP", &activations], 1);
    let mut row = |name: &str, output: String, parameters: usize, flops: u64, memory: u64| {
        let flops = format!("{:.1}", flops as f64 / 1e6);
        table.row([name, &output, &parameters.to_string(), &flops, &mebibytes(BATCH * memory)]);
    };
    for StageInfo { name, output: [height, width, channels], parameters, flops, activation_bytes, .. } in &model.stages
    {
        row(name, format!("{height}×{width}×{channels}"), *parameters, *flops, *activation_bytes);
    }
    let sum = |of: fn(&StageInfo) -> u64| model.stages.iter().map(of).sum();
    row("in all", String::new(), model.parameters, sum(|stage| stage.flops), sum(|stage| stage.activation_bytes));
    table
}

fn delta_text(delta: &DeltaInfo) -> Text {
    let held = delta.tensors.iter().filter(|tensor| tensor.constraint.is_some()).count();
    let mut text = Text::default();
    text.fields(&[
        ("delta", format!("{} ({})", delta.path.display(), bytes(delta.bytes))),
        ("base", delta.base.clone()),
        ("parent", delta.parent.clone().unwrap_or_else(|| "none".into())),
        ("made by", format!("fieldfit {}, {}, seed {}", delta.fieldfit, delta.method, delta.seed)),
        ("options", delta.options.clone()),
        ("images", format!("{} train, {} validation, {} gate", delta.train, delta.validation, delta.gate)),
        ("gate", format!("{} before, {} after", percent(delta.before.into()), percent(delta.after.into()))),
        (
            "signed",
            delta
                .key
                .as_deref()
                .zip(delta.sequence)
                .map_or_else(|| "no".into(), |(key, number)| signature(number, key)),
        ),
        ("classes", delta.labels.join(", ")),
        ("head", head(&delta.head)),
        ("task", delta.task.to_string()),
        ("input", format!("{} px, crop {}", delta.input_size, delta.crop)),
        ("codecs", codecs(&delta.tensors)),
        ("encoding", delta.fidelity.map_or_else(String::new, |fidelity| cost(&fidelity))),
        ("tensors", format!("{} changed, {held} of them constrained to a ball around the base", delta.tensors.len())),
    ]);
    text
}

/// Returns where the head comes from, and what it tells unknown images by.
fn head(head: &HeadDescription) -> String {
    let mut text = match head.origin {
        HeadOrigin::Replaced => "of its own classes".to_owned(),
        HeadOrigin::Kept => "the base's, adapted".to_owned(),
    };
    if head.taught > 0 {
        text += &format!(", the last {} taught", head.taught);
    }
    if let Some(NoveltyThreshold { distance, false_alarm_rate, .. }) = head.novelty {
        text += &format!("; unknown above {distance:.2}, at {} false alarms", percent(false_alarm_rate.into()));
    }
    text
}

/// Returns the number of tensors and bytes of each codec.
fn codecs(tensors: &[TensorInfo]) -> String {
    let of = |codec: Codec| {
        let stored = || tensors.iter().filter(move |tensor| tensor.codec == codec);
        let length = stored().map(|tensor| tensor.bytes as u64).sum();
        (stored().count() > 0).then(|| format!("{} {} in {}", stored().count(), codec.name(), bytes(length)))
    };
    Codec::ALL.into_iter().filter_map(of).collect::<Vec<_>>().join(", ")
}

fn cost(Fidelity { images, changed, divergence }: &Fidelity) -> String {
    format!("{changed} of {images} validation answers changed, divergence {divergence:.5} nats")
}

fn store_text(store: &StoreInfo) -> Text {
    let active = store.active.map_or_else(|| "the base".into(), |version| format!("version {version}"));
    let mut text = Text::from(format!("store {}: {active} runs", store.path.display()));
    text.table(&super::store::versions_table(&store.versions));
    text
}
