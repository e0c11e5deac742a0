//! WebDataset: a tar archive with an image, the number of its class and a description under one key each.

use super::{Description, name, parent, read};
use crate::contents::Contents;
use crate::error::CollectError;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use tempfile::NamedTempFile;

pub(super) fn write(contents: &Contents, to: &Path, classes: &[&str]) -> Result<(), CollectError> {
    let failed = |source| CollectError::Export { path: to.to_owned(), source };
    let file = NamedTempFile::new_in(parent(to)).map_err(failed)?;
    let mut archive = tar::Builder::new(BufWriter::new(file));
    for (image, label) in contents.images() {
        let name = name(image);
        let key = name.split_once('.').map_or(name.as_str(), |(key, _)| key);
        let class = classes.binary_search(&label.class.as_str()).unwrap_or_default();
        let description = serde_json::to_vec(&Description::of(image, label)).map_err(|error| failed(error.into()))?;
        append(&mut archive, &name, &read(contents, image)?).map_err(failed)?;
        append(&mut archive, &format!("{key}.cls"), class.to_string().as_bytes()).map_err(failed)?;
        append(&mut archive, &format!("{key}.json"), &description).map_err(failed)?;
    }
    let file = archive.into_inner().and_then(|file| Ok(file.into_inner()?)).map_err(failed)?;
    file.persist_noclobber(to).map_err(|error| failed(error.error))?;
    Ok(())
}

fn append(archive: &mut tar::Builder<impl Write>, name: &str, content: &[u8]) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, name, content)
}
