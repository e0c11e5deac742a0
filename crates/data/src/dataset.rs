//! Data set: images with their targets, of a folder or from memory, subsets and groups, each decoded once when it is opened.

use crate::decode;
use crate::duplicates;
use crate::error::{DataError, FolderError};
use crate::image_source::ImageSource;
use crate::labelling::Labelling;
use crate::layout::{FileLabel, ImageFile, Layout, Purpose, Subset};
use crate::mask::{self, MaskEncoding};
use crate::rng::shuffled;
use crate::skipped::{SkipKind, SkipSummary, Skipped};
use crate::target::{MaskFile, Masks, Target};
use crossbeam_channel::{Sender, unbounded};
use fieldfit_tensor::Task;
use regex::Regex;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Maximum share of a data set's images that may be unreadable, when it is opened and while it is in use.
pub const UNREADABLE_LIMIT: f64 = 0.05;
/// Number of unreadable images that an error names.
const NAMED: usize = 5;

/// Labelled images, each read and decoded once: those of a folder when it was opened, those from memory when
/// [`DatasetBuilder`](crate::DatasetBuilder) took them.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// Names of the classes, sorted: of a folder, the names of its folders; of masks, in the order of their file; of a table, the
    /// names of its labels, or of its targets in the order of its columns. After [`Dataset::with_labels`], the model's labels.
    pub classes: Vec<String>,
    /// The readable images, sorted by subset and path; from memory, in the order in which they came.
    pub samples: Vec<Sample>,
    /// Files that are not samples, sorted by path: unreadable images, and files that were left out.
    pub skipped: Vec<Skipped>,
    /// Warnings about the folder, for people to read.
    pub notes: Vec<String>,
    /// How the images are labelled.
    pub(crate) labelling: Labelling,
}

/// One labelled image of a data set.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Where its image is read from.
    pub image: ImageSource,
    /// What it is labelled with.
    pub target: Target,
    /// Its group: images of one group stay in one slice when the data set is split.
    pub group: Group,
    /// The group's name, where the group pattern matched.
    pub group_name: Option<String>,
    /// The subset that it lies in, if the folder has subsets.
    pub subset: Option<Subset>,
    /// Whether its label is a model's own answer, a pseudo-label. Such an image may train; the gate never judges by it.
    pub is_pseudo_labelled: bool,
}

/// Labelled file of [`Dataset::open_files`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelledFile {
    /// The image file.
    pub path: PathBuf,
    /// Name of its class.
    pub class: String,
    /// Name of its group: a recording, a stretch of it, an object. `None` groups it by its content.
    pub group: Option<String>,
    /// Whether its label is a model's own answer.
    pub is_pseudo_labelled: bool,
}

/// Identity of a group of images that must stay in one slice: a sequence, an object, or a file's content.
///
/// A SHA-256 hash, the same on every machine and in every version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group(pub [u8; 32]);

/// Options of [`Dataset::open`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct FolderOptions {
    /// Purpose that the data set is opened for.
    pub purpose: Purpose,
    /// Regular expression on file names: images with the same first capture (without captures, the same whole match) are
    /// one group. Without it, and where it does not match, images with the same content are.
    pub group: Option<String>,
}

impl FolderOptions {
    /// Returns the options of a purpose, without a group pattern.
    pub const fn new(purpose: Purpose) -> Self {
        Self { purpose, group: None }
    }

    /// Returns the options with that [`group`](Self::group) pattern.
    #[must_use]
    pub fn with_group(mut self, group: Option<String>) -> Self {
        self.group = group;
        self
    }
}

/// Progress of [`Dataset::open_with_progress`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScanProgress {
    /// Files read so far.
    pub done: usize,
    /// Files in all.
    pub total: usize,
}

