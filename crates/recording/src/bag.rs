//! rosbag2 folders: the MCAP files that `metadata.yaml` lists.

use crate::error::RecordingError;
use fieldfit_durable::read_bounded;
use std::path::{Component, Path, PathBuf};

/// File that describes a bag.
const METADATA: &str = "metadata.yaml";
/// Maximum bytes of it.
const MAX_METADATA_BYTES: u64 = 1 << 24;

/// Returns the MCAP files of a recording, in their order: the file itself, or those of a rosbag2 folder.
///
/// # Errors
/// [`RecordingError::Convert`] for a bag in SQLite or of compressed files; [`RecordingError::Malformed`] if `metadata.yaml` lists
/// no files, or one outside the folder.
pub fn files(path: &Path) -> Result<Vec<PathBuf>, RecordingError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let metadata = path.join(METADATA);
    let malformed =
        |problem: String| RecordingError::Malformed { path: metadata.clone(), record: "the bag".into(), problem };
    let text = read_bounded(&metadata, MAX_METADATA_BYTES)?;
    let text = String::from_utf8(text).map_err(|_| malformed("it is no UTF-8".into()))?;
    let convert = |format, converter| RecordingError::Convert { path: path.to_owned(), format, converter };
    match value(&text, "storage_identifier") {
        Some("mcap") => {}
        Some("sqlite3") => return Err(convert("an SQLite bag of ROS 2", BAG_CONVERTER)),
        found => {
            let found = found.unwrap_or("none");
            return Err(malformed(format!("expected the storage_identifier mcap, found {found}: {BAG_CONVERTER}")));
        }
    }
    if value(&text, "compression_mode").is_some_and(|mode| !mode.eq_ignore_ascii_case("none")) {
        return Err(convert("a bag that rosbag2 compressed", BAG_CONVERTER));
    }
    let files = listed(&text, "relative_file_paths");
    if files.is_empty() {
        return Err(malformed("it lists no relative_file_paths: run `ros2 bag reindex -s mcap BAG`".into()));
    }
    let file = |name: &str| {
        // Written without the folder by rosbag2, and with it by its first versions.
        let name = Path::new(name);
        let is_within = name.components().all(|part| matches!(part, Component::Normal(_)));
        match name.file_name().filter(|_| is_within) {
            Some(name) => Ok(path.join(name)),
            None => Err(malformed(format!("expected files within the folder, found {}", name.display()))),
        }
    };
    files.into_iter().map(file).collect()
}

/// Command that converts bags of other storages.
pub const BAG_CONVERTER: &str =
    "ros2 bag convert -i BAG -o mcap.yaml` or `rosbags-convert --src BAG --dst OUT --dst-storage mcap";

/// Returns whether a folder is a rosbag2 folder: whether it has a `metadata.yaml`.
pub fn is_bag(path: &Path) -> bool {
    path.join(METADATA).is_file()
}

/// Value of the first line `key: value` at any depth, without quotes; `None` for an empty one.
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let value = text.lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix(':'))?;
    Some(unquoted(value)).filter(|value| !value.is_empty())
}

/// Items of the list after the line `key:`.
fn listed<'a>(text: &'a str, key: &str) -> Vec<&'a str> {
    let mut lines = text.lines().map(str::trim);
    let found = lines.any(|line| line.strip_prefix(key).is_some_and(|rest| rest.trim() == ":"));
    let items = lines.map_while(|line| line.strip_prefix("- ").map(unquoted));
    items.take_while(|_| found).collect()
}

fn unquoted(value: &str) -> &str {
    value.trim().trim_matches(['"', '\''])
}
