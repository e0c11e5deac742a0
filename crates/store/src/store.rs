//! Store folder: opens it, reads its state, and adds, activates, refuses and rolls back versions.

use crate::{
    error::{Problem, StoreError},
    history::{HistoryEntry, Transition},
    record::{Base, Record},
    status::RUNTIMES,
    verdict::Verdict,
    verification_cache::VERIFICATION,
    version::VersionEntry,
};
use fieldfit_delta::{Delta, SecretKey};
use fieldfit_durable::{
    Disk, DurableError, EntryType, FileKind, FileSystem, Lock, SEAL_LEN, SealError, commit, commit_sealed,
    create_folder, entry_type, leftover_of, list, lock, read, remove_leftovers, sync_folder, unseal,
};
use sha2::{Digest, Sha256};
use std::{
    ffi::OsStr,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

/// The state file's kind and version.
const STATE_KIND: FileKind = *b"FFSTATE2";

/// The kind of those that knew no trials; read, and replaced by the next write.
const STATE_WITHOUT_TRIALS: FileKind = *b"FFSTATE1";

/// The longest state file that is read, and so written, in bytes: tens of thousands of versions.
const STATE_LIMIT: u64 = 16 << 20;

/// The longest state file that an added version may leave: what brings a store back from a bad version always has room.
const STATE_LIMIT_OF_ADDING: u64 = 15 << 20;

/// Timeout of waiting for another writer, whose operation takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(2);

const STATE: &str = "state";
const VERSIONS: &str = "versions";
pub(crate) const WORK: &str = "work";
const LOCK: &str = "lock";
const STARTS: &str = "starts";

/// Entries that a store's folder may hold, also while it is created.
const OURS: [&str; 10] = [STATE, VERSIONS, WORK, LOCK, STARTS, VERIFICATION, TRUST_FILE, RUNTIMES, SERVE_TOKEN, FLEET];

/// The file that holds the secret of whoever serves a page of the store. The store never touches it.
pub const SERVE_TOKEN: &str = "serve-token";

/// The folder in which the agent that shares a store's versions with other robots keeps its state. The store never touches it.
pub const FLEET: &str = "fleet";

/// The file in a store's folder that says whose deltas it takes from outside: see [`Trust`](crate::Trust).
pub const TRUST_FILE: &str = "trust.toml";

/// Store of adaptations: numbered deltas, and which of them is active.
///
/// A handle holds nothing open and remembers nothing: each call reads the state file, so that it sees what other handles
/// and processes have done. Calls that write hold the store's lock for their own length.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) files: Arc<dyn FileSystem>,
    pub(crate) path: PathBuf,
}

