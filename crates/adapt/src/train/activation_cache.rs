//! Activation cache: keeps the activations of frozen stages in memory, or in an unnamed file where memory is short.

use crate::error::AdaptError;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Cache of activations by position, all of one length, f32.
pub(crate) enum ActivationCache {
    Memory(Vec<Box<[f32]>>),
    /// Unnamed file: the system reclaims it with the process, whatever ends it.
    File {
        file: File,
        /// Folder of the file, for errors.
        folder: PathBuf,
        images: usize,
    },
}

impl ActivationCache {
    /// Creates an empty cache in a file beside the checkpoint; without one, in the system's temporary folder.
    pub fn file(checkpoint: Option<&Path>) -> Result<Self, AdaptError> {
        let beside = checkpoint.and_then(Path::parent);
        let folder = beside.map_or_else(std::env::temp_dir, PathBuf::from);
        match tempfile::tempfile_in(&folder) {
            Ok(file) => Ok(Self::File { file, folder, images: 0 }),
            Err(source) => Err(AdaptError::ActivationCache { folder, source }),
        }
    }

    /// Appends an activation; returns its position.
    pub fn push(&mut self, values: &[f32]) -> Result<usize, AdaptError> {
        match self {
            Self::Memory(rows) => {
                rows.push(values.into());
                Ok(rows.len() - 1)
            }
            Self::File { file, folder, images } => {
                let bytes: &[u8] = bytemuck::cast_slice(values);
                let written = seek(file, *images, bytes.len()).and_then(|()| file.write_all(bytes));
                written.map_err(|source| AdaptError::ActivationCache { folder: folder.clone(), source })?;
                *images += 1;
                Ok(*images - 1)
            }
        }
    }

    /// Copies the activation at that position.
    pub fn copy_to(&mut self, position: usize, out: &mut [f32]) -> Result<(), AdaptError> {
        match self {
            Self::Memory(rows) => {
                out.copy_from_slice(&rows[position]);
                Ok(())
            }
            Self::File { file, folder, .. } => {
                let bytes: &mut [u8] = bytemuck::cast_slice_mut(out);
                let read = seek(file, position, bytes.len()).and_then(|()| file.read_exact(bytes));
                read.map_err(|source| AdaptError::ActivationCache { folder: folder.clone(), source })
            }
        }
    }
}

fn seek(file: &mut File, position: usize, bytes: usize) -> io::Result<()> {
    file.seek(SeekFrom::Start(position as u64 * bytes as u64)).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: activations that a file cuts off, rounds or mixes up.
    #[test]
    fn a_file_gives_back_the_bits_of_memory() {
        let mut file =
            ActivationCache::File { file: tempfile::tempfile().unwrap(), folder: std::env::temp_dir(), images: 0 };
        let rows: Vec<Vec<f32>> =
            (0..7_u32).map(|row| (0..5).map(|value| (row as f32 - 3.1) / (value as f32 + 0.3)).collect()).collect();
        let positions: Vec<usize> = rows.iter().map(|row| file.push(row).unwrap()).collect();
        for (row, position) in rows.iter().zip(positions).rev() {
            let mut read = vec![0.0; row.len()];
            file.copy_to(position, &mut read).unwrap();
            assert!(row.iter().zip(&read).all(|(a, b)| a.to_bits() == b.to_bits()));
        }
    }
}
