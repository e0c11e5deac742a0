//! Twin networks: two networks of the same tensors side by side in one state dict, such as weights and their moving average.

use super::key_mapping::prefixes;
use crate::check::Shapes;
use std::collections::{BTreeMap, BTreeSet};

/// Fewest tensors that two networks have in common.
const FEWEST: usize = 8;
/// Share of the smaller network's tensors that the other one has, too.
const COMMON: f64 = 0.9;

/// Names behind a prefix, without dots, which some averages leave out; and shapes.
type Tensors<'a> = BTreeSet<(String, &'a [usize])>;

/// Returns the first segments of the names of two networks with the same tensors: a student and its teacher, `model.` and
/// `ema_model.`.
pub(super) fn twin_networks<'a>(found: &Shapes<'a>) -> Option<[&'a str; 2]> {
    let mut modules: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for name in found.keys() {
        if let Some((module, _)) = name.split_once('.') {
            modules.entry(module).or_default().push(name);
        }
    }
    modules.retain(|_, names| names.len() >= FEWEST);
    let networks: Vec<(&str, Vec<Tensors<'_>>)> =
        modules.into_iter().map(|(module, names)| (module, behind_prefixes(&names, found))).collect();
    let mut pairs = networks.iter().enumerate().flat_map(|(index, one)| {
        let others = &networks[index + 1..];
        others.iter().map(move |other| (one, other))
    });
    let are_twins = |one: &[Tensors<'_>], other: &[Tensors<'_>]| {
        one.iter().any(|one| other.iter().any(|other| is_same(one, other)))
    };
    pairs.find(|((_, one), (_, other))| are_twins(one, other)).map(|((one, _), (other, _))| [*one, *other])
}

/// The tensors of a module, behind each prefix that most of its names have.
fn behind_prefixes<'a>(names: &[&str], found: &Shapes<'a>) -> Vec<Tensors<'a>> {
    let behind = |prefix: String| {
        let inner = |name: &&str| Some((name.strip_prefix(prefix.as_str())?.replace('.', ""), found[name]));
        names.iter().filter_map(inner).collect()
    };
    prefixes(names.iter().copied()).into_iter().skip(1).map(behind).collect()
}

fn is_same(one: &Tensors<'_>, other: &Tensors<'_>) -> bool {
    let common = one.intersection(other).count();
    common >= FEWEST && common as f64 >= COMMON * one.len().min(other.len()) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn twins(names: &[String]) -> Option<[String; 2]> {
        let width = |name: &String| vec![name.len() - name.find('.').unwrap_or_default(), 3];
        let shapes: Vec<(String, Vec<usize>)> = names.iter().map(|name| (name.clone(), width(name))).collect();
        let found: Shapes<'_> = shapes.iter().map(|(name, shape)| (name.as_str(), shape.as_slice())).collect();
        twin_networks(&found).map(|twins| twins.map(str::to_owned))
    }

    /// Catches: a network whose layers are taken for two networks, and twins that are not seen.
    #[test]
    fn twins_have_the_same_tensors() {
        let layers = |prefix: &str| (0..12).map(|layer| format!("{prefix}blocks.{layer}.weight")).collect::<Vec<_>>();
        assert_eq!(twins(&layers("")), None);
        assert_eq!(
            twins(&[layers("student."), layers("teacher.")].concat()),
            Some(["student", "teacher"].map(str::to_owned))
        );
        let resnet = |layer: &str| {
            (0..12).map(|block| format!("{layer}.{block}.conv{}", "x".repeat(layer.len()))).collect::<Vec<_>>()
        };
        assert_eq!(twins(&[resnet("layer1"), resnet("layer20")].concat()), None);
    }
}
