//! Image folder: one folder a class.

use super::{name, read, write_folder};
use crate::contents::Contents;
use crate::error::CollectError;
use std::fs;
use std::path::Path;

pub(super) fn write(contents: &Contents, to: &Path) -> Result<(), CollectError> {
    let failed = |source| CollectError::Export { path: to.to_owned(), source };
    write_folder(to, |folder| {
        for (image, label) in contents.images() {
            let class = folder.join(&label.class);
            fs::create_dir_all(&class).map_err(failed)?;
            fs::write(class.join(name(image)), read(contents, image)?).map_err(failed)?;
        }
        Ok(())
    })
}
