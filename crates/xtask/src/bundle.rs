//! Bundle: a tarball for /opt of a board, with the command, a model, the profile, a systemd unit and checksums.

use crate::elf_requirements::ElfRequirements;
use crate::error::XtaskError;
use crate::release_build::release;
use crate::systemd_unit::systemd_unit;
use crate::{BundleArgs, repository};
use fieldfit_target::TargetProfile;
use flate2::{Compression, write::GzEncoder};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};

/// Top folder of the archive.
const ROOT: &str = "fieldfit";
/// Name of the checksum file, which `sha256sum --check` reads from within the folder.
const CHECKSUMS: &str = "SHA256SUMS";

/// File of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
struct BundleFile {
    /// Path below the top folder.
    path: String,
    mode: u32,
    bytes: Vec<u8>,
}

/// Builds, checks and packs a bundle; returns a summary.
pub fn run(args: &BundleArgs) -> Result<String, XtaskError> {
    let repository = repository();
    let board = &args.board;
    let binary = release(&repository, board, args.gpu, args.std_from_source)?;
    let bytes = read(&binary)?;
    let mut summary = format!("binary: {} ({:.2} MB, for {})", binary.display(), megabytes(&bytes), board.triple);
    if board.triple.contains("linux") {
        let required = ElfRequirements::of(&binary, &bytes)?;
        required.check(board, args.gpu)?;
        let glibc = required.glibc.map_or_else(|| "none".into(), |version| version.to_string());
        let names = if required.is_stripped { "stripped" } else { "NOT stripped" };
        summary.push_str(&format!("\nneeds:  {}; glibc {glibc} or later; {names}", required.libraries.join(", ")));
    }
    let mut entries = contents(board, bytes, &args.model)?;
    entries.push(checksums(&entries));
    let archive = pack(&entries).map_err(|source| XtaskError::File { path: args.out.clone(), source })?;
    let path = args.out.join(format!("fieldfit-{}{}.tar.gz", board.name, if args.gpu { "-gpu" } else { "" }));
    write(&path, &archive)?;
    summary.push_str(&format!("\nbundle: {} ({:.2} MB, {} files)", path.display(), megabytes(&archive), entries.len()));
    Ok(summary)
}

/// Collects the files of a bundle, except the checksums.
fn contents(board: &TargetProfile, binary: Vec<u8>, model: &Path) -> Result<Vec<BundleFile>, XtaskError> {
    let name = model.file_name().unwrap_or(model.as_os_str()).to_string_lossy().into_owned();
    let profile = toml::to_string(board)?.into_bytes();
    let mut entries = vec![
        BundleFile { path: "bin/fieldfit".into(), mode: 0o755, bytes: binary },
        BundleFile { path: "target.toml".into(), mode: 0o644, bytes: profile },
        BundleFile {
            path: "fieldfit-adapt.service".into(),
            mode: 0o644,
            bytes: systemd_unit(board, &name).into_bytes(),
        },
    ];
    for file in files(model)? {
        let leaf = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // Read-only, for the weights are memory-mapped.
        entries.push(BundleFile { path: format!("models/{name}/{leaf}"), mode: 0o444, bytes: read(&file)? });
    }
    Ok(entries)
}

/// Returns the files of a folder, sorted by name.
fn files(folder: &Path) -> Result<Vec<PathBuf>, XtaskError> {
    let failed = |source| XtaskError::File { path: folder.to_owned(), source };
    let entries = fs::read_dir(folder).map_err(failed)?;
    let mut files: Vec<PathBuf> =
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>().map_err(failed)?;
    files.retain(|path| path.is_file());
    files.sort();
    Ok(files)
}

/// Returns the checksum file.
fn checksums(entries: &[BundleFile]) -> BundleFile {
    let line = |entry: &BundleFile| format!("{}  {}\n", hex::encode(Sha256::digest(&entry.bytes)), entry.path);
    let bytes = entries.iter().map(line).collect::<String>().into_bytes();
    BundleFile { path: CHECKSUMS.into(), mode: 0o644, bytes }
}

/// Packs an archive; reproducible, for it has neither times nor owners.
fn pack(entries: &[BundleFile]) -> std::io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    for BundleFile { path, mode, bytes } in entries {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(*mode);
        archive.append_data(&mut header, format!("{ROOT}/{path}"), bytes.as_slice())?;
    }
    archive.into_inner()?.finish()
}

fn read(path: &Path) -> Result<Vec<u8>, XtaskError> {
    fs::read(path).map_err(|source| XtaskError::File { path: path.to_owned(), source })
}

/// Writes a file atomically: to a temporary name first, then renamed.
fn write(path: &Path, bytes: &[u8]) -> Result<(), XtaskError> {
    let failed = |source| XtaskError::File { path: path.to_owned(), source };
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

    /// Catches: a bundle that lacks a file, has a wrong checksum, or differs from one packing to the next.
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
