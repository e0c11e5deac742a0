//! Key mapping: translates the names that other libraries give to the tensors of our networks.
//!
//! A [`KeyMapping`] is a list of rules: a pattern of the other library's names and the name that is ours. Patterns are
//! compared segment by segment; `*` stands for a number, and what follows the pattern is kept. In our name `{}` is the
//! next of those numbers, `{+1}` the next one plus 1, and a final `[k]` says that the tensor is the k-th part of ours,
//! stacked along the first dimension. An empty name leaves the tensor out: no inference needs it.

use std::collections::{BTreeMap, BTreeSet};

/// Key mapping of one library for one family of networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeyMapping {
    /// The library, in messages: `timm's`.
    pub library: &'static str,
    /// Beginnings of the architectures' names.
    pub family: &'static [&'static str],
    /// Pattern and name; the first pattern that fits counts.
    rules: &'static [(&'static str, &'static str)],
    /// Whether blocks are counted within rows, `blocks.ROW.REPEAT`, where ours are counted through.
    counted_in_rows: bool,
}

/// Every key mapping. The first is that of the networks themselves.
pub(super) const KEY_MAPPINGS: &[KeyMapping] = &[
    KeyMapping { library: "the architecture's own", family: &[""], rules: OWN, counted_in_rows: false },
    KeyMapping { library: "timm's", family: &["efficientnet-lite"], rules: TIMM_LITE, counted_in_rows: true },
    KeyMapping { library: "timm's", family: &["mobilenetv2"], rules: TIMM_MOBILENET, counted_in_rows: true },
    KeyMapping { library: "the flat", family: &["mobilenetv2"], rules: FLAT_MOBILENET, counted_in_rows: false },
    KeyMapping { library: "transformers'", family: &["resnet"], rules: TRANSFORMERS_RESNET, counted_in_rows: false },
    KeyMapping { library: "transformers'", family: VITS, rules: TRANSFORMERS_VIT, counted_in_rows: false },
    KeyMapping { library: "transformers'", family: VITS, rules: TRANSFORMERS_DINOV2, counted_in_rows: false },
];

/// Last segments of what training counts: batches that a norm has seen, steps that an average was taken of.
const COUNTERS: &[&str] = &["num_batches_tracked", "n_averaged"];

const VITS: &[&str] = &["deit", "vit", "dinov2"];

/// DINOv2's token for masked patches serves pre-training only. Its authors call the registers so.
const OWN: &[(&str, &str)] = &[("mask_token", ""), ("register_tokens", "reg_token")];

const TIMM_LITE: &[(&str, &str)] = &[
    ("conv_stem", "_conv_stem"),
    ("bn1", "_bn0"),
    ("blocks.0.conv_dw", "_blocks.0._depthwise_conv"),
    ("blocks.0.bn1", "_blocks.0._bn1"),
    ("blocks.0.conv_pw", "_blocks.0._project_conv"),
    ("blocks.0.bn2", "_blocks.0._bn2"),
    ("blocks.*.conv_pw", "_blocks.{}._expand_conv"),
    ("blocks.*.bn1", "_blocks.{}._bn0"),
    ("blocks.*.conv_dw", "_blocks.{}._depthwise_conv"),
    ("blocks.*.bn2", "_blocks.{}._bn1"),
    ("blocks.*.conv_pwl", "_blocks.{}._project_conv"),
    ("blocks.*.bn3", "_blocks.{}._bn2"),
    ("conv_head", "_conv_head"),
    ("bn2", "_bn1"),
    ("classifier", "_fc"),
];

const TIMM_MOBILENET: &[(&str, &str)] = &[
    ("conv_stem", "features.0.0"),
    ("bn1", "features.0.1"),
    ("blocks.0.conv_dw", "features.1.conv.0.0"),
    ("blocks.0.bn1", "features.1.conv.0.1"),
    ("blocks.0.conv_pw", "features.1.conv.1"),
    ("blocks.0.bn2", "features.1.conv.2"),
    ("blocks.*.conv_pw", "features.{+1}.conv.0.0"),
    ("blocks.*.bn1", "features.{+1}.conv.0.1"),
    ("blocks.*.conv_dw", "features.{+1}.conv.1.0"),
    ("blocks.*.bn2", "features.{+1}.conv.1.1"),
    ("blocks.*.conv_pwl", "features.{+1}.conv.2"),
    ("blocks.*.bn3", "features.{+1}.conv.3"),
    ("conv_head", "features.18.0"),
    ("bn2", "features.18.1"),
    ("classifier", "classifier.1"),
];

