//! Collection: the folder of labelled images that one process writes, whole after any power cut.
//!
//! | entry | content |
//! |---|---|
//! | `collection.jsonl` | the log: labels, relabels, removals, each line with a checksum |
//! | `images/ab/SHA256.EXT` | image files, named by their content, in folders by its first two digits |
//! | `lock` | held by the writer |
//!
//! An image's file is on the disk before the log names it, and leaves the disk after the log does. A file that the log does not
//! name is the rest of an interrupted operation and is removed when the collection is opened.

use crate::clock::{Clock, SessionClock, SystemClock};
use crate::contents::{Contents, IMAGES, ImageId, LOG, LogState, StoredImage};
use crate::error::CollectError;
use crate::eviction::{Demand, Room, room};
use crate::label::{Label, PredictedClass};
use crate::limits::Limits;
pub use crate::log::Removal;
use crate::log::{Record, line};
use fieldfit_data::encoded_extension;
use fieldfit_durable::{
    Disk, FileSystem, Lock, append, commit, create_folder, entry_type, leftover_of, list, lock, remove,
    remove_leftovers, sync_folder,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// File that the writer locks.
const LOCK: &str = "lock";
/// Records of a log beyond twice the number of images from which on it is compacted.
const SPARE_RECORDS: usize = 256;

/// Collection that this process writes.
#[derive(Debug)]
pub struct Collection {
    files: Arc<dyn FileSystem>,
    contents: Contents,
    limits: Limits,
    clock: SessionClock,
    log: LogState,
    /// Files of a call that failed. They are removed once the log is known not to name them.
    unnamed: Vec<PathBuf>,
    missing: usize,
    _lock: Lock,
}

/// Image to be stored: an encoded file, and where it is from.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct NewImage<'a> {
    /// Bytes of the file, which are stored as they are.
    pub bytes: &'a [u8],
    /// Recording that it is from.
    pub session: &'a str,
    /// Group that stays in one slice; `None` groups it by its content.
    pub group: Option<&'a str>,
    /// Time of capture on the camera's clock.
    pub at: Option<Duration>,
    /// Perceptual hash, by which the collection evicts what is redundant; 0 where none is known.
    pub fingerprint: u64,
    /// What the running model had predicted.
    pub prediction: Option<&'a PredictedClass>,
}

/// Result of [`Collection::add`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Added {
    /// Images that were stored.
    pub stored: Vec<ImageId>,
    /// Images that were there, byte by byte the same, under the same class; each counts one more frame.
    pub known: Vec<ImageId>,
    /// Images that were there under another class, and now have this label.
    pub relabelled: Vec<ImageId>,
    /// Number of images that were not stored: the collection is full, and no image of it may go for them.
    pub full: usize,
    /// Number of images that were removed for the new ones.
    pub evicted: usize,
}

impl<'a> NewImage<'a> {
    /// Returns an image of a recording, without a group or time.
    pub const fn new(bytes: &'a [u8], session: &'a str) -> Self {
        Self { bytes, session, group: None, at: None, fingerprint: 0, prediction: None }
    }

    /// Returns the image in that [`group`](Self::group).
    #[must_use]
    pub const fn with_group(mut self, group: Option<&'a str>) -> Self {
        self.group = group;
        self
    }

    /// Returns the image with that time of [capture](Self::at).
    #[must_use]
    pub const fn with_at(mut self, at: Option<Duration>) -> Self {
        self.at = at;
        self
    }
}

impl Collection {
    /// Opens a collection for writing, or makes one where nothing or an empty folder is.
    ///
    /// A torn last line of the log and image files without a line are removed: what was left of an interrupted operation. Images
    /// older than the age limit are removed.
    ///
    /// # Errors
    /// [`CollectError::NotACollection`], [`CollectError::DamagedLog`], [`CollectError::Version`];
    /// [`CollectError::Durable`] if another process writes to it, or files can't be read or written.
    pub fn open(path: &Path, limits: Limits) -> Result<Self, CollectError> {
        Self::open_on(Arc::new(Disk), path, limits, Box::new(SystemClock::default()))
    }

