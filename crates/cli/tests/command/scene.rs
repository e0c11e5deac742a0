//! Test scene: a folder with a small base and images, and the command run in it.

use assert_cmd::Command;
use fieldfit_tests::tiny;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

/// A fresh folder, the current one of every command run in it.
pub struct Scene {
    folder: tempfile::TempDir,
}

/// What a command did.
pub struct Ran {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

/// Long enough for any machine: a command that hangs fails the test.
pub const HANGS: Duration = Duration::from_secs(600);

/// Enough epochs for three colours, and little enough to do for a test.
pub const ADAPT: &str = "adapt --model tiny-1 --data images --store store --epochs 2 --threads 1";

impl Scene {
    /// A base in `tiny-1` and images of [`tiny::CLASSES`] in `images`.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        tiny::base(folder.path(), 1);
        tiny::images(&folder.path().join("images"), 30, 5);
        Self { folder }
    }

    /// The same, with an adaptation active in `store`.
    pub fn adapted() -> Self {
        let scene = Self::new();
        let ran = scene.run(ADAPT);
        assert_eq!(ran.status, 0, "{}", ran.stderr);
        scene
    }

    /// Makes images in `wrong` on which an adaptation ends below version 1: those to learn from have each other's labels.
    pub fn mislead(&self) {
        tiny::images(&self.path("wrong/val"), 20, 6);
        tiny::images(&self.path("wrong/train"), 20, 7);
        let folder = |name: &str| self.path("wrong/train").join(name);
        for (from, to) in [("grass", "grass or sand"), ("sand", "grass"), ("grass or sand", "sand")] {
            std::fs::rename(folder(from), folder(to)).unwrap();
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs the command with these arguments, divided at spaces.
    pub fn run(&self, arguments: &str) -> Ran {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("fieldfit"));
        let command = command.current_dir(&self.folder).args(arguments.split_whitespace()).env_remove("RUST_LOG");
        command.timeout(HANGS).output().unwrap().into()
    }

    /// Runs a command that has to fail, and gives what it said of it.
    pub fn refused(&self, arguments: &str) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.status, 1, "{arguments}\n{}{}", ran.stdout, ran.stderr);
        assert_eq!(ran.stdout, "", "a failure has no results");
        assert!(ran.stderr.contains("error: "), "{}", ran.stderr);
        ran.stderr
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let status = output.status.code().unwrap();
        Self { status, stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

impl Ran {
    /// Standard output as JSON lines: every line has to be one object.
    pub fn objects(&self) -> Vec<Value> {
        let objects: Vec<Value> =
            self.stdout.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect();
        assert!(objects.iter().all(Value::is_object), "{}", self.stdout);
        objects
    }
}

/// The names of an object's fields, sorted.
pub fn keys(object: &Value) -> Vec<&str> {
    let mut keys: Vec<_> = object.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}
