//! Fixtures of the fleet's tests: a base, deltas of known quality, robots, and a carrier that fails on purpose.

#![allow(dead_code, reason = "each test file uses a part")]

use fieldfit::{
    Device, Runtime,
    data::{Dataset, FolderOptions, Fractions},
    delta::{Codec, SecretKey, TensorKind},
    model::Base,
    store::{Store, TRUST_FILE, Verdict},
    train::{Norm, Options},
};
use fieldfit_delta::{Delta, Provenance, compression::compress};
use fieldfit_fleet::{Agent, Carrier, CarrierError, Digest, Folder, Key, LocalGate, ObjectCarrier, RobotId};
use fieldfit_model::{TrainingResult, encode_delta};
use fieldfit_tensor::Params;
use fieldfit_tests::tiny;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{LazyLock, Mutex, MutexGuard},
};
use tempfile::TempDir;

pub const DEVICE: Device = Device::Cpu { threads: 1 };

/// What a robot's own images call the three colours, and so which deltas suit it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum World {
    /// Green is grass, yellow is sand, blue is water.
    Usual,
    /// Yellow and blue are exchanged.
    Swapped,
}

/// A base, a trained head, and images of two worlds.
pub struct Ground {
    _folder: TempDir,
    pub model: PathBuf,
    /// Images of the usual world.
    pub usual: PathBuf,
    base: Base,
    head: Head,
    images: BTreeMap<&'static str, Dataset>,
}

/// Head of three classes that knows the usual world: weights `[3, features]`, biases, and the order of its rows.
struct Head {
    weight: Vec<f32>,
    bias: Vec<f32>,
    labels: Vec<String>,
}

/// A scratch folder in memory, where there is one: stores sync each write, which no test here depends on.
pub fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

static GROUND: LazyLock<Ground> = LazyLock::new(Ground::new);

pub fn ground() -> &'static Ground {
    &GROUND
}

impl Ground {
    fn new() -> Self {
        let folder = scratch();
        let model = tiny::base(folder.path(), 2);
        let usual = folder.path().join("usual");
        tiny::images(&usual, 40, 5);
        let swapped = folder.path().join("swapped");
        tiny::images(&swapped, 40, 6);
        fs::rename(swapped.join("sand"), swapped.join("x")).unwrap();
        fs::rename(swapped.join("water"), swapped.join("sand")).unwrap();
        fs::rename(swapped.join("x"), swapped.join("water")).unwrap();
        let open = |path: &Path| Dataset::open(path, &FolderOptions::default()).unwrap();
        let images = BTreeMap::from([("usual", open(&usual)), ("swapped", open(&swapped))]);
        let base = Base::open(&model).unwrap();
        let head = Head::train(&model, &folder.path().join("training"), &images["usual"]);
        Self { _folder: folder, model, usual, base, head, images }
    }

    pub fn base_id(&self) -> [u8; 32] {
        self.base.id().0
    }

    pub fn gate(&self, world: World) -> LocalGate {
        let images = match world {
            World::Usual => &self.images["usual"],
            World::Swapped => &self.images["swapped"],
        };
        LocalGate::new(&self.model, images.clone(), &Fractions::default(), DEVICE).unwrap()
    }

    /// Returns an unsigned delta that is right in that world; `seed` makes it another file.
    pub fn delta(&self, world: World, seed: u64) -> Vec<u8> {
        let exchanged = |label: &String| match (world, label.as_str()) {
            (World::Swapped, "sand") => "water".to_owned(),
            (World::Swapped, "water") => "sand".to_owned(),
            _ => label.clone(),
        };
        self.delta_with(&self.head.labels.iter().map(exchanged).collect::<Vec<_>>(), seed)
    }

    /// Returns an unsigned delta that is wrong about every colour in both worlds.
    pub fn wrong(&self, seed: u64) -> Vec<u8> {
        // Grass takes part, so that each world has at most one colour right.
        let rotated = |label: &String| match label.as_str() {
            "grass" => "sand".to_owned(),
            "sand" => "grass".to_owned(),
            label => label.to_owned(),
        };
        self.delta_with(&self.head.labels.iter().map(rotated).collect::<Vec<_>>(), seed)
    }

