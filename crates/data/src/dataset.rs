//! A folder of images, opened.

use crate::decode;
use crate::error::{DataError, FolderError};
use crate::generator::shuffled;
use crate::layout::{Found, Layout, Part, Purpose};
use crossbeam_channel::{Sender, unbounded};
use regex::Regex;
use sha2::{Digest, Sha256};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The part of a data set's images that may be unreadable.
pub const UNREADABLE_LIMIT: f64 = 0.05;
/// How many unreadable images an error names.
const NAMED: usize = 5;

/// Images with their classes, each read and decoded once when the folder was opened.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// Names of the classes, sorted: the folders'. After [`Dataset::with_labels`], the model's labels.
    pub classes: Vec<String>,
    /// The readable images, sorted by part and path.
    pub samples: Vec<Sample>,
    /// The unreadable ones.
    pub skipped: Vec<Skipped>,
    /// What else somebody should know about this folder.
    pub notes: Vec<String>,
}

/// One image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Its file.
    pub path: PathBuf,
    /// Its class: a position in [`Dataset::classes`].
    pub class: u32,
    /// The images that it must stay with when the data is split.
    pub group: Group,
    /// The group's name, where the pattern for groups gave it one.
    pub group_name: Option<String>,
    /// The part that it lies in, if the folder has parts.
    pub part: Option<Part>,
}

/// An image that can't be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Its file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

/// What images have in common that must not be on two sides of a split: a sequence, an object, or a file's content.
///
/// A SHA-256 hash, the same on every machine and in every version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group(pub [u8; 32]);

/// How a folder is opened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FolderOptions {
    /// What for.
    pub purpose: Purpose,
    /// A regular expression for file names: images whose first capture (without captures, whose whole match) is the
    /// same are one group. Without it, and where it does not match, images of the same content are.
    pub group: Option<String>,
}

/// How far the opening of a folder has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Files read so far.
    pub done: usize,
    /// Files in all.
    pub total: usize,
}

impl Dataset {
    /// Opens a folder `class/*.{jpg,jpeg,png,webp}`, or one of `train`, `val` and `test` that each hold such folders.
    ///
    /// Every image is read and decoded once, by as many threads as there are processors.
    ///
    /// # Errors
    /// If the folder is no data set ([`FolderError`]), not one image can be read, or more than [`UNREADABLE_LIMIT`]
    /// of them can't.
    pub fn open(folder: &Path, options: &FolderOptions) -> Result<Self, DataError> {
        Self::open_with_progress(folder, options, &mut |_| ())
    }

    /// The same, saying after every file how far it has come.
    ///
    /// # Errors
    /// As [`Dataset::open`].
    pub fn open_with_progress(
        folder: &Path,
        options: &FolderOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self, DataError> {
        let pattern = options.group.as_deref().map(pattern).transpose()?;
        let layout = Layout::find(folder, options.purpose)?;
        let contents = read_all(&layout.files, progress)?;
        let mut dataset = Self { classes: layout.classes, samples: Vec::new(), skipped: Vec::new(), notes: Vec::new() };
        let mut unmatched = Vec::new();
        for (Found { path, class, part }, content) in layout.files.into_iter().zip(contents) {
            match content {
                Ok(content) => {
                    let group_name = pattern.as_ref().and_then(|pattern| named_group(pattern, &path));
                    if group_name.is_none() {
                        unmatched.push(dataset.samples.len());
                    }
                    let group = group_name.as_deref().map_or_else(|| Group::of_content(&content), Group::named);
                    dataset.samples.push(Sample { path, class, group, group_name, part });
                }
                Err(reason) => dataset.skipped.push(Skipped { path, reason }),
            }
        }
        dataset.check_readable(folder)?;
        if let Some(pattern) = &pattern {
            dataset.check_pattern(folder, pattern, &unmatched)?;
        }
        Ok(dataset)
    }

    /// The same images with a model's labels as classes, so that [`Sample::class`] is a position among its logits.
    /// The model may know more classes.
    ///
    /// # Errors
    /// If a class of the data set is not among the labels.
    pub fn with_labels(mut self, labels: &[String]) -> Result<Self, DataError> {
        let positions: Vec<Option<usize>> =
            self.classes.iter().map(|class| labels.iter().position(|label| label == class)).collect();
        let unknown: Vec<String> = (self.classes.iter().zip(&positions))
            .filter(|(_, position)| position.is_none())
            .map(|(class, _)| class.clone())
            .collect();
        if !unknown.is_empty() {
            return Err(DataError::Labels { unknown, classes: self.classes, labels: labels.to_vec() });
        }
        let positions: Vec<usize> = positions.into_iter().flatten().collect();
        for sample in &mut self.samples {
            sample.class = positions[sample.class as usize] as u32;
        }
        self.classes = labels.to_vec();
        Ok(self)
    }

    /// The same data set with at most that many images of each class, drawn at random by the seed.
    pub fn limited(mut self, per_class: usize, seed: u64) -> Self {
        let all: Vec<usize> = (0..self.samples.len()).collect();
        let mut left = vec![per_class; self.classes.len()];
        let mut kept = vec![false; all.len()];
        for index in shuffled(&all, seed, 0) {
            let left = &mut left[self.samples[index].class as usize];
            kept[index] = *left > 0;
            *left = left.saturating_sub(1);
        }
        let mut kept = kept.into_iter();
        self.samples.retain(|_| kept.next() == Some(true));
        self
    }

    /// A SHA-256 hash over the class names and over name, length, class and group of those samples, given by position; not
    /// over the folder's own place, nor over what the files hold.
    pub fn digest(&self, order: &[usize]) -> [u8; 32] {
        let mut hash = Sha256::new();
        let mut text = |text: &str| {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        };
        self.classes.iter().for_each(|class| text(class));
        for sample in order.iter().map(|&index| &self.samples[index]) {
            let bytes = std::fs::metadata(&sample.path).map_or(0, |metadata| metadata.len());
            text(&file_name(&sample.path));
            text(&format!("{} {bytes} {:?}", sample.class, sample.group));
        }
        hash.finalize().into()
    }

    fn check_readable(&self, folder: &Path) -> Result<(), FolderError> {
        let path = || folder.to_path_buf();
        let unreadable = self.skipped.len();
        let found = self.samples.len() + unreadable;
        match self.skipped.first() {
            Some(first) if self.samples.is_empty() => {
                Err(FolderError::NoReadableImage { path: path(), found, first: first.clone() })
            }
            Some(_) if unreadable as f64 > UNREADABLE_LIMIT * found as f64 => {
                let first = self.skipped.iter().take(NAMED).cloned().collect();
                Err(FolderError::TooManyUnreadable { path: path(), unreadable, found, first })
            }
            _ => Ok(()),
        }
    }

    /// Refuses a pattern that matched no file name, and notes how many it did not match.
    fn check_pattern(&mut self, folder: &Path, pattern: &Regex, unmatched: &[usize]) -> Result<(), FolderError> {
        let Some(first) = unmatched.first() else { return Ok(()) };
        let example = file_name(&self.samples[*first].path).into_owned();
        let pattern = pattern.as_str();
        if unmatched.len() == self.samples.len() {
            return Err(FolderError::PatternMatchesNothing { path: folder.into(), pattern: pattern.into(), example });
        }
        let count = unmatched.len();
        self.notes.push(format!(
            "the group pattern `{pattern}` does not match {count} file names, for example `{example}`: \
             these images are grouped by their content"
        ));
        Ok(())
    }
}

impl Group {
    /// The group of that name.
    pub fn named(name: &str) -> Self {
        Self::hash(b"name", name.as_bytes())
    }

