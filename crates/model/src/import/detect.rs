//! Architecture detection: which network a checkpoint holds, under which names and behind which prefix.

use super::key_mapping::{KEY_MAPPINGS, KeyMapping, Translation, prefixes};
use super::preprocessing::published_preprocessing;
use super::twin_networks::twin_networks;
use crate::architectures::{DESCRIBED, DescribedArchitecture, described_architectures};
use crate::check::{self, Mismatch, Shapes};
use crate::description::{DescriptionError, NetworkDescription, SourceLayout};
use crate::error::ModelError;
use fieldfit_nets::{ARCHITECTURES, Network, TEST_ARCHITECTURES, by_name};
use fieldfit_tensor::Preprocessing;
use std::collections::HashMap;
use std::path::Path;

/// Mismatches that a message lists.
const LISTED: usize = 3;

/// Detected architecture of a checkpoint, and on what grounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detected {
    /// The architecture's name.
    pub architecture: &'static str,
    /// The naming that the checkpoint has: `the architecture's own`, `timm's`, `transformers'`, …
    pub naming: &'static str,
    /// Prefix that was removed from the names.
    pub prefix: String,
    /// Segments of torch's wrappers that were removed from the names behind the prefix: `_orig_mod`, …
    pub wrappers: Vec<&'static str>,
    /// The module that is the head, where it has another name than the architecture's: `head.1`, `fc.fc`, …
    pub head: Option<String>,
    /// Tensors that fit by name and shape: all that the network has.
    pub tensors: usize,
    /// Nearest other architecture, and the number of tensors that differ; `None` where the architecture was
    /// named. Never a network that is there for tests alone.
    pub runner_up: Option<(&'static str, usize)>,
}

/// Candidate: a network, and where its tensors are in a checkpoint.
#[derive(Debug)]
pub(super) struct Fit {
    /// Network, under the head that the checkpoint has.
    pub network: Network,
    pub translation: Translation,
    candidate: Candidate,
    /// The library whose names the checkpoint has.
    naming: &'static str,
    prefix: String,
    head: Option<String>,
    mismatches: Vec<Mismatch>,
}

