//! Error: why an operation of this crate failed, with the errors of the crates below as sources.

use crate::Version;
use fieldfit_adapt::ClassifierError;
use fieldfit_durable::BoundedReadError;
use fieldfit_tensor::Task;
use fieldfit_tensor::text::escape;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Error of any operation of this crate.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// An invalid base, or a delta that does not fit it.
    #[error(transparent)]
    Model(#[from] fieldfit_model::ModelError),
    /// An invalid delta file.
    #[error("{}: {source}", path.display())]
    Delta {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: Box<fieldfit_delta::DeltaError>,
    },
    /// Images that cannot be used.
    #[error(transparent)]
    Data(#[from] fieldfit_data::DataError),
    /// A collection that cannot be read or written, or refuses an operation.
    #[error(transparent)]
    Collect(#[from] fieldfit_collect::CollectError),
    /// A data set of another tool that cannot be read.
    #[error(transparent)]
    Dataset(#[from] fieldfit_datasets::DatasetError),
    /// Deltas that cannot be merged.
    #[error(transparent)]
    Merge(#[from] crate::delta::MergeError),
    /// A failed computation, or an unavailable device.
    #[error(transparent)]
    Exec(#[from] fieldfit_exec::ExecError),
    /// A store that cannot be read or written, or refuses an operation.
    #[error(transparent)]
    Store(#[from] fieldfit_store::StoreError),
    /// An adaptation that was not completed; nothing was stored.
    #[error(transparent)]
    Adapt(#[from] fieldfit_adapt::AdaptError),
    /// A file that cannot be read.
    #[error("cannot read {}: check that the file is there and may be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A path that leads to no regular file, or to one that is too long for what it is read as.
    #[error(transparent)]
    File(BoundedReadError),
    /// A file that is longer than any delta.
    #[error("{} has {found} bytes, and a delta at most {limit}: check the path", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The most that a delta has, for the base where one is known.
        limit: usize,
        /// Its length.
        found: u64,
    },
    /// A compressed delta that cannot be decompressed.
    #[error("{}: {source}", path.display())]
    Transport {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: Box<fieldfit_delta::compression::CompressionError>,
    },
    /// A file without a secret key.
    #[error(
        "{} holds no Ed25519 key in PEM (PKCS #8): make one with `fieldfit key new`, or `openssl genpkey -algorithm ed25519`",
        path.display()
    )]
    Key {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: ed25519_dalek::pkcs8::Error,
    },
    /// A secret key that others than its owner can read.
    #[error("{} can be read by others than its owner: chmod 600 it, or make another key", path.display())]
    OpenKey {
        /// The file.
        path: PathBuf,
    },
    /// A secret key that cannot be written.
    #[error("cannot write a new key to {}: {}", path.display(), new_key_advice(source))]
    WriteKey {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A scratch folder that cannot be written to.
    #[error("cannot write to {}: name a folder on the disk that the store is to be on", path.display())]
    Scratch {
        /// The folder.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A value out of the exported type's range.
    #[error("`{name}`: {found} at index {index} is beyond {dtype}: export it as f32 or bf16")]
    ExportRange {
        /// The tensor.
        name: String,
        /// The value's index.
        index: usize,
        /// The value.
        found: f32,
        /// The type.
        dtype: fieldfit_tensor::Dtype,
    },
    /// An export that failed.
    #[error("cannot export to {}: {source}", path.display())]
    Export {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file that cannot be written.
    #[error(transparent)]
    Durable(#[from] fieldfit_durable::DurableError),
    /// A delta that was just encoded and cannot be parsed.
    #[error("the delta of this run cannot be read back: {source}; please report this")]
    Made {
        /// The cause.
        source: Box<fieldfit_delta::DeltaError>,
    },
    /// A run log that cannot be read or written.
    #[error("cannot read or write {}: check the folder, the permissions and the space left", path.display())]
    RunLog {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// An output file that cannot be written.
    #[error("cannot write {}: check the folder, the permissions and the space left", path.display())]
    Output {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// An output path that names something else than a regular file.
    #[error("cannot write {}: expected a regular file or none, found {found}; choose another path", path.display())]
    NotRegular {
        /// The path.
        path: PathBuf,
        /// What is there.
        found: &'static str,
    },
    /// An output path at which a file of another kind is.
    #[error("cannot write {}: the file that is there is not {expected}, and would be lost; choose another path, or remove it", path.display())]
    Foreign {
        /// The path.
        path: PathBuf,
        /// Kind of the output, with its article.
        expected: &'static str,
    },
    /// An output path that names a part of a model folder or a store.
    #[error("cannot write {}: it is a part of {holder}; choose another path", path.display())]
    Kept {
        /// The path.
        path: PathBuf,
        /// What it is a part of.
        holder: &'static str,
    },
    /// An output path that is that of an input.
    #[error("cannot write {}: it is an input, too; choose another path", path.display())]
    OutputIsInput {
        /// The path.
        path: PathBuf,
    },
    /// A line of a run log that is not a run record.
    #[error("line {line} of {} is no run of a comparison: give another file, or remove the line", path.display())]
    RunLogLine {
        /// The file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// The cause.
        source: serde_json::Error,
    },
    /// An input size that the architecture cannot take.
    #[error("{}: its manifest's input size does not fit its architecture", path.display())]
    Input {
        /// The model folder.
        path: PathBuf,
        /// The cause.
        source: fieldfit_nets::ShapeError,
    },
    /// An operation that needs the base's own head, on a base without one.
    #[error(
        "{} is a backbone without a head, which cannot {action}: adapt it to your classes, and run what comes of it by \
         its store or its delta file", path.display()
    )]
    Headless {
        /// The model folder.
        path: PathBuf,
        /// The operation.
        action: &'static str,
    },
    /// A question that is another task's.
    #[error(
        "the running model does {found}, and cannot {action}: {}",
        match found {
            Task::Classification => "call `infer`, which ranks the classes of a frame",
            Task::Segmentation => "call `segment`, which names the class of each pixel",
            Task::Regression => "call `estimate`, which answers with values",
            Task::MultiLabel => "call `tag`, which tells any number of labels",
        }
    )]
    OtherTask {
        /// Task of the model.
        found: Task,
        /// What it was to do.
        action: &'static str,
    },
    /// A set of a comparison that is labelled for another task.
    #[error(
        "the images of `{}` are labelled for {found}, and are measured for {expected}: leave them out",
        escape(set)
    )]
    SetOfTask {
        /// The set's name.
        set: String,
        /// Task that is measured.
        expected: Task,
        /// Task of the images.
        found: Task,
    },
    /// Images that are labelled for another task than the version's.
    #[error(
        "the images are labelled for {images}, but {version}{} does {found}: measure it on images of its task, or activate a \
         version for theirs",
        if *.is_base_head { " under the base's own head" } else { "" }
    )]
    ImagesOfTask {
        /// Task of the images.
        images: Task,
        /// The version.
        version: Version,
        /// Its task.
        found: Task,
        /// Whether it was to be measured under the base's own head.
        is_base_head: bool,
    },
    /// Base answers of a base without a head.
    #[error(
        "{} is a backbone without a head, which gives no answers of its own beside a version's: open it without base answers",
        path.display()
    )]
    NoBaseAnswers {
        /// The model folder.
        path: PathBuf,
    },
    /// The novelty of frames, of a version that records no threshold.
    #[error(
        "{version} records no threshold of novelty: adapt with one, `Options::with_novelty(Some(0.05))`, and run what comes of it"
    )]
    NoNovelty {
        /// The running version.
        version: Version,
    },
    /// An operation that needs a store, on a runtime without one.
    #[error("this runtime has no store to {action}: open it with one, `Runtime::builder(model).store(path)`")]
    NoStore {
        /// The operation.
        action: &'static str,
    },
    /// A version that needs more memory than the runtime may take for it.
    #[error(
        "{version} needs {needed} bytes to run, and the memory budget is {budget}: adapt at a smaller input size, or raise \
         the budget"
    )]
    MemoryBudget {
        /// The version.
        version: Version,
        /// Bytes that it needs.
        needed: u64,
        /// The budget.
        budget: u64,
    },
    /// A version that failed in this process before.
    #[error("version {version} failed at several frames in a row in this process: activate another version")]
    FailedHere {
        /// Its number.
        version: u32,
    },
    /// A path that is neither a model folder, nor a delta file, nor a store.
    #[error(
        "{} is no model folder (it would hold manifest.toml), no delta file and no store: check the path",
        path.display()
    )]
    Unknown {
        /// The path.
        path: PathBuf,
    },
    /// Images of classes that the model does not have.
    #[error(
        "{version} cannot be evaluated on these images: adapt the model to their classes first, or run a version that \
         knows them, from its store or its delta file"
    )]
    Classes {
        /// The running version.
        version: Version,
        /// Which classes, and which it knows.
        source: fieldfit_data::DataError,
    },
    /// A frame of a batch that is malformed or cannot be decoded.
    #[error("frame {index} of the batch: {source}")]
    BatchFrame {
        /// Its position, from 0.
        index: usize,
        /// The cause.
        source: fieldfit_data::DataError,
    },
    /// A buffer that does not have the length of what is written to it.
    #[error("the buffer of {what} has {found} values: expected {expected}")]
    BufferLength {
        /// The values.
        what: &'static str,
        /// Their number.
        expected: usize,
        /// The buffer's.
        found: usize,
    },
    /// A model whose features are not finite.
    #[error("{version} gave {value} as feature {index}: its weights are unfit, go back to another version")]
    Feature {
        /// The running version.
        version: Version,
        /// The feature, from 0.
        index: usize,
        /// Its value.
        value: f32,
    },
    /// A model whose logits are not finite.
    #[error("{version} gave the logit {value} for class {class}: its weights are unfit, go back to another version")]
    Logit {
        /// The running version.
        version: Version,
        /// The class, from 0.
        class: usize,
        /// The logit.
        value: f32,
    },
}