impl Dataset {
    /// Data set that was never on disk, of images that have classes.
    pub const fn of_samples(classes: Vec<String>, samples: Vec<Sample>) -> Self {
        Self { classes, samples, skipped: Vec::new(), notes: Vec::new(), labelling: Labelling::Classes }
    }

    /// Task that the images are labelled for.
    pub const fn task(&self) -> Task {
        self.labelling.task()
    }

    /// Returns whether the labels depend on where things lie in an image, and are no longer true once its pixels move: masks, and
    /// values.
    pub const fn is_positional(&self) -> bool {
        self.labelling.is_positional()
    }

    /// Opens a folder of classes, `class/*.jpg` and so on; a folder of masks, `images/*.jpg` and `masks/*.png` beside
    /// `classes.txt` or `label_colors.txt`; one of `train`, `val` and `test` that each hold such folders; or one with a table of
    /// its images, `targets.csv` or `targets.jsonl` with numbers, or `labels.csv` or `labels.jsonl` with any number of labels.
    ///
    /// Every image is read and decoded once, by as many threads as there are processors.
    ///
    /// # Errors
    /// If the folder is no data set ([`FolderError`]), no image or no image of a class can be read, or more than
    /// [`UNREADABLE_LIMIT`] of them can't.
    pub fn open(folder: &Path, options: &FolderOptions) -> Result<Self, DataError> {
        Self::open_with_progress(folder, options, &mut |_| ())
    }

    /// Opens a folder as [`Dataset::open`] does, and reports progress after every file.
    ///
    /// # Errors
    /// As [`Dataset::open`].
    pub fn open_with_progress(
        folder: &Path,
        options: &FolderOptions,
        progress: &mut dyn FnMut(ScanProgress),
    ) -> Result<Self, DataError> {
        Self::open_until(folder, options, &mut |scanned| {
            progress(scanned);
            ControlFlow::Continue(())
        })
    }

    /// Opens a folder as [`Dataset::open`] does, reports progress after every file, and breaks off where `progress` does.
    ///
    /// # Errors
    /// As [`Dataset::open`]; [`DataError::Interrupted`] where it was broken off.
    pub fn open_until(
        folder: &Path,
        options: &FolderOptions,
        progress: &mut dyn FnMut(ScanProgress) -> ControlFlow<()>,
    ) -> Result<Self, DataError> {
        let pattern = options.group.as_deref().map(pattern).transpose()?;
        Self::read(folder, Layout::find(folder, options.purpose)?, pattern.as_ref(), progress)
    }

    /// Opens files whose classes and groups are known, such as those of a collection in `folder`; as
    /// [`Dataset::open_until`] does but for where labels come from. The pattern of [`FolderOptions::group`] is matched
    /// against the names of groups instead of file names.
    ///
    /// # Errors
    /// As [`Dataset::open_until`].
    pub fn open_files(
        folder: &Path,
        files: Vec<LabelledFile>,
        options: &FolderOptions,
        progress: &mut dyn FnMut(ScanProgress) -> ControlFlow<()>,
    ) -> Result<Self, DataError> {
        let pattern = options.group.as_deref().map(pattern).transpose()?;
        Self::read(folder, Layout::of_files(folder, files, options.purpose)?, pattern.as_ref(), progress)
    }