/// Architecture that a checkpoint is compared with.
#[derive(Debug, Clone, Copy)]
enum Candidate {
    /// One of [`ARCHITECTURES`].
    BuiltIn(&'static str),
    Described(&'static DescribedArchitecture),
}

impl Candidate {
    /// Returns those of a name, or all.
    fn all(requested: Option<&str>) -> Result<Vec<Self>, ModelError> {
        let candidates =
            ARCHITECTURES.iter().map(|name| Self::BuiltIn(name)).chain(DESCRIBED.iter().map(Self::Described));
        let candidates: Vec<Self> =
            candidates.filter(|candidate| requested.is_none_or(|name| name == candidate.name())).collect();
        match requested {
            Some(name) if candidates.is_empty() => Err(ModelError::UnknownArchitecture {
                name: name.to_owned(),
                known: ARCHITECTURES.iter().copied().chain(described_architectures()).collect(),
            }),
            _ => Ok(candidates),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::BuiltIn(name) => name,
            Self::Described(described) => described.name,
        }
    }

    /// Returns the network with the head of its published checkpoint, and its tensors in the shapes that a checkpoint has.
    fn network(self) -> Option<Network> {
        match self {
            Self::BuiltIn(name) => by_name(name).ok(),
            Self::Described(described) => Some(described.network_in_file()),
        }
    }
}

impl Fit {
    fn new(
        (candidate, published): (Candidate, &Network),
        mapping: &'static KeyMapping,
        prefix: &str,
        found: &Shapes<'_>,
    ) -> Option<Self> {
        let mut translation = mapping.translate(found.keys().copied(), prefix)?;
        let head = take_head(&mut translation, published, found);
        let shapes: HashMap<&str, Vec<usize>> = translation
            .tensors
            .iter()
            .map(|(name, parts)| (name.as_str(), stacked(parts.iter().map(|part| found[part.as_str()]))))
            .collect();
        let shapes: Shapes<'_> = shapes.iter().map(|(name, shape)| (*name, shape.as_slice())).collect();
        let network = under_the_head_of(published, &shapes);
        let mismatches = check::mismatches(&network, &shapes).collect();
        let (naming, network) = match candidate {
            Candidate::BuiltIn(_) => (mapping.library, network),
            Candidate::Described(described) => {
                (described.library, described.description().network().with_classes(network.head.classes))
            }
        };
        Some(Self { network, translation, candidate, naming, prefix: prefix.to_owned(), head, mismatches })
    }

    /// Returns the preprocessing under which the published checkpoint was evaluated.
    pub fn published_preprocessing(&self) -> Preprocessing {
        match self.candidate {
            Candidate::BuiltIn(name) => published_preprocessing(name),
            Candidate::Described(described) => described.preprocessing(),
        }
    }

    /// Returns the description of the network under the checkpoint's head, as JSON; `None` of a built-in architecture.
    pub fn description(&self) -> Result<Option<Vec<u8>>, DescriptionError> {
        let Candidate::Described(described) = self.candidate else { return Ok(None) };
        let published = described.description();
        let layouts = self.network.tensors.iter().zip(&published.tensors).map(|(spec, tensor)| {
            let of_head = SourceLayout { shape: spec.shape.clone(), turned: false };
            (!spec.is_empty()).then(|| tensor.source.clone().filter(|_| !spec.role.is_head()).unwrap_or(of_head))
        });
        NetworkDescription::new(&self.network, published.size, layouts.collect())?.to_json().map(Some)
    }

    fn is_for_tests(&self) -> bool {
        TEST_ARCHITECTURES.contains(&self.candidate.name())
    }
}

/// First segments of a classifier's name.
const HEADS: &[&str] = &["_fc", "classifier", "cls_head", "fc", "head", "heads", "last_linear", "linear"];

/// Takes the only classifier of the right width for the head, where there is none under the architecture's name: `head.1`
/// of a `Sequential`, `head.fc`, `fc` beside a network that calls it `classifier`. Returns the module that it is.
fn take_head(translation: &mut Translation, network: &Network, found: &Shapes<'_>) -> Option<String> {
    let [weight, bias] = [network.head.weight, network.head.bias].map(|id| network.tensor(id).name.clone());
    if translation.tensors.contains_key(&weight) || translation.tensors.contains_key(&bias) {
        return None;
    }
    let shape = |name: &String| match translation.tensors.get(name).map(Vec::as_slice) {
        Some([part]) => found.get(part.as_str()).copied(),
        _ => None,
    };
    let is_head = |module: &&str| {
        let is_called_so = module.split('.').next().is_some_and(|first| HEADS.contains(&first));
        is_called_so
            && match (shape(&format!("{module}.weight")), shape(&format!("{module}.bias"))) {
                (Some(&[rows, features]), Some(&[biases])) => rows == biases && features == network.head.features,
                _ => false,
            }
    };
    let mut modules = translation.tensors.keys().filter_map(|name| name.strip_suffix(".weight")).filter(is_head);
    let module = modules.next().filter(|_| modules.next().is_none())?.to_owned();
    for (ours, last) in [(weight, "weight"), (bias, "bias")] {
        let parts = translation.tensors.remove(&format!("{module}.{last}"))?;
        translation.tensors.insert(ours, parts);
    }
    Some(module)
}

/// Returns the shape of tensors stacked along their first dimension.
fn stacked<'a>(mut parts: impl Iterator<Item = &'a [usize]>) -> Vec<usize> {
    let mut shape = parts.next().map(<[usize]>::to_vec).unwrap_or_default();
    for part in parts {
        match (shape.split_first_mut(), part.split_first()) {
            (Some((rows, inner)), Some((more, same))) if inner == same => *rows = rows.saturating_add(*more),
            _ => return part.to_vec(),
        }
    }
    shape
}

/// Gives a network as many classes as the checkpoint's head has; none if it has no head.
fn under_the_head_of(published: &Network, shapes: &Shapes<'_>) -> Network {
    let [weight, bias] = [published.head.weight, published.head.bias].map(|id| published.tensor(id).name.as_str());
    match (shapes.get(weight), shapes.get(bias)) {
        (Some(&&[classes, features]), _) if features == published.head.features => published.with_classes(classes),
        (None, None) => published.with_classes(0),
        _ => published.clone(),
    }
}

/// Detects the network that a checkpoint with these tensors holds: that of the requested architecture, or of the only one that
/// fits. `hint`, what else is known of the network's name, decides between architectures of the same tensors.
pub(super) fn detect(
    found: &Shapes<'_>,
    requested: Option<&str>,
    hint: Option<&str>,
    path: &Path,
) -> Result<(Fit, Detected), ModelError> {
    let candidates = Candidate::all(requested)?;
    let prefixes = prefixes(found.keys().copied());
    let nearest = |&candidate: &Candidate| {
        let published = &candidate.network()?;
        let fits = key_mappings(candidate).flat_map(|mapping| prefixes.iter().map(move |prefix| (mapping, prefix)));
        let fits = fits.filter_map(|(mapping, prefix)| Fit::new((candidate, published), mapping, prefix, found));
        fits.min_by_key(|fit| (fit.mismatches.len(), fit.translation.wrappers.len(), fit.prefix.len()))
    };
    let mut fits: Vec<Fit> = candidates.iter().filter_map(nearest).collect();
    fits.sort_by_key(|fit| fit.mismatches.len());
    let perfect = fits.iter().take_while(|fit| fit.mismatches.is_empty()).count();
    let chosen = match perfect {
        0 => return Err(nothing_fits(fits, found, requested, path)),
        1 => 0,
        _ => hinted(&fits[..perfect], hint).ok_or_else(|| ModelError::Ambiguous {
            path: path.to_owned(),
            architectures: fits[..perfect].iter().map(|fit| fit.candidate.name()).collect(),
        })?,
    };
    let fit = fits.swap_remove(chosen);
    let runner_up = fits.iter().filter(|fit| !fit.is_for_tests()).min_by_key(|fit| fit.mismatches.len());
    let detected = Detected {
        architecture: fit.candidate.name(),
        naming: fit.naming,
        prefix: fit.prefix.clone(),
        wrappers: fit.translation.wrappers.iter().copied().collect(),
        head: fit.head.clone(),
        tensors: fit.translation.tensors.len(),
        runner_up: runner_up.map(|fit| (fit.candidate.name(), fit.mismatches.len())),
    };
    Ok((fit, detected))
}

/// Returns the key mappings of a candidate: of a described one that of the architecture's own names, which are a library's.
fn key_mappings(candidate: Candidate) -> impl Iterator<Item = &'static KeyMapping> {
    let fits = move |family: &&str| match candidate {
        Candidate::BuiltIn(name) => name.starts_with(family),
        Candidate::Described(_) => family.is_empty(),
    };
    KEY_MAPPINGS.iter().filter(move |mapping| mapping.family.iter().any(fits))
}

