//! Arguments of `adapt` and `compare`: the run's data, method and training options.

use super::parse::{
    at_least_one, augmentations, branch_averages, branch_count, byte_count, class_weights, codings, head_modes,
    methods, positive, seeds, setting, sharings, side, start_points, target,
};
use super::run::{BaseArgs, DeviceArgs, ShiftArgs};
use super::store::KeepArgs;
use clap::Args;
use fieldfit::data::Augmentation;
use fieldfit::target::TargetProfile;
use fieldfit::train::{BranchAverage, ClassWeights, Coding, HeadMode, Options, Sharing, StartPoint};
use std::ops::Range;
use std::path::PathBuf;

/// Arguments of `fieldfit adapt`.
#[derive(Debug, Args)]
pub struct AdaptArgs {
    #[command(flatten)]
    pub base: BaseArgs,
    /// Read labelled images from this folder: one per class, `train` and `val` folders of such, or a collection
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Start at the base, or at the active version: then its classes stay, and those of the images are added
    #[arg(long, value_name = "WHAT", default_value = "base", value_parser = start_points())]
    pub start: StartPoint,
    /// Learn from the images of an earlier day, too, in this folder or collection [repeatable]
    #[arg(long, value_name = "DIR")]
    pub replay: Vec<PathBuf>,
    /// Replay no more than this of each folder, e.g. 20MiB; class after class in turn [default: all of it]
    #[arg(long, value_name = "SIZE", requires = "replay", value_parser = byte_count)]
    pub replay_bytes: Option<u64>,
    /// Store the new version in this folder; created if missing
    #[arg(long, value_name = "DIR")]
    pub store: PathBuf,
    #[command(flatten)]
    pub keep: KeepArgs,
    /// Select the adaptation method
    #[arg(long, value_name = "NAME", default_value_t = Options::default().method, value_parser = methods())]
    pub method: String,
    /// Set a method hyper-parameter, e.g. strength=0.1; listed by --method [repeatable]
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = setting)]
    pub settings: Vec<(String, f64)>,
    #[command(flatten)]
    pub training: TrainingArgs,
    /// Set the seed of all random choices
    #[arg(long, value_name = "N", default_value_t = Options::default().seed)]
    pub seed: u64,
    /// Write an HTML report of the run to this file
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Log losses, accuracies and radii to this folder for TensorBoard; created if missing
    #[arg(long, value_name = "DIR")]
    pub tensorboard: Option<PathBuf>,
    /// Sign the delta with the secret key in this file
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Resume from the checkpoint that an interrupted run left in the store
    #[arg(long)]
    pub resume: bool,
    /// Record what tells unknown images, at this share of false alarms on the validation images, e.g. 0.05
    #[arg(long, value_name = "RATE")]
    pub novelty: Option<f64>,
    /// Accept a new version that lacks classes of the active or last confirmed one
    #[arg(long)]
    pub allow_fewer_classes: bool,
}

/// Arguments of `fieldfit compare`.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// Read the base model from this folder
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// Adapt to the labelled images in this folder: one folder per class, or `train` and `val` folders of such
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Name the data set in reports [default: the folder's name]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    #[command(flatten)]
    pub shift: ShiftArgs,
    /// Measure the base's own task, too, on this folder of images in folders named by the base's labels
    #[arg(long, value_name = "DIR")]
    pub base_task: Option<PathBuf>,
    /// Measure, too, how often the base agrees with itself on a shift's images mirrored, shifted and recompressed
    #[arg(long)]
    pub base_steadiness: bool,
    /// Compare these methods, with hyper-parameters: lp-ft,wise-ft:alpha=0.5 [default: all]
    #[arg(long, value_name = "NAME[:SETTING=VALUE]…", value_delimiter = ',', value_parser = method_spec)]
    pub methods: Vec<MethodSpec>,
    /// Run each method with this many seeds, 0, 1, …, or with those of a range, the last one not included
    #[arg(long, value_name = "N|FROM..TO", default_value = "3", value_parser = seeds)]
    pub seeds: Range<u32>,
    /// Append each finished run to this file as a JSON line, and skip runs already in it
    #[arg(long, value_name = "FILE")]
    pub jsonl: Option<PathBuf>,
    /// Write an HTML report of the comparison to this file
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    pub training: TrainingArgs,
}

/// Method with hyper-parameters, parsed from `name:setting=value`.
#[derive(Debug, Clone, PartialEq)]
pub struct MethodSpec {
    /// Its name.
    pub name: String,
    /// Hyper-parameters that differ from their defaults.
    pub settings: Vec<(String, f64)>,
}

