//! Seals: a length and a SHA-256 before a content, by which a damaged file is found.

use crate::{
    commit::{commit_parts, commit_parts_keeping, read},
    error::DurableError,
    file_system::FileSystem,
};
use sha2::{Digest, Sha256};
use std::path::Path;
use thiserror::Error;

/// The kind of a sealed content and the version of its layout: eight printable bytes such as `FFSTATE1`.
pub type FileKind = [u8; 8];

/// Bytes that a seal adds: the kind (8), the content's length (8, little-endian) and the sha256 over the kind, the
/// length and the content (32). The content follows.
pub const SEAL_LEN: usize = 8 + 8 + 32;

/// Error of a content that is not as it was sealed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SealError {
    /// A file that ends within the seal.
    #[error("expected at least {SEAL_LEN} bytes, found {found}: the file is cut short")]
    Short {
        /// Bytes present.
        found: usize,
    },
    /// A file of another kind, or of an unknown version.
    #[error(
        "expected it to begin with `{}`, found `{}`: {}",
        expected.escape_ascii(), found.escape_ascii(), kind_problem(expected, found)
    )]
    Kind {
        /// The expected kind.
        expected: FileKind,
        /// The kind in the seal.
        found: FileKind,
    },
    /// A file of another length than its seal states.
    #[error("expected a content of {expected} bytes, found {found}: the file is cut short, or has grown")]
    Length {
        /// Bytes announced.
        expected: u64,
        /// Bytes present.
        found: u64,
    },
    /// A file of another hash than its seal states.
    #[error("its sha256 is not the one recorded: the file was damaged or altered")]
    Hash,
}

/// Returns what a content of another kind is: kinds of one file differ in their last letter, its version.
fn kind_problem(expected: &FileKind, found: &FileKind) -> &'static str {
    match expected.split_last().map(|(_, name)| name) == found.split_last().map(|(_, name)| name) {
        true => "another version of fieldfit wrote it; use that version, or a newer one",
        false => "it is another kind of file, or one of another version of fieldfit",
    }
}

/// Returns the content with its seal before it.
pub fn seal(kind: FileKind, content: &[u8]) -> Vec<u8> {
    [&header(kind, content), content].concat()
}

/// Returns the content of what [`seal`] returned.
///
/// # Errors
/// [`SealError`] if it is not of this kind, was cut short or altered.
pub fn unseal(kind: FileKind, sealed: &[u8]) -> Result<&[u8], SealError> {
    let (found, rest) = sealed.split_first_chunk().ok_or(SealError::Short { found: sealed.len() })?;
    if *found != kind {
        return Err(SealError::Kind { expected: kind, found: *found });
    }
    let short = SealError::Short { found: sealed.len() };
    let (length, rest) = rest.split_first_chunk().ok_or(short.clone())?;
    let (hash, content) = rest.split_first_chunk().ok_or(short)?;
    let (expected, found) = (u64::from_le_bytes(*length), content.len() as u64);
    if expected != found {
        return Err(SealError::Length { expected, found });
    }
    if *hash != digest(kind, content) {
        return Err(SealError::Hash);
    }
    Ok(content)
}

/// [`commit`](crate::commit()) of a content with its seal, which is not copied for that.
///
/// # Errors
/// Those of [`commit`](crate::commit()).
pub fn commit_sealed(files: &dyn FileSystem, path: &Path, kind: FileKind, content: &[u8]) -> Result<(), DurableError> {
    commit_parts(files, path, &[&header(kind, content), content])
}

/// As [`commit_sealed`]; what was at `path` before is then at `previous`, in the same folder.
///
/// Whenever the power goes, at least one of the two is whole and as new as the last that was reported as committed: a
/// reader takes `path`, and `previous` if that is missing or damaged.
///
/// # Errors
/// Those of [`commit`](crate::commit()).
pub fn commit_sealed_keeping(
    files: &dyn FileSystem,
    path: &Path,
    previous: &Path,
    kind: FileKind,
    content: &[u8],
) -> Result<(), DurableError> {
    commit_parts_keeping(files, path, previous, &[&header(kind, content), content])
}

/// Returns the content of a file that [`commit_sealed`] wrote, of at most `limit` bytes.
///
/// # Errors
/// [`DurableError::Io`] if it can't be read or is longer; [`DurableError::Sealed`] if it is not as it was written.
pub fn read_sealed(files: &dyn FileSystem, path: &Path, kind: FileKind, limit: u64) -> Result<Vec<u8>, DurableError> {
    let mut bytes = read(files, path, limit.saturating_add(SEAL_LEN as u64))?;
    unseal(kind, &bytes).map_err(|source| DurableError::Sealed { path: path.to_owned(), source })?;
    bytes.drain(..SEAL_LEN);
    Ok(bytes)
}