impl Error {
    /// Returns the path that the error is about, if it is known.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Delta { path, .. }
            | Self::Read { path, .. }
            | Self::TooLong { path, .. }
            | Self::Transport { path, .. }
            | Self::Key { path, .. }
            | Self::OpenKey { path }
            | Self::WriteKey { path, .. }
            | Self::Scratch { path, .. }
            | Self::Export { path, .. }
            | Self::RunLog { path, .. }
            | Self::Output { path, .. }
            | Self::NotRegular { path, .. }
            | Self::Foreign { path, .. }
            | Self::Kept { path, .. }
            | Self::OutputIsInput { path }
            | Self::RunLogLine { path, .. }
            | Self::Input { path, .. }
            | Self::Headless { path, .. }
            | Self::NoBaseAnswers { path }
            | Self::Unknown { path } => Some(path),
            Self::Model(error) => error.path(),
            Self::Data(error) | Self::BatchFrame { source: error, .. } => error.path(),
            Self::Collect(error) => error.path(),
            Self::Dataset(error) => Some(error.path()),
            Self::Store(error) => error.path(),
            Self::Adapt(error) => error.path(),
            Self::File(error) => Some(error.path()),
            Self::Durable(error) => error.path(),
            Self::Merge(error) => error.path(),
            Self::Exec(_)
            | Self::ExportRange { .. }
            | Self::Made { .. }
            | Self::NoStore { .. }
            | Self::NoNovelty { .. }
            | Self::MemoryBudget { .. }
            | Self::FailedHere { .. }
            | Self::Classes { .. }
            | Self::OtherTask { .. }
            | Self::ImagesOfTask { .. }
            | Self::SetOfTask { .. }
            | Self::BufferLength { .. }
            | Self::Feature { .. }
            | Self::Logit { .. } => None,
        }
    }
}

impl From<BoundedReadError> for Error {
    fn from(error: BoundedReadError) -> Self {
        match error {
            BoundedReadError::Io { path, source } => Self::Read { path, source },
            other => Self::File(other),
        }
    }
}

impl From<ClassifierError> for Error {
    fn from(error: ClassifierError) -> Self {
        match error {
            ClassifierError::Data(error) => Self::Data(error),
            ClassifierError::Exec(error) => Self::Exec(error),
            ClassifierError::Model(error) => Self::Model(error),
        }
    }
}

/// Returns what to do about a key that cannot be written.
fn new_key_advice(source: &std::io::Error) -> &'static str {
    match source.kind() == ErrorKind::AlreadyExists {
        true => "choose a path where no file is",
        false => "check the folder, the permissions and the space left",
    }
}

/// Returns the messages of an error and its causes, the effect first, without a cause that its effect's message holds. They may
/// hold text from files: [escape](crate::escape) what is printed.
pub fn error_messages(error: &dyn std::error::Error) -> Vec<String> {
    let mut messages = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if messages.last().is_none_or(|effect| !effect.contains(&message)) {
            messages.push(message);
        }
        cause = error.source();
    }
    messages
}
