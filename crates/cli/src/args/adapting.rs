//! Adapting a model, by one method or by several.

use super::running::{BaseArgs, DeviceArgs, ShiftArgs};
use super::stores::KeepArgs;
use super::values::{
    at_least_one, augmentations, board, byte_count, codings, methods, positive, setting, sharings, side,
};
use clap::Args;
use fieldfit::data::Augmentation;
use fieldfit::target::TargetProfile;
use fieldfit::train::{Coding, Options, Sharing};
use std::path::PathBuf;

/// `fieldfit adapt`.
#[derive(Debug, Args)]
pub struct AdaptArgs {
    #[command(flatten)]
    pub base: BaseArgs,
    /// Images in one folder a class; of `train`, `val` and `test` folders, `train` and `val` are used
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Where the versions are kept; made if it isn't there
    #[arg(long, value_name = "DIR")]
    pub store: PathBuf,
    #[command(flatten)]
    pub keep: KeepArgs,
    /// How to learn
    #[arg(long, value_name = "NAME", default_value_t = Options::default().method, value_parser = methods())]
    pub method: String,
    /// Give the method a number to go by, such as strength=0.1; may be given again (see --method for what each has)
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = setting)]
    pub settings: Vec<(String, f64)>,
    #[command(flatten)]
    pub training: TrainingArgs,
    /// What every random choice follows from
    #[arg(long, value_name = "N", default_value_t = Options::default().seed)]
    pub seed: u64,
    /// Write an HTML page of the run to that file
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Sign the delta by the secret key in that file
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Go on from the checkpoint that an interrupted run left in the store
    #[arg(long)]
    pub resume: bool,
    /// Print one JSON object an event
    #[arg(long)]
    pub json: bool,
}

/// `fieldfit compare`.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// The base model's folder
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// Images in one folder a class, to adapt to; of `train`, `val` and `test` folders, `train` and `val` are used
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// What reports call these images [default: the folder's name]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    #[command(flatten)]
    pub shift: ShiftArgs,
    /// The methods, each with what it is to go by: lp-ft,wise-ft:alpha=0.5 [default: all]
    #[arg(long, value_name = "NAME[:SETTING=VALUE]…", value_delimiter = ',', value_parser = method_spec)]
    pub methods: Vec<MethodSpec>,
    /// Runs of each method, with seeds 0, 1, …
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = at_least_one())]
    pub seeds: u32,
    /// Keep each run in that file as it ends, one JSON object a line, and don't repeat those that are in it
    #[arg(long, value_name = "FILE")]
    pub jsonl: Option<PathBuf>,
    /// Write an HTML page of the comparison to that file
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    pub training: TrainingArgs,
    /// Print one JSON object a run
    #[arg(long)]
    pub json: bool,
}

/// A method and the numbers that it goes by.
#[derive(Debug, Clone, PartialEq)]
pub struct MethodSpec {
    /// Its name.
    pub name: String,
    /// What is not at its default.
    pub settings: Vec<(String, f64)>,
}

/// How training goes, whatever the method.
#[derive(Debug, Args)]
pub struct TrainingArgs {
    #[command(flatten)]
    pub device: DeviceArgs,
    /// Passes over the training images
    #[arg(long, value_name = "N", value_parser = at_least_one(), default_value_t = Options::default().epochs)]
    pub epochs: u32,
    /// Side of the images in pixels [default: the base's]
    #[arg(long, value_name = "PX", value_parser = side())]
    pub size: Option<u32>,
    /// Images in a training step
    #[arg(long, value_name = "N", value_parser = at_least_one(), default_value_t = Options::default().batch as u32)]
    pub batch: u32,
    /// Images that are computed at once; the result is the same up to rounding [default: 4, or fewer to keep within the
    /// budget]
    #[arg(long, value_name = "N", value_parser = at_least_one())]
    pub micro_batch: Option<u32>,
    /// Keep within that much memory, such as 512MiB, or refuse before anything is allocated
    #[arg(long, value_name = "SIZE", value_parser = byte_count)]
    pub memory_budget: Option<u64>,
    /// Keep to what a board has, its memory, threads and niceness, where no other flag says otherwise: a board of
    /// `targets/` by name, or the path of a profile
    #[arg(long, value_name = "BOARD", value_parser = board)]
    pub target_profile: Option<TargetProfile>,
    /// Let the run's threads yield to others by that much, as `nice -n` counts (Linux) [default: 0, or the board's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=19))]
    pub nice: Option<u8>,
    /// Largest learning rate of the schedule
    #[arg(long, value_name = "X", value_parser = positive, default_value_t = Options::default().optimiser.learning_rate())]
    pub lr: f64,
    /// What is done to training images
    #[arg(long, value_name = "NAME", default_value_t = Options::default().augmentation, value_parser = augmentations())]
    pub augment: Augmentation,
    /// Regular expression on file names; images whose first group (or whole match) is equal are kept together
    #[arg(long, value_name = "PATTERN")]
    pub group: Option<String>,
    /// Hold on to what the base says of these images, of whatever kind and without labels, instead of the validation
    /// images; never those that the result is to be measured on
    #[arg(long, value_name = "DIR")]
    pub retain: Option<PathBuf>,
    /// Leave tensors of this name (`*` matches anything) free of radii, penalty and decay; may be given again
    #[arg(long, value_name = "PATTERN")]
    pub exclude: Vec<String>,
    /// Leave the network's stages up to that one as the base has them, whatever the method (stem, block0, …), so that what
    /// they make of the images is computed once
    #[arg(long, value_name = "STAGE")]
    pub freeze: Option<String>,
    /// Augmented views of each image to learn from behind frozen stages, in turn, epoch after epoch [default: 2]
    #[arg(long, value_name = "N", requires = "freeze", value_parser = at_least_one())]
    pub views: Option<u32>,
    /// Which tensors have one relative radius between them
    #[arg(long, value_name = "WHAT", default_value = Options::default().tpgm.sharing.name(), value_parser = sharings())]
    pub radii_per: Sharing,
    /// How the delta stores kernels: the smallest file that changes no more of validation's answers than one in a
    /// hundred, or one codec for all
    #[arg(long, value_name = "CODEC", default_value = "auto", value_parser = codings())]
    pub codec: Coding,
}

/// `name`, or `name:setting=value:setting=value`.
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

    /// A method whose settings are lost, or one that doesn't exist.
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