/// MobileNetV2's names of torchvision before it grouped a convolution with its norm: layers of a block are numbered
/// through.
const FLAT_MOBILENET: &[(&str, &str)] = &[
    ("features.1.conv.0", "features.1.conv.0.0"),
    ("features.1.conv.1", "features.1.conv.0.1"),
    ("features.1.conv.3", "features.1.conv.1"),
    ("features.1.conv.4", "features.1.conv.2"),
    ("features.*.conv.0", "features.{}.conv.0.0"),
    ("features.*.conv.1", "features.{}.conv.0.1"),
    ("features.*.conv.3", "features.{}.conv.1.0"),
    ("features.*.conv.4", "features.{}.conv.1.1"),
    ("features.*.conv.6", "features.{}.conv.2"),
    ("features.*.conv.7", "features.{}.conv.3"),
];

const TRANSFORMERS_RESNET: &[(&str, &str)] = &[
    ("embedder.embedder.convolution", "conv1"),
    ("embedder.embedder.normalization", "bn1"),
    ("encoder.stages.*.layers.*.layer.*.convolution", "layer{+1}.{}.conv{+1}"),
    ("encoder.stages.*.layers.*.layer.*.normalization", "layer{+1}.{}.bn{+1}"),
    ("encoder.stages.*.layers.*.shortcut.convolution", "layer{+1}.{}.downsample.0"),
    ("encoder.stages.*.layers.*.shortcut.normalization", "layer{+1}.{}.downsample.1"),
    ("classifier.1", "fc"),
];

const TRANSFORMERS_VIT: &[(&str, &str)] = &[
    ("embeddings.cls_token", "cls_token"),
    ("embeddings.distillation_token", "dist_token"),
    ("embeddings.position_embeddings", "pos_embed"),
    ("embeddings.patch_embeddings.projection", "patch_embed.proj"),
    ("embeddings.mask_token", ""),
    ("encoder.layer.*.layernorm_before", "blocks.{}.norm1"),
    ("encoder.layer.*.attention.attention.query", "blocks.{}.attn.qkv[0]"),
    ("encoder.layer.*.attention.attention.key", "blocks.{}.attn.qkv[1]"),
    ("encoder.layer.*.attention.attention.value", "blocks.{}.attn.qkv[2]"),
    ("encoder.layer.*.attention.output.dense", "blocks.{}.attn.proj"),
    ("encoder.layer.*.layernorm_after", "blocks.{}.norm2"),
    ("encoder.layer.*.intermediate.dense", "blocks.{}.mlp.fc1"),
    ("encoder.layer.*.output.dense", "blocks.{}.mlp.fc2"),
    ("layernorm", "norm"),
    ("pooler", ""),
    ("classifier", "head"),
    ("cls_classifier", "head"),
];

const TRANSFORMERS_DINOV2: &[(&str, &str)] = &[
    ("embeddings.cls_token", "cls_token"),
    ("embeddings.register_tokens", "reg_token"),
    ("embeddings.position_embeddings", "pos_embed"),
    ("embeddings.patch_embeddings.projection", "patch_embed.proj"),
    ("embeddings.mask_token", ""),
    ("encoder.layer.*.norm1", "blocks.{}.norm1"),
    ("encoder.layer.*.attention.attention.query", "blocks.{}.attn.qkv[0]"),
    ("encoder.layer.*.attention.attention.key", "blocks.{}.attn.qkv[1]"),
    ("encoder.layer.*.attention.attention.value", "blocks.{}.attn.qkv[2]"),
    ("encoder.layer.*.attention.output.dense", "blocks.{}.attn.proj"),
    ("encoder.layer.*.layer_scale1.lambda1", "blocks.{}.ls1.gamma"),
    ("encoder.layer.*.norm2", "blocks.{}.norm2"),
    ("encoder.layer.*.mlp", "blocks.{}.mlp"),
    ("encoder.layer.*.layer_scale2.lambda1", "blocks.{}.ls2.gamma"),
    ("layernorm", "norm"),
];

/// Segments that torch's wrappers put into names: compiled, recomputed and sharded modules.
const WRAPPERS: &[&str] = &["_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module"];

/// The most segments of a prefix.
const LONGEST_PREFIX: usize = 6;

/// Returns the candidate prefixes of the names, the shortest first: the empty one, and each run of leading segments
/// that more than half of the names have. A module of whatever name may hold the network; which prefix is one shows
/// when its names fit.
pub(super) fn prefixes<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Vec<String> {
    let count = names.clone().count();
    let mut prefixes = vec![String::new()];
    for _ in 0..LONGEST_PREFIX {
        let longest = prefixes.last().cloned().unwrap_or_default();
        let mut segments: BTreeMap<&str, usize> = BTreeMap::new();
        let inner = names.clone().filter_map(|name| name.strip_prefix(longest.as_str())?.split_once('.'));
        inner.for_each(|(segment, _)| *segments.entry(segment).or_default() += 1);
        match segments.into_iter().find(|(_, names)| 2 * names > count) {
            Some((segment, _)) => prefixes.push(format!("{longest}{segment}.")),
            None => break,
        }
    }
    prefixes
}

