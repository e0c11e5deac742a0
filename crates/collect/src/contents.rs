//! Contents of a collection: the images and labels that its log says it holds, for readers and for the writer.

use crate::error::CollectError;
use crate::label::{Label, PredictedClass};
use crate::log::{MAX_LOG_BYTES, Record, Removal, parse};
use fieldfit_data::{DataError, Dataset, EXTENSIONS, FolderOptions, LabelledFile, Purpose, ScanProgress};
use fieldfit_durable::{Disk, FileSystem};
use fieldfit_tensor::text::find_unprintable;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// File of a collection that makes it one.
pub(crate) const LOG: &str = "collection.jsonl";
/// Folder of a collection's image files.
pub(crate) const IMAGES: &str = "images";

/// Identity of an image: the SHA-256 of its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageId(pub [u8; 32]);

/// Image of a collection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StoredImage {
    /// Its identity.
    pub id: ImageId,
    /// Extension of its file, by its format.
    pub extension: String,
    /// Length of its file.
    pub bytes: u64,
    /// Recording that it is from.
    pub session: String,
    /// Group that stays in one slice: a stretch of its recording. `None` groups it by its content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Time of capture on the camera's clock, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<u64>,
    /// Time when it was stored, in seconds since 1970; `None` if the machine did not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<u64>,
    /// Perceptual hash (dHash), by which similar images are found.
    #[serde(with = "hexadecimal")]
    pub fingerprint: u64,
    /// Number of frames that showed it: 1, and one for each that was left out for its sake.
    pub seen: u32,
    /// What the running model had predicted for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prediction: Option<PredictedClass>,
}

/// Contents of a collection, as of the moment when they were read.
#[derive(Debug, Clone)]
pub struct Contents {
    path: PathBuf,
    /// Images in the order in which they were stored.
    entries: BTreeMap<u64, Entry>,
    positions: HashMap<ImageId, u64>,
    per_class: BTreeMap<String, usize>,
    bytes: u64,
    next: u64,
}

/// An image with its label.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub image: StoredImage,
    pub label: Label,
}

/// Numbers of a collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Statistics {
    /// Number of images.
    pub images: usize,
    /// Bytes of their files.
    pub bytes: u64,
    /// Number of frames that they stand for.
    pub seen: u64,
    /// Number of groups, images that are a group of their own included.
    pub groups: usize,
    /// Number of images of each class and [origin](crate::Origin::name).
    pub classes: BTreeMap<String, BTreeMap<&'static str, usize>>,
}

/// Returns whether a folder is a collection.
pub fn is_collection(folder: &Path) -> bool {
    folder.join(LOG).is_file()
}

impl Contents {
    /// Reads the contents of a collection, and changes nothing. Another process may write to it.
    ///
    /// # Errors
    /// [`CollectError::Missing`], [`CollectError::DamagedLog`], [`CollectError::Version`], or if the log can't be read.
    pub fn read(path: &Path) -> Result<Self, CollectError> {
        Self::read_on(&Disk, path).map(|(contents, _)| contents)
    }

    /// As [`read`](Self::read); returns also the state of the log.
    pub(crate) fn read_on(files: &dyn FileSystem, path: &Path) -> Result<(Self, LogState), CollectError> {
        let log = path.join(LOG);
        let bytes = fieldfit_durable::read(files, &log, MAX_LOG_BYTES).map_err(|error| match error {
            error if error.is_not_found() => CollectError::Missing { path: path.to_owned() },
            error => error.into(),
        })?;
        let replay = parse(&log, &bytes)?;
        let mut contents = Self::empty(path);
        let records = replay.records.len();
        for (index, record) in replay.records.into_iter().enumerate() {
            let damaged = |reason| CollectError::DamagedLog { path: log.clone(), line: index + 1, reason };
            contents.apply(record).map_err(damaged)?;
        }
        Ok((contents, LogState { records, is_torn: replay.is_torn }))
    }

