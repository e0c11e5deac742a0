//! Lists the profiles of the folder `targets`, a link to the repository's, so that a new target is one new file.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let folder = Path::new(&env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("targets");
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut profiles: Vec<PathBuf> = fs::read_dir(&folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .filter(|path| path.as_ref().map_or(true, |path| path.extension().is_some_and(|extension| extension == "toml")))
        .collect::<io::Result<_>>()?;
    profiles.sort();
    let mut list = String::from("[");
    for path in profiles {
        let (path, name) = (path.canonicalize()?, path.file_stem().unwrap_or_default().to_string_lossy().into_owned());
        let _ = write!(list, "({name:?}, include_str!({path:?})), ");
    }
    list.push(']');
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("profiles.rs");
    fs::write(
        out,
        format!("/// Name and text of each profile in `targets/`.\nconst PROFILES: &[(&str, &str)] = &{list};\n"),
    )
}
