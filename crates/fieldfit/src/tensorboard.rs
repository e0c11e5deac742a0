//! TensorBoard log: the curves of an adaptation, by optimiser step.
//!
//! | tag | value |
//! |---|---|
//! | `train/loss`, `train/learning_rate`, `train/gradient_norm` | of each step |
//! | `train/epoch_loss`, `validation/accuracy` | of each epoch |
//! | `probe/loss`, `probe/validation_accuracy` | of the linear probe |
//! | `radii/mean_ratio`, `radii/closed`, `radii/open`, `radii/loss` | the summary of the radii |
//! | `gate/before`, `gate/after` | of the verdict |

use crate::Error;
use fieldfit_adapt::{Event, Gate, RadiiSummary};
use fieldfit_report::EventFileWriter;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::time::{Duration, SystemTime};

/// Log of an adaptation that TensorBoard reads, also while it grows: a new event file in a folder.
#[derive(Debug)]
pub struct TensorBoardLog {
    writer: EventFileWriter<File>,
    path: PathBuf,
    /// The last step that was done.
    step: u64,
}

impl TensorBoardLog {
    /// Begins an event file in a folder, which is created if missing.
    ///
    /// # Errors
    /// [`Error::Output`] if the folder or the file cannot be created.
    pub fn create(folder: impl AsRef<Path>) -> Result<Self, Error> {
        let (folder, time) = (folder.as_ref(), now());
        let name = format!("events.out.tfevents.{:010}.{}.fieldfit", time.as_secs(), process::id());
        fs::create_dir_all(folder).map_err(failed(folder))?;
        let numbered = (0..u32::MAX).map(|number| folder.join(format!("{name}.{number}")));
        for path in numbered {
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                file => {
                    let writer = file.and_then(|file| EventFileWriter::new(file, time)).map_err(failed(&path))?;
                    return Ok(Self { writer, path, step: 0 });
                }
            }
        }
        Err(failed(folder)(io::ErrorKind::AlreadyExists.into()))
    }

    /// Writes the values of an event, if it has some.
    ///
    /// # Errors
    /// [`Error::Output`] if the file cannot be written.
    pub fn record(&mut self, event: &Event) -> Result<(), Error> {
        if let Event::Step { step, .. } | Event::Resumed { step } = event {
            self.step = *step;
        }
        match values(event) {
            values if values.is_empty() => Ok(()),
            values => self.writer.write(now(), self.step, &values).map_err(failed(&self.path)),
        }
    }
}

/// Values of an event, by tag.
fn values(event: &Event) -> Vec<(&'static str, f64)> {
    match event {
        Event::Step { loss, learning_rate, gradient, .. } => {
            vec![("train/loss", *loss), ("train/learning_rate", *learning_rate), ("train/gradient_norm", *gradient)]
        }
        Event::Epoch { loss, accuracy, .. } => vec![("train/epoch_loss", *loss), ("validation/accuracy", *accuracy)],
        Event::Probe { loss, accuracy, .. } => vec![("probe/loss", *loss), ("probe/validation_accuracy", *accuracy)],
        Event::Radii(RadiiSummary { mean_ratio, closed, open, loss, .. }) => vec![
            ("radii/mean_ratio", *mean_ratio),
            ("radii/closed", *closed as f64),
            ("radii/open", *open as f64),
            ("radii/loss", *loss),
        ],
        Event::Gate(gate) => gate_values(gate),
        Event::Plan { .. }
        | Event::Skipped(_)
        | Event::Unreadable { .. }
        | Event::Memory(_)
        | Event::Frozen { .. }
        | Event::Resumed { .. }
        | Event::Paused
        | Event::Unpaused { .. }
        | Event::Progress { .. }
        | Event::Shares { .. }
        | Event::Degenerate { .. }
        | Event::Interpolation { .. }
        | Event::Branches(_)
        | Event::Collapse { .. }
        | Event::Checkpoint { .. }
        | Event::CheckpointFailed { .. }
        | Event::EarlyStop { .. }
        | Event::Coded(_)
        | Event::Done { .. } => Vec::new(),
        // `Event` is `non_exhaustive`: the compiler asks for this arm, and lists no new variant here.
        _new => Vec::new(),
    }
}

fn gate_values(gate: &Gate) -> Vec<(&'static str, f64)> {
    let figures = gate.figures();
    vec![("gate/before", figures.before), ("gate/after", figures.after)]
}

/// Time since 1970.
fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

fn failed(path: &Path) -> impl Fn(io::Error) -> Error {
    move |source| Error::Output { path: path.to_owned(), source }
}
