//! A tarball that is unpacked to /opt on the board, and all that the board needs.

use crate::BundleArgs;
use crate::build::release;
use crate::error::Error;
use crate::needs::Needs;
use crate::unit::unit;
use fieldfit_target::TargetProfile;
use flate2::{Compression, write::GzEncoder};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};

/// The folder that everything in the bundle is in.
const ROOT: &str = "fieldfit";
/// The file of checksums, as `sha256sum --check` reads it from within the folder.
const CHECKSUMS: &str = "SHA256SUMS";

/// One file of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    /// Its path below the root.
    path: String,
    mode: u32,
    bytes: Vec<u8>,
}

/// Builds, checks and packs; says what was made.
pub fn run(args: &BundleArgs) -> Result<String, Error> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let board = &args.board;
    let binary = release(&repository, board, args.gpu, args.std_from_source)?;
    let bytes = read(&binary)?;
    let mut told = format!("binary: {} ({:.2} MB, for {})", binary.display(), megabytes(&bytes), board.triple);
    if board.triple.contains("linux") {
        let needs = Needs::of(&binary, &bytes)?;
        needs.check(board, args.gpu)?;
        let glibc = needs.glibc.map_or_else(|| "none".into(), |version| version.to_string());
        let names = if needs.is_stripped { "stripped" } else { "NOT stripped" };
        told.push_str(&format!("\nneeds:  {}; glibc {glibc} or later; {names}", needs.libraries.join(", ")));
    }
    let mut entries = contents(board, bytes, &args.model)?;
    entries.push(checksums(&entries));
    let archive = pack(&entries).map_err(|source| Error::File { path: args.out.clone(), source })?;
    let path = args.out.join(format!("fieldfit-{}{}.tar.gz", board.name, if args.gpu { "-gpu" } else { "" }));
    write(&path, &archive)?;
    told.push_str(&format!("\nbundle: {} ({:.2} MB, {} files)", path.display(), megabytes(&archive), entries.len()));
    Ok(told)
}

/// Everything but the checksums.
fn contents(board: &TargetProfile, binary: Vec<u8>, model: &Path) -> Result<Vec<Entry>, Error> {
    let name = model.file_name().unwrap_or(model.as_os_str()).to_string_lossy().into_owned();
    let profile = toml::to_string(board)?.into_bytes();
    let mut entries = vec![
        Entry { path: "bin/fieldfit".into(), mode: 0o755, bytes: binary },
        Entry { path: "target.toml".into(), mode: 0o644, bytes: profile },
        Entry { path: "fieldfit-adapt.service".into(), mode: 0o644, bytes: unit(board, &name).into_bytes() },
    ];
    for file in files(model)? {
        let leaf = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // The weights are mapped: nobody is to write to them.
        entries.push(Entry { path: format!("models/{name}/{leaf}"), mode: 0o444, bytes: read(&file)? });
    }
    Ok(entries)
}

/// The files of a folder, by name.
fn files(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |source| Error::File { path: folder.to_owned(), source };
    let entries = fs::read_dir(folder).map_err(failed)?;
    let mut files: Vec<PathBuf> =
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>().map_err(failed)?;
    files.retain(|path| path.is_file());
    files.sort();
    Ok(files)
}

fn checksums(entries: &[Entry]) -> Entry {
    let line = |entry: &Entry| format!("{}  {}\n", hex::encode(Sha256::digest(&entry.bytes)), entry.path);
    let bytes = entries.iter().map(line).collect::<String>().into_bytes();
    Entry { path: CHECKSUMS.into(), mode: 0o644, bytes }
}

/// The archive; the same files give the same bytes: no time, no owner.
fn pack(entries: &[Entry]) -> std::io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    for Entry { path, mode, bytes } in entries {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(*mode);
        archive.append_data(&mut header, format!("{ROOT}/{path}"), bytes.as_slice())?;
    }
    archive.into_inner()?.finish()
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|source| Error::File { path: path.to_owned(), source })
}

/// Writes beside the path first, so that no half bundle is ever under its name.
fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let failed = |source| Error::File { path: path.to_owned(), source };
    let part = path.with_extension("part");
    path.parent().map_or(Ok(()), fs::create_dir_all).map_err(failed)?;
    fs::write(&part, bytes).map_err(failed)?;
    fs::rename(&part, path).map_err(failed)
}

fn megabytes(bytes: &[u8]) -> f64 {
    bytes.len() as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::read::GzDecoder;
    use std::collections::BTreeMap;
    use std::io::Read;

    /// A bundle that lacks a part, holds a wrong checksum, or differs from one packing to the next.
    #[test]
    fn a_bundle_holds_everything_with_its_checksum() {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("tiny");
        fs::create_dir(&model).unwrap();
        fs::write(model.join("manifest.toml"), b"name").unwrap();
        fs::write(model.join("weights.safetensors"), [7; 1000]).unwrap();
        let board = TargetProfile::named("raspberry-pi-5").unwrap();
        let mut entries = contents(&board, b"binary".to_vec(), &model).unwrap();
        entries.push(checksums(&entries));
        let archive = pack(&entries).unwrap();
        assert_eq!(archive, pack(&entries).unwrap());

        let mut unpacked = BTreeMap::new();
        for file in tar::Archive::new(GzDecoder::new(archive.as_slice())).entries().unwrap() {
            let mut file = file.unwrap();
            let name = file.path().unwrap().to_str().unwrap().to_owned();
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).unwrap();
            unpacked.insert(name, (file.header().mode().unwrap(), bytes));
        }
        let expected = [
            "SHA256SUMS",
            "bin/fieldfit",
            "fieldfit-adapt.service",
            "models/tiny/manifest.toml",
            "models/tiny/weights.safetensors",
            "target.toml",
        ];
        assert_eq!(unpacked.keys().cloned().collect::<Vec<_>>(), expected.map(|path| format!("fieldfit/{path}")));
        let profile = String::from_utf8(unpacked["fieldfit/target.toml"].1.clone()).unwrap();
        assert_eq!(TargetProfile::parse("target.toml", &profile).unwrap(), board);
        assert_eq!(unpacked["fieldfit/bin/fieldfit"], (0o755, b"binary".to_vec()));
        let sums = String::from_utf8(unpacked["fieldfit/SHA256SUMS"].1.clone()).unwrap();
        assert_eq!(sums.lines().count(), expected.len() - 1);
        for line in sums.lines() {
            let (sum, path) = line.split_once("  ").unwrap();
            assert_eq!(sum, hex::encode(Sha256::digest(&unpacked[&format!("fieldfit/{path}")].1)), "{path}");
        }
    }
}
