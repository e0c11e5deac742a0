//! Arguments of `serve`.

use clap::Args;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Arguments of `fieldfit serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Serve the page of the store in this folder
    #[arg(long, value_name = "DIR")]
    pub store: PathBuf,
    /// Show the images of this collection
    #[arg(long, value_name = "DIR")]
    pub collection: Option<PathBuf>,
    /// Listen at this address; 0.0.0.0 lets other machines in
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:7878")]
    pub listen: SocketAddr,
    /// Answer under this name of the machine, too [repeatable]
    #[arg(long, value_name = "NAME")]
    pub host: Vec<String>,
}
