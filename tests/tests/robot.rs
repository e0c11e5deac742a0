//! Tests of a robot's starts and swaps under faults: guards against a robot that does not start, a good version that
//! is lost, and a listener that hangs the runtime.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use fieldfit::data::{Dataset, FolderOptions};
use fieldfit::delta::{Codec, verify};
use fieldfit::model::{Base, ModelError};
use fieldfit::store::{Store, TrialRules, VersionState};
use fieldfit::train::{Event, Norm, Options};
use fieldfit::{Builder, Device, Error, Frame, PixelFormat, Pixels, Rehash, Runtime, RuntimeEvent, Version};
use fieldfit_delta::Provenance;
use fieldfit_durable::{Disk, FileMark, Verification, lock};
use fieldfit_model::{TrainingResult, encode_delta};
use fieldfit_tensor::Params;
use fieldfit_tests::tiny;
use memmap2::MmapMut;
use std::fs::{self, File, Permissions};
use std::num::{NonZeroU32, NonZeroU64};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

const DEVICE: Device = Device::Cpu { threads: 1 };
const RULES: TrialRules = TrialRules::new(20, 3);

/// A vision transformer, and a store whose version 1 is confirmed.
struct Scene {
    folder: tempfile::TempDir,
    model: PathBuf,
    store: Store,
    heard: Arc<Mutex<Vec<RuntimeEvent>>>,
}

/// The base's own answers at an input size; `blow_up` lets every image but an empty one overflow in the first layer.
fn version(base: &Base, input_size: u32, blow_up: bool) -> Vec<u8> {
    let network = base.network();
    let (patches, _) = network.tensors().find(|(_, spec)| spec.shape.len() == 4).unwrap();
    let mut delta = Params::zeros_where(network, |id| id == patches);
    if blow_up {
        delta[patches].fill(1e38);
    }
    let params: Params<f32> = base.params();
    let result = TrainingResult {
        delta: &delta,
        radii: &vec![None; network.tensors.len()],
        norm: Norm::L2,
        head_weight: &params[network.head.weight],
        head_bias: &params[network.head.bias],
        labels: base.labels(),
        input_size,
        crop: 0.875,
        codecs: &vec![Codec::F32; network.tensors.len()],
    };
    encode_delta(base, &result, Provenance::default(), None).unwrap()
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let model = tiny::base_of(folder.path(), "vit-micro", 1);
        let store = Store::create_or_open(folder.path().join("store")).unwrap();
        let scene = Self { folder, model, store, heard: Arc::default() };
        let first = scene.add(scene.size(), false);
        scene.store.activate(first).unwrap();
        scene.store.confirm(first).unwrap();
        scene
    }

    fn base(&self) -> Base {
        Base::open(&self.model).unwrap()
    }

    fn size(&self) -> u32 {
        self.base().preprocessing().size
    }

    fn add(&self, input_size: u32, blow_up: bool) -> u32 {
        self.store.add(&version(&self.base(), input_size, blow_up)).unwrap()
    }

    fn builder(&self) -> Builder {
        let heard = self.heard.clone();
        let builder = Runtime::builder(&self.model).device(DEVICE).store(self.store.path()).trials(RULES);
        builder.on_event(move |event| heard.lock().unwrap().push(event.clone()))
    }

    fn images(&self) -> Dataset {
        let folder = self.folder.path().join("images");
        tiny::images(&folder, 20, 5);
        Dataset::open(&folder, &FolderOptions::default()).unwrap()
    }

    fn state(&self, version: u32) -> VersionState {
        self.store.version(version).unwrap().state
    }

    /// Starts against a version on trial.
    fn starts(&self, version: u32) -> u32 {
        let VersionState::Trial(trial) = self.state(version) else { panic!("{:?}", self.state(version)) };
        trial.starts
    }

    fn state_file(&self) -> PathBuf {
        self.store.path().join("state")
    }
}

fn infer(runtime: &Runtime) -> Result<Version, Error> {
    let data: Vec<u8> = (0..40 * 32 * 3).map(|index| (index * 7 % 251) as u8).collect();
    let frame = Frame::Pixels(Pixels::packed(&data, PixelFormat::Rgb8, 40, 32));
    runtime.infer(&frame).map(|prediction| prediction.version())
}