    /// Reads and decodes every file of a layout once. A pattern is matched against the names of groups, or of files where
    /// groups have none.
    fn read(
        folder: &Path,
        layout: Layout,
        pattern: Option<&Regex>,
        progress: &mut dyn FnMut(ScanProgress) -> ControlFlow<()>,
    ) -> Result<Self, DataError> {
        let Layout { classes, files, skipped, labelling } = layout;
        let contents = read_all((&files, labelling.encoding()), progress)?;
        let mut dataset = Self { classes, samples: Vec::new(), skipped, notes: Vec::new(), labelling };
        let mut hashes = Vec::new();
        for (file, content) in files.into_iter().zip(contents) {
            let ImageFile { path, label: _, subset, group, is_pseudo_labelled } = file;
            let group_name = match (pattern, group) {
                (Some(pattern), group) => named_group(pattern, &group.map_or_else(|| file_name(&path), Cow::Owned)),
                (None, group) => group,
            };
            match content {
                Ok(Content { sha256, target }) => {
                    let group = group_name.as_deref().map_or_else(|| Group::of_content(&sha256), Group::named);
                    let image = ImageSource::File(path);
                    dataset.samples.push(Sample { image, target, group, group_name, subset, is_pseudo_labelled });
                    hashes.push(sha256);
                }
                Err(reason) => dataset.skipped.push(Skipped::new(path, SkipKind::Unreadable, reason)),
            }
        }
        dataset.skipped.sort_by(|one, other| one.path.cmp(&other.path));
        dataset.check_readable(folder)?;
        if let Some(pattern) = pattern {
            dataset.check_pattern(folder, pattern)?;
        }
        dataset.notes.extend(duplicates::notes(&dataset, &hashes));
        Ok(dataset)
    }

    /// Number of images that could not be read when the data set was opened, unsupported formats included.
    pub fn unreadable(&self) -> usize {
        self.skipped.iter().filter(|skipped| skipped.kind.counts_as_unreadable()).count()
    }

    /// Summary of what was left out; `None` if nothing was.
    pub fn skip_summary(&self) -> Option<SkipSummary> {
        SkipSummary::of(&self.skipped)
    }

    /// Number of images that may become unreadable while the data set is in use: what [`UNREADABLE_LIMIT`] leaves of all
    /// images that were found.
    pub fn spare_images(&self) -> usize {
        let unreadable = self.unreadable();
        let limit = UNREADABLE_LIMIT * (self.samples.len() + unreadable) as f64;
        (limit as usize).saturating_sub(unreadable)
    }

