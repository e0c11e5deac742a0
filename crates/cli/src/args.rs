//! The command line as typed; each command turns its own part into what the library takes.

mod deltas;

pub use deltas::{
    DeltaCommand, DeltaDiffArgs, DeltaExportArgs, DeltaOutArgs, DeltaSignArgs, DeltaVerifyArgs, KeyArgs, KeyCommand,
};

use clap::builder::{PossibleValue, PossibleValuesParser, RangedI64ValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use fieldfit::{Augmentation, Codec, Coding, MethodEntry, Options, Sharing};
use std::iter;
use std::path::PathBuf;

/// Adapts a pre-trained vision model to what a robot sees, on the robot.
///
/// The base model is never written to. What an adaptation changed is a small delta file; a store keeps its versions,
/// activates one after it has proved itself on held-out images, and can always roll back.
///
/// Exit status: 0 done; 1 failed, or the adaptation was refused by its gate; 2 wrong usage.
/// Logs go to standard error; RUST_LOG sets how much (error, warn, info, debug).
#[derive(Debug, Parser)]
#[command(name = "fieldfit", version, max_term_width = 100)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the command can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Adapt the shipped model to a small set of images and show what comes of it, in under three minutes
    Demo(DemoArgs),
    /// Make a model folder of a checkpoint (.pth or .safetensors)
    Import(ImportArgs),
    /// Show what a model folder, a delta file or a store holds
    Info(InfoArgs),
    /// Name what is on images
    Infer(InferArgs),
    /// Measure accuracy on a folder of labelled images
    Eval(EvalArgs),
    /// Adapt a model to a folder of labelled images; the result goes to a store and has to pass its gate
    Adapt(AdaptArgs),
    /// Adapt by several methods and measure what comes of each: in distribution, under shifts, and against forgetting
    Compare(CompareArgs),
    /// Manage the versions in a store
    #[command(subcommand)]
    Store(StoreCommand),
    /// Sign, verify, pack, compare and export delta files
    #[command(subcommand)]
    Delta(DeltaCommand),
    /// Make and show keys to sign deltas with
    #[command(subcommand)]
    Key(KeyCommand),
}

/// `fieldfit demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Where the demo's deltas and its store go
    #[arg(long, value_name = "DIR", default_value = "fieldfit-demo")]
    pub out: PathBuf,
}

/// `fieldfit import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The checkpoint: .pth of any age, or .safetensors
    pub weights: PathBuf,
    /// Its architecture
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(fieldfit::ARCHITECTURES))]
    pub arch: String,
    /// One class name a line, in the order of the head's outputs
    #[arg(long, value_name = "FILE")]
    pub labels: PathBuf,
    /// The model folder to make
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// How tensors of two or more dimensions are stored; the others and running statistics stay f32
    #[arg(long, value_enum, default_value_t = Dtype::F16)]
    pub dtype: Dtype,
    /// Who published the weights (a package, a repository, a person), for the manifest
    #[arg(long, value_name = "TEXT")]
    pub source: Option<String>,
    /// Their licence as an SPDX expression, for the manifest
    #[arg(long, value_name = "SPDX")]
    pub licence: Option<String>,
}

/// Types that weights are stored in.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Dtype {
    /// Half precision, 11 bits of significand.
    F16,
    /// Brain float, 8 bits of significand.
    Bf16,
    /// Single precision.
    F32,
}

impl From<Dtype> for fieldfit::Dtype {
    fn from(dtype: Dtype) -> Self {
        match dtype {
            Dtype::F16 => Self::F16,
            Dtype::Bf16 => Self::Bf16,
            Dtype::F32 => Self::F32,
        }
    }
}

