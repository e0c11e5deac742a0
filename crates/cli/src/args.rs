//! Command-line arguments as typed: one file per group of subcommands; the commands convert them for the library.

mod adapt;
mod collect;
mod delta;
mod import_data;
mod machine;
mod model;
mod parse;
mod run;
#[cfg(feature = "serve")]
mod serve;
mod store;
mod teach;

pub use adapt::{AdaptArgs, CompareArgs, MethodSpec, TrainingArgs};
pub use collect::{CollectArgs, CollectionCommand, DiscardArgs, ExportArgs, ForgetArgs, RelabelArgs, ShowArgs};
pub use delta::{
    DeltaCommand, DeltaDiffArgs, DeltaExportArgs, DeltaMergeArgs, DeltaOutArgs, DeltaSignArgs, DeltaVerifyArgs,
    KeyCommand,
};
pub use import_data::ImportDataArgs;
pub use machine::DoctorArgs;
pub use model::{DtypeArg, ImportArgs, InfoArgs};
pub use run::{BaseArgs, CalibrateArgs, DeviceArgs, DeviceName, EvalArgs, InferArgs, ModelArgs, ShiftArg, ShiftArgs};
#[cfg(feature = "serve")]
pub use serve::ServeArgs;
pub use store::{StoreAddArgs, StoreArgs, StoreCommand, StorePruneArgs, StoreVersionArgs};
pub use teach::TeachArgs;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Adapts a pre-trained vision model to local images, on the device.
///
/// The base model is never written. An adaptation is a small delta file; a store keeps its versions, activates one after
/// it passed its gate on held-out images, and can always roll back.
///
/// Exit status: 0 done; 1 failed, or the gate refused the adaptation; 2 wrong usage.
/// Logs go to standard error; RUST_LOG sets their level (error, warn, info, debug).
#[derive(Debug, Parser)]
#[command(name = "fieldfit", version, max_term_width = 100)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Output options, accepted by every subcommand.
#[derive(Debug, Args)]
pub struct OutputArgs {
    /// Print results and errors as JSON, one object per line
    #[arg(long, global = true)]
    pub json: bool,
    /// Print results and errors only: no progress, no notes, no warnings
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

/// Subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Adapt the bundled model to sample images and show the result, in under three minutes
    Demo(DemoArgs),
    /// Import a checkpoint (.pth or .safetensors) into a model folder
    Import(ImportArgs),
    /// Show the contents of a model folder, a delta file or a store
    Info(InfoArgs),
    /// Check this machine: hardware, target profile, and all that an adaptation needs
    Doctor(DoctorArgs),
    /// Find the ranges of a base's activations on images, from which int8 inference takes its scales
    Calibrate(CalibrateArgs),
    /// Classify images
    Infer(InferArgs),
    /// Evaluate accuracy on labelled images
    Eval(EvalArgs),
    /// Adapt a model to labelled images and store the result, active if it passes its gate
    Adapt(AdaptArgs),
    /// Teach a class by a few images, in seconds and without training, or remove a taught one
    Teach(TeachArgs),
    /// Collect labelled images from a folder, a stream on standard input, or a camera
    Collect(CollectArgs),
    /// Import labelled data sets of other tools into a collection
    ImportData(ImportDataArgs),
    /// Show, relabel, discard, forget and export the images of a collection
    #[command(subcommand)]
    Collection(CollectionCommand),
    /// Serve a page of a store: status, history, buttons; a JSON interface, and metrics for Prometheus
    #[cfg(feature = "serve")]
    Serve(ServeArgs),
    /// Compare adaptation methods: accuracy in distribution and under shifts, retention, cost
    Compare(CompareArgs),
    /// Manage the versions in a store
    #[command(subcommand)]
    Store(StoreCommand),
    /// Sign, verify, pack, compare and export delta files
    #[command(subcommand)]
    Delta(DeltaCommand),
    /// Generate and show keys that sign deltas
    #[command(subcommand)]
    Key(KeyCommand),
    /// Print a shell completion script
    Completions(CompletionsArgs),
}

/// Arguments of `fieldfit demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Write the demo's stores to this folder
    #[arg(long, value_name = "DIR", default_value = "fieldfit-demo")]
    pub out: PathBuf,
    /// Play the images as a camera, label them as an operator does, and adapt to the collection beside a page
    #[arg(long)]
    pub live: bool,
    /// Serve the page of --live at this address
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:7878")]
    pub listen: SocketAddr,
    /// End --live this long after the adaptation [default: with Ctrl-C if there is a page]
    #[arg(long, value_name = "SECONDS", requires = "live")]
    pub linger: Option<u64>,
}

/// Arguments of `fieldfit completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// Shell to complete in
    #[arg(value_enum)]
    pub shell: Shell,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    /// Catches: a flag that clap only rejects at run time: two of one name, a default that does not parse.
    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    /// Catches: hyper-parameters that no help text lists.
    #[test]
    fn help_lists_the_settings_of_each_method() {
        let mut command = Arguments::command();
        let help = command.find_subcommand_mut("adapt").unwrap().render_long_help().to_string();
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        for setting in fieldfit::train::METHODS.iter().flat_map(|method| method.settings) {
            assert!(help.contains(&setting.to_string()), "{setting}");
        }
    }

    /// Catches: a subcommand or flag without help, or with help that is not one line.
    #[test]
    fn every_argument_has_one_line_of_help() {
        fn check(command: &clap::Command) {
            for argument in command.get_arguments() {
                let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
                let name = format!("{} {}", command.get_name(), argument.get_id());
                assert!(!help.is_empty() && !help.contains('\n') && help.chars().count() <= 120, "{name}: {help}");
            }
            command.get_subcommands().for_each(check);
        }
        let mut command = Arguments::command();
        command.build();
        command.get_subcommands().for_each(check);
    }
}