    /// As [`open`](Self::open), on that file system and with that clock.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_on(
        files: Arc<dyn FileSystem>,
        path: &Path,
        limits: Limits,
        clock: Box<dyn Clock>,
    ) -> Result<Self, CollectError> {
        if limits.min_per_class > limits.per_class {
            let found = limits.min_per_class.to_string();
            let expected = "at most the maximum of images per class";
            return Err(CollectError::Option { option: "minimum of images per class", found, expected });
        }
        let is_there = entry_type(files.as_ref(), &path.join(LOG))?.is_some();
        if !is_there {
            require_empty(files.as_ref(), path)?;
            create_folder(files.as_ref(), path)?;
        }
        let held = lock(files.as_ref(), &path.join(LOCK), Duration::ZERO)?;
        if entry_type(files.as_ref(), &path.join(LOG))?.is_none() {
            let header: Vec<u8> = Contents::empty(path).records().flat_map(|record| line(&record)).collect();
            commit(files.as_ref(), &path.join(LOG), &header)?;
        }
        let (contents, log) = Contents::read_on(files.as_ref(), path)?;
        let clock = SessionClock::new(clock);
        let mut collection = Self { files, contents, limits, clock, log, unnamed: Vec::new(), missing: 0, _lock: held };
        collection.recover()?;
        collection.expire()?;
        Ok(collection)
    }

    /// Returns what is in the collection.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// Number of images whose files were missing when the collection was opened; their labels were removed.
    pub fn missing(&self) -> usize {
        self.missing
    }

    /// Stores images under a label, in one step: after a power cut, the whole call has happened or nothing of it.
    ///
    /// An image that is there already is counted, or gets the new label. Where limits are reached, redundant images go first
    /// ([`Limits`]).
    ///
    /// # Errors
    /// If the label or an image is invalid, the disk has too little free space, or a file can't be written. Nothing of the call
    /// is then stored; images that had to go first may be gone.
    pub fn add(&mut self, images: &[NewImage<'_>], label: &Label) -> Result<Added, CollectError> {
        self.add_counting(images, label, &[])
    }

    /// As [`add`](Self::add); counts one more frame for each image of `seen` that is there.
    pub(crate) fn add_counting(
        &mut self,
        images: &[NewImage<'_>],
        label: &Label,
        seen: &[ImageId],
    ) -> Result<Added, CollectError> {
        label.check()?;
        self.settle()?;
        self.expire()?;
        let mut added = Added::default();
        let batch = self.sorted(images, label, &mut added)?;
        self.require_free_space(batch.iter().map(|new| new.image.bytes).sum())?;
        self.store(batch, label, seen, &mut added).inspect_err(|_| {
            // The error to report is the first one. What is left is removed by the next call, or when the collection is opened.
            let _ = self.settle();
        })?;
        Ok(added)
    }

    /// Gives images another label.
    ///
    /// # Errors
    /// [`CollectError::UnknownImage`]; [`CollectError::ClassFull`] if the class has no room for them; if the log can't be written.
    /// No image is then relabelled.
    pub fn relabel(&mut self, images: &[ImageId], label: &Label) -> Result<(), CollectError> {
        label.check()?;
        let relabelled = self.known(images)?;
        let is_moved = |id: &&ImageId| self.contents.image(id).is_some_and(|(_, old)| old.class != label.class);
        let moved = relabelled.iter().filter(is_moved).count();
        if self.contents.count(&label.class).saturating_add(moved) > self.limits.per_class {
            return Err(CollectError::ClassFull { class: label.class.clone(), limit: self.limits.per_class });
        }
        if relabelled.is_empty() {
            return Ok(());
        }
        self.write(Record::Label { label: label.clone(), images: Vec::new(), relabelled, seen: Vec::new() })
    }

    /// Removes images and their files.
    ///
    /// # Errors
    /// [`CollectError::UnknownImage`], or if files can't be written or removed; what the log no longer names is removed when the
    /// collection is opened next.
    pub fn discard(&mut self, images: &[ImageId]) -> Result<(), CollectError> {
        let images = self.known(images)?;
        self.remove(&images, Removal::Discarded)
    }

    /// Removes the images that were stored between two times, in seconds since 1970, both included, and every trace of them in
    /// the log. An image stored while the machine did not know the time counts as of the next known time. Returns how many.
    ///
    /// # Errors
    /// As [`discard`](Self::discard).
    pub fn forget(&mut self, from: u64, to: u64) -> Result<usize, CollectError> {
        let ids: Vec<ImageId> =
            self.times().into_iter().filter(|(_, time)| (from..=to).contains(time)).map(|(id, _)| id).collect();
        self.remove(&ids, Removal::Forgotten)?;
        self.compact()?;
        Ok(ids.len())
    }

    /// Removes the images that are older than the age limit. Returns how many.
    ///
    /// # Errors
    /// As [`discard`](Self::discard).
    pub fn expire(&mut self) -> Result<usize, CollectError> {
        let (Some(age), Some(now)) = (self.limits.age, self.clock.now()) else { return Ok(0) };
        let is_old = |time: u64| now.saturating_sub(time) > age.as_secs();
        let ids: Vec<ImageId> = self.times().into_iter().filter(|(_, time)| is_old(*time)).map(|(id, _)| id).collect();
        self.remove(&ids, Removal::Expired)?;
        Ok(ids.len())
    }

    /// Rewrites the log without records that later ones have undone.
    ///
    /// # Errors
    /// If the log can't be written; the old one is then in place.
    pub fn compact(&mut self) -> Result<(), CollectError> {
        let records = self.contents.records().map(|record| line(&record));
        let (count, bytes) = records.fold((0, Vec::new()), |(count, mut log), line| {
            log.extend(line);
            (count + 1, log)
        });
        commit(self.files.as_ref(), &self.contents.path().join(LOG), &bytes)?;
        self.log = LogState { records: count, is_torn: false };
        Ok(())
    }

    /// Sorts images into new ones, which are returned, and those that are there.
    fn sorted<'a>(
        &self,
        images: &[NewImage<'a>],
        label: &Label,
        added: &mut Added,
    ) -> Result<Vec<Prepared<'a>>, CollectError> {
        let mut new = BTreeSet::new();
        let mut batch = Vec::new();
        for image in images {
            let id = ImageId::of(image.bytes);
            match self.contents.image(&id) {
                Some((_, old)) if old.class == label.class => added.known.push(id),
                Some(_) => added.relabelled.push(id),
                None if new.insert(id) => batch.push(Prepared { bytes: image.bytes, image: prepared(id, image)? }),
                None => {}
            }
        }
        Ok(batch)
    }

    /// Writes the files of a batch, and then one record of all that the call does.
    fn store(
        &mut self,
        batch: Vec<Prepared<'_>>,
        label: &Label,
        seen: &[ImageId],
        added: &mut Added,
    ) -> Result<(), CollectError> {
        let time = self.clock.now();
        let demand = |bytes, images| Demand { class: &label.class, origin: &label.origin, bytes, images };
        let (mut relabelled, mut images, mut pending) = (Vec::new(), Vec::new(), 0);
        for id in std::mem::take(&mut added.relabelled) {
            match self.make_room(demand(0, relabelled.len() + 1), added)? {
                true => relabelled.push(id),
                false => added.full += 1,
            }
        }
        for Prepared { bytes, image } in batch {
            if !self.make_room(demand(pending + image.bytes, relabelled.len() + images.len() + 1), added)? {
                added.full += 1;
                continue;
            }
            let path = self.contents.file(&image);
            path.parent().map_or(Ok(()), |folder| create_folder(self.files.as_ref(), folder))?;
            self.unnamed.push(path.clone());
            commit(self.files.as_ref(), &path, bytes)?;
            pending += image.bytes;
            images.push(StoredImage { time, ..image });
        }
        // What was there may have made room.
        let is_there = |id: &ImageId| self.contents.image(id).is_some();
        added.known.retain(is_there);
        relabelled.retain(is_there);
        let ids: Vec<ImageId> = images.iter().map(|image: &StoredImage| image.id).collect();
        let is_seen = |id: &&ImageId| is_there(id) || ids.contains(id);
        let seen = counted(added.known.iter().chain(seen.iter().filter(is_seen)));
        if images.len() + relabelled.len() + seen.len() > 0 {
            let label = label.clone();
            self.write(Record::Label { label, images, relabelled: relabelled.clone(), seen })?;
        }
        self.unnamed.clear();
        (added.stored, added.relabelled) = (ids, relabelled);
        Ok(())
    }

    fn make_room(&mut self, demand: Demand<'_>, added: &mut Added) -> Result<bool, CollectError> {
        loop {
            match room(&self.contents, &self.limits, demand) {
                Room::Free => return Ok(true),
                Room::None => return Ok(false),
                Room::After(id) => self.remove(&[id], Removal::Evicted)?,
            }
            added.evicted += 1;
        }
    }

    fn require_free_space(&self, bytes: u64) -> Result<(), CollectError> {
        let path = self.contents.path();
        let needed = self.limits.free_disk.saturating_add(bytes);
        match self.files.free_space(path) {
            Some(free) if bytes > 0 && free < needed => {
                Err(CollectError::FreeDisk { path: path.to_owned(), needed, free })
            }
            _ => Ok(()),
        }
    }

    /// Removes images: first from the log, then from the disk.
    fn remove(&mut self, images: &[ImageId], reason: Removal) -> Result<(), CollectError> {
        if images.is_empty() {
            return Ok(());
        }
        let paths: Vec<PathBuf> = images
            .iter()
            .filter_map(|id| self.contents.image(id))
            .map(|(image, _)| self.contents.file(image))
            .collect();
        self.write(Record::Remove { reason, images: images.to_vec() })?;
        let removed = paths.iter().try_for_each(|path| remove(self.files.as_ref(), path));
        removed.inspect_err(|_| self.unnamed.extend(paths.iter().cloned()))?;
        let folders: BTreeSet<&Path> = paths.iter().filter_map(|path| path.parent()).collect();
        folders.into_iter().try_for_each(|folder| sync_folder(self.files.as_ref(), folder))?;
        Ok(())
    }

    /// Appends a record and applies it. After an error it has not happened, and the log is rewritten before the next one.
    fn write(&mut self, record: Record) -> Result<(), CollectError> {
        if self.log.is_torn || self.log.records > 2 * self.contents.len() + SPARE_RECORDS {
            self.compact()?;
        }
        self.log.is_torn = true;
        append(self.files.as_ref(), &self.contents.path().join(LOG), &line(&record))?;
        self.log = LogState { records: self.log.records + 1, is_torn: false };
        let path = self.contents.path().join(LOG);
        let line = self.log.records;
        self.contents.apply(record).map_err(|reason| CollectError::DamagedLog { path, line, reason })
    }

    /// Removes what a failed call left: first its line, of which any part may be in the log, then its files.
    fn settle(&mut self) -> Result<(), CollectError> {
        if self.log.is_torn {
            self.compact()?;
        }
        self.unnamed.iter().try_for_each(|path| remove(self.files.as_ref(), path))?;
        self.unnamed.clear();
        Ok(())
    }

    /// Removes what interrupted operations left: a torn line, files that no line names, labels without a file.
    fn recover(&mut self) -> Result<(), CollectError> {
        let files = self.files.clone();
        let path = self.contents.path().to_owned();
        remove_leftovers(files.as_ref(), &path, |_| true)?;
        if self.log.is_torn {
            self.compact()?;
        }
        let mut found = BTreeSet::new();
        let images = path.join(IMAGES);
        for shard in names(files.as_ref(), &images)? {
            let folder = images.join(&shard);
            remove_leftovers(files.as_ref(), &folder, |_| true)?;
            for name in names(files.as_ref(), &folder)? {
                let Some(id) = ImageId::of_file(&name) else { continue };
                let file = folder.join(&name);
                match self.contents.image(&id).map(|(image, _)| self.contents.file(image)) {
                    Some(named) if named == file => drop(found.insert(id)),
                    _orphan => remove(files.as_ref(), &file)?,
                }
            }
        }
        let missing: Vec<ImageId> =
            self.contents.images().map(|(image, _)| image.id).filter(|id| !found.contains(id)).collect();
        self.missing = missing.len();
        self.remove(&missing, Removal::Missing)
    }

    /// Time of each image in seconds since 1970; of one that was stored at an unknown time, the next that is known, or now.
    fn times(&mut self) -> Vec<(ImageId, u64)> {
        let mut next = self.clock.now().unwrap_or(u64::MAX);
        let images = self.contents.images().rev();
        let times = images.map(|(image, _)| {
            next = image.time.unwrap_or(next);
            (image.id, next)
        });
        times.collect()
    }

    /// Refuses images that are not in the collection; returns each once.
    fn known(&self, images: &[ImageId]) -> Result<Vec<ImageId>, CollectError> {
        let images: BTreeSet<ImageId> = images.iter().copied().collect();
        match images.iter().find(|id| self.contents.image(id).is_none()) {
            Some(id) => Err(CollectError::UnknownImage { path: self.contents.path().into(), id: id.to_string() }),
            None => Ok(images.into_iter().collect()),
        }
    }
}