/// Waits for what another thread is to do, and fails only if it never does.
fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Catches: a version whose input size the network or the preprocessing cannot take, which passes `delta verify`, `add` and
/// `activate`, and keeps the robot from starting.
#[test]
fn a_version_that_cannot_run_at_its_input_size_is_refused_and_left_at_once() {
    for size in [17, 8192] {
        let scene = Scene::new();
        let file = scene.folder.path().join("bad.delta");
        fs::write(&file, version(&scene.base(), size, false)).unwrap();
        assert!(verify(&file, Some(&scene.model), None).is_err(), "verify, {size}");
        let running = scene.builder().open().unwrap();
        assert!(running.add(&file).is_err(), "add, {size}");
        let bad = scene.add(size, false);
        assert!(running.activate(bad).is_err(), "activate, {size}");
        assert_eq!(scene.state(bad), VersionState::Candidate);

        scene.store.activate(bad).unwrap();
        assert_eq!(scene.builder().open().unwrap().version(), Version::Stored(1), "the first start falls back, {size}");
        assert!(matches!(scene.state(bad), VersionState::Quarantined { .. }));
        assert_eq!(running.poll().unwrap(), Some(Version::Stored(1)));
    }
}

/// Catches: starts on a machine without the device, of a file that cannot be read now, or with torn frames alone, which
/// count against the version: three of them quarantine a good one.
#[test]
fn starts_that_fail_for_other_reasons_are_taken_back() {
    let scene = Scene::new();
    let second = scene.add(scene.size(), false);
    scene.store.activate(second).unwrap();
    for _ in 0..4 {
        assert!(scene.builder().device(Device::Cuda { ordinal: 0 }).open().is_err());
        assert_eq!(scene.starts(second), 0, "a missing device");
    }
    let (file, aside) = (scene.store.delta_path(second), scene.folder.path().join("aside"));
    fs::rename(&file, &aside).unwrap();
    fs::create_dir(&file).unwrap();
    for _ in 0..4 {
        assert_eq!(scene.builder().open().unwrap().version(), Version::Stored(1));
        assert_eq!(scene.starts(second), 0, "an unreadable file");
    }
    fs::remove_dir(&file).unwrap();
    fs::rename(&aside, &file).unwrap();
    for _ in 0..4 {
        let runtime = scene.builder().open().unwrap();
        assert_eq!(runtime.version(), Version::Stored(second));
        let torn = Frame::Pixels(Pixels::packed(&[0; 100], PixelFormat::Rgb8, 40, 32));
        assert!(runtime.infer(&torn).is_err());
        drop(runtime);
        assert_eq!(scene.starts(second), 0, "torn frames");
    }
}

/// Catches: a version, confirmed at that, whose logits are not finite on any real frame, and that is never left while the
/// program runs; one that is left for good although the store could not be written.
#[test]
fn a_version_that_fails_at_frames_in_a_row_is_left_while_the_program_runs() {
    let scene = Scene::new();
    let bad = scene.add(scene.size(), true);
    scene.store.activate(bad).unwrap();
    scene.store.confirm(bad).unwrap();
    let runtime = scene.builder().open().unwrap();
    assert_eq!(runtime.version(), Version::Stored(bad), "an empty image does not tell");
    for _ in 0..3 {
        assert!(matches!(infer(&runtime), Err(Error::Logit { .. })));
    }
    assert_eq!(infer(&runtime).unwrap(), Version::Stored(1));
    assert!(matches!(scene.state(bad), VersionState::Quarantined { .. }));
    let fell_back = |event: &RuntimeEvent| matches!(event, RuntimeEvent::FellBack { version, .. } if *version == bad);
    eventually("somebody hears of it", || scene.heard.lock().unwrap().iter().any(fell_back));

    let scene = Scene::new();
    let bad = scene.add(scene.size(), true);
    scene.store.activate(bad).unwrap();
    scene.store.confirm(bad).unwrap();
    let runtime = scene.builder().max_failures(NonZeroU32::new(1).unwrap()).open().unwrap();
    let held = lock(&Disk, &scene.store.path().join("lock"), Duration::ZERO).unwrap();
    infer(&runtime).unwrap_err();
    assert_eq!(infer(&runtime).unwrap(), Version::Stored(1), "although nothing can be recorded");
    drop(held);
    assert_eq!(runtime.poll().unwrap(), None, "and not again");
}