/// `fieldfit info`.
#[derive(Debug, Args)]
pub struct InfoArgs {
    /// A model folder, a delta file or a store
    pub path: PathBuf,
    /// Show what an adaptation of that model would take, instead
    #[arg(long)]
    pub plan: bool,
    /// How to learn [default: tpgm-relative]
    #[arg(long, value_name = "NAME", requires = "plan", value_parser = methods())]
    pub method: Option<String>,
    /// Classes to learn [default: the base's]
    #[arg(long, value_name = "N", requires = "plan", value_parser = at_least_one())]
    pub classes: Option<u32>,
    /// Images to learn from [default: 400]
    #[arg(long, value_name = "N", requires = "plan", value_parser = at_least_one())]
    pub images: Option<u32>,
    /// Side of the images in pixels [default: the base's]
    #[arg(long, value_name = "PX", requires = "plan", value_parser = side())]
    pub size: Option<u32>,
    /// Images in a training step [default: 16]
    #[arg(long, value_name = "N", requires = "plan", value_parser = at_least_one())]
    pub batch: Option<u32>,
    /// Images that are computed at once [default: 4, or fewer to keep within the budget]
    #[arg(long, value_name = "N", requires = "plan", value_parser = at_least_one())]
    pub micro_batch: Option<u32>,
    /// Keep within that much memory, such as 512MiB
    #[arg(long, value_name = "SIZE", requires = "plan", value_parser = byte_count)]
    pub memory_budget: Option<u64>,
    /// Threads that compute [default: one a core]
    #[arg(long, value_name = "N", requires = "plan", value_parser = at_least_one())]
    pub threads: Option<u32>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Which weights run, and where.
#[derive(Debug, Args)]
pub struct ModelArgs {
    /// The base model's folder
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// Run the version that is active in this store
    #[arg(long, value_name = "DIR", conflicts_with = "delta")]
    pub store: Option<PathBuf>,
    /// Run this delta
    #[arg(long, value_name = "FILE")]
    pub delta: Option<PathBuf>,
    #[command(flatten)]
    pub device: DeviceArgs,
}

/// What computes.
#[derive(Debug, Clone, Args)]
pub struct DeviceArgs {
    /// What computes
    #[arg(long, value_enum, default_value_t = DeviceName::Cpu)]
    pub device: DeviceName,
    /// Threads that compute on the CPU [default: one a core]
    #[arg(long, value_name = "N", value_parser = at_least_one())]
    pub threads: Option<u32>,
}

/// Devices by name.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum DeviceName {
    /// The processor.
    Cpu,
    /// An NVIDIA GPU; needs a build with the feature `cuda`.
    Cuda,
    /// Apple's GPU; needs a build with the feature `metal`.
    Metal,
}

/// `fieldfit infer`.
#[derive(Debug, Args)]
pub struct InferArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// How many classes to name for each image
    #[arg(long, value_name = "K", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=fieldfit::MAX_TOP as i64))]
    pub top: u32,
    /// Print one JSON object an image
    #[arg(long)]
    pub json: bool,
    /// The images: JPEG, PNG or WebP
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<PathBuf>,
}

/// `fieldfit eval`.
#[derive(Debug, Args)]
pub struct EvalArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Images in one folder a class; of `train`, `val` and `test` folders, `test` is used
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    #[command(flatten)]
    pub shift: ShiftArgs,
    /// Regular expression on file names; accuracy is told for each value of its first group (or whole match), too
    #[arg(long, value_name = "PATTERN")]
    pub group: Option<String>,
    /// Measure the adapted backbone under the base's own head, on images of the base's own classes: what was forgotten
    #[arg(long)]
    pub base_head: bool,
    /// Tell also how often the adapted backbone, under the base's own head, names what the base names
    #[arg(long)]
    pub agreement: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `fieldfit adapt`.