    fn delta_with(&self, labels: &[String], seed: u64) -> Vec<u8> {
        let rows: Vec<usize> = (0..labels.len()).collect();
        self.delta_of_rows(&rows, labels, seed)
    }

    /// Returns an unsigned delta of the usual world that knows only those classes.
    pub fn partial(&self, classes: &[&str], seed: u64) -> Vec<u8> {
        let position = |class: &&str| self.head.labels.iter().position(|label| label == class).unwrap();
        let rows: Vec<usize> = classes.iter().map(position).collect();
        let labels: Vec<String> = classes.iter().map(|class| (*class).to_owned()).collect();
        self.delta_of_rows(&rows, &labels, seed)
    }

    fn delta_of_rows(&self, rows: &[usize], labels: &[String], seed: u64) -> Vec<u8> {
        self.encoded(rows, labels, seed, &Params::zeros(self.base.network()))
    }

    /// Returns an unsigned delta of the usual world that moves every tensor a little: as long as a real one is.
    pub fn large(&self, seed: u64) -> Vec<u8> {
        let network = self.base.network();
        let mut moved = Params::zeros(network);
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        for (id, spec) in network.tensors().filter(|(_, spec)| spec.role.is_trainable() && !spec.role.is_head()) {
            let mut values = vec![0.0; spec.len()];
            for value in &mut values {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                *value = ((random >> 40) as f32 / 16_777_216.0 - 0.5) * 1e-4;
            }
            moved.replace(id, values);
        }
        let labels = &self.head.labels;
        self.encoded(&(0..labels.len()).collect::<Vec<_>>(), labels, seed, &moved)
    }

    fn encoded(&self, rows: &[usize], labels: &[String], seed: u64, moved: &Params<f32>) -> Vec<u8> {
        let network = self.base.network();
        let features = network.head.features;
        let weight: Vec<f32> =
            rows.iter().flat_map(|row| self.head.weight[row * features..][..features].iter().copied()).collect();
        let bias: Vec<f32> = rows.iter().map(|row| self.head.bias[*row]).collect();
        let change = TrainingResult {
            delta: moved,
            radii: &vec![None; network.tensors.len()],
            norm: Norm::Mars,
            head_weight: &weight,
            head_bias: &bias,
            labels,
            input_size: 32,
            crop: 0.875,
            codecs: &vec![Codec::F32; network.tensors.len()],
        };
        let provenance = Provenance { seed, gate: 12, train: 96, after: 1.0, ..Provenance::default() };
        encode_delta(&self.base, &change, provenance, None).unwrap()
    }
}

impl Head {
    fn train(model: &Path, store: &Path, images: &Dataset) -> Self {
        let runtime = Runtime::builder(model).device(DEVICE).store_or_new(store).open().unwrap();
        let options = Options::default().with_method("linear-probe").with_epochs(8).with_device(DEVICE);
        let adapted = runtime.adapt(images, &options).unwrap();
        let file = adapted.read().unwrap();
        let delta = Delta::parse(&file).unwrap();
        let values = |dimensions: usize| {
            let is_it = |record: &fieldfit_delta::Record<'_>| {
                record.kind == TensorKind::Replacement && record.shape.len() == dimensions
            };
            let record = delta.records().find(is_it).unwrap();
            let mut values = vec![0.0; record.len()];
            record.decode_into(&mut values).unwrap();
            values
        };
        Self { weight: values(2), bias: values(1), labels: delta.labels().map(str::to_owned).collect() }
    }
}

/// A key by its number.
pub fn key(number: u8) -> SecretKey {
    SecretKey::from_seed(&[number; 32])
}

/// The numbers of the keys that every robot of a test's fleet trusts.
pub const TRUSTED: std::ops::Range<u8> = 1..101;

/// A robot: its store, trusting the fleet's keys.
pub struct Robot {
    folder: TempDir,
    pub store: Store,
    pub id: RobotId,
}