/// Catches: a store that was restored from a copy and has the generation of before and another active version, which the
/// robot goes on without.
#[test]
fn poll_sees_a_restored_store_of_the_same_generation() {
    let scene = Scene::new();
    let (second, third) = (scene.add(scene.size(), false), scene.add(scene.size(), false));
    let before = fs::read(scene.state_file()).unwrap();
    scene.store.activate(second).unwrap();
    let (with_second, generation) = (fs::read(scene.state_file()).unwrap(), scene.store.generation().unwrap());
    fs::write(scene.state_file(), before).unwrap();
    scene.store.activate(third).unwrap();
    assert_eq!(scene.store.generation().unwrap(), generation);
    let runtime = scene.builder().without_trials().open().unwrap();
    assert_eq!(runtime.version(), Version::Stored(third));
    fs::write(scene.state_file(), with_second).unwrap();
    assert_eq!(runtime.poll().unwrap(), Some(Version::Stored(second)));
    assert_eq!(runtime.poll().unwrap(), None);
}

/// Catches: a damaged state that keeps the robot from starting, though the base is there; one that passes without a word, or
/// for good.
#[test]
fn a_damaged_store_serves_the_base_until_it_is_restored() {
    let scene = Scene::new();
    let whole = fs::read(scene.state_file()).unwrap();
    fs::write(scene.state_file(), b"FFSTATE2 and noise").unwrap();
    assert!(matches!(scene.builder().require_store().open(), Err(Error::Store(_))));
    let runtime = scene.builder().open().unwrap();
    assert_eq!((runtime.is_degraded(), infer(&runtime).unwrap()), (true, Version::Base));
    assert!(matches!(&scene.heard.lock().unwrap()[..], [RuntimeEvent::StoreUnavailable { .. }]));
    let adapted = runtime.adaptation(&scene.images()).run();
    for refused in [runtime.activate(1), runtime.poll().map(drop), runtime.rollback().map(drop), adapted.map(drop)] {
        let message = refused.unwrap_err().to_string();
        assert!(message.contains("is damaged") && message.contains("Restore it from a copy"), "{message}");
    }
    assert!(runtime.is_degraded());
    fs::write(scene.state_file(), whole).unwrap();
    assert_eq!(runtime.poll().unwrap(), Some(Version::Stored(1)));
    assert_eq!((runtime.is_degraded(), infer(&runtime).unwrap()), (false, Version::Stored(1)));

    let missing = Runtime::builder(&scene.model).device(DEVICE).store(scene.folder.path().join("nowhere"));
    assert!(missing.open().is_err(), "a wrong path is no damage");
}

/// Catches: a version that fails at frames and is never left, because the state was damaged since the start.
#[test]
fn a_version_that_fails_beside_a_damaged_state_is_left_for_the_base() {
    let scene = Scene::new();
    let bad = scene.add(scene.size(), true);
    scene.store.activate(bad).unwrap();
    let runtime = scene.builder().without_trials().open().unwrap();
    assert_eq!(runtime.version(), Version::Stored(bad));
    let whole = fs::read(scene.state_file()).unwrap();
    fs::write(scene.state_file(), b"noise").unwrap();
    (0..3).for_each(|_| drop(infer(&runtime)));
    assert_eq!((runtime.is_degraded(), infer(&runtime).unwrap()), (true, Version::Base));
    let is_told = |event: &RuntimeEvent| matches!(event, RuntimeEvent::StoreUnavailable { .. });
    eventually("somebody hears of it", || scene.heard.lock().unwrap().iter().any(is_told));
    fs::write(scene.state_file(), whole).unwrap();
    assert_eq!(runtime.poll().unwrap(), Some(Version::Stored(1)), "the failing version stays left");
}

