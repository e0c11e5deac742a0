//! Simulated disk for tests: forgets what was not synced, and fails at a chosen operation.
//!
//! [`Simulated`] keeps two disks: what running processes see, and what is on the medium. Only a sync moves one to the
//! other. It fails at the operation it is told to, and [`Simulated::after_power_cut`] lists every disk that may be found
//! afterwards: any subset of the names that were not synced, in each file that was not synced nothing of the new content,
//! half of it, zeros of its length, or all of it.

use crate::file_system::{Claim, EntryType, FileSystem, Lock, NewFile};
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Fault that the simulated disk injects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The operation and all that follow fail: the process is gone, or the power.
    Stop,
    /// The operation fails, with this error; those that follow work. Half of a write is done.
    Error(io::ErrorKind),
}

/// A disk in memory, with one folder, `/`. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct Simulated {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    contents: Vec<Content>,
    seen: Names,
    on_medium: Names,
    /// What was done to names and is not synced, oldest first.
    pending: Vec<Rename>,
    /// Who holds each lock: how many share it, or none for one who holds it alone.
    locks: BTreeMap<PathBuf, usize>,
    operations: u64,
    /// Free space that it reports; `None` for none known.
    free_space: Option<u64>,
    fault: Option<(u64, Fault)>,
    failed: bool,
}

/// What is at a path: a folder or the number of a content.
type Names = BTreeMap<PathBuf, Option<usize>>;

#[derive(Debug, Clone, Default)]
struct Content {
    seen: Vec<u8>,
    on_medium: Vec<u8>,
}

/// A change of names in one folder: `from` goes, `to` comes.
#[derive(Debug, Clone)]
struct Rename {
    from: Option<PathBuf>,
    to: Option<(PathBuf, Option<usize>)>,
}

impl Rename {
    fn apply(&self, names: &mut Names) {
        if let Some(from) = &self.from {
            names.remove(from);
        }
        if let Some((path, node)) = &self.to {
            names.insert(path.clone(), *node);
        }
    }

    fn is_in(&self, folder: &Path) -> bool {
        [self.from.as_ref(), self.to.as_ref().map(|(path, _)| path)]
            .into_iter()
            .flatten()
            .any(|path| path.parent() == Some(folder))
    }
}

impl Content {
    /// What may be found of it after a power cut.
    fn after_power_cut(&self) -> Vec<Vec<u8>> {
        if self.seen == self.on_medium {
            return vec![self.on_medium.clone()];
        }
        // What was synced stays when something is appended, and is lost when the file is written anew.
        let is_appended = self.seen.starts_with(&self.on_medium);
        let (kept, new) = self.seen.split_at(if is_appended { self.on_medium.len() } else { 0 });
        let tails = [&new[..new.len() / 2], &vec![0; new.len()], new];
        let found = tails.map(|tail| [kept, tail].concat());
        std::iter::once(self.on_medium.clone()).chain(found).collect()
    }
}

impl Simulated {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the operation after the next `skipped` ones fail.
    pub fn fail_after(&self, skipped: u64, fault: Fault) {
        let mut inner = self.inner();
        inner.fault = Some((inner.operations + skipped, fault));
        inner.failed = false;
    }

    /// Sets the free space that the disk reports, in bytes.
    pub fn set_free_space(&self, bytes: Option<u64>) {
        self.inner().free_space = bytes;
    }

    /// Whether the fault has come to pass.
    pub fn failed(&self) -> bool {
        self.inner().failed
    }

    /// Returns the number of operations, those that failed included.
    pub fn operations(&self) -> u64 {
        self.inner().operations
    }

    /// Every disk that may be found after a power cut now. They have no faults, and nobody holds a lock.
    pub fn after_power_cut(&self) -> Vec<Self> {
        let inner = self.inner();
        let subsets = 0..1_u32 << inner.pending.len();
        subsets.flat_map(|subset| inner.disks(&inner.names_with(subset))).map(Self::holding).collect()
    }

