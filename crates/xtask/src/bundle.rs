//! Bundle: a tarball for /opt of a board, with the command, the C package, a model, the profile, a systemd unit and checksums.

use crate::elf_requirements::ElfRequirements;
use crate::error::XtaskError;
use crate::package_file::{PackageFile, pack, write};
use crate::release_build::{Release, release};
use crate::systemd_unit::systemd_unit;
use crate::{BundleArgs, c_package, repository};
use fieldfit_target::TargetProfile;
use std::fs;
use std::path::{Path, PathBuf};

/// Top folder of the archive.
const ROOT: &str = "fieldfit";
/// Name of the checksum file, which `sha256sum --check` reads from within the folder.
const CHECKSUMS: &str = "SHA256SUMS";

/// Builds, checks and packs a bundle; returns a summary.
pub fn run(args: &BundleArgs) -> Result<String, XtaskError> {
    let repository = repository();
    let board = &args.board;
    let Release { command, library } = release(&repository, board, args.gpu, args.std_from_source)?;
    let (binary, shared) = (read(&command)?, read(&library)?);
    let mut summary = describe(board, args.gpu, &command, &binary)?;
    summary.push_str(&describe(board, args.gpu, &library, &shared)?);
    let mut entries = contents(board, binary, &args.model)?;
    entries.extend(c_package::contents(&repository, shared, board.triple.contains("apple"))?);
    entries.push(checksums(&entries));
    let archive = pack(ROOT, &entries).map_err(|source| XtaskError::File { path: args.out.clone(), source })?;
    let path = args.out.join(format!("fieldfit-{}{}.tar.gz", board.name, if args.gpu { "-gpu" } else { "" }));
    write(&path, 0o644, &archive)?;
    summary.push_str(&format!("bundle: {} ({:.2} MB, {} files)", path.display(), megabytes(&archive), entries.len()));
    Ok(summary)
}

/// Checks what a binary needs against the board, and describes it.
fn describe(board: &TargetProfile, gpu: bool, path: &Path, bytes: &[u8]) -> Result<String, XtaskError> {
    let mut summary = format!("binary: {} ({:.2} MB, for {})\n", path.display(), megabytes(bytes), board.triple);
    if board.triple.contains("linux") {
        let required = ElfRequirements::of(path, bytes)?;
        required.check(board, gpu)?;
        let glibc = required.glibc.map_or_else(|| "none".into(), |version| version.to_string());
        let names = if required.is_stripped { "stripped" } else { "NOT stripped" };
        summary.push_str(&format!("needs:  {}; glibc {glibc} or later; {names}\n", required.libraries.join(", ")));
    }
    Ok(summary)
}

/// Collects the files of a bundle, except the C package and the checksums.
fn contents(board: &TargetProfile, binary: Vec<u8>, model: &Path) -> Result<Vec<PackageFile>, XtaskError> {
    let name = model.file_name().unwrap_or(model.as_os_str()).to_string_lossy().into_owned();
    let mut entries = vec![
        PackageFile::new("bin/fieldfit", 0o755, binary),
        PackageFile::new("target.toml", 0o644, toml::to_string(board)?),
        PackageFile::new("fieldfit-adapt.service", 0o644, systemd_unit(board, &name)),
    ];
    for file in files(model)? {
        let leaf = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // Read-only, for the weights are memory-mapped.
        entries.push(PackageFile::new(format!("models/{name}/{leaf}"), 0o444, read(&file)?));
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
fn checksums(entries: &[PackageFile]) -> PackageFile {
    PackageFile::new(CHECKSUMS, 0o644, entries.iter().filter_map(PackageFile::checksum).collect::<String>())
}

fn read(path: &Path) -> Result<Vec<u8>, XtaskError> {
    fs::read(path).map_err(|source| XtaskError::File { path: path.to_owned(), source })
}

fn megabytes(bytes: &[u8]) -> f64 {
    bytes.len() as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::read::GzDecoder;
    use sha2::{Digest, Sha256};
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
        entries.extend(c_package::contents(&repository(), b"library".to_vec(), false).unwrap());
        entries.push(checksums(&entries));
        let archive = pack(ROOT, &entries).unwrap();
        assert_eq!(archive, pack(ROOT, &entries).unwrap());

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
            "include/fieldfit.h",
            "include/fieldfit.hpp",
            "lib/cmake/fieldfit/fieldfitConfig.cmake",
            "lib/cmake/fieldfit/fieldfitConfigVersion.cmake",
            "lib/libfieldfit.so",
            "lib/libfieldfit.so.0",
            "lib/pkgconfig/fieldfit.pc",
            "models/tiny/manifest.toml",
            "models/tiny/weights.safetensors",
            "target.toml",
        ];
        assert_eq!(unpacked.keys().cloned().collect::<Vec<_>>(), expected.map(|path| format!("fieldfit/{path}")));
        let profile = String::from_utf8(unpacked["fieldfit/target.toml"].1.clone()).unwrap();
        assert_eq!(TargetProfile::parse("target.toml", &profile).unwrap(), board);
        assert_eq!(unpacked["fieldfit/bin/fieldfit"], (0o755, b"binary".to_vec()));
        let sums = String::from_utf8(unpacked["fieldfit/SHA256SUMS"].1.clone()).unwrap();
        assert_eq!(sums.lines().count(), expected.len() - 2, "all but the sums and the link");
        for line in sums.lines() {
            let (sum, path) = line.split_once("  ").unwrap();
            assert_eq!(sum, hex::encode(Sha256::digest(&unpacked[&format!("fieldfit/{path}")].1)), "{path}");
        }
    }
}