    /// The contents of a new collection.
    pub(crate) fn empty(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            entries: BTreeMap::new(),
            positions: HashMap::new(),
            per_class: BTreeMap::new(),
            bytes: 0,
            next: 0,
        }
    }

    /// Returns the collection's folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Iterates over the images with their labels, in the order in which they were stored.
    pub fn images(&self) -> impl DoubleEndedIterator<Item = (&StoredImage, &Label)> {
        self.entries.values().map(|entry| (&entry.image, &entry.label))
    }

    /// Returns an image and its label.
    pub fn image(&self, id: &ImageId) -> Option<(&StoredImage, &Label)> {
        let entry = self.entries.get(self.positions.get(id)?)?;
        Some((&entry.image, &entry.label))
    }

    /// Returns the path of an image's file.
    pub fn file(&self, image: &StoredImage) -> PathBuf {
        let StoredImage { id, extension, .. } = image;
        self.path.join(IMAGES).join(id.shard()).join(format!("{id}.{extension}"))
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of all image files.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Number of images of a class.
    pub fn count(&self, class: &str) -> usize {
        self.per_class.get(class).copied().unwrap_or(0)
    }

    /// Returns the numbers of the collection.
    pub fn statistics(&self) -> Statistics {
        let mut classes: BTreeMap<String, BTreeMap<&'static str, usize>> = BTreeMap::new();
        let mut groups = std::collections::BTreeSet::new();
        for (image, label) in self.images() {
            *classes.entry(label.class.clone()).or_default().entry(label.origin.name()).or_default() += 1;
            groups.insert(image.group.clone().unwrap_or_else(|| image.id.to_string()));
        }
        let seen = self.images().map(|(image, _)| u64::from(image.seen)).sum();
        Statistics { images: self.len(), bytes: self.bytes, seen, groups: groups.len(), classes }
    }

    /// Opens the images as a data set, in place, each read and decoded once. Groups are those of the collection; pseudo-labels
    /// are marked as such, and left out where the purpose is evaluation.
    ///
    /// # Errors
    /// As [`Dataset::open`]; [`DataError::Interrupted`] where `progress` breaks off.
    pub fn dataset(
        &self,
        options: &FolderOptions,
        progress: &mut dyn FnMut(ScanProgress) -> ControlFlow<()>,
    ) -> Result<Dataset, DataError> {
        let is_wanted = |label: &Label| match options.purpose {
            Purpose::Evaluate => !label.origin.is_pseudo_label(),
            Purpose::Adapt | Purpose::Continue | Purpose::Unlabelled => true,
        };
        let images = self.images().filter(|(_, label)| is_wanted(label));
        let file = |(image, label): (&StoredImage, &Label)| LabelledFile {
            path: self.file(image),
            class: label.class.clone(),
            group: image.group.clone(),
            is_pseudo_labelled: label.origin.is_pseudo_label(),
        };
        Dataset::open_files(&self.path, images.map(file).collect(), options, progress)
    }

    /// Applies a record; the error says what is wrong with it.
    pub(crate) fn apply(&mut self, record: Record) -> Result<(), String> {
        match record {
            Record::Collection { .. } if self.next == 0 => self.next = 1,
            Record::Collection { .. } => return Err("the format's version stands in the middle".into()),
            Record::Label { label, images, relabelled, seen } => {
                label.check().map_err(|error| error.to_string())?;
                images.into_iter().try_for_each(|image| self.insert(image, label.clone()))?;
                relabelled.iter().try_for_each(|id| self.relabel(id, &label))?;
                for (id, more) in seen {
                    let image = &mut self.entry_mut(&id)?.image;
                    image.seen = image.seen.saturating_add(more);
                }
            }
            Record::Remove { images, .. } => images.iter().try_for_each(|id| self.remove(id))?,
        }
        Ok(())
    }

    /// The records that make these contents: the shortest log.
    pub(crate) fn records(&self) -> impl Iterator<Item = Record> {
        let version = Record::Collection { version: crate::log::VERSION };
        let label = |Entry { image, label }: &Entry| Record::Label {
            label: label.clone(),
            images: vec![image.clone()],
            relabelled: Vec::new(),
            seen: Vec::new(),
        };
        std::iter::once(version).chain(self.entries.values().map(label))
    }

    /// Entries by position, which grows with the order of storing.
    pub(crate) fn entries(&self) -> &BTreeMap<u64, Entry> {
        &self.entries
    }

    /// Number of images of each class.
    pub(crate) fn per_class(&self) -> &BTreeMap<String, usize> {
        &self.per_class
    }

    fn insert(&mut self, image: StoredImage, label: Label) -> Result<(), String> {
        let StoredImage { id, bytes, .. } = image;
        if !EXTENSIONS.contains(&image.extension.as_str()) {
            return Err(format!("the image {id} has the extension `{}`", image.extension));
        }
        let names = [Some(&image.session), image.group.as_ref()];
        if names.into_iter().flatten().any(|name| find_unprintable(name).is_some()) {
            return Err(format!("the image {id} has a session or a group that is not printable"));
        }
        if self.positions.insert(id, self.next).is_some() {
            return Err(format!("the image {id} is there twice"));
        }
        self.bytes = self.bytes.checked_add(bytes).ok_or("the images' lengths are beyond any disk")?;
        *self.per_class.entry(label.class.clone()).or_default() += 1;
        self.entries.insert(self.next, Entry { image, label });
        self.next += 1;
        Ok(())
    }

    fn relabel(&mut self, id: &ImageId, label: &Label) -> Result<(), String> {
        let entry = self.entry_mut(id)?;
        let before = std::mem::replace(&mut entry.label, label.clone());
        self.uncount(&before.class);
        *self.per_class.entry(label.class.clone()).or_default() += 1;
        Ok(())
    }

    fn remove(&mut self, id: &ImageId) -> Result<(), String> {
        let position = self.positions.remove(id).ok_or_else(|| missing(id))?;
        if let Some(Entry { image, label }) = self.entries.remove(&position) {
            self.bytes -= image.bytes;
            self.uncount(&label.class);
        }
        Ok(())
    }

    fn uncount(&mut self, class: &str) {
        if let Some(count) = self.per_class.get_mut(class) {
            *count -= 1;
            if *count == 0 {
                self.per_class.remove(class);
            }
        }
    }

    fn entry_mut(&mut self, id: &ImageId) -> Result<&mut Entry, String> {
        self.positions.get(id).and_then(|position| self.entries.get_mut(position)).ok_or_else(|| missing(id))
    }
}