#[derive(Debug, Args)]
pub struct AdaptArgs {
    /// The base model's folder
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// Images in one folder a class; of `train`, `val` and `test` folders, `train` and `val` are used
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Where the versions are kept; made if it isn't there
    #[arg(long, value_name = "DIR")]
    pub store: PathBuf,
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

/// What to measure on beside the images themselves.
#[derive(Debug, Args)]
pub struct ShiftArgs {
    /// Measure on the images of that folder, too, with classes of the same names; `corruptions` for the images that are
    /// measured on anyway, under ten things that cameras do; may be given again
    #[arg(long = "shift", value_name = "NAME=DIR|corruptions", value_parser = shift)]
    pub shifts: Vec<ShiftArg>,
    /// How strong the corruptions are
    #[arg(long, value_name = "1..5", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=5))]
    pub severity: u8,
    /// Measure on that many images of each class of a folder, drawn at random and always the same [default: all]
    #[arg(long, value_name = "N", value_parser = at_least_one())]
    pub limit: Option<u32>,
}

/// Where a shift's images come from.
#[derive(Debug, Clone)]
pub enum ShiftArg {
    /// A folder, under that name.
    Folder(String, PathBuf),
    /// The images that are measured on anyway, corrupted.
    Corruptions,
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
    /// Which tensors have one relative radius between them
    #[arg(long, value_name = "WHAT", default_value = Options::default().tpgm.sharing.name(), value_parser = sharings())]
    pub radii_per: Sharing,
    /// How the delta stores kernels: the smallest file that changes no more of validation's answers than one in a
    /// hundred, or one codec for all
    #[arg(long, value_name = "CODEC", default_value = "auto", value_parser = codings())]
    pub codec: Coding,
}

/// `fieldfit store`.
#[derive(Debug, Subcommand)]
pub enum StoreCommand {
    /// List the versions and their states
    List(StoreArgs),
    /// Make a version the active one
    Activate(StoreVersionArgs),
    /// Go back to the version that was active before, at last to the base
    Rollback(StoreArgs),
    /// Read every version and check it
    Verify(StoreArgs),
    /// Add a delta file from outside as a candidate, if the store's trust.toml lets it in
    Add(StoreAddArgs),
}

/// A store.
#[derive(Debug, Args)]
pub struct StoreArgs {
    /// The store's folder
    #[arg(value_name = "STORE")]
    pub store: PathBuf,
    /// Print JSON, one object a line
    #[arg(long)]
    pub json: bool,
}

/// A version in a store.
#[derive(Debug, Args)]
pub struct StoreVersionArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    /// The version's number
    #[arg(value_name = "VERSION", value_parser = at_least_one())]
    pub version: u32,
}

/// A file for a store.
#[derive(Debug, Args)]
pub struct StoreAddArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    /// The delta file, packed or not
    #[arg(value_name = "FILE")]
    pub delta: PathBuf,
    /// Take it even though its signer has replaced it by a newer one since
    #[arg(long)]
    pub replay: bool,
}

fn at_least_one() -> RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..)
}

fn side() -> RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(16..=1024)
}

/// A number of bytes with its unit.
fn byte_count(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, f64); 7] =
        [("KiB", 1024.0), ("MiB", 1048576.0), ("GiB", 1073741824.0), ("kB", 1e3), ("MB", 1e6), ("GB", 1e9), ("B", 1.0)];
    let parsed = UNITS.iter().find_map(|(unit, factor)| {
        let number: f64 = text.strip_suffix(unit)?.trim_end().parse().ok()?;
        Some(number * factor)
    });
    match parsed {
        Some(bytes) if (1.0..1e18).contains(&bytes) => Ok(bytes as u64),
        _ => Err("expected a number and its unit, such as 512MiB, 1.5GiB or 500MB".into()),
    }
}

fn augmentations() -> impl TypedValueParser<Value = Augmentation> {
    let named = |augmentation: Augmentation| PossibleValue::new(augmentation.name()).help(augmentation.about());
    PossibleValuesParser::new(Augmentation::ALL.map(named)).try_map(|name| name.parse::<Augmentation>())
}

fn codings() -> impl TypedValueParser<Value = Coding> {
    let codings = || iter::once(Coding::Auto).chain(Codec::ALL.map(Coding::Kernels));
    let named = move |name: String| codings().find(|coding| coding.to_string() == name);
    let names = iter::once("auto").chain(Codec::ALL.map(Codec::name));
    PossibleValuesParser::new(names).try_map(move |name| named(name).ok_or("no such codec"))
}

