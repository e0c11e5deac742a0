//! Command line of a ROS 2 node: `--ros-args` with parameters, parameter files and remappings.

use crate::names::{Names, Remapping};
use crate::parameter_file;
use crate::parameters::{Parameters, Value};
use fieldfit::escape;
use log::LevelFilter;
use std::path::PathBuf;
use thiserror::Error;

/// Text of `--help`.
pub const HELP: &str = "\
Classifies a camera's images on ROS 2, adapts to labelled ones, and rolls back.

Usage: fieldfit-ros2 --ros-args -p model:=FOLDER [-p NAME:=VALUE]... [-r FROM:=TO]... [--params-file FILE]

Options:
  --ros-args                Begins the arguments of ROS 2, which -- ends
  -p, --param NAME:=VALUE   Set a parameter
      --params-file FILE    Set the parameters that a YAML file has for this node
  -r, --remap FROM:=TO      Rename a topic or service; __node:=NAME and __ns:=NAMESPACE name the node
      --log-level LEVEL     Log debug, info, warn, error or fatal messages [info]
      --types               Print the message types with their hashes as JSON, and end
  -h, --help                Print this help
  -V, --version             Print the version

Environment: ROS_DOMAIN_ID, RMW_IMPLEMENTATION (rmw_fastrtps_cpp, rmw_cyclonedds_cpp or rmw_zenoh_cpp: what the other nodes use).
";

/// Error of the command line.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ArgumentError {
    /// An unknown argument.
    #[error("unknown argument `{}`: fieldfit-ros2 --help lists them", escape(argument))]
    Unknown {
        /// The argument.
        argument: String,
    },
    /// An option without its value.
    #[error("{option} needs a value: expected {expected}")]
    Missing {
        /// The option.
        option: String,
        /// What it takes.
        expected: &'static str,
    },
    /// A value of another form.
    #[error("{option} `{}`: expected {expected}", escape(value))]
    Form {
        /// The option.
        option: String,
        /// Its value.
        value: String,
        /// What it takes.
        expected: &'static str,
    },
    /// A parameter that is not accepted.
    #[error("{0}")]
    Parameter(String),
    /// A parameter file that cannot be read.
    #[error("the parameter file {}: {reason}", escape(&path.to_string_lossy()))]
    File {
        /// The file.
        path: PathBuf,
        /// The defect.
        reason: String,
    },
    /// A name that ROS 2 does not take.
    #[error(transparent)]
    Name(#[from] crate::names::NameError),
}

/// What the command line asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Run the node.
    Run(Box<RunOptions>),
    /// Print the message types.
    Types,
    /// Print the help.
    Help,
    /// Print the version.
    Version,
}

/// Options of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunOptions {
    /// Names of node, topics and services.
    pub names: Names,
    /// Values of the parameters.
    pub parameters: Parameters,
    /// What is logged, unless `RUST_LOG` says so.
    pub log_level: LevelFilter,
}

/// Source of parameter values, in the order of the command line.
enum Source {
    Value(String, Value),
    File(PathBuf),
}

/// Parses the arguments behind the program's name. Later values of a parameter replace earlier ones.
///
/// # Errors
/// If an argument is unknown, a parameter is not accepted, or a file cannot be read.
pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Command, ArgumentError> {
    let mut arguments = arguments.into_iter();
    let (mut sources, mut remappings, mut log_level) = (Vec::new(), Vec::new(), LevelFilter::Info);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "-h" | "--help" => return Ok(Command::Help),
            "-V" | "--version" => return Ok(Command::Version),
            "--types" => return Ok(Command::Types),
            "--ros-args" | "--" => {}
            "-p" | "--param" => {
                let (name, value) = pair(&argument, arguments.next(), "NAME:=VALUE")?;
                // `NODE:name` is for that node alone; a process has one here.
                let name = name.rsplit_once(':').map_or(name.as_str(), |(_, name)| name).to_owned();
                sources.push(Source::Value(name, Value::parse(&value)));
            }
            "-r" | "--remap" => {
                let (from, to) = pair(&argument, arguments.next(), "FROM:=TO")?;
                remappings.push(Remapping { from, to });
            }
            "--params-file" => sources.push(Source::File(value(&argument, arguments.next(), "FILE")?.into())),
            "--log-level" => log_level = level(&argument, &value(&argument, arguments.next(), LEVELS)?)?,
            // Where logs go, they go: ROS 2's own switches of its three logs.
            "--enable-rosout-logs"
            | "--disable-rosout-logs"
            | "--enable-stdout-logs"
            | "--disable-stdout-logs"
            | "--enable-external-lib-logs"
            | "--disable-external-lib-logs" => {}
            _ => return Err(ArgumentError::Unknown { argument }),
        }
    }
    let names = Names::new(remappings)?;
    let mut parameters = Parameters::default();
    for source in sources {
        match source {
            Source::Value(name, value) => declare(&mut parameters, &name, value)?,
            Source::File(path) => {
                let values = parameter_file::read(&path, names.node())
                    .map_err(|reason| ArgumentError::File { path: path.clone(), reason })?;
                for (name, value) in values {
                    declare(&mut parameters, &name, value)?;
                }
            }
        }
    }
    Ok(Command::Run(Box::new(RunOptions { names, parameters, log_level })))
}

