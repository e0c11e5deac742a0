//! JSON lines: images in `images/`, and `metadata.jsonl` beside it with a line for each.

use super::{Description, name, read, write_folder};
use crate::contents::Contents;
use crate::error::CollectError;
use serde::Serialize;
use std::fs;
use std::path::Path;

/// Line of `metadata.jsonl`.
#[derive(Serialize)]
struct Line<'a> {
    file_name: String,
    #[serde(flatten)]
    description: Description<'a>,
}

pub(super) fn write(contents: &Contents, to: &Path) -> Result<(), CollectError> {
    let failed = |source| CollectError::Export { path: to.to_owned(), source };
    write_folder(to, |folder| {
        fs::create_dir(folder.join("images")).map_err(failed)?;
        let mut metadata = Vec::new();
        for (image, label) in contents.images() {
            let file_name = format!("images/{}", name(image));
            fs::write(folder.join(&file_name), read(contents, image)?).map_err(failed)?;
            let line = Line { file_name, description: Description::of(image, label) };
            serde_json::to_writer(&mut metadata, &line).map_err(|error| failed(error.into()))?;
            metadata.push(b'\n');
        }
        fs::write(folder.join("metadata.jsonl"), metadata).map_err(failed)
    })
}
