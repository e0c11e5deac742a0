//! Played scenes: the sample images in the order in which a camera drives past them.

use fieldfit::Error;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Frames of one thing, and its class.
pub struct Scene {
    pub class: String,
    pub frames: Vec<PathBuf>,
}

/// Returns the scenes of a folder of classes, the classes in turn: `bird/duck_1f986.png` shows a duck.
pub fn scenes(folder: &Path) -> Result<Vec<Scene>, Error> {
    let mut rounds: BTreeMap<usize, Vec<Scene>> = BTreeMap::new();
    for class in listed(folder)? {
        let mut things: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
        for path in listed(&class)? {
            let thing = name(&path).split('_').next().unwrap_or_default().to_owned();
            things.entry(thing).or_default().push(path);
        }
        for (round, frames) in things.into_values().enumerate() {
            rounds.entry(round).or_default().push(Scene { class: name(&class), frames });
        }
    }
    Ok(rounds.into_values().flatten().collect())
}

/// The entries of a folder, sorted.
fn listed(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |source| Error::Read { path: folder.to_owned(), source };
    let entries = fs::read_dir(folder).map_err(failed)?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, _>>().map_err(failed)?;
    paths.sort();
    Ok(paths)
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
