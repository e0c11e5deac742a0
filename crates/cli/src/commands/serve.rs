//! Subcommand `serve`: a page, a JSON interface and metrics of a store.

use crate::args::ServeArgs;
use crate::error::CliError;
use crate::output::Output;
use crate::signals::Signals;
use fieldfit::store::Store;
use fieldfit_serve::{Server, ServerOptions};
use serde::Serialize;
use std::thread;
use std::time::Duration;

/// Time between two looks for a signal.
const GLANCE: Duration = Duration::from_millis(100);

/// The page's address, as it is printed.
#[derive(Serialize)]
struct Listening {
    url: String,
}

pub fn run(args: &ServeArgs, output: &Output) -> Result<(), CliError> {
    let store = Store::open(&args.store).map_err(fieldfit::Error::from)?;
    let options = ServerOptions::default()
        .with_listen(args.listen)
        .with_hosts(args.host.clone())
        .with_collection(args.collection.clone());
    let signals = Signals::install()?;
    let server = Server::bind(store, options)?;
    output.show(&Listening { url: server.url() }, |Listening { url }| format!("open {url}"))?;
    let stopper = server.stopper();
    signals.during(|_| {
        thread::scope(|scope| {
            let serving = scope.spawn(|| server.run());
            while !serving.is_finished() {
                if signals.is_stopped() {
                    stopper.stop();
                }
                thread::sleep(GLANCE);
            }
            serving.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    })?;
    Ok(())
}
