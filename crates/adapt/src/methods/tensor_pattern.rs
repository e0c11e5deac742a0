//! Tensor patterns: which tensors a method holds near the base, by glob patterns over their names.

use crate::error::AdaptError;
use crate::options::{HeadMode, Options};
use fieldfit_nets::{Network, Role};
use fieldfit_tensor::TensorId;
use globset::Glob;

/// Selects the tensors that a method holds near the base, by [`TensorId::index`]: all that can train, but for a
/// new head, which has no origin, and those whose names match any of the patterns that the options exclude.
///
/// # Errors
/// If a pattern can't be read, or matches no trainable tensor: it would silently exclude nothing. If there is no such stage
/// as is to be frozen.
pub(crate) fn held(options: &Options, network: &Network) -> Result<Vec<bool>, AdaptError> {
    let mut held = constrained(options, network)?;
    match options.head {
        HeadMode::Keep => {}
        HeadMode::Replace => {
            held[network.head.weight.index()] = false;
            held[network.head.bias.index()] = false;
        }
    }
    Ok(held)
}

/// Selects as [`held`] does, and the head: for methods that hold it near the linear probe, where it starts.
///
/// # Errors
/// As [`held`].
pub(crate) fn constrained(options: &Options, network: &Network) -> Result<Vec<bool>, AdaptError> {
    let free = matching(network, &options.tpgm.exclude)?;
    let (stages, frozen) = (network.section_of_each_tensor(), options.frozen_stages(network)?);
    let can_train = |id: TensorId, role: Role| role.is_trainable() && stages[id.index()] >= frozen;
    Ok(network.tensors().map(|(id, spec)| can_train(id, spec.role) && !free.contains(&id)).collect())
}

/// The trainable tensors whose names match any of the glob patterns.
fn matching(network: &Network, patterns: &[String]) -> Result<Vec<TensorId>, AdaptError> {
    let mut found = Vec::new();
    for pattern in patterns {
        let before = found.len();
        found.extend(matching_one(network, pattern)?);
        if found.len() == before {
            let example = network.tensors.first().map(|spec| spec.name.clone()).unwrap_or_default();
            return Err(AdaptError::PatternMatchesNothing { pattern: pattern.clone(), example });
        }
    }
    Ok(found)
}

fn matching_one(network: &Network, pattern: &str) -> Result<impl Iterator<Item = TensorId>, AdaptError> {
    let unreadable =
        |error: globset::Error| AdaptError::Pattern { pattern: pattern.to_owned(), reason: error.kind().to_string() };
    let matcher = Glob::new(pattern).map_err(unreadable)?.compile_matcher();
    let trainable = network.tensors().filter(|(_, spec)| spec.role.is_trainable());
    Ok(trainable.filter(move |(_, spec)| matcher.is_match(&spec.name)).map(|(id, _)| id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fieldfit_nets::by_name;

    fn names(patterns: &[&str]) -> Result<Vec<String>, AdaptError> {
        let network = by_name("efficientnet-tiny").unwrap();
        let patterns: Vec<_> = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
        Ok(matching(&network, &patterns)?.into_iter().map(|id| network.tensor(id).name.clone()).collect())
    }

    /// Catches: a pattern that also takes what can't be trained, or misses what it names.
    #[test]
    fn a_pattern_names_trainable_tensors() {
        assert_eq!(names(&["_bn0.*"]).unwrap(), ["_bn0.weight", "_bn0.bias"]);
        assert_eq!(names(&["_conv_stem.weight", "_fc.bias"]).unwrap(), ["_conv_stem.weight", "_fc.bias"]);
    }

    /// Catches: the authors' own slip: `head.*` where the names were `module.head.*` tied a random head to its random start.
    #[test]
    fn a_pattern_that_matches_nothing_is_refused_by_name() {
        for pattern in ["head.*", "*.running_mean"] {
            let error = names(&["_bn0.*", pattern]).unwrap_err();
            assert!(matches!(&error, AdaptError::PatternMatchesNothing { pattern: found, .. } if found == pattern));
            assert!(error.to_string().contains("_conv_stem.weight"));
        }
    }

    /// Catches: a bracket that is never closed and passes for a literal.
    #[test]
    fn a_pattern_that_is_no_glob_is_refused() {
        assert!(matches!(names(&["_bn[0"]), Err(AdaptError::Pattern { .. })));
    }
}
