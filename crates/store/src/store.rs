//! The store's folder and the operations on it.

use crate::{
    error::{Problem, StoreError},
    state::{Base, HistoryEntry, Record, Transition, VersionEntry},
    trust::Trust,
    verdict::Verdict,
    verification_cache::VERIFICATION,
};
use fieldfit_delta::{Delta, SecretKey, Signature};
use fieldfit_durable::{
    Disk, DurableError, FileKind, FileSystem, Lock, SealError, commit, commit_sealed, create_folder, list, lock, read,
    sync_folder, unseal,
};
use sha2::{Digest, Sha256};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

/// The state file's kind and version.
const STATE_KIND: FileKind = *b"FFSTATE2";

/// The kind of those that knew no trials; read, and replaced by the next write.
const STATE_WITHOUT_TRIALS: FileKind = *b"FFSTATE1";

/// The longest state file that is read, in bytes: tens of thousands of versions.
const STATE_LIMIT: u64 = 16 << 20;

/// How long a writer waits for another one, whose operation takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(2);

const STATE: &str = "state";
const VERSIONS: &str = "versions";
const WORK: &str = "work";
const LOCK: &str = "lock";
const STARTS: &str = "starts";

/// What a store's folder may hold, also while it is being made.
const OURS: [&str; 9] = [STATE, VERSIONS, WORK, LOCK, STARTS, VERIFICATION, TRUST_FILE, ".state.tmp", ".proof.tmp"];

/// The file in a store's folder that says whose deltas it takes from outside: see [`Trust`].
pub const TRUST_FILE: &str = "trust.toml";

/// The longest trust file that is read, in bytes: hundreds of keys.
const TRUST_LIMIT: u64 = 64 << 10;

/// A store: numbered deltas, and which of them runs.
///
/// A handle holds nothing open and remembers nothing: each call reads the state file, so that it sees what other handles
/// and processes have done. Calls that write hold the store's lock for their own length.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) files: Arc<dyn FileSystem>,
    path: PathBuf,
}

