//! Errors of the server.

use fieldfit_collect::CollectError;
use fieldfit_store::StoreError;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Error of a server, before or while it answers.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The address cannot be listened at.
    #[error("cannot listen at {address}: {source}; choose another address with --listen")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// The server ended.
    #[error("the server ended: {0}")]
    Ended(io::Error),
    /// The token's file cannot be read or written.
    #[error("the token of the page, {}: {source}", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Others may read the token.
    #[error("the token of the page, {}, can be read by others (mode {mode:o}): remove the file, and a new one is made", path.display())]
    OpenToken {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The token's file holds something else.
    #[error("the token of the page, {}, is not 64 hexadecimal digits: remove the file, and a new one is made", path.display())]
    MalformedToken {
        /// The file.
        path: PathBuf,
    },
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The collection cannot be read.
    #[error(transparent)]
    Collection(#[from] CollectError),
}

impl ServeError {
    /// Returns the path that the error is about, if there is one.
    pub fn path(&self) -> Option<&std::path::Path> {
        match self {
            Self::Token { path, .. } | Self::OpenToken { path, .. } | Self::MalformedToken { path } => Some(path),
            Self::Store(error) => error.path(),
            Self::Collection(error) => error.path(),
            Self::Listen { .. } | Self::Ended(_) => None,
        }
    }
}