    /// The disk after its process was killed and the power stayed: what was not synced may still be lost.
    pub fn after_kill(&self) -> Self {
        let inner = self.inner();
        let next = Inner {
            contents: inner.contents.clone(),
            seen: inner.seen.clone(),
            on_medium: inner.on_medium.clone(),
            pending: inner.pending.clone(),
            ..Inner::default()
        };
        Self { inner: Arc::new(Mutex::new(next)) }
    }

    /// The disk as processes see it, for comparison: what is in each file.
    pub fn contents(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let inner = self.inner();
        inner
            .seen
            .iter()
            .filter_map(|(path, node)| Some((path.clone(), inner.contents[(*node)?].seen.clone())))
            .collect()
    }

    /// Overwrites a file behind everybody's back, as a failing medium does.
    ///
    /// # Panics
    /// If there is no such file.
    #[expect(clippy::expect_used, reason = "a test's own mistake")]
    pub fn damage(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut inner = self.inner();
        let number = inner.file(path).expect("a file to damage");
        let content = &mut inner.contents[number];
        change(&mut content.seen);
        content.on_medium = content.seen.clone();
    }

    fn holding((names, contents): (Names, Vec<Content>)) -> Self {
        let inner = Inner { contents, seen: names.clone(), on_medium: names, ..Inner::default() };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an operation, and fails it if its time has come.
    fn operation(&self) -> io::Result<MutexGuard<'_, Inner>> {
        let mut inner = self.inner();
        let number = inner.operations;
        inner.operations += 1;
        let error = match inner.fault {
            Some((at, Fault::Stop)) if number >= at => io::Error::other("stopped here"),
            Some((at, Fault::Error(kind))) if number == at => kind.into(),
            _ => return Ok(inner),
        };
        inner.failed = true;
        Err(error)
    }
}

impl Inner {
    fn names_with(&self, subset: u32) -> Names {
        let mut names = self.on_medium.clone();
        for (_, rename) in self.pending.iter().enumerate().filter(|(bit, _)| subset >> bit & 1 == 1) {
            rename.apply(&mut names);
        }
        let lost: Vec<_> = names.keys().filter(|path| !is_reachable(path, &names)).cloned().collect();
        for path in lost {
            names.remove(&path);
        }
        names
    }

    /// Each way in which the contents of these names may be found.
    fn disks(&self, names: &Names) -> Vec<(Names, Vec<Content>)> {
        let reachable: BTreeSet<usize> = names.values().flatten().copied().collect();
        let mut disks = vec![vec![Content::default(); self.contents.len()]];
        for number in reachable {
            let found = self.contents[number].after_power_cut();
            disks = disks.iter().flat_map(|disk| found.iter().map(|bytes| with(disk, number, bytes))).collect();
        }
        disks.into_iter().map(|contents| (names.clone(), contents)).collect()
    }

    fn rename(&mut self, rename: Rename) {
        rename.apply(&mut self.seen);
        self.pending.push(rename);
    }