    /// The group of images whose file has that SHA-256.
    pub fn of_content(sha256: &[u8; 32]) -> Self {
        Self::hash(b"content", sha256)
    }

    fn hash(kind: &[u8], value: &[u8]) -> Self {
        Self(
            Sha256::new()
                .chain_update(b"fieldfit group by ")
                .chain_update(kind)
                .chain_update([0])
                .chain_update(value)
                .finalize()
                .into(),
        )
    }

    /// Where the group lies from 0 to 1: uniform over groups, and never another place for the same group.
    pub(crate) fn position(&self) -> f64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h]) as f64 / 2f64.powi(64)
    }
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.path.display(), self.reason)
    }
}

fn pattern(pattern: &str) -> Result<Regex, FolderError> {
    Regex::new(pattern).map_err(|source| FolderError::Pattern { pattern: pattern.into(), source })
}

fn named_group(pattern: &Regex, path: &Path) -> Option<String> {
    let name = file_name(path);
    let captures = pattern.captures(&name)?;
    Some(captures.get(1).or(captures.get(0))?.as_str().to_owned())
}

fn file_name(path: &Path) -> std::borrow::Cow<'_, str> {
    path.file_name().unwrap_or_default().to_string_lossy()
}

/// The SHA-256 of every file, or why it can't be decoded, in the files' order.
fn read_all(files: &[Found], progress: &mut dyn FnMut(Progress)) -> Result<Vec<Result<[u8; 32], String>>, DataError> {
    let failed = |reason: String| DataError::Thread { reason };
    let next = AtomicUsize::new(0);
    let (sender, receiver) = unbounded();
    let mut contents = vec![Err(String::new()); files.len()];
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from).min(files.len()) {
            let (sender, next) = (sender.clone(), &next);
            let work = move || read_some(files, next, &sender);
            let thread = std::thread::Builder::new().name("fieldfit-open".into()).spawn_scoped(scope, work);
            threads.push(thread.map_err(|error| failed(error.to_string()))?);
        }
        drop(sender);
        for (done, (index, content)) in (1..).zip(receiver) {
            contents[index] = content;
            progress(Progress { done, total: files.len() });
        }
        for thread in threads {
            thread.join().map_err(|_| failed("it panicked while it decoded an image".into()))?;
        }
        Ok(contents)
    })
}

/// Reads files that no other thread has taken until there are none.
fn read_some(files: &[Found], next: &AtomicUsize, sender: &Sender<(usize, Result<[u8; 32], String>)>) {
    loop {
        let index = next.fetch_add(1, Ordering::Relaxed);
        let Some(file) = files.get(index) else { return };
        if sender.send((index, content(&file.path))).is_err() {
            return;
        }
    }
}

fn content(path: &Path) -> Result<[u8; 32], String> {
    let bytes = decode::read(path).map_err(|error| reason(&error))?;
    decode::decode(&bytes).map_err(|error| reason(&error))?;
    Ok(Sha256::digest(&bytes).into())
}

/// The error without the path, which is told beside it.
fn reason(error: &DataError) -> String {
    match error {
        DataError::Image { source, .. } => source.to_string(),
        DataError::Read { source, .. } => source.to_string(),
        other => other.to_string(),
    }
}