    /// Replaces the classes by a model's labels, so that a [`Target`]'s classes are indices into its logits. The model may have
    /// more classes.
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
        let is_complete = match self.labelling {
            Labelling::Values | Labelling::Labels { is_open: false } => true,
            Labelling::Classes | Labelling::Masks(_) | Labelling::Labels { is_open: true } => false,
        };
        if is_complete && positions.len() < labels.len() {
            let missing = labels.iter().filter(|label| !self.classes.contains(label)).cloned().collect();
            return Err(DataError::MissingTargets { missing, targets: self.classes });
        }
        for sample in &mut self.samples {
            match &mut sample.target {
                Target::Class(class) => *class = positions[*class as usize] as u32,
                Target::Mask(_) => {}
                Target::Values(values) => {
                    let mut moved = vec![0.0; labels.len()];
                    positions.iter().zip(&*values).for_each(|(position, value)| moved[*position] = *value);
                    *values = moved;
                }
                Target::Labels(own) => {
                    own.iter_mut().for_each(|label| *label = positions[*label as usize] as u32);
                    own.sort_unstable();
                }
            }
        }
        if let Labelling::Masks(encoding) = &self.labelling {
            let positions: Option<Vec<u8>> = positions.iter().map(|&position| u8::try_from(position).ok()).collect();
            let positions = positions.filter(|positions| !positions.contains(&Masks::IGNORED));
            let most = usize::from(Masks::IGNORED);
            let positions = positions.ok_or(DataError::TooManyLabels { found: labels.len(), most })?;
            self.labelling = Labelling::Masks(encoding.with_classes(&positions));
        }
        self.classes = labels.to_vec();
        Ok(self)
    }

    /// Keeps at most `per_class` images of each class, of images without one class in all, drawn at random by the seed.
    pub fn limited(mut self, per_class: usize, seed: u64) -> Self {
        let all: Vec<usize> = (0..self.samples.len()).collect();
        let mut left = vec![per_class; self.classes.len()];
        let mut kept = vec![false; all.len()];
        for index in shuffled(&all, seed, 0) {
            let left = &mut left[self.samples[index].stratum() as usize];
            kept[index] = *left > 0;
            *left = left.saturating_sub(1);
        }
        let mut kept = kept.into_iter();
        self.samples.retain(|_| kept.next() == Some(true));
        self
    }

    /// Returns how many samples at these indices have each label; all 0 where images have another target.
    pub fn label_counts(&self, indices: &[usize]) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        for &index in indices {
            if let Target::Labels(labels) = &self.samples[index].target {
                labels.iter().for_each(|label| counts[*label as usize] += 1);
            }
        }
        counts
    }

    /// SHA-256 hash over the class names, and over name, length, class and group of the samples at these indices; not over
    /// the folder's path, nor over the files' contents. An image in memory has its content for a name.
    pub fn digest(&self, order: &[usize]) -> [u8; 32] {
        let mut hash = Sha256::new();
        let mut text = |text: &str| {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        };
        self.classes.iter().for_each(|class| text(class));
        for sample in order.iter().map(|&index| &self.samples[index]) {
            let (name, bytes) = sample.image.identity();
            text(&name);
            match &sample.target {
                Target::Class(class) => text(&format!("{class} {bytes} {:?}", sample.group)),
                Target::Mask(mask) => text(&format!("{:?} {bytes} {:?}", mask.sha256, sample.group)),
                Target::Values(values) => text(&format!("{values:?} {bytes} {:?}", sample.group)),
                Target::Labels(labels) => text(&format!("{labels:?} {bytes} {:?}", sample.group)),
            }
        }
        hash.finalize().into()
    }

    /// Refuses a data set with too few readable images.
    fn check_readable(&self, folder: &Path) -> Result<(), FolderError> {
        let path = || folder.to_path_buf();
        let unreadable: Vec<&Skipped> = self.skipped.iter().filter(|file| file.kind.counts_as_unreadable()).collect();
        let found = self.samples.len() + unreadable.len();
        let Some(first) = unreadable.first() else { return Ok(()) };
        if self.samples.is_empty() {
            return Err(FolderError::NoReadableImage { path: path(), found, first: (*first).clone() });
        }
        if unreadable.len() as f64 > UNREADABLE_LIMIT * found as f64 {
            let first = unreadable.iter().take(NAMED).map(|file| (*file).clone()).collect();
            return Err(FolderError::TooManyUnreadable { path: path(), unreadable: unreadable.len(), found, first });
        }
        match self.task() {
            Task::Classification => {}
            // A class of pixels may be in few masks, a label on few images, and a target is on each.
            Task::Segmentation | Task::Regression | Task::MultiLabel => return Ok(()),
        }
        let has_images = |class: u32| self.samples.iter().any(|sample| sample.target == Target::Class(class));
        match (0..self.classes.len()).find(|class| !has_images(*class as u32)) {
            Some(class) => Err(FolderError::UnreadableClass { class: self.classes[class].clone(), path: path() }),
            None => Ok(()),
        }
    }

    /// Refuses a pattern that matches no file name, and notes how many it does not match.
    fn check_pattern(&mut self, folder: &Path, pattern: &Regex) -> Result<(), FolderError> {
        let unmatched: Vec<&Sample> = self.samples.iter().filter(|sample| sample.group_name.is_none()).collect();
        let Some(first) = unmatched.first() else { return Ok(()) };
        let example = first.image.file_name().into_owned();
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

impl Sample {
    /// Class by whose images slices are balanced; 0 where an image has no single one.
    pub(crate) const fn stratum(&self) -> u32 {
        match self.target {
            Target::Class(class) => class,
            Target::Mask(_) | Target::Values(_) | Target::Labels(_) => 0,
        }
    }
}

impl Group {
    /// Group of a name.
    pub fn named(name: &str) -> Self {
        Self::hash(b"name", name.as_bytes())
    }

    /// Group of images whose files have this SHA-256 hash.
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

    /// Position of the group in 0..1: uniform over groups, and always the same for one group.
    pub(crate) fn position(&self) -> f64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h]) as f64 / 2f64.powi(64)
    }
}