/// A name without the prefix and without the segments of [`WRAPPERS`], which are added to `removed`.
fn unwrapped(name: &str, prefix: &str, removed: &mut BTreeSet<&'static str>) -> String {
    let name = name.strip_prefix(prefix).unwrap_or(name);
    let mut is_kept = |segment: &&str| match WRAPPERS.iter().find(|wrapper| *wrapper == segment) {
        Some(wrapper) => {
            removed.insert(wrapper);
            false
        }
        None => true,
    };
    name.split('.').filter(&mut is_kept).collect::<Vec<_>>().join(".")
}

/// Translation of a checkpoint's names: where each tensor of ours is in it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Translation {
    /// Checkpoint's names of each tensor's parts, by our name, in the order in which they are stacked. A tensor that
    /// no rule knows keeps its name.
    pub tensors: BTreeMap<String, Vec<String>>,
    /// The checkpoint's names that inference doesn't need.
    pub left_out: Vec<String>,
    /// Segments of torch's wrappers that were taken out of the names behind the prefix.
    pub wrappers: BTreeSet<&'static str>,
}

impl KeyMapping {
    /// Translates a checkpoint's names, without that prefix; `None` if two of them are one tensor of ours.
    pub fn translate<'a>(&self, names: impl Iterator<Item = &'a str>, prefix: &str) -> Option<Translation> {
        let mut wrappers = BTreeSet::new();
        let names: Vec<(&str, String)> = names.map(|name| (name, unwrapped(name, prefix, &mut wrappers))).collect();
        let rows =
            if self.counted_in_rows { rows(names.iter().map(|(_, name)| name.as_str())) } else { BTreeMap::new() };
        let mut parts: BTreeMap<String, BTreeMap<usize, String>> = BTreeMap::new();
        let mut left_out = Vec::new();
        for (name, inner) in names {
            match self.rename(&counted_through(&inner, &rows)) {
                None => left_out.push(name.to_owned()),
                Some((ours, part)) => {
                    if parts.entry(ours).or_default().insert(part, name.to_owned()).is_some() {
                        return None;
                    }
                }
            }
        }
        left_out.sort();
        let tensors = parts.into_iter().map(|(ours, parts)| (ours, parts.into_values().collect())).collect();
        Some(Translation { tensors, left_out, wrappers })
    }

    /// Returns our name for one of theirs, and which part of that tensor it is; `None` if it is left out.
    fn rename(&self, name: &str) -> Option<(String, usize)> {
        if COUNTERS.iter().any(|counter| name.rsplit('.').next() == Some(counter)) {
            return None;
        }
        let segments: Vec<&str> = name.split('.').collect();
        let fitting = self.rules.iter().find_map(|(pattern, ours)| Some((fit(pattern, &segments)?, *ours)));
        match fitting {
            None => Some((name.to_owned(), 0)),
            Some((_, "")) => None,
            Some(((numbers, rest), ours)) => {
                let (ours, part) = match ours.strip_suffix(']').and_then(|ours| ours.rsplit_once('[')) {
                    Some((ours, part)) => (ours, part.parse().unwrap_or(0)),
                    None => (ours, 0),
                };
                let ours = [fill(ours, &numbers)].into_iter().chain(rest.iter().map(|&segment| segment.to_owned()));
                Some((ours.collect::<Vec<_>>().join("."), part))
            }
        }
    }
}

/// Matches a pattern: the numbers in place of its stars, and the segments that follow it.
fn fit<'n>(pattern: &str, segments: &'n [&'n str]) -> Option<(Vec<usize>, &'n [&'n str])> {
    let (mut numbers, mut rest) = (Vec::new(), segments);
    for expected in pattern.split('.') {
        let (found, after) = rest.split_first()?;
        match expected {
            "*" => numbers.push(found.parse().ok()?),
            _ if expected == *found => {}
            _ => return None,
        }
        rest = after;
    }
    Some((numbers, rest))
}

/// Fills the numbers into our name.
fn fill(template: &str, numbers: &[usize]) -> String {
    let (mut name, mut numbers) = (String::new(), numbers.iter());
    for (index, piece) in template.split('{').enumerate() {
        match piece.split_once('}').filter(|_| index > 0) {
            Some((plus, rest)) => {
                let number = numbers.next().copied().unwrap_or_default();
                name += &format!("{}{rest}", number.saturating_add(usize::from(plus == "+1")));
            }
            None => name += piece,
        }
    }
    name
}

/// Counts the blocks before each row.
fn rows<'a>(names: impl Iterator<Item = &'a str>) -> BTreeMap<usize, usize> {
    let mut lengths: BTreeMap<usize, usize> = BTreeMap::new();
    for (row, repeat) in names.filter_map(row_and_repeat) {
        let length = lengths.entry(row).or_default();
        *length = (*length).max(repeat.saturating_add(1));
    }
    let before = |total: &mut usize, (row, length): (usize, usize)| {
        let before = *total;
        *total = total.saturating_add(length);
        Some((row, before))
    };
    lengths.into_iter().scan(0, before).collect()
}

