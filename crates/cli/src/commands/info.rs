//! `fieldfit info`.

use crate::args::InfoArgs;
use crate::error::Error;
use crate::output::{Output, bytes, percent};
use fieldfit::{DeltaInfo, Info, ModelInfo, StoreInfo};

pub fn run(args: &InfoArgs) -> Result<(), Error> {
    let info = fieldfit::info(&args.path)?;
    Output::new(args.json).show(&info, text)
}

fn text(info: &Info) -> String {
    match info {
        Info::Model(model) => model_text(model),
        Info::Delta(delta) => delta_text(delta),
        Info::Store(store) => store_text(store),
    }
}

fn model_text(model: &ModelInfo) -> String {
    lines(&[
        ("model", format!("{} in {}", model.name, model.path.display())),
        ("architecture", model.architecture.clone()),
        ("identity", model.id.clone()),
        ("parameters", format!("{} in {} tensors, {}", model.parameters, model.tensors, bytes(model.weights_bytes))),
        ("classes", model.labels.len().to_string()),
        ("input", format!("{} px, crop {}", model.input_size, model.crop)),
        ("origin", model.origin.clone()),
        ("licence", model.licence.clone()),
    ])
}

fn delta_text(delta: &DeltaInfo) -> String {
    let held = delta.tensors.iter().filter(|tensor| tensor.ball.is_some()).count();
    lines(&[
        ("delta", format!("{} ({})", delta.path.display(), bytes(delta.bytes))),
        ("of the base", delta.base.clone()),
        ("after", delta.parent.clone().unwrap_or_else(|| "no other delta".into())),
        ("made by", format!("fieldfit {}, {}, seed {}", delta.fieldfit, delta.method, delta.seed)),
        ("options", delta.options.clone()),
        ("images", format!("{} train, {} validation, {} gate", delta.train, delta.validation, delta.gate)),
        ("gate", format!("{} before, {} after", percent(delta.before.into()), percent(delta.after.into()))),
        ("classes", delta.labels.join(", ")),
        ("input", format!("{} px, crop {}", delta.input_size, delta.crop)),
        ("tensors", format!("{} changed, {held} of them held in a ball around the base", delta.tensors.len())),
    ])
}

fn store_text(store: &StoreInfo) -> String {
    let active = store.active.map_or_else(|| "the base".into(), |version| format!("version {version}"));
    format!("store {}: {active} runs\n{}", store.path.display(), super::store::versions_table(&store.versions))
}

fn lines(rows: &[(&str, String)]) -> String {
    let filled = rows.iter().filter(|(_, value)| !value.is_empty());
    filled.map(|(name, value)| format!("{name:<13} {value}")).collect::<Vec<_>>().join("\n")
}