fn header(kind: FileKind, content: &[u8]) -> [u8; SEAL_LEN] {
    let mut header = [0; SEAL_LEN];
    header[..8].copy_from_slice(&kind);
    header[8..16].copy_from_slice(&(content.len() as u64).to_le_bytes());
    header[16..].copy_from_slice(&digest(kind, content));
    header
}

fn digest(kind: FileKind, content: &[u8]) -> [u8; 32] {
    Sha256::new()
        .chain_update(kind)
        .chain_update((content.len() as u64).to_le_bytes())
        .chain_update(content)
        .finalize()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KIND: FileKind = *b"TESTING1";

    /// Catches: a file of a newer version that is taken for a damaged one, which would be restored from an older copy.
    #[test]
    fn a_newer_version_is_told_from_another_kind() {
        let message = |kind| unseal(KIND, &seal(kind, b"content")).unwrap_err().to_string();
        assert!(message(*b"TESTING2").contains("another version of fieldfit wrote it"), "{}", message(*b"TESTING2"));
        assert!(message(*b"\x89MCAP0\r\n").contains("it is another kind of file"));
    }

    /// Catches: damage that passes: any flipped bit, any cut, anything appended must be found.
    #[test]
    fn any_damage_is_found() {
        let sealed = seal(KIND, b"some content");
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(unseal(KIND, &flipped).is_err(), "bit {bit}");
        }
        for length in 0..sealed.len() {
            assert!(unseal(KIND, &sealed[..length]).is_err(), "cut to {length}");
        }
        let longer = [sealed.as_slice(), &[0]].concat();
        assert_eq!(unseal(KIND, &longer), Err(SealError::Length { expected: 12, found: 13 }));
    }

    /// Catches: the two renames of a commit that keeps the one before, in the wrong order or without it: after some power cut neither
    /// name has a whole content, or both have one older than what was reported as committed.
    #[test]
    fn of_a_content_and_the_one_before_one_is_whole_whenever_the_power_goes() {
        use crate::testing::{Fault, Simulated, exhaust};
        let (path, previous) = (Path::new("/file"), Path::new("/file.before"));
        let commit = |disk: &Simulated, step: u8| commit_sealed_keeping(disk, path, previous, KIND, &[step; 9]);
        let read = |disk: &Simulated| {
            let found = |path| read_sealed(disk, path, KIND, 99).ok().map(|content| content[0]);
            found(path).or_else(|| found(previous))
        };
        for before in 0..3 {
            for fault in [Fault::Stop, Fault::Error(std::io::ErrorKind::StorageFull)] {
                let lived_in = || {
                    let disk = Simulated::new();
                    (1..=before).for_each(|step| commit(&disk, step).unwrap());
                    disk
                };
                exhaust(
                    fault,
                    lived_in,
                    |disk| commit(disk, before + 1).is_ok(),
                    |disk, done| {
                        let found = read(disk).unwrap_or(0);
                        assert!(found == before + 1 || (!done && found == before), "{before}, {fault:?}: {found}");
                        commit(disk, 9).unwrap();
                        assert_eq!(read(disk), Some(9));
                    },
                );
            }
        }
    }

    /// Catches: another kind of file taken for damage, or a later version for this one.
    #[test]
    fn another_kind_is_named() {
        let error = unseal(*b"TESTING2", &seal(KIND, b"")).unwrap_err();
        assert_eq!(error, SealError::Kind { expected: *b"TESTING2", found: KIND });
        assert!(error.to_string().contains("`TESTING1`"), "{error}");
    }

    /// Catches: a file of any length read whole into memory.
    #[test]
    fn a_file_beyond_the_limit_is_not_read() {
        let disk = crate::testing::Simulated::new();
        let path = Path::new("/file");
        commit_sealed(&disk, path, KIND, &[7; 100]).unwrap();
        assert_eq!(read_sealed(&disk, path, KIND, 100).unwrap(), [7; 100]);
        let error = read_sealed(&disk, path, KIND, 99).unwrap_err();
        assert!(matches!(error, DurableError::Io { action: "read", .. }), "{error}");
    }

    proptest! {
        /// Catches: a content that doesn't come back, or bytes that make the reader panic.
        #[test]
        fn what_is_sealed_comes_back(content in proptest::collection::vec(any::<u8>(), 0..300)) {
            let sealed = seal(KIND, &content);
            prop_assert_eq!(unseal(KIND, &sealed), Ok(content.as_slice()));
            prop_assert!(unseal(KIND, &content).is_err());
            prop_assert!(unseal(KIND, &[KIND.as_slice(), &content].concat()).is_err());
        }
    }
}