    fn folder(&self, path: &Path) -> io::Result<()> {
        match self.seen.get(path) {
            _ if path == Path::new("/") => Ok(()),
            Some(None) => Ok(()),
            Some(Some(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn file(&self, path: &Path) -> io::Result<usize> {
        match self.seen.get(path) {
            Some(Some(number)) => Ok(*number),
            Some(None) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

fn with(disk: &[Content], number: usize, bytes: &[u8]) -> Vec<Content> {
    let mut disk = disk.to_vec();
    disk[number] = Content { seen: bytes.to_vec(), on_medium: bytes.to_vec() };
    disk
}

fn is_reachable(path: &Path, names: &Names) -> bool {
    path.ancestors().skip(1).all(|folder| folder == Path::new("/") || names.get(folder) == Some(&None))
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

impl FileSystem for Simulated {
    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let inner = self.operation()?;
        let bytes = &inner.contents[inner.file(path)?].seen;
        if bytes.len() as u64 > limit { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(bytes.clone()) }
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        let inner = self.operation()?;
        inner.folder(folder)?;
        let inside = inner.seen.keys().filter(|path| path.parent() == Some(folder));
        Ok(inside.filter_map(|path| path.file_name()).map(OsString::from).collect())
    }

    fn entry_type(&self, path: &Path) -> io::Result<Option<EntryType>> {
        let entry = self.operation()?.seen.get(path).copied();
        Ok(entry.map(|content| if content.is_some() { EntryType::File } else { EntryType::Folder }))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn NewFile + '_>> {
        let mut inner = self.operation()?;
        inner.folder(parent(path))?;
        if inner.seen.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        inner.contents.push(Content::default());
        let number = inner.contents.len() - 1;
        inner.rename(Rename { from: None, to: Some((path.to_owned(), Some(number))) });
        Ok(Box::new(SimulatedFile { disk: self, number }))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn NewFile + '_>> {
        let number = self.operation()?.file(path)?;
        Ok(Box::new(SimulatedFile { disk: self, number }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut inner = self.operation()?;
        let number = inner.file(from)?;
        inner.rename(Rename { from: Some(from.to_owned()), to: Some((to.to_owned(), Some(number))) });
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.operation()?;
        inner.file(path)?;
        inner.rename(Rename { from: Some(path.to_owned()), to: None });
        Ok(())
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.operation()?;
        inner.folder(parent(path))?;
        if inner.seen.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        inner.rename(Rename { from: None, to: Some((path.to_owned(), None)) });
        Ok(())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let mut inner = self.operation()?;
        inner.folder(folder)?;
        let (synced, pending) = inner.pending.drain(..).partition::<Vec<_>, _>(|rename| rename.is_in(folder));
        inner.pending = pending;
        for rename in synced {
            rename.apply(&mut inner.on_medium);
        }
        Ok(())
    }

    fn claim(&self, path: &Path, holder: &str) -> io::Result<Claim> {
        let mut inner = self.operation()?;
        inner.folder(parent(path))?;
        if inner.locks.contains_key(path) {
            return Ok(Claim::Taken { by: holder.to_owned() });
        }
        inner.locks.insert(path.to_owned(), 0);
        Ok(Claim::Held(Lock::new(SimulatedLock { disk: self.clone(), path: path.to_owned() })))
    }

    fn share(&self, path: &Path) -> io::Result<Claim> {
        let mut inner = self.operation()?;
        inner.folder(parent(path))?;
        if inner.locks.get(path) == Some(&0) {
            return Ok(Claim::Taken { by: "somebody".to_owned() });
        }
        *inner.locks.entry(path.to_owned()).or_default() += 1;
        Ok(Claim::Held(Lock::new(SimulatedLock { disk: self.clone(), path: path.to_owned() })))
    }

    fn free_space(&self, _folder: &Path) -> Option<u64> {
        self.inner().free_space
    }
}

struct SimulatedFile<'a> {
    disk: &'a Simulated,
    number: usize,
}

impl NewFile for SimulatedFile<'_> {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (written, outcome) = match self.disk.operation() {
            Ok(_) => (bytes, Ok(())),
            Err(error) => (&bytes[..bytes.len() / 2], Err(error)),
        };
        self.disk.inner().contents[self.number].seen.extend_from_slice(written);
        outcome
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut inner = self.disk.operation()?;
        let content = &mut inner.contents[self.number];
        content.on_medium = content.seen.clone();
        Ok(())
    }
}

struct SimulatedLock {
    disk: Simulated,
    path: PathBuf,
}

impl Drop for SimulatedLock {
    fn drop(&mut self) {
        let mut inner = self.disk.inner();
        let sharing = inner.locks.get(&self.path).copied().unwrap_or(0);
        if sharing > 1 {
            inner.locks.insert(self.path.clone(), sharing - 1);
        } else {
            inner.locks.remove(&self.path);
        }
    }
}

/// Runs `action` on a fresh disk from `prepare` again and again, with `fault` at its first operation, then at its
/// second, and so on until it gets through; hands to `check` every disk that may be found after each, a power cut right
/// after the last operation included. Returns how many disks that were.
///
/// `check` learns whether the action had returned success.
pub fn exhaust(
    fault: Fault,
    prepare: impl Fn() -> Simulated,
    action: impl Fn(&Simulated) -> bool,
    check: impl Fn(&Simulated, bool),
) -> usize {
    let mut disks = 0;
    for skipped in 0.. {
        let disk = prepare();
        disk.fail_after(skipped, fault);
        let done = action(&disk);
        let found = disk.after_power_cut();
        disks += found.len();
        found.iter().for_each(|disk| check(disk, done));
        if !disk.failed() {
            break;
        }
    }
    disks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path() -> &'static Path {
        Path::new("/file")
    }

    fn disk() -> Simulated {
        let disk = Simulated::new();
        write(&disk, path(), b"old", true);
        disk.sync_folder(Path::new("/")).unwrap();
        disk
    }

    fn write(disk: &Simulated, path: &Path, bytes: &[u8], sync: bool) {
        let mut file = disk.create(path).unwrap();
        file.write_all(bytes).unwrap();
        if sync {
            file.sync().unwrap();
        }
    }

    /// Writes into the file that is there, as no durable file is written.
    fn overwrite(disk: &Simulated, bytes: &[u8]) {
        let mut inner = disk.inner();
        let number = inner.file(path()).unwrap();
        inner.contents[number].seen = bytes.to_vec();
    }

    fn found(disk: &Simulated) -> BTreeSet<Option<Vec<u8>>> {
        disk.after_power_cut().iter().map(|disk| disk.read(path(), 100).ok()).collect()
    }

    /// Catches: a disk that forgives what real ones don't: the tests that build on it would pass whatever the protocol.
    #[test]
    fn wrong_protocols_are_caught() {
        let in_place = disk();
        overwrite(&in_place, b"news");
        assert!(found(&in_place).contains(&Some(b"ne".to_vec())), "written in place");

        let unsynced = disk();
        write(&unsynced, Path::new("/new"), b"news", false);
        unsynced.rename(Path::new("/new"), path()).unwrap();
        unsynced.sync_folder(Path::new("/")).unwrap();
        assert!(found(&unsynced).contains(&Some(Vec::new())), "renamed before it was synced");

        let unnamed = disk();
        write(&unnamed, Path::new("/new"), b"news", true);
        unnamed.rename(Path::new("/new"), path()).unwrap();
        assert!(found(&unnamed).contains(&Some(b"old".to_vec())), "the folder not synced");

        let appended = disk();
        appended.append(path()).unwrap().write_all(b"news").unwrap();
        let contents = [b"old".as_slice(), b"oldne", b"old\0\0\0\0", b"oldnews"];
        assert_eq!(found(&appended), contents.map(|bytes| Some(bytes.to_vec())).into(), "appended and not synced");

        let removed_first = disk();
        removed_first.remove(path()).unwrap();
        write(&removed_first, path(), b"news", true);
        assert!(found(&removed_first).contains(&None), "the old one removed first");
    }

    /// Catches: a stop that lets later operations through, or an error that doesn't.
    #[test]
    fn faults_come_when_told() {
        let disk = disk();
        disk.fail_after(1, Fault::Stop);
        assert!(disk.read(path(), 100).is_ok() && !disk.failed());
        assert!(disk.read(path(), 100).is_err() && disk.read(path(), 100).is_err() && disk.failed());

        let disk = self::disk();
        disk.fail_after(0, Fault::Error(io::ErrorKind::StorageFull));
        assert_eq!(disk.read(path(), 100).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert!(disk.read(path(), 100).is_ok());
    }
}
