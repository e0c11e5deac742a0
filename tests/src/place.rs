//! Test disk: a disk of a test's own, to be filled or mounted read-only.

use crate::not_run;
use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Where the test finds it.
const PLACE: &str = "FIELDFIT_TEST_PLACE";

/// A tmpfs of that size in a mount namespace of the test's own, which is named as the harness names it.
///
/// Outside of one, the test runs again inside, and there is nothing left to do; where the system doesn't allow namespaces,
/// that is said loudly.
pub fn own_disk(test: &str, size: &str) -> Option<PathBuf> {
    let inside = env::var_os(PLACE).map(PathBuf::from);
    if inside.is_none() {
        run_inside(test, size);
    }
    inside
}

fn run_inside(test: &str, size: &str) {
    let place = tempfile::tempdir().unwrap();
    match unshare(place.path(), size, &["true"]).and_then(successful) {
        Ok(()) => {}
        Err(error) => {
            return not_run(test, &io::Error::new(error.kind(), format!("`unshare -rm` and a tmpfs: {error}")));
        }
    }
    let this = env::current_exe().unwrap();
    let output = unshare(place.path(), size, &[&this.to_string_lossy(), "--exact", test, "--nocapture"]).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn unshare(place: &Path, size: &str, command: &[&str]) -> io::Result<Output> {
    let script = r#"mount -t tmpfs -o size="$1" tmpfs "$0" && shift && exec "$@""#;
    let mut unshare = Command::new("unshare");
    unshare.args(["-rm", "sh", "-c", script]).arg(place).arg(size).args(command).env(PLACE, place).output()
}

fn successful(output: Output) -> io::Result<()> {
    let said = || io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned());
    output.status.success().then_some(()).ok_or_else(said)
}

/// Runs `mount` with these arguments and that place.
pub fn mount(arguments: &[&str], place: &Path) {
    assert!(Command::new("mount").args(arguments).arg(place).status().unwrap().success());
}