/// Catches: weights that another program changes through a shared mapping whose page is dirty already, which moves no time:
/// nobody hears of it, adaptations are made of them, and the next start trusts the verification of the last one.
#[test]
fn weights_that_change_under_their_map_are_found() {
    let scene = Scene::new();
    let path = scene.model.join("weights.safetensors");
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    let file = File::options().read(true).write(true).open(&path).unwrap();
    // SAFETY: the file is the test's own, and keeps its length.
    let mut map = unsafe { MmapMut::map_mut(&file) }.unwrap();
    let last = map.len() - 1;
    // Twice: the page is dirty, and the file is what it was.
    map[last] ^= 1;
    map.flush_async().unwrap();
    map[last] ^= 1;
    let (file, sha256) = (FileMark::of(&file).unwrap(), scene.base().manifest().weights.sha256);
    scene.store.keep_verification(&Verification { file, sha256 }).unwrap();
    let trusting = scene.builder().open().unwrap();
    let runtime = scene.builder().rehash(Rehash { bytes_per_second: NonZeroU64::MAX }).open().unwrap();
    map[last] ^= 1;
    let is_told = |event: &RuntimeEvent| matches!(event, RuntimeEvent::BaseAltered { .. });
    eventually("somebody hears of it", || scene.heard.lock().unwrap().iter().any(is_told));
    infer(&runtime).unwrap();
    let adapted = runtime.adaptation(&scene.images()).run();
    for refused in [runtime.activate(1), runtime.poll().map(drop), runtime.rollback().map(drop), adapted.map(drop)] {
        let error = refused.unwrap_err();
        assert!(matches!(error, Error::Model(ModelError::Altered { .. })), "{error}");
    }
    assert!(trusting.poll().is_ok(), "without the setting, nobody looks");
    assert!(scene.store.verification().is_none(), "the next start hashes");
    let error = scene.builder().open().err();
    assert!(matches!(error, Some(Error::Model(ModelError::Altered { .. }))), "{error:?}");
    assert_eq!(scene.state(1), VersionState::Confirmed, "no version is blamed");
}

/// Catches: a version that takes more memory than the budget, allocated in the running robot or blamed for it.
#[test]
fn a_version_beyond_the_memory_budget_does_not_run() {
    let scene = Scene::new();
    let patch_multiple = 4 * scene.size();
    let large = scene.add(patch_multiple, false);
    let runtime = scene.builder().memory_budget(1).open().unwrap();
    assert_eq!(runtime.version(), Version::Base);
    let Err(Error::MemoryBudget { needed: small, .. }) = runtime.activate(1) else { panic!("version 1 runs") };
    let runtime = scene.builder().memory_budget(small).open().unwrap();
    assert_eq!(runtime.version(), Version::Stored(1));
    let error = runtime.activate(large).unwrap_err();
    assert!(matches!(error, Error::MemoryBudget { needed, budget, .. } if needed > budget), "{error}");
    assert_eq!(scene.state(large), VersionState::Candidate);
    scene.store.activate(large).unwrap();
    assert_eq!(runtime.poll().unwrap(), Some(Version::Stored(1)));
    assert_eq!(scene.starts(large), 0, "another robot may have the memory");
}

/// What a listener does to the runtime; the path is that of a delta.
type Action = fn(&Runtime, &Path);

/// Everything that a listener may do to the runtime; also panic.
const ACTIONS: [(&str, Action); 10] = [
    ("poll", |runtime, _| drop(runtime.poll())),
    ("confirm", |runtime, _| drop(runtime.confirm())),
    ("rollback", |runtime, _| drop(runtime.rollback())),
    ("activate", |runtime, _| drop(runtime.activate(1))),
    ("infer", |runtime, _| drop(infer(runtime))),
    ("add", |runtime, delta| drop(runtime.add(delta))),
    ("agrees_with_base", |runtime, _| {
        let data = [90; 40 * 32 * 3];
        drop(runtime.agrees_with_base(&Frame::Pixels(Pixels::packed(&data, PixelFormat::Rgb8, 40, 32))));
    }),
    ("read", |runtime, _| drop((runtime.version(), runtime.labels(), runtime.drift(), runtime.is_degraded()))),
    ("store", |runtime, _| drop(runtime.store().map(Store::versions))),
    ("panic", |_, _| panic!("the listener's")),
];