fn pattern(pattern: &str) -> Result<Regex, FolderError> {
    Regex::new(pattern).map_err(|source| FolderError::Pattern { pattern: pattern.into(), source })
}

fn named_group(pattern: &Regex, name: &str) -> Option<String> {
    let captures = pattern.captures(name)?;
    Some(captures.get(1).or(captures.get(0))?.as_str().to_owned())
}

fn file_name(path: &Path) -> Cow<'_, str> {
    path.file_name().unwrap_or_default().to_string_lossy()
}

/// What a readable file holds.
#[derive(Debug, Clone)]
struct Content {
    /// SHA-256 of the image's file.
    sha256: [u8; 32],
    target: Target,
}

/// Files, and the encoding of their masks if they have some.
type Files<'a> = (&'a [ImageFile], Option<&'a MaskEncoding>);

/// Content of every file, or why it can't be decoded, in the files' order.
fn read_all(
    (files, encoding): Files<'_>,
    progress: &mut dyn FnMut(ScanProgress) -> ControlFlow<()>,
) -> Result<Vec<Result<Content, String>>, DataError> {
    let failed = |reason: String| DataError::Thread { reason };
    let next = AtomicUsize::new(0);
    let (sender, receiver) = unbounded();
    let mut contents = vec![Err(String::new()); files.len()];
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from).min(files.len()) {
            let (sender, next) = (sender.clone(), &next);
            let work = move || read_some((files, encoding), next, &sender);
            let thread = std::thread::Builder::new().name("fieldfit-open".into()).spawn_scoped(scope, work);
            threads.push(thread.map_err(|error| failed(error.to_string()))?);
        }
        drop(sender);
        for (done, (index, content)) in (1..).zip(receiver) {
            contents[index] = content;
            if progress(ScanProgress { done, total: files.len() }).is_break() {
                // The receiver is dropped here: each thread ends with the file that it is at.
                return Err(DataError::Interrupted);
            }
        }
        for thread in threads {
            thread.join().map_err(|_| failed("it panicked while it decoded an image".into()))?;
        }
        Ok(contents)
    })
}

/// Reads the files that no other thread has taken.
fn read_some((files, encoding): Files<'_>, next: &AtomicUsize, sender: &Sender<(usize, Result<Content, String>)>) {
    loop {
        let index = next.fetch_add(1, Ordering::Relaxed);
        let Some(file) = files.get(index) else { return };
        let content = content(file, encoding).map_err(|error| reason(&error));
        if sender.send((index, content)).is_err() {
            return;
        }
    }
}

fn content(file: &ImageFile, encoding: Option<&MaskEncoding>) -> Result<Content, DataError> {
    let bytes = decode::read(&file.path)?;
    let size = decode::decode(&bytes)?.dimensions();
    let target = match (&file.label, encoding) {
        (FileLabel::Mask(path), Some(encoding)) => {
            let (mask, sha256) = mask::open(path, encoding, size)?;
            if mask.is_ignored() {
                return Err(DataError::MaskIgnored);
            }
            Target::Mask(MaskFile { path: path.clone(), sha256 })
        }
        (FileLabel::Class(class), _) => Target::Class(*class),
        (FileLabel::Row(target), _) => target.clone(),
        (FileLabel::Mask(path), None) => return Err(FolderError::ClassNames { path: path.clone() }.into()),
    };
    Ok(Content { sha256: Sha256::digest(&bytes).into(), target })
}

/// The error without its path, which is printed beside it.
pub(crate) fn reason(error: &DataError) -> String {
    match error {
        DataError::Image { source, .. } => source.to_string(),
        DataError::Read { source, .. } => source.to_string(),
        other => other.to_string(),
    }
}
