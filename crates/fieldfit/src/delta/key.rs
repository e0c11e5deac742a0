//! Key files: Ed25519 secret keys, PKCS #8 in PEM, as `openssl genpkey -algorithm ed25519` writes them.

use crate::Error;
use crate::output_file::write_new_private;
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::{DecodePrivateKey, EncodePrivateKey, spki::der::pem::LineEnding};
use fieldfit_delta::SecretKey;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Maximum bytes of a key file.
const LONGEST_KEY: u64 = 64 << 10;

/// Generates a key from the system's randomness and writes it to a new file that only its owner can read, whole or not at
/// all.
///
/// # Errors
/// If there is a file already, it cannot be written, or the system has no randomness.
pub fn new_key(path: impl AsRef<Path>) -> Result<SecretKey, Error> {
    let path = path.as_ref();
    let failed = |source: io::Error| Error::WriteKey { path: path.to_owned(), source };
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| failed(io::Error::other(error)))?;
    let pem = SigningKey::from_bytes(&seed).to_pkcs8_pem(LineEnding::LF);
    let pem = pem.map_err(|error| failed(io::Error::other(error)))?;
    write_new_private(path, pem.as_bytes()).map_err(failed)?;
    Ok(SecretKey::from_seed(&seed))
}

/// Reads a secret key.
///
/// # Errors
/// If the file cannot be read, holds no Ed25519 key, or can be read by others than its owner.
pub fn read_key(path: impl AsRef<Path>) -> Result<SecretKey, Error> {
    let path = path.as_ref();
    let pem = read_pem(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let key = SigningKey::from_pkcs8_pem(&pem).map_err(|source| Error::Key { path: path.to_owned(), source })?;
    if is_open_to_others(path).map_err(|source| Error::Read { path: path.to_owned(), source })? {
        return Err(Error::OpenKey { path: path.to_owned() });
    }
    Ok(SecretKey::from_seed(key.as_bytes()))
}

/// Reads the text of a key file, or of a pipe, as which a shell passes a key that lies in no file.
fn read_pem(path: &Path) -> io::Result<String> {
    let mut pem = String::new();
    File::open(path)?.take(LONGEST_KEY + 1).read_to_string(&mut pem)?;
    match pem.len() as u64 {
        0..=LONGEST_KEY => Ok(pem),
        _ => Err(io::Error::other(format!("it has more than {LONGEST_KEY} bytes, as no key has"))),
    }
}

#[cfg(unix)]
fn is_open_to_others(path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::PermissionsExt;
    Ok(std::fs::metadata(path)?.permissions().mode() & 0o077 != 0)
}

/// Permissions of other systems are not checked.
#[cfg(not(unix))]
fn is_open_to_others(_path: &Path) -> io::Result<bool> {
    Ok(false)
}