fn row_and_repeat(name: &str) -> Option<(usize, usize)> {
    let (row, rest) = name.strip_prefix("blocks.")?.split_once('.')?;
    Some((row.parse().ok()?, rest.split_once('.')?.0.parse().ok()?))
}

/// Renames `blocks.ROW.REPEAT.…` to `blocks.INDEX.…`.
fn counted_through(name: &str, rows: &BTreeMap<usize, usize>) -> String {
    let Some((row, repeat)) = row_and_repeat(name) else { return name.to_owned() };
    match (rows.get(&row), name.splitn(4, '.').nth(3)) {
        (Some(before), Some(rest)) => format!("blocks.{}.{rest}", before.saturating_add(repeat)),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours(library: &str, family: &str, names: &[&str]) -> Vec<(String, Vec<String>)> {
        let fits = |mapping: &&KeyMapping| mapping.library == library && mapping.family.contains(&family);
        let mut found =
            KEY_MAPPINGS.iter().filter(fits).filter_map(|mapping| mapping.translate(names.iter().copied(), ""));
        found.next_back().map(|translation| translation.tensors.into_iter().collect()).unwrap_or_default()
    }

    /// Catches: a block counted from another end, a number that goes to another place, a part of qkv in another order.
    #[test]
    fn names_become_ours() {
        let single = |theirs: &str, ours: &str| vec![(ours.to_owned(), vec![theirs.to_owned()])];
        let resnet = "encoder.stages.2.layers.5.layer.1.normalization.running_var";
        assert_eq!(ours("transformers'", "resnet", &[resnet]), single(resnet, "layer3.5.bn2.running_var"));
        let flat = "features.7.conv.6.weight";
        assert_eq!(ours("the flat", "mobilenetv2", &[flat]), single(flat, "features.7.conv.2.weight"));
        let qkv = ["key", "value", "query"].map(|part| format!("encoder.layer.3.attention.attention.{part}.bias"));
        let stacked = ours("transformers'", "vit", &qkv.each_ref().map(String::as_str));
        let [key, value, query] = qkv;
        assert_eq!(stacked, [("blocks.3.attn.qkv.bias".to_owned(), vec![query, key, value])]);
    }

    /// Catches: rows that are counted by the names' order instead of their numbers: row 10 stands before row 2.
    #[test]
    fn blocks_are_counted_through() {
        let names = ["blocks.2.0.conv_dw.weight", "blocks.10.0.conv_dw.weight", "blocks.0.1.conv_dw.weight"];
        let found = ours("timm's", "mobilenetv2", &names);
        let indices: Vec<&str> = found.iter().map(|(ours, _)| ours.split('.').nth(1).unwrap_or_default()).collect();
        assert_eq!(indices, ["2", "3", "4"], "{found:?}");
    }

    /// Catches: a wrapper that is not on any list, a prefix that half of the names have, one that is taken off once of
    /// twice.
    #[test]
    fn prefixes_are_what_most_names_have() {
        let found = |names: &[&str]| prefixes(names.iter().copied());
        assert_eq!(found(&["a.b.conv1.weight", "a.b.bn1.bias"]), ["", "a.", "a.b."]);
        assert_eq!(found(&["vit.a.x", "vit.b.x", "classifier.weight"]), ["", "vit."]);
        assert_eq!(found(&["model.a", "b"]), [""]);
        assert_eq!(found(&[]), [""]);
    }

    /// Catches: a module that was compiled inside a network whose names keep `_orig_mod`.
    #[test]
    fn wrappers_are_taken_out_wherever_they_are() {
        let names = ["net._orig_mod.blocks.0._checkpoint_wrapped_module.attn.proj.bias"];
        let translation = KEY_MAPPINGS[0].translate(names.into_iter(), "net.").unwrap();
        assert_eq!(translation.tensors.keys().collect::<Vec<_>>(), ["blocks.0.attn.proj.bias"]);
        assert_eq!(translation.wrappers.into_iter().collect::<Vec<_>>(), ["_checkpoint_wrapped_module", "_orig_mod"]);
    }
}