const LEVELS: &str = "debug, info, warn, error or fatal";

/// Sets a parameter. `use_sim_time`, which launch files set for all nodes, is taken and has no effect.
fn declare(parameters: &mut Parameters, name: &str, value: Value) -> Result<(), ArgumentError> {
    match name {
        "use_sim_time" => Ok(()),
        name => parameters.declare(name, value).map_err(ArgumentError::Parameter),
    }
}

fn value(option: &str, value: Option<String>, expected: &'static str) -> Result<String, ArgumentError> {
    value.ok_or_else(|| ArgumentError::Missing { option: option.into(), expected })
}

fn pair(option: &str, found: Option<String>, expected: &'static str) -> Result<(String, String), ArgumentError> {
    let found = value(option, found, expected)?;
    match found.split_once(":=") {
        Some((name, value)) if !name.is_empty() => Ok((name.into(), value.into())),
        _ => Err(ArgumentError::Form { option: option.into(), value: found, expected }),
    }
}

/// A level, also of one logger alone (`NAME:=LEVEL`): there is one logger here.
fn level(option: &str, value: &str) -> Result<LevelFilter, ArgumentError> {
    let level = value.rsplit_once(":=").map_or(value, |(_, level)| level).to_ascii_lowercase();
    match level.as_str() {
        "debug" => Ok(LevelFilter::Debug),
        "info" => Ok(LevelFilter::Info),
        "warn" => Ok(LevelFilter::Warn),
        "error" | "fatal" => Ok(LevelFilter::Error),
        _ => Err(ArgumentError::Form { option: option.into(), value: value.into(), expected: LEVELS }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(line: &str) -> Result<RunOptions, ArgumentError> {
        match parse(line.split_whitespace().map(str::to_owned))? {
            Command::Run(options) => Ok(*options),
            _ => panic!("no run"),
        }
    }

    /// Catches: an argument that `ros2 run` and `ros2 launch` pass and the node does not take.
    #[test]
    fn arguments_of_ros_2_are_taken() {
        let line = "--ros-args -r __node:=eyes -r __ns:=/robot -p model:=models/lite0 -p top_k:=3 -p use_sim_time:=true \
                    --param max_rate:=10 -r ~/image:=/camera/image_raw --log-level eyes:=debug --disable-rosout-logs --";
        let options = run(line).ok().unwrap();
        assert_eq!(options.names.node(), "/robot/eyes");
        assert_eq!(options.names.resolve("~/image"), "/camera/image_raw");
        assert_eq!((options.parameters.top_k, options.parameters.max_rate), (3, 10.0));
        assert_eq!(options.log_level, LevelFilter::Debug);
    }

    /// Catches: a misspelled argument that is ignored, or an error that does not name it.
    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        let cases = [
            ("--ros-arg", "unknown argument `--ros-arg`"),
            ("-p", "-p needs a value: expected NAME:=VALUE"),
            ("-p model=x", "-p `model=x`: expected NAME:=VALUE"),
            ("-p modell:=x", "there is no parameter `modell`"),
            ("-p top_k:=99", "`top_k`: expected an integer of 1 to 16"),
            ("--log-level loud", "--log-level `loud`: expected debug"),
            ("-r __ns:=robot", "robot"),
            ("--params-file /nowhere.yaml", "/nowhere.yaml"),
        ];
        for (line, expected) in cases {
            let error = run(line).err().unwrap().to_string();
            assert!(error.contains(expected), "{line}: {error}");
        }
    }
}