/// Returns the candidate whose family the hint begins with: `deit_small_patch16_224` is of `deit-small`'s.
fn hinted(fits: &[Fit], hint: Option<&str>) -> Option<usize> {
    let hint = hint?;
    let is_hinted = |fit: &Fit| fit.candidate.name().split('-').next().is_some_and(|family| hint.starts_with(family));
    fits.iter().position(is_hinted)
}

/// Returns the error of a checkpoint that fits no candidate: the first mismatch with what was requested, or the nearest.
fn nothing_fits(fits: Vec<Fit>, found: &Shapes<'_>, requested: Option<&str>, path: &Path) -> ModelError {
    if let Some([one, other]) = twin_networks(found) {
        return ModelError::TwoNetworks { path: path.to_owned(), one: one.to_owned(), other: other.to_owned() };
    }
    let mut fits = fits.into_iter().filter(|fit| requested.is_some() || !fit.is_for_tests());
    let Some(Fit { candidate, mut mismatches, .. }) = fits.next() else {
        return ModelError::NoTensors { path: path.to_owned() };
    };
    if requested.is_some() {
        return mismatches.swap_remove(0).error(path, candidate.name());
    }
    let differing = mismatches.len();
    let advice = if mismatches.iter().all(|mismatch| matches!(mismatch, Mismatch::Extra { .. })) {
        "leave them out with `--drop NAME`"
    } else {
        "see `fieldfit import --help` for the architectures that there are"
    };
    mismatches.truncate(LISTED);
    let first = mismatches.iter().map(Mismatch::to_string).collect();
    ModelError::Unrecognised { path: path.to_owned(), nearest: candidate.name(), differing, first, advice }
}
