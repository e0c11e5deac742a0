//! C header: `crates/capi/include/fieldfit.h`, written from the code that it declares.

use crate::HeaderArgs;
use crate::error::XtaskError;
use std::fs;
use std::path::Path;

/// Header, relative to the repository.
const HEADER: &str = "crates/capi/include/fieldfit.h";

/// Writes the header, or checks that it is current; returns a summary.
pub fn run(repository: &Path, args: &HeaderArgs) -> Result<String, XtaskError> {
    let path = repository.join(HEADER);
    let text = generate(repository)?;
    if args.check {
        check(&path, &text)?;
        return Ok(format!("{HEADER} is current"));
    }
    fs::write(&path, text).map_err(|source| XtaskError::File { path, source })?;
    Ok(format!("wrote {HEADER}"))
}

/// Generates the header's text.
fn generate(repository: &Path) -> Result<String, XtaskError> {
    let crate_folder = repository.join("crates/capi");
    let configuration = crate_folder.join("cbindgen.toml");
    let config = cbindgen::Config::from_file(&configuration)
        .map_err(|reason| XtaskError::HeaderConfig { path: configuration, reason })?;
    let bindings = cbindgen::Builder::new().with_config(config).with_crate(crate_folder).generate();
    let mut text = Vec::new();
    bindings.map_err(XtaskError::Header)?.write(&mut text);
    // Rust's word for what C calls a contract.
    Ok(String::from_utf8_lossy(&text).replace("// # Safety\n// ", "// Contract: "))
}

fn check(path: &Path, expected: &str) -> Result<(), XtaskError> {
    let found = fs::read_to_string(path).map_err(|source| XtaskError::File { path: path.to_owned(), source })?;
    match found == expected {
        true => Ok(()),
        false => Err(XtaskError::OldHeader { path: path.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository;

    /// Catches: a function or a structure that was changed and whose header was not.
    #[test]
    fn the_header_is_that_of_the_code() {
        let repository = repository();
        check(&repository.join(HEADER), &generate(&repository).unwrap()).unwrap();
    }
}
