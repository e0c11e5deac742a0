//! Soak test: hours of a robot's life in one folder, with frames in one process, adaptations and visitors in others,
//! swaps, rollbacks, poisoned candidates and SIGKILLs; ends with status 1 if anything was lost or grew.
//!
//! ```text
//! cargo run -p fieldfit-tests --example soak -- --minutes 120 FOLDER
//! ```
//!
//! `FOLDER` is new; `FOLDER/log.jsonl` has a line a quarter of a minute, and the verdict last.

mod camera;
mod field;
mod watch;

use field::Field;
use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["camera", folder] => camera::run(Path::new(folder)),
        ["visit", folder] => camera::visit(Path::new(folder)),
        ["adapt", folder, resume] => field::adapt(Path::new(folder), *resume == "true"),
        ["--minutes", minutes, folder] => soak(minutes, PathBuf::from(folder)),
        _ => Err("usage: soak --minutes N FOLDER".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", words.first().unwrap_or(&"soak"));
            ExitCode::FAILURE
        }
    }
}

/// Whatever ends a process.
type Error = Box<dyn std::error::Error>;

fn soak(minutes: &str, folder: PathBuf) -> Result<(), Error> {
    let minutes: f64 = minutes.parse()?;
    let field = Field::new(folder)?;
    let verdict = watch::Watch::new(&field)?.run(minutes)?;
    println!("{verdict}");
    if verdict.is_good() { Ok(()) } else { Err("something was lost, or grew".into()) }
}