/// Lets a robot meet every event, with a listener that does something at each kind of event once. Returns the kinds heard.
fn meet_every_event(act: Action) -> usize {
    let scene = Scene::new();
    let file = scene.store.delta_path(1);
    let (second, bad) = (scene.add(scene.size(), false), scene.add(scene.size(), true));
    let shared: Arc<OnceLock<Arc<Runtime>>> = Arc::default();
    let kinds: [AtomicBool; 5] = Default::default();
    let (kinds, heard) = (Arc::new(kinds), Arc::new(AtomicUsize::new(0)));
    let (met, count, runtime) = (kinds.clone(), heard.clone(), shared.clone());
    let builder = Runtime::builder(&scene.model).device(DEVICE).store(scene.store.path()).trials(RULES);
    let builder = builder.drift_every(NonZeroU32::new(5).unwrap()).on_event(move |event| {
        let kind = match event {
            RuntimeEvent::Swapped { .. } => 0,
            RuntimeEvent::FellBack { .. } => 1,
            RuntimeEvent::Unrecorded { .. } => 2,
            RuntimeEvent::Confirmed { .. } => 3,
            RuntimeEvent::Drift(_) => 4,
            _ => return,
        };
        if let Some(runtime) = runtime.get().filter(|_| !met[kind].swap(true, Ordering::SeqCst)) {
            count.fetch_add(1, Ordering::SeqCst);
            act(runtime, &file);
        }
    });
    shared.set(Arc::new(builder.open().unwrap())).ok().unwrap();
    let runtime = shared.get().unwrap();
    runtime.activate(second).unwrap();
    (0..10).for_each(|_| drop(infer(runtime)));
    eventually("the drift is heard", || kinds[4].load(Ordering::SeqCst));
    eventually("a confirmation is heard", || {
        let fresh = scene.add(scene.size(), false);
        runtime.activate(fresh).unwrap();
        (0..25).for_each(|_| drop(infer(runtime)));
        thread::sleep(Duration::from_millis(50));
        kinds[3].load(Ordering::SeqCst)
    });
    runtime.activate(bad).unwrap();
    eventually("a fallback is heard", || {
        infer(runtime).ok();
        kinds[1].load(Ordering::SeqCst)
    });
    let third = scene.add(scene.size(), false);
    scene.store.activate(third).unwrap();
    let held = lock(&Disk, &scene.store.path().join("lock"), Duration::ZERO).unwrap();
    runtime.poll().unwrap();
    drop(held);
    eventually("that nothing is recorded is heard", || kinds[2].load(Ordering::SeqCst));
    heard.load(Ordering::SeqCst)
}

/// Catches: a listener that calls back and waits for a lock that its caller holds, one whose panic ends a trial's thread or
/// poisons a lock.
#[test]
fn a_listener_may_call_every_method_and_panic_in_every_event() {
    for (name, act) in ACTIONS {
        let (sender, done) = channel();
        let run = thread::spawn(move || sender.send(meet_every_event(act)).unwrap());
        let heard = done.recv_timeout(Duration::from_secs(300));
        assert_eq!(heard, Ok(5), "{name}: hangs or panics");
        run.join().unwrap();
    }
}

/// Catches: a version that is activated while another one is trained, and replaced by a worse one, because the gate compared
/// with what ran when training began.
#[test]
fn the_gate_compares_with_what_is_active_when_training_ends() {
    let folder = tempfile::tempdir().unwrap();
    let (model, images) = (tiny::base(folder.path(), 1), folder.path().join("images"));
    tiny::images(&images, 20, 5);
    let images = Dataset::open(&images, &FolderOptions::default()).unwrap();
    let runtime = Runtime::builder(&model).device(DEVICE).store_or_new(folder.path().join("store")).open().unwrap();
    let options = Options::default().with_method("linear-probe").with_epochs(1).with_device(DEVICE);
    let first = runtime.adapt(&images, &options).unwrap();
    assert!(first.active, "{}", first.reason);
    runtime.rollback().unwrap();
    let mut gates = Vec::new();
    let adaptation = runtime.adaptation(&images).options(options).on_event(|event| {
        if let Event::Gate(gate) = event {
            if gates.is_empty() {
                runtime.activate(first.version).unwrap();
            }
            gates.push(gate);
        }
    });
    let second = adaptation.run().unwrap();
    assert_eq!(gates.len(), 2, "judged again: {gates:?}");
    assert_eq!(gates[1].before, gates[0].after, "the same delta was active: {gates:?}");
    assert_eq!(second.active, gates[1].accepted);
}