/// State of a log that was read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogState {
    /// Number of its records.
    pub records: usize,
    /// Whether its last line is torn.
    pub is_torn: bool,
}

fn missing(id: &ImageId) -> String {
    format!("there is no image {id} before it")
}

impl ImageId {
    /// Identity of an image file's content.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Name of the folder that the image's file lies in: the first two digits.
    pub(crate) fn shard(&self) -> String {
        hex::encode(&self.0[..1])
    }

    /// Identity that a file's name states, without its extension.
    pub(crate) fn of_file(name: &str) -> Option<Self> {
        name.split_once('.')?.0.parse().ok()
    }
}

/// 64 hexadecimal digits.
impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl FromStr for ImageId {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut id = [0; 32];
        hex::decode_to_slice(text, &mut id)?;
        Ok(Self(id))
    }
}

impl Serialize for ImageId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ImageId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// 64-bit numbers as hexadecimal digits, since JSON readers round them.
mod hexadecimal {
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{value:016x}"))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        u64::from_str_radix(&String::deserialize(deserializer)?, 16).map_err(serde::de::Error::custom)
    }
}

impl Removal {
    /// Name of the reason.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Discarded => "discarded",
            Self::Forgotten => "forgotten",
            Self::Evicted => "evicted",
            Self::Expired => "expired",
            Self::Missing => "missing",
        }
    }
}
