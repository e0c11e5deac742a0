//! The node as a program: reads ROS 2's command line, joins the network, and runs until a signal.

use fieldfit_ros2::arguments::{self, Command, HELP, RunOptions};
use fieldfit_ros2::{Events, Node, msg};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::{env, io, thread};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    match arguments::parse(env::args().skip(1))? {
        Command::Help => print!("{HELP}"),
        Command::Version => println!("fieldfit-ros2 {}", env!("CARGO_PKG_VERSION")),
        Command::Types => println!("{}", serde_json::to_string_pretty(&msg::type_names())?),
        Command::Run(options) => run_node(*options)?,
    }
    Ok(())
}

fn run_node(options: RunOptions) -> Result<(), Box<dyn Error>> {
    let RunOptions { names, parameters, log_level } = options;
    // The middleware's own notes are for its developers.
    env_logger::Builder::new()
        .filter_level(log::LevelFilter::Error)
        .filter_module("fieldfit", log_level)
        .parse_default_env()
        .init();
    let (events, lines) = Events::channel();
    let node = Arc::new(Node::new(names.node(), parameters, events));
    let stop = stop_signal()?;
    match middleware() {
        #[cfg(feature = "dds")]
        Backend::Dds => {
            let dds = fieldfit_ros2::middleware::dds::Dds::join(&names)?;
            fieldfit_ros2::run(node, &names, dds, lines, stop)?;
        }
        #[cfg(feature = "zenoh")]
        Backend::Zenoh => {
            let zenoh = fieldfit_ros2::middleware::zenoh::Zenoh::join(&names)?;
            fieldfit_ros2::run(node, &names, zenoh, lines, stop)?;
        }
        #[cfg(not(feature = "dds"))]
        Backend::Dds => return Err(fieldfit_ros2::middleware::MiddlewareError::NotBuilt { wanted: "dds" }.into()),
        #[cfg(not(feature = "zenoh"))]
        Backend::Zenoh => return Err(fieldfit_ros2::middleware::MiddlewareError::NotBuilt { wanted: "zenoh" }.into()),
    }
    Ok(())
}

/// Middleware of the network.
enum Backend {
    Dds,
    Zenoh,
}

/// The middleware that the other nodes use; what this build has, where nothing says so.
fn middleware() -> Backend {
    match env::var("RMW_IMPLEMENTATION").as_deref() {
        Ok("rmw_zenoh_cpp") => Backend::Zenoh,
        Ok(_) => Backend::Dds,
        Err(_) if cfg!(feature = "dds") => Backend::Dds,
        Err(_) => Backend::Zenoh,
    }
}

/// Returns a receiver of the first SIGINT or SIGTERM. A second one ends the process at once.
fn stop_signal() -> io::Result<Receiver<()>> {
    let (stop, stopped) = sync_channel(1);
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let listen = move || {
        for (count, _) in signals.forever().enumerate() {
            if count > 0 {
                std::process::exit(1);
            }
            // The receiver lives as long as the node.
            let _ = stop.send(());
        }
    };
    thread::Builder::new().name("fieldfit-signals".into()).spawn(listen)?;
    Ok(stopped)
}
