//! Tests of the mapped weights: verification that spares hashing, and a process whose base is truncated under it.
#![allow(clippy::unwrap_used, reason = "a test that cannot prepare its files has failed")]

use fieldfit_durable::{FileMark, Verification};
use fieldfit_model::{Base, BaseOptions, ModelError};
use fieldfit_tests::tiny;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

struct Model {
    _folder: TempDir,
    path: PathBuf,
}

impl Model {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = tiny::base(folder.path(), 5);
        Self { _folder: folder, path }
    }

    fn weights(&self) -> PathBuf {
        self.path.join("weights.safetensors")
    }

    /// Changes a byte of the last tensor in place, under the file's protection.
    fn alter(&self) {
        let mut bytes = fs::read(self.weights()).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        let file = writable(&self.weights());
        let times = fs::FileTimes::new().set_modified(file.metadata().unwrap().modified().unwrap());
        fs::write(self.weights(), bytes).unwrap();
        file.set_times(times).unwrap();
    }

    /// The verification that the file as it is now has the manifest's hash, which it has when this is called.
    fn claim(&self) -> Verification {
        let sha256 = Base::open(&self.path).unwrap().manifest().weights.sha256;
        Verification { file: FileMark::of(&File::open(self.weights()).unwrap()).unwrap(), sha256 }
    }

    fn open(&self, verification: Verification) -> Result<Base, ModelError> {
        Base::open_as(&self.path, BaseOptions::default().with_verification(Some(verification)))
    }
}

/// The file, for whoever insists on writing to it.
fn writable(path: &Path) -> File {
    let mut permissions = fs::metadata(path).unwrap().permissions();
    #[allow(clippy::permissions_set_readonly_false, reason = "a file in a folder of the test's own")]
    permissions.set_readonly(false);
    fs::set_permissions(path, permissions).unwrap();
    fs::OpenOptions::new().write(true).open(path).unwrap()
}

/// Catches: a start that hashes the weights again although the file is the very same: here the hash would be found wrong.
#[test]
#[cfg(unix)]
fn a_proven_file_is_not_hashed_again() {
    let model = Model::new();
    let mut claim = model.claim();
    model.alter();
    claim.file = FileMark::of(&File::open(model.weights()).unwrap()).unwrap();
    assert_eq!(model.open(claim).unwrap().verification(), Some(claim));
    let copied = Base::open_as(&model.path, BaseOptions::default().with_copied(true).with_verification(Some(claim)));
    assert!(matches!(copied.unwrap_err(), ModelError::Altered { .. }), "a copy is of bytes that nobody has proven");
}

/// Catches: a verification that outlives a change: content altered in place under the same length and the same time of modification, the
/// file replaced by another of the same bytes, a manifest of other weights.
#[test]
#[cfg(unix)]
fn a_changed_file_is_proven_anew() {
    let model = Model::new();
    let claim = model.claim();
    let copy = model.path.join("copy");
    fs::copy(model.weights(), &copy).unwrap();
    fs::rename(&copy, model.weights()).unwrap();
    assert_ne!(model.open(claim).unwrap().verification(), Some(claim), "another file of the same bytes");

    let claim = model.claim();
    let other = Verification { sha256: [7; 32], ..claim };
    assert_ne!(model.open(other).unwrap().verification(), Some(other), "the same file, another hash");

    model.alter();
    assert!(matches!(model.open(claim).unwrap_err(), ModelError::Altered { .. }));
}

/// Which way the child process below opens its base.
const CHILD: &str = "FIELDFIT_TEST_TRUNCATED";

/// Catches: what the next test does, whose child process this is: it opens a base, truncates its weights and reads them.
#[test]
fn child_reads_truncated_weights() {
    let Ok(way) = std::env::var(CHILD) else { return };
    let model = Model::new();
    let base = Base::open_as(&model.path, BaseOptions::default().with_copied(way == "copied")).unwrap();
    writable(&model.weights()).set_len(16).unwrap();
    let params = base.params::<f32>();
    assert!(base.network().tensors().all(|(id, _)| params[id].iter().all(|value| value.is_finite())));
}

/// Catches: a truncation under the map that goes unnoticed and leaves zeros for weights, or one that reaches a copy.
#[test]
#[cfg(target_os = "linux")]
fn truncation_kills_a_mapped_base_and_no_copied_one() {
    use std::os::unix::process::ExitStatusExt;
    const SIGBUS: i32 = 7;
    let run = |way: &str| {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "child_reads_truncated_weights"]).env(CHILD, way).output().unwrap()
    };
    let copied = run("copied");
    assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stdout));
    assert!(String::from_utf8_lossy(&copied.stdout).contains("1 passed"));
    assert_eq!(run("mapped").status.signal(), Some(SIGBUS));
}