/// Training options common to all methods.
#[derive(Debug, Args)]
pub struct TrainingArgs {
    #[command(flatten)]
    pub device: DeviceArgs,
    /// Train for this many passes over the training images
    #[arg(long, value_name = "N", value_parser = at_least_one(), default_value_t = Options::default().epochs)]
    pub epochs: u32,
    /// Set the side of the input images in pixels [default: the base's]
    #[arg(long, value_name = "PX", value_parser = side())]
    pub size: Option<u32>,
    /// Set the batch size: images per training step
    #[arg(long, value_name = "N", value_parser = at_least_one(), default_value_t = Options::default().batch as u32)]
    pub batch: u32,
    /// Set the micro-batch: images computed at once; equal up to rounding [default: 4, or fewer within the budget]
    #[arg(long, value_name = "N", value_parser = at_least_one())]
    pub micro_batch: Option<u32>,
    /// Limit the peak memory, e.g. 512MiB; a run that needs more is refused before it starts
    #[arg(long, value_name = "SIZE", value_parser = byte_count)]
    pub memory_budget: Option<u64>,
    /// Take memory, threads and niceness from a target profile, by name or path; other flags override it
    #[arg(long, value_name = "TARGET", value_parser = target)]
    pub target_profile: Option<TargetProfile>,
    /// Lower the priority of the run's threads, as `nice -n` (Linux) [default: 0, or the target's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=19))]
    pub nice: Option<u8>,
    /// Set the peak learning rate
    #[arg(long, value_name = "X", value_parser = positive, default_value_t = Options::default().optimiser.learning_rate())]
    pub lr: f64,
    /// Weight the classes in the loss: uniform, or balanced by frequency
    #[arg(long, value_name = "NAME", default_value = "uniform", value_parser = class_weights())]
    pub class_weights: ClassWeights,
    /// Learn a new head, or keep and adapt the base's: then folders are named by its labels
    #[arg(long, value_name = "MODE", default_value = "replace", value_parser = head_modes())]
    pub head: HeadMode,
    /// Stop training after N epochs without a higher validation accuracy [default: train for all epochs]
    #[arg(long, value_name = "N", value_parser = at_least_one())]
    pub early_stop: Option<u32>,
    /// Train N times from one start, in turn, and take the mean: N times as long, and the memory of their sum
    #[arg(long, value_name = "N", value_parser = branch_count(), default_value_t = 1)]
    pub branches: u32,
    /// Train the first N epochs once for all branches
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub common_epochs: u32,
    /// Keep all of the branches' mean, or of each stage the share that they agree on
    #[arg(long, value_name = "NAME", default_value_t = BranchAverage::Mean, value_parser = branch_averages())]
    pub branch_average: BranchAverage,
    /// Flip images that are labelled with values, and negate these targets then; `none` negates none [default: no flips]
    #[arg(long, value_name = "TARGETS", value_delimiter = ',')]
    pub flip_negates: Option<Vec<String>>,
    /// Select the augmentation of training images
    #[arg(long, value_name = "NAME", default_value_t = Options::default().augmentation, value_parser = augmentations())]
    pub augment: Augmentation,
    /// Keep images together whose file names match this regular expression with equal first group
    #[arg(long, value_name = "PATTERN")]
    pub group: Option<String>,
    /// Retain the base's predictions on these unlabelled images; never use evaluation images [default: validation images]
    #[arg(long, value_name = "DIR")]
    pub retain: Option<PathBuf>,
    /// Exclude tensors of this name (`*`: any text) from radii, penalty and decay [repeatable]
    #[arg(long, value_name = "PATTERN")]
    pub exclude: Vec<String>,
    /// Freeze the stages up to this one (stem, block0, …); their activations are computed once
    #[arg(long, value_name = "STAGE")]
    pub freeze: Option<String>,
    /// Cache this many augmented views per image behind frozen stages [default: 2]
    #[arg(long, value_name = "N", requires = "freeze", value_parser = at_least_one())]
    pub views: Option<u32>,
    /// Select which tensors share one relative radius
    #[arg(long, value_name = "WHAT", default_value = Options::default().tpgm.sharing.name(), value_parser = sharings())]
    pub radii_per: Sharing,
    /// Select the delta's codec; auto: the smallest file that changes at most 1 % of the validation answers
    #[arg(long, value_name = "CODEC", default_value = "auto", value_parser = codings())]
    pub codec: Coding,
}

/// Parses `name`, or `name:setting=value:setting=value`.
fn method_spec(text: &str) -> Result<MethodSpec, String> {
    let mut parts = text.split(':');
    let name = parts.next().unwrap_or_default().to_owned();
    if !fieldfit::train::METHODS.iter().any(|method| method.name == name) {
        let known: Vec<_> = fieldfit::train::METHODS.iter().map(|method| method.name).collect();
        return Err(format!("expected one of {}", known.join(", ")));
    }
    Ok(MethodSpec { name, settings: parts.map(setting).collect::<Result<_, _>>()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a method whose settings are lost, or one that does not exist.
    #[test]
    fn a_method_comes_with_its_settings() {
        let settings = vec![("alpha".to_owned(), 0.5)];
        assert_eq!(method_spec("wise-ft:alpha=0.5"), Ok(MethodSpec { name: "wise-ft".into(), settings }));
        assert_eq!(method_spec("lp-ft"), Ok(MethodSpec { name: "lp-ft".into(), settings: Vec::new() }));
        for text in ["", "lpft", "wise-ft:", "wise-ft:alpha"] {
            assert!(method_spec(text).is_err(), "{text}");
        }
    }
}
