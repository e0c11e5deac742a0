//! The command line as typed; each command turns its own part into what the library takes.

mod adapting;
mod bases;
mod deltas;
mod machines;
mod running;
mod stores;
mod values;

pub use adapting::{AdaptArgs, CompareArgs, MethodSpec, TrainingArgs};
pub use bases::{DtypeArg, ImportArgs, InfoArgs};
pub use deltas::{
    DeltaCommand, DeltaDiffArgs, DeltaExportArgs, DeltaOutArgs, DeltaSignArgs, DeltaVerifyArgs, KeyArgs, KeyCommand,
};
pub use machines::DoctorArgs;
pub use running::{BaseArgs, DeviceArgs, DeviceName, EvalArgs, InferArgs, ModelArgs, ShiftArg, ShiftArgs};
pub use stores::{StoreAddArgs, StoreArgs, StoreCommand, StorePruneArgs, StoreVersionArgs};

use clap::{Args, Parser, Subcommand};
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
    /// Say what this machine is, which board it is, and try everything that an adaptation needs
    Doctor(DoctorArgs),
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    /// A flag that clap would only complain about at run time: two of one name, a default that doesn't parse.
    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    /// Settings that no help text tells of.
    #[test]
    fn help_lists_the_settings_of_each_method() {
        let mut command = Arguments::command();
        let help = command.find_subcommand_mut("adapt").unwrap().render_long_help().to_string();
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        for setting in fieldfit::train::METHODS.iter().flat_map(|method| method.settings) {
            assert!(help.contains(&setting.to_string()), "{setting}");
        }
    }
}