impl Store {
    /// Opens the store in that folder.
    ///
    /// # Errors
    /// [`StoreError::Missing`] if there is none; [`StoreError::DamagedState`] and
    /// [`StoreError::UnreadableState`] if its state can't be used: see [`open_degraded`](Self::open_degraded).
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::open_on(Arc::new(Disk), path.as_ref())
    }

    /// Opens the store in that folder, and creates it, empty, if there is none.
    ///
    /// # Errors
    /// As [`open`](Self::open); [`StoreError::NotAStore`] if the folder has something else in it;
    /// [`StoreError::Durable`] if it can't be made.
    pub fn create_or_open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::create_or_open_on(Arc::new(Disk), path.as_ref())
    }

    /// Opens the store in that folder whether or not its state can be used; if not, says why. Such a store changes nothing on
    /// disk: each of its operations reads the state again, and fails until that is restored.
    ///
    /// # Errors
    /// Those of [`open`](Self::open) that are not of the state.
    pub fn open_degraded(path: impl AsRef<Path>) -> Result<(Self, Option<StoreError>), StoreError> {
        Self::open_degraded_on(Arc::new(Disk), path.as_ref())
    }

    /// [`open_degraded`](Self::open_degraded) on another file system, as tests do.
    ///
    /// # Errors
    /// Those of [`open_degraded`](Self::open_degraded).
    pub fn open_degraded_on(files: Arc<dyn FileSystem>, path: &Path) -> Result<(Self, Option<StoreError>), StoreError> {
        let store = Self { files, path: path.to_owned() };
        match store.record() {
            Ok(_) => Ok((store, None)),
            Err(error) if error.is_unusable_state() => Ok((store, Some(error))),
            Err(error) => Err(error),
        }
    }

    /// [`open`](Self::open) on another file system, as tests do.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub fn open_on(files: Arc<dyn FileSystem>, path: &Path) -> Result<Self, StoreError> {
        let store = Self { files, path: path.to_owned() };
        store.record()?;
        Ok(store)
    }

    /// [`create_or_open`](Self::create_or_open) on another file system, as tests do.
    ///
    /// # Errors
    /// Those of [`create_or_open`](Self::create_or_open).
    pub fn create_or_open_on(files: Arc<dyn FileSystem>, path: &Path) -> Result<Self, StoreError> {
        let store = Self { files, path: path.to_owned() };
        match store.record() {
            Err(StoreError::Missing { .. }) => store.create()?,
            other => drop(other?),
        }
        Ok(store)
    }

    /// Returns the store's folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns all versions, ascending by number.
    ///
    /// # Errors
    /// If the state can't be read.
    pub fn versions(&self) -> Result<Vec<VersionEntry>, StoreError> {
        Ok(self.record()?.versions)
    }

    /// Returns the active version; `None` is the base.
    ///
    /// # Errors
    /// If the state can't be read.
    pub fn active(&self) -> Result<Option<u32>, StoreError> {
        Ok(self.record()?.active())
    }

    /// Returns the generation: a number that grows whenever the active version changes, whoever changed it.
    ///
    /// # Errors
    /// If the state can't be read.
    pub fn generation(&self) -> Result<u64, StoreError> {
        Ok(self.record()?.generation)
    }

    /// Returns the hash of the base that the store is for; `None` before [`fix_base`](Self::fix_base) or an activation has
    /// fixed it.
    ///
    /// # Errors
    /// If the state can't be read.
    pub fn base(&self) -> Result<Option<[u8; 32]>, StoreError> {
        Ok(self.record()?.fixed_base().map(|base| base.0))
    }

    /// Fixes the base that the store is for, as the runtime that opens it does. Candidates for another base stay, can't be
    /// activated, and are pruned first. Nothing is written if it is fixed.
    ///
    /// # Errors
    /// [`StoreError::OtherBase`] if the store is for another base; [`StoreError::Durable`] if it can't be written.
    pub fn fix_base(&self, base: &[u8; 32]) -> Result<(), StoreError> {
        let mut seen = self.record()?;
        let is_known = seen.fixed_base().is_some() && (seen.has_policy || !self.has_trust_file());
        seen.fix_base(Base(*base))?;
        if is_known {
            return Ok(());
        }
        let (_lock, mut record) = self.begin()?;
        record.fix_base(Base(*base))?;
        self.write(&record)
    }

    /// Returns the history: the last [`HISTORY`](crate::HISTORY) operations, oldest first.
    ///
    /// # Errors
    /// If the state can't be read.
    pub fn history(&self) -> Result<Vec<HistoryEntry>, StoreError> {
        Ok(self.record()?.history)
    }

    /// Stores a delta that was made here as a candidate, and returns its number.
    ///
    /// # Errors
    /// [`StoreError::Delta`] if it is no whole delta, [`StoreError::OtherBase`] if it is made for another base than the
    /// store's others, [`StoreError::Durable`] if it can't be written. The store is then as it was.
    pub fn add(&self, delta: &[u8]) -> Result<u32, StoreError> {
        let parsed = Delta::parse(delta)?;
        let (_lock, record) = self.begin()?;
        self.keep(record, &parsed, delta, Verdict::Candidate)
    }

    /// Adds as [`add`](Self::add) does, signed by this device's key, with the number after the last one of that key here.
    ///
    /// # Errors
    /// Those of [`add`](Self::add).
    pub fn add_signed(&self, delta: &[u8], key: &SecretKey) -> Result<u32, StoreError> {
        self.add_judged(delta, Some(key), Verdict::Candidate, None)
    }

    /// Makes a version the active one: on trial, unless it was confirmed before. Nothing happens if it is active.
    ///
    /// # Errors
    /// [`StoreError::Unknown`], [`StoreError::Refused`], [`StoreError::OtherBase`], [`StoreError::Damaged`],
    /// [`StoreError::Durable`].
    pub fn activate(&self, version: u32) -> Result<(), StoreError> {
        let (_lock, record) = self.begin()?;
        self.activate_in(record, version)
    }

    /// Activates a version in the state that the lock's holder read.
    pub(crate) fn activate_in(&self, mut record: Record, version: u32) -> Result<(), StoreError> {
        let entry = self.entry(&record, version)?;
        if record.active() == Some(version) {
            return Ok(());
        }
        if let Some(reason) = entry.state.reason() {
            let (state, reason, path) = (entry.state.name(), reason.to_owned(), self.delta_path(version));
            return Err(StoreError::Refused { version, state, reason, path });
        }
        self.whole(entry)?;
        if let Some(base) = record.base_of(entry) {
            record.fix_base(base)?;
        }
        let change = record.activate(version);
        self.commit(record, [change])
    }

    /// Marks a version that is not active as not to be run, and why.
    ///
    /// # Errors
    /// [`StoreError::Unknown`], [`StoreError::NotRefusable`], [`StoreError::Durable`].
    pub fn refuse(&self, version: u32, reason: &str) -> Result<(), StoreError> {
        let (_lock, mut record) = self.begin()?;
        let state = &self.entry(&record, version)?.state;
        if record.active() == Some(version) || state.reason().is_some() {
            return Err(StoreError::NotRefusable { version, state: state.name() });
        }
        let change = record.refuse(version, reason);
        self.commit(record, [change])
    }

    /// Makes what was active before active again, and returns it; `None` is the base.
    ///
    /// Versions that are damaged by now are passed over: going back always leads to something that runs. One that can't be
    /// read now ends the call, and the store is as it was: an error that may pass retires no version. To go back past it,
    /// [`refuse`](Self::refuse) it.
    ///
    /// # Errors
    /// [`StoreError::NothingToRollBack`] if the base runs, [`StoreError::Damaged`] with [`Problem::Unreadable`],
    /// [`StoreError::Durable`].
    pub fn rollback(&self) -> Result<Option<u32>, StoreError> {
        let (_lock, mut record) = self.begin()?;
        let from = record.active().ok_or(StoreError::NothingToRollBack)?;
        let change = record.roll_back(from, |entry| self.is_whole(entry))?;
        let active = record.active();
        self.commit(record, [change])?;
        Ok(active)
    }

    /// Returns a version's entry in the state.
    ///
    /// # Errors
    /// [`StoreError::Unknown`], or if the state can't be read.
    pub fn version(&self, version: u32) -> Result<VersionEntry, StoreError> {
        self.entry(&self.record()?, version).cloned()
    }

    /// Returns a version's delta, as it was stored.
    ///
    /// # Errors
    /// [`StoreError::Unknown`], or [`StoreError::Damaged`] if it is not what was stored.
    pub fn read(&self, version: u32) -> Result<Vec<u8>, StoreError> {
        match self.whole(self.entry(&self.record()?, version)?) {
            // It may have been pruned since the state was read.
            Err(StoreError::Damaged { problem: Problem::Missing, .. }) => {
                self.whole(self.entry(&self.record()?, version)?)
            }
            other => other,
        }
    }

    /// Returns the active version and its delta, whoever activates and prunes meanwhile; `None` is the base.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_active(&self) -> Result<Option<(u32, Vec<u8>)>, StoreError> {
        loop {
            let Some(version) = self.active()? else { return Ok(None) };
            match self.read(version) {
                Err(StoreError::Unknown { .. }) => {}
                delta => return Ok(Some((version, delta?))),
            }
        }
    }

    /// Returns the path of a version's delta, whether it exists or not.
    pub fn delta_path(&self, version: u32) -> PathBuf {
        self.versions_path().join(format!("{version:06}.delta"))
    }

    /// The folder of the versions' files.
    pub(crate) fn versions_path(&self) -> PathBuf {
        self.path.join(VERSIONS)
    }

    /// The file whose lock is shared by every start that has not completed a prediction.
    pub(crate) fn starts_path(&self) -> PathBuf {
        self.path.join(STARTS)
    }

    /// Returns the work folder, for an adaptation's checkpoints, claimed for one adaptation until the value is dropped. The
    /// store itself stays free for others.
    ///
    /// # Errors
    /// [`StoreError::Durable`] with the other one's name if an adaptation is running, and if the store's own lock can't be
    /// taken: then it could not keep the result.
    pub fn work_dir(&self) -> Result<WorkDir, StoreError> {
        drop(self.lock()?);
        let path = self.path.join(WORK);
        create_folder(&*self.files, &path)?;
        let lock = lock(&*self.files, &path.join(LOCK), Duration::ZERO)?;
        remove_leftovers(&*self.files, &path, |_| true)?;
        Ok(WorkDir { path, _lock: lock })
    }

    /// Stores a delta under the next number; `record` is the state that the lock's holder read.
    pub(crate) fn keep(
        &self,
        mut record: Record,
        parsed: &Delta<'_>,
        delta: &[u8],
        verdict: Verdict<'_>,
    ) -> Result<u32, StoreError> {
        let base = Base(parsed.header().base);
        let version = record.admit(base)?;
        let added = record.add(base, delta.len() as u64, sha256(delta));
        record.saw(parsed.signature());
        let judged = match verdict {
            Verdict::Candidate => None,
            Verdict::Activate => {
                record.fix_base(base)?;
                Some(record.activate(version))
            }
            Verdict::Refuse { reason } => Some(record.refuse(version, reason)),
        };
        [added].into_iter().chain(judged).for_each(|change| record.remember(now(), change));
        let state = record.serialize_within(STATE_LIMIT_OF_ADDING)?;
        // Nothing refers to this file before the state does: cut off in between, the next version overwrites it.
        create_folder(&*self.files, &self.versions_path())?;
        commit(&*self.files, &self.delta_path(version), delta)?;
        self.write_bytes(&state)?;
        Ok(version)
    }

    /// Reads the state file.
    pub(crate) fn record(&self) -> Result<Record, StoreError> {
        let path = self.path.join(STATE);
        let bytes = match read(&*self.files, &path, STATE_LIMIT) {
            Err(error) if error.is_not_found() => return self.without_state(path),
            other => other.map_err(unreadable)?,
        };
        let record = match unseal(STATE_KIND, &bytes) {
            Err(SealError::Kind { found: STATE_WITHOUT_TRIALS, .. }) => unseal(STATE_WITHOUT_TRIALS, &bytes)
                .map_err(|error| error.to_string())
                .and_then(Record::parse_without_trials),
            content => content.map_err(|error| error.to_string()).and_then(Record::parse),
        };
        record.map_err(|reason| StoreError::DamagedState { path, reason })
    }

    /// A version's file, if it is what was stored.
    pub(crate) fn intact(&self, entry: &VersionEntry) -> Result<Vec<u8>, Problem> {
        let bytes =
            read(&*self.files, &self.delta_path(entry.version), entry.bytes).map_err(Problem::reading(entry))?;
        let found = sha256(&bytes);
        if bytes.len() as u64 != entry.bytes {
            Err(Problem::Length { expected: entry.bytes })
        } else if found != entry.hash {
            Err(Problem::Hash { expected: hex::encode(entry.hash), found: hex::encode(found) })
        } else {
            Ok(bytes)
        }
    }

    fn whole(&self, entry: &VersionEntry) -> Result<Vec<u8>, StoreError> {
        let (version, path) = (entry.version, self.delta_path(entry.version));
        self.intact(entry).map_err(|problem| StoreError::Damaged { version, path, problem })
    }

    /// Whether a version can be gone back to; if not, why is logged. An error if it can't be read now, which says nothing of
    /// the version.
    pub(crate) fn is_whole(&self, entry: &VersionEntry) -> Result<bool, StoreError> {
        match self.whole(entry) {
            Ok(_) => Ok(true),
            Err(error) if error.is_transient() => Err(error),
            Err(error) => {
                log::warn!("passed over in going back: {error}");
                Ok(false)
            }
        }
    }

    /// As [`is_whole`](Self::is_whole); a version that can't be read now counts as whole: what fails must be left, and
    /// whoever runs what is active then finds out whether it can be read.
    pub(crate) fn may_be_whole(&self, entry: &VersionEntry) -> Result<bool, StoreError> {
        Ok(self.is_whole(entry).unwrap_or_else(|error| {
            log::warn!("falling back to a version that cannot be checked now: {error}");
            true
        }))
    }

    pub(crate) fn entry<'a>(&self, record: &'a Record, version: u32) -> Result<&'a VersionEntry, StoreError> {
        record.entry(version).ok_or_else(|| record.unknown(version, &self.path))
    }

    /// Makes the folder and, last, the state that makes it a store.
    fn create(&self) -> Result<(), StoreError> {
        create_folder(&*self.files, &self.path)?;
        self.refuse_other_folders()?;
        let _lock = self.lock()?;
        match self.record() {
            Err(StoreError::Missing { .. }) => self.write(&Record::empty()),
            // Another process was faster.
            other => other.map(drop),
        }
    }

    fn refuse_other_folders(&self) -> Result<(), StoreError> {
        let names = list(&*self.files, &self.path)?;
        match names.iter().find(|name| !is_ours(name)) {
            Some(name) => {
                let found = name.to_string_lossy().into_owned();
                Err(StoreError::NotAStore { path: self.path.clone(), found })
            }
            None => Ok(()),
        }
    }

    /// Interprets a missing state file.
    fn without_state(&self, path: PathBuf) -> Result<Record, StoreError> {
        let damaged = |reason: &str| Err(StoreError::DamagedState { path: path.clone(), reason: reason.to_owned() });
        match entry_type(&*self.files, &path).map_err(unreadable)? {
            // Another process made the store in this very moment.
            Some(EntryType::File) => return self.record(),
            Some(EntryType::Link) => return damaged("it is a link to a file that is missing"),
            Some(EntryType::Folder | EntryType::Other) => return damaged("it is no regular file"),
            None => {}
        }
        match list(&*self.files, &self.versions_path()) {
            Err(error) if error.is_not_found() => Err(StoreError::Missing { path: self.path.clone() }),
            Err(error) => Err(unreadable(error)),
            Ok(names) if names.is_empty() => Err(StoreError::Missing { path: self.path.clone() }),
            // A store that was made and added to since is found by now.
            Ok(_) if matches!(entry_type(&*self.files, &path), Ok(Some(EntryType::File))) => self.record(),
            Ok(_) => damaged("it is missing, and `versions` has files"),
        }
    }

    pub(crate) fn lock(&self) -> Result<Lock, StoreError> {
        Ok(lock(&*self.files, &self.path.join(LOCK), PATIENCE)?)
    }

    /// The lock, and the state that the operation starts from: synced first, since whoever wrote it may have been killed
    /// before doing so, and a power cut must not take away what later writes build on.
    pub(crate) fn begin(&self) -> Result<(Lock, Record), StoreError> {
        let lock = self.lock()?;
        sync_folder(&*self.files, &self.path)?;
        let mut record = self.record()?;
        record.has_policy |= self.has_trust_file();
        Ok((lock, record))
    }

    /// The one step in which an operation happens.
    pub(crate) fn commit(
        &self,
        mut record: Record,
        changes: impl IntoIterator<Item = Transition>,
    ) -> Result<(), StoreError> {
        changes.into_iter().for_each(|change| record.remember(now(), change));
        self.write(&record)
    }

    /// Replaces the state; refused if it could not be read back.
    pub(crate) fn write(&self, record: &Record) -> Result<(), StoreError> {
        self.write_bytes(&record.serialize_within(STATE_LIMIT - SEAL_LEN as u64)?)
    }

    fn write_bytes(&self, state: &[u8]) -> Result<(), StoreError> {
        Ok(commit_sealed(&*self.files, &self.path.join(STATE), STATE_KIND, state)?)
    }
}

/// Returns the error of a state that cannot be read. A path below a file can hold no store, which is no transient error.
fn unreadable(error: DurableError) -> StoreError {
    let is_misplaced = matches!(&error, DurableError::Io { source, .. } if source.kind() == ErrorKind::NotADirectory);
    if is_misplaced { StoreError::Durable(error) } else { StoreError::UnreadableState(error) }
}

/// Returns whether a file of that name may be in a store's folder while that is created.
fn is_ours(name: &OsStr) -> bool {
    let name = leftover_of(name).map_or(name, OsStr::new);
    OURS.iter().any(|ours| name == *ours)
}

/// Returns whether a file of that name in a store's folder is one that a commit replaces.
pub(crate) fn is_replaced(name: &str) -> bool {
    [STATE, VERIFICATION].contains(&name)
}

/// A store's work folder, claimed by one adaptation until this is dropped.
#[derive(Debug)]
#[must_use = "the claim ends when this is dropped"]
pub struct WorkDir {
    path: PathBuf,
    _lock: Lock,
}

impl WorkDir {
    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Seconds since 1970; 0 if the clock is before that.
fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