impl Store {
    /// The store in that folder.
    ///
    /// # Errors
    /// [`StoreError::Missing`] if there is none; [`StoreError::VersionState`] if it is damaged.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::open_on(Arc::new(Disk), path.as_ref())
    }

    /// The store in that folder, which is made, empty, if there is none.
    ///
    /// # Errors
    /// As [`open`](Self::open); [`StoreError::NotAStore`] if the folder has something else in it;
    /// [`StoreError::Durable`] if it can't be made.
    pub fn create_or_open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::create_or_open_on(Arc::new(Disk), path.as_ref())
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

    /// The store's folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All versions, ascending by number.
    ///
    /// # Errors
    /// If the state can't be read.
    pub fn versions(&self) -> Result<Vec<VersionEntry>, StoreError> {
        Ok(self.record()?.versions)
    }

    /// The version that runs; `None` is the base.
    ///
    /// # Errors
    /// If the state can't be read.
    pub fn active(&self) -> Result<Option<u32>, StoreError> {
        Ok(self.record()?.active())
    }

    /// A number that grows whenever the active version changes, whoever changed it.
    ///
    /// # Errors
    /// If the state can't be read.
    pub fn generation(&self) -> Result<u64, StoreError> {
        Ok(self.record()?.generation)
    }

    /// The hash of the base that all deltas are made for; `None` before there is one.
    ///
    /// # Errors
    /// If the state can't be read.
    pub fn base(&self) -> Result<Option<[u8; 32]>, StoreError> {
        Ok(self.record()?.base.map(|base| base.0))
    }

    /// What was done to the store, oldest first: the last [`HISTORY`](crate::HISTORY) events.
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

    /// As [`add`](Self::add), signed by this device's key, with the number after the last one of that key here.
    ///
    /// # Errors
    /// Those of [`add`](Self::add).
    pub fn add_signed(&self, delta: &[u8], key: &SecretKey) -> Result<u32, StoreError> {
        let (_lock, record) = self.begin()?;
        let signed = key.sign(delta, record.next_sequence(key.public())?)?;
        self.keep(record, &Delta::parse(&signed)?, &signed, Verdict::Candidate)
    }

    /// Stores a delta that comes from outside as a candidate, if the [trust file](Self::trust) lets it in, and returns its
    /// number. With `replay`, also one that its signer has replaced by a newer one since.
    ///
    /// The bytes that were judged are those that are stored. This protects from who can send deltas, not from who can
    /// write to the store's folder: that one can rewind it.
    ///
    /// # Errors
    /// Those of [`add`](Self::add); [`StoreError::Unsigned`], [`StoreError::Untrusted`], [`StoreError::Replayed`];
    /// [`StoreError::Trust`] if the trust file can't be made out. The store is then as it was.
    pub fn receive(&self, delta: &[u8], replay: bool) -> Result<u32, StoreError> {
        let parsed = Delta::parse(delta)?;
        self.trust()?.judge(parsed.signature())?;
        let (_lock, record) = self.begin()?;
        if let Some(&Signature { key, sequence }) = parsed.signature() {
            let last = record.sequence(key);
            if sequence <= last && !replay {
                return Err(StoreError::Replayed { key, sequence, last });
            }
        }
        self.keep(record, &parsed, delta, Verdict::Candidate)
    }

    /// Whose deltas are taken from outside: what [`TRUST_FILE`] in the store's folder says, and anyone's without it.
    ///
    /// # Errors
    /// [`StoreError::Trust`] if it is no trust file, [`StoreError::Durable`] if it can't be read.
    pub fn trust(&self) -> Result<Trust, StoreError> {
        let path = self.path.join(TRUST_FILE);
        let bytes = match read(&*self.files, &path, TRUST_LIMIT) {
            Err(error) if error.is_not_found() => return Ok(Trust::default()),
            other => other?,
        };
        let text = String::from_utf8(bytes)
            .map_err(|error| StoreError::Trust { path: path.clone(), reason: error.to_string() })?;
        Trust::parse(&path, &text)
    }

    /// Makes a version the active one: on trial, unless it was confirmed before. Nothing happens if it is active.
    ///
    /// # Errors
    /// [`StoreError::Unknown`], [`StoreError::Refused`], [`StoreError::Damaged`], [`StoreError::Durable`].
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
    /// Versions that are damaged by now are passed over: going back always leads to something that runs.
    ///
    /// # Errors
    /// [`StoreError::NothingToRollBack`] if the base runs, [`StoreError::Durable`].
    pub fn rollback(&self) -> Result<Option<u32>, StoreError> {
        let (_lock, mut record) = self.begin()?;
        let from = record.active().ok_or(StoreError::NothingToRollBack)?;
        let change = record.roll_back(from, |entry| self.is_whole(entry));
        let active = record.active();
        self.commit(record, [change])?;
        Ok(active)
    }

    /// What the state says of a version.
    ///
    /// # Errors
    /// [`StoreError::Unknown`], or if the state can't be read.
    pub fn version(&self, version: u32) -> Result<VersionEntry, StoreError> {
        self.entry(&self.record()?, version).cloned()
    }

    /// A version's delta, as it was stored.
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

    /// The active version and its delta, whoever activates and prunes meanwhile; `None` is the base.
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

    /// Where a version's delta is, or would be.
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

    /// The folder for what an adaptation leaves to go on from, claimed for one adaptation until the value is dropped. The
    /// store itself stays free for others.
    ///
    /// # Errors
    /// [`StoreError::Durable`] with the other one's name if an adaptation is running.
    pub fn work_dir(&self) -> Result<WorkDir, StoreError> {
        let path = self.path.join(WORK);
        create_folder(&*self.files, &path)?;
        let lock = lock(&*self.files, &path.join(LOCK), Duration::ZERO)?;
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
        // Nothing refers to this file before the state does: cut off in between, the next version overwrites it.
        create_folder(&*self.files, &self.versions_path())?;
        commit(&*self.files, &self.delta_path(version), delta)?;
        let added = record.add(base, delta.len() as u64, sha256(delta));
        record.saw(parsed.signature());
        let judged = match verdict {
            Verdict::Candidate => None,
            Verdict::Activate => Some(record.activate(version)),
            Verdict::Refuse { reason } => Some(record.refuse(version, reason)),
        };
        self.commit(record, [added].into_iter().chain(judged))?;
        Ok(version)
    }

    /// What the state file says now.
    pub(crate) fn record(&self) -> Result<Record, StoreError> {
        let path = self.path.join(STATE);
        let bytes = match read(&*self.files, &path, STATE_LIMIT) {
            Err(error) if error.is_not_found() => return self.without_state(path),
            other => other?,
        };
        let record = match unseal(STATE_KIND, &bytes) {
            Err(SealError::Kind { found: STATE_WITHOUT_TRIALS, .. }) => unseal(STATE_WITHOUT_TRIALS, &bytes)
                .map_err(|error| error.to_string())
                .and_then(Record::parse_without_trials),
            content => content.map_err(|error| error.to_string()).and_then(Record::parse),
        };
        record.map_err(|reason| StoreError::VersionState { path, reason })
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

    /// Whether a version can be gone back to; if not, why is logged.
    pub(crate) fn is_whole(&self, entry: &VersionEntry) -> bool {
        self.whole(entry).inspect_err(|error| log::warn!("passed over in going back: {error}")).is_ok()
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
        match names.iter().find(|name| OURS.iter().all(|ours| name != ours)) {
            Some(name) => {
                let found = name.to_string_lossy().into_owned();
                Err(StoreError::NotAStore { path: self.path.clone(), found })
            }
            None => Ok(()),
        }
    }

    /// What it means that there was no state file.
    fn without_state(&self, path: PathBuf) -> Result<Record, StoreError> {
        let is_used = match list(&*self.files, &self.versions_path()) {
            Err(error) if error.is_not_found() => false,
            names => !names?.is_empty(),
        };
        if !is_used {
            Err(StoreError::Missing { path: self.path.clone() })
        } else if list(&*self.files, &self.path)?.iter().any(|name| name == STATE) {
            // Another process made the store and added to it in this very moment.
            self.record()
        } else {
            Err(StoreError::VersionState { path, reason: format!("it is missing, and `{VERSIONS}` has files") })
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
        Ok((lock, self.record()?))
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

    pub(crate) fn write(&self, record: &Record) -> Result<(), StoreError> {
        let path = self.path.join(STATE);
        let bytes = serde_json::to_vec(record).map_err(|error| DurableError::Io {
            action: "write",
            path: path.clone(),
            source: io::Error::from(error),
        })?;
        Ok(commit_sealed(&*self.files, &path, STATE_KIND, &bytes)?)
    }
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