/// How often each image is listed.
fn counted<'a>(images: impl Iterator<Item = &'a ImageId>) -> Vec<(ImageId, u32)> {
    let mut counts: BTreeMap<ImageId, u32> = BTreeMap::new();
    images.for_each(|id| *counts.entry(*id).or_default() += 1);
    counts.into_iter().collect()
}

/// Image of a batch with its bytes.
struct Prepared<'a> {
    bytes: &'a [u8],
    image: StoredImage,
}

fn prepared(id: ImageId, new: &NewImage<'_>) -> Result<StoredImage, CollectError> {
    let extension = encoded_extension(new.bytes).ok_or_else(|| CollectError::NotAnImage { name: id.to_string() })?;
    Ok(StoredImage {
        id,
        extension: extension.into(),
        bytes: new.bytes.len() as u64,
        session: new.session.into(),
        group: new.group.map(str::to_owned),
        at: new.at.map(|at| at.as_millis() as u64),
        time: None,
        fingerprint: new.fingerprint,
        seen: 1,
        prediction: new.prediction.cloned(),
    })
}

/// Refuses a folder with things that are not a new collection's.
fn require_empty(files: &dyn FileSystem, path: &Path) -> Result<(), CollectError> {
    let names = match list(files, path) {
        Err(error) if error.is_not_found() => return Ok(()),
        names => names?,
    };
    match names.iter().find(|name| *name != LOCK && leftover_of(name).is_none()) {
        Some(found) => {
            Err(CollectError::NotACollection { path: path.to_owned(), found: found.to_string_lossy().into_owned() })
        }
        None => Ok(()),
    }
}

/// Names in a folder that are text; none if there is no such folder.
fn names(files: &dyn FileSystem, folder: &Path) -> Result<Vec<String>, CollectError> {
    match list(files, folder) {
        Err(error) if error.is_not_found() => Ok(Vec::new()),
        names => Ok(names?.into_iter().filter_map(|name| name.into_string().ok()).collect()),
    }
}