impl Robot {
    pub fn new(id: &str) -> Self {
        let folder = scratch();
        let path = folder.path().join("store");
        let store = Store::create_or_open(&path).unwrap();
        let keys: String = TRUSTED.map(|number| format!("robot-{number} = \"{}\"\n", key(number).public())).collect();
        fs::write(path.join(TRUST_FILE), format!("[keys]\n{keys}")).unwrap();
        store.fix_base(&ground().base_id()).unwrap();
        Self { folder, store, id: id.parse().unwrap() }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn agent<'a>(&'a self, carrier: &'a dyn Carrier) -> Agent<'a> {
        Agent::new(&self.store, carrier, self.id.clone()).unwrap()
    }

    /// Stores a delta as one that this robot's own gate accepted and that has proved itself.
    pub fn learned(&self, delta: &[u8], signer: u8) -> u32 {
        let version = self.store.add_judged(delta, Some(&key(signer)), Verdict::Activate, None).unwrap();
        self.store.confirm(version).unwrap();
        version
    }
}

/// Carrier over a folder that damages, loses, hides or refuses what a test names.
pub struct Faulty {
    folder: TempDir,
    inner: ObjectCarrier,
    faults: Mutex<Faults>,
}

#[derive(Default)]
pub struct Faults {
    /// The byte of what is got from this folder that is flipped.
    pub flip: Option<(Folder, usize)>,
    /// What is put into this folder arrives cut off there.
    pub cut: Option<(Folder, usize)>,
    /// How many puts are lost without an error.
    pub lose: u32,
    /// After how many more operations the carrier is unreachable.
    pub fail_after: Option<u32>,
    /// Objects that are hidden.
    pub hidden: Vec<String>,
    /// Number of operations, by name.
    pub operations: BTreeMap<&'static str, u32>,
}

impl Faulty {
    pub fn new() -> Self {
        let folder = scratch();
        let inner = ObjectCarrier::folder(folder.path()).unwrap();
        Self { folder, inner, faults: Mutex::default() }
    }

    pub fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap()
    }

    /// The folder, as whoever holds the stick has it.
    pub fn path(&self, key: &Key) -> PathBuf {
        self.folder.path().join(key.to_string())
    }

    /// Writes an object as whoever holds the stick can.
    pub fn forge(&self, key: &Key, bytes: &[u8]) {
        let path = self.path(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Writes a delta file under its hash, and returns that.
    pub fn forge_delta(&self, file: &[u8]) -> Digest {
        let digest = Digest::of(file);
        self.forge(&Key::Delta(Digest(ground().base_id()), digest), &compress(file));
        digest
    }

    fn begin(&self, operation: &'static str, key: &str) -> Result<(), CarrierError> {
        let mut faults = self.faults();
        *faults.operations.entry(operation).or_default() += 1;
        match &mut faults.fail_after {
            Some(0) => Err(CarrierError::Unavailable {
                action: operation,
                key: key.to_owned(),
                source: "the test's fault".into(),
            }),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Carrier for Faulty {
    fn put(&self, key: &Key, bytes: &[u8]) -> Result<(), CarrierError> {
        self.begin("put", &key.to_string())?;
        let mut faults = self.faults();
        if faults.lose > 0 {
            faults.lose -= 1;
            return Ok(());
        }
        match faults.cut {
            Some((folder, length)) if folder == key.folder() => {
                drop(faults);
                self.forge(key, &bytes[..length.min(bytes.len())]);
                Ok(())
            }
            _ => self.inner.put(key, bytes),
        }
    }

    fn get(&self, key: &Key, limit: usize) -> Result<Vec<Vec<u8>>, CarrierError> {
        self.begin("get", &key.to_string())?;
        if self.faults().hidden.contains(&key.to_string()) {
            return Ok(Vec::new());
        }
        let mut objects = self.inner.get(key, limit)?;
        if let Some((folder, position)) = self.faults().flip
            && folder == key.folder()
        {
            for bytes in &mut objects {
                let length = bytes.len();
                bytes[position % length] ^= 1;
            }
        }
        Ok(objects)
    }

    fn list(&self, base: &Digest, folder: Folder) -> Result<Vec<Key>, CarrierError> {
        self.begin("list", &folder.path(base))?;
        let hidden = self.faults().hidden.clone();
        let keys = self.inner.list(base, folder)?;
        Ok(keys.into_iter().filter(|key| !hidden.contains(&key.to_string())).collect())
    }
}
