//! Token: the secret that a request must name, kept in the store's folder for its owner alone.

use crate::ServeError;
use fieldfit_store::SERVE_TOKEN;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use subtle::ConstantTimeEq;

/// Bytes of a token.
const LEN: usize = 32;

/// Token of a store's page. Who can read the store's folder as its owner knows it.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// Reads the token of the store in that folder; creates it, from the system's random numbers, if there is none.
    ///
    /// # Errors
    /// [`ServeError::Token`] if it cannot be read or created, [`ServeError::OpenToken`] if others may read it,
    /// [`ServeError::MalformedToken`].
    pub fn of_store(store: &Path) -> Result<Self, ServeError> {
        let path = store.join(SERVE_TOKEN);
        match create(&path) {
            Ok(token) => Ok(token),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => read(path),
            Err(source) => Err(ServeError::Token { path, source }),
        }
    }

    /// Returns the token, 64 hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether somebody named this token; takes as long whatever they named.
    pub(crate) fn is(&self, named: &str) -> bool {
        self.0.as_bytes().ct_eq(named.as_bytes()).into()
    }
}

fn create(path: &Path) -> io::Result<Token> {
    let mut bytes = [0; LEN];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    let token = hex::encode(bytes);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(path)?.write_all(token.as_bytes());
    written.inspect_err(|_| {
        // The error to report is the first one; half a token is malformed, and the next start says so.
        let _ = fs::remove_file(path);
    })?;
    Ok(Token(token))
}

fn read(path: PathBuf) -> Result<Token, ServeError> {
    let failed = |source| ServeError::Token { path: path.clone(), source };
    let file = fieldfit_durable::open_regular(&path).map_err(|error| failed(io::Error::other(error)))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(ServeError::OpenToken { path, mode });
        }
    }
    let mut text = String::new();
    file.take(1024).read_to_string(&mut text).map_err(failed)?;
    let token = text.trim();
    if token.len() != 2 * LEN || !token.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(ServeError::MalformedToken { path });
    }
    Ok(Token(token.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a new token at every start, which logs everybody out; one that others can read; one that anything equals.
    #[test]
    fn the_token_stays_and_is_the_owners() {
        let folder = tempfile::tempdir().unwrap();
        let token = Token::of_store(folder.path()).unwrap();
        assert_eq!(token.as_str(), Token::of_store(folder.path()).unwrap().as_str());
        assert!(token.is(token.as_str()));
        assert!(!token.is("") && !token.is(&token.as_str()[1..]) && !token.is(&"0".repeat(64)));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let path = folder.path().join(SERVE_TOKEN);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
            assert!(matches!(Token::of_store(folder.path()), Err(ServeError::OpenToken { mode: 0o644, .. })));
        }
    }

    /// Catches: an empty or a short token, which is soon guessed.
    #[test]
    fn half_a_token_is_none() {
        for content in ["", "abc", &"g".repeat(64)] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(SERVE_TOKEN);
            drop(create(&path).unwrap());
            fs::write(&path, content).unwrap();
            assert!(matches!(Token::of_store(folder.path()), Err(ServeError::MalformedToken { .. })), "{content:?}");
        }
    }
}