fn sharings() -> impl TypedValueParser<Value = Sharing> {
    let named = |name: String| Sharing::ALL.into_iter().find(|sharing| sharing.name() == name);
    PossibleValuesParser::new(Sharing::ALL.map(Sharing::name)).try_map(move |name| named(name).ok_or("no such sharing"))
}

fn methods() -> PossibleValuesParser {
    fieldfit::METHODS
        .iter()
        .map(|method| PossibleValue::new(method.name).help(about(method)))
        .collect::<Vec<_>>()
        .into()
}

/// What a method is, and what `--set` can give it.
fn about(method: &MethodEntry) -> String {
    let settings = method.settings.iter().map(|setting| format!("; --set {setting}"));
    std::iter::once(method.about.to_owned()).chain(settings).collect()
}

/// `name`, or `name:setting=value:setting=value`.
fn method_spec(text: &str) -> Result<MethodSpec, String> {
    let mut parts = text.split(':');
    let name = parts.next().unwrap_or_default().to_owned();
    if !fieldfit::METHODS.iter().any(|method| method.name == name) {
        let known: Vec<_> = fieldfit::METHODS.iter().map(|method| method.name).collect();
        return Err(format!("expected one of {}", known.join(", ")));
    }
    Ok(MethodSpec { name, settings: parts.map(setting).collect::<Result<_, _>>()? })
}

fn shift(text: &str) -> Result<ShiftArg, String> {
    match text.split_once('=') {
        Some((name, folder)) if !name.is_empty() && !folder.is_empty() => {
            Ok(ShiftArg::Folder(name.to_owned(), folder.into()))
        }
        None if text == "corruptions" => Ok(ShiftArg::Corruptions),
        _ => Err("expected a name and a folder, such as sketch=images/sketch, or corruptions".into()),
    }
}

fn setting(text: &str) -> Result<(String, f64), String> {
    let parsed = text.split_once('=').and_then(|(name, value)| Some((name.to_owned(), value.parse().ok()?)));
    parsed.ok_or_else(|| "expected a name and a number, such as strength=0.1".into())
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && value > 0.0 => Ok(value),
        _ => Err("expected a number above 0, such as 1e-3".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    /// A flag that clap would only complain about at run time: two of one name, a default that doesn't parse.
    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    /// A learning rate that would be silently clamped, or parsed as something else.
    #[test]
    fn only_positive_finite_numbers_are_rates() {
        assert_eq!(positive("1e-3"), Ok(1e-3));
        for text in ["0", "-1", "inf", "nan", "fast"] {
            assert!(positive(text).is_err(), "{text}");
        }
    }

    /// A setting whose value is taken for 0, or whose name is lost.
    #[test]
    fn a_setting_is_a_name_and_a_number() {
        assert_eq!(setting("strength=1e-1"), Ok(("strength".into(), 0.1)));
        for text in ["strength", "strength=", "strength=much", "=", ""] {
            assert!(setting(text).is_err(), "{text}");
        }
    }

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

    /// Settings that no help text tells of.
    #[test]
    fn help_lists_the_settings_of_each_method() {
        let mut command = Arguments::command();
        let help = command.find_subcommand_mut("adapt").unwrap().render_long_help().to_string();
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        for setting in fieldfit::METHODS.iter().flat_map(|method| method.settings) {
            assert!(help.contains(&setting.to_string()), "{setting}");
        }
    }

    /// A budget a thousand times too large or too small, or one without a unit that is taken for bytes.
    #[test]
    fn sizes_have_units() {
        let sizes = [("512MiB", 512 << 20), ("1.5GiB", 3 << 29), ("500 MB", 500_000_000), ("3kB", 3000), ("7B", 7)];
        for (text, bytes) in sizes {
            assert_eq!(byte_count(text), Ok(bytes), "{text}");
        }
        for text in ["512", "", "MiB", "-1MiB", "0B", "nanMB", "infGB", "1e30GB", "5 parsecs"] {
            assert!(byte_count(text).is_err(), "{text}");
        }
    }
}
