//! Tests of trials in a running program: guards against a bad version that answers frames, a good one that is never
//! confirmed, and a robot without a model.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use fieldfit::data::{Dataset, FolderOptions};
use fieldfit::store::{Store, TrialRules, VersionState};
use fieldfit::train::Options;
use fieldfit::{Device, Error, Frame, PixelFormat, Pixels, Runtime, RuntimeEvent, Version};
use fieldfit_delta::Delta;
use fieldfit_durable::{Disk, lock};
use fieldfit_store::current_boot;
use fieldfit_tests::place::{mount, own_disk};
use fieldfit_tests::{deltas, message, tiny};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use std::{fs, io};

const DEVICE: Device = Device::Cpu { threads: 1 };
const RULES: TrialRules = TrialRules::new(20, 3);

/// A base, and a store whose version 1 is confirmed and whose version 2 is active, on trial.
struct Scene {
    folder: tempfile::TempDir,
    store: Store,
    heard: Arc<Mutex<Vec<RuntimeEvent>>>,
}

impl Scene {
    fn new() -> Self {
        Self::within(tempfile::tempdir().unwrap())
    }

    fn within(folder: tempfile::TempDir) -> Self {
        let (model, images) = (tiny::base(folder.path(), 1), folder.path().join("images"));
        tiny::images(&images, 20, 5);
        let images = Dataset::open(&images, &FolderOptions::default()).unwrap();
        let path = folder.path().join("store");
        let runtime = Runtime::builder(&model).device(DEVICE).store_or_new(&path).without_trials().open().unwrap();
        let options = Options::default().with_method("linear-probe").with_epochs(1).with_device(DEVICE);
        let adapted = runtime.adapt(&images, &options).unwrap();
        assert!(adapted.active, "{}", adapted.reason);
        let store = Store::open(path).unwrap();
        store.confirm(1).unwrap();
        store.add(&store.read(1).unwrap()).unwrap();
        store.activate(2).unwrap();
        Self { folder, store, heard: Arc::default() }
    }

    fn open(&self) -> Runtime {
        self.open_as_seen_at(self.folder.path())
    }

    /// Opens what is in that folder, which shows the scene's.
    fn open_as_seen_at(&self, folder: &Path) -> Runtime {
        let heard = self.heard.clone();
        let builder = Runtime::builder(folder.join("tiny-1")).device(DEVICE).store(folder.join("store")).trials(RULES);
        builder.on_event(move |notice| heard.lock().unwrap().push(notice.clone())).open().unwrap()
    }

    fn heard(&self) -> Vec<RuntimeEvent> {
        std::mem::take(&mut *self.heard.lock().unwrap())
    }

    fn state(&self, version: u32) -> VersionState {
        self.store.version(version).unwrap().state
    }

    /// A version that is whole, made for this base, and changes a tensor that the network doesn't have.
    fn poison(&self) -> u32 {
        let first = self.store.read(1).unwrap();
        self.store.add(&deltas::poisoned(Delta::parse(&first).unwrap().header().base)).unwrap()
    }
}

fn infer(runtime: &Runtime, times: u32) -> Version {
    let data: Vec<u8> = (0..40 * 32 * 3).map(|index| (index * 7 % 251) as u8).collect();
    let frame = Frame::Pixels(Pixels::packed(&data, PixelFormat::Rgb8, 40, 32));
    (0..times).map(|_| runtime.infer(&frame).unwrap().version()).last().unwrap()
}

/// Waits for what another thread is to write, and fails only if it never does.
fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Catches: predictions that are forgotten when a program ends, or a version that is never confirmed.
#[test]
fn predictions_over_two_starts_confirm_a_version() {
    let scene = Scene::new();
    assert_eq!(infer(&scene.open(), 12), Version::Stored(2));
    let VersionState::Trial(trial) = scene.state(2) else { panic!("confirmed too early") };
    assert_eq!((trial.predictions, trial.starts), (12, 0), "all are written when the program ends");
    let runtime = scene.open();
    infer(&runtime, 8);
    eventually("20 predictions confirm it while the program runs", || scene.state(2) == VersionState::Confirmed);
    eventually("somebody hears of it", || scene.heard().contains(&RuntimeEvent::Confirmed { version: 2 }));
}

/// Catches: a first prediction that stays unrecorded: the start would count as a failed one if the program were killed
/// now.
#[test]
fn the_first_prediction_is_recorded_while_the_program_runs() {
    let scene = Scene::new();
    let runtime = scene.open();
    assert!(matches!(scene.state(2), VersionState::Trial(trial) if (trial.predictions, trial.starts) == (0, 1)));
    infer(&runtime, 1);
    eventually(
        "the start is struck off",
        || matches!(scene.state(2), VersionState::Trial(trial) if (trial.predictions, trial.starts) == (1, 0)),
    );
}

/// Catches: a program that is opened and closed without a frame and wears a version's trial out.
#[test]
fn a_program_that_is_asked_for_nothing_does_not_count() {
    let scene = Scene::new();
    for _ in 0..5 {
        assert_eq!(scene.open().version(), Version::Stored(2));
    }
    assert!(matches!(scene.state(2), VersionState::Trial(trial) if trial.starts == 0));
}

/// Catches: a version that crashes its program on every start, for ever.
#[test]
fn a_version_that_crashes_is_left_for_the_confirmed_one() {
    let scene = Scene::new();
    for _ in 0..3 {
        // What a crashed process leaves: a start, and no lock.
        drop(scene.store.start(RULES, current_boot().as_deref()).unwrap());
    }
    assert_eq!(infer(&scene.open(), 1), Version::Stored(1));
    assert!(matches!(scene.state(2), VersionState::Quarantined { .. }));
}

/// Catches: a version that can't be decoded on this base and keeps the program from starting, or from answering after a
/// poll.
#[test]
fn a_version_that_can_not_run_is_quarantined_wherever_it_is_met() {
    let scene = Scene::new();
    scene.store.confirm(2).unwrap();
    let running = scene.open();
    let poison = scene.poison();
    let error = running.activate(poison).unwrap_err();
    assert!(
        matches!(error, Error::Model(_)) && scene.state(poison) == VersionState::Candidate,
        "nothing was activated: {error}"
    );

    scene.store.activate(poison).unwrap();
    scene.heard();
    assert_eq!(running.poll().unwrap(), Some(Version::Stored(2)));
    assert_eq!(infer(&running, 1), Version::Stored(2));
    assert!(matches!(scene.state(poison), VersionState::Quarantined { reason } if reason.contains("lm_head.bias")));
    let heard = scene.heard();
    assert!(
        matches!(&heard[0], RuntimeEvent::FellBack { version, reason } if *version == poison && reason.contains("lm_head"))
    );

    let again = scene.poison();
    scene.store.activate(again).unwrap();
    assert_eq!(scene.open().version(), Version::Stored(2), "a start meets it");
    assert!(matches!(scene.state(again), VersionState::Quarantined { .. }));
}

/// Catches: a robot without a model because versions are damaged, though the base is there.
#[test]
fn below_everything_there_is_the_base() {
    let scene = Scene::new();
    for version in 1..=2 {
        std::fs::write(scene.store.delta_path(version), b"no delta").unwrap();
    }
    assert_eq!(infer(&scene.open(), 1), Version::Base);
    assert!(matches!(scene.state(2), VersionState::Quarantined { .. }));
}

/// Catches: a version on trial that runs where its failure could not be recorded; a program that doesn't start there.
#[test]
fn a_store_that_can_not_be_written_serves_the_last_confirmed_version() {
    let scene = Scene::new();
    // A writer that hangs: nothing can be recorded.
    let held = lock(&Disk, &scene.store.path().join("lock"), Duration::ZERO).unwrap();
    let runtime = scene.open();
    assert_eq!(infer(&runtime, 30), Version::Stored(1));
    assert!(matches!(&scene.heard()[0], RuntimeEvent::Unrecorded { .. }));
    drop((held, runtime));
    assert!(matches!(scene.state(2), VersionState::Trial(trial) if (trial.predictions, trial.starts) == (0, 0)));
    assert_eq!(scene.open().version(), Version::Stored(2));
}

/// Catches: a disk mounted for reading on which a program doesn't start, runs what it can't record, or doesn't see what
/// a program that may write activates.
#[test]
#[cfg(target_os = "linux")]
fn a_disk_mounted_for_reading_serves_the_last_confirmed_version() {
    let test = "a_disk_mounted_for_reading_serves_the_last_confirmed_version";
    let Some(place) = own_disk(test, "16m") else { return };
    let scene = Scene::within(tempfile::tempdir_in(&place).unwrap());
    let seen = place.join("seen");
    fs::create_dir(&seen).unwrap();
    mount(&["--bind", &scene.folder.path().to_string_lossy()], &seen);
    mount(&["-o", "remount,bind,ro"], &seen);
    assert_eq!(fs::write(seen.join("new"), "").unwrap_err().kind(), io::ErrorKind::ReadOnlyFilesystem);

    let runtime = scene.open_as_seen_at(&seen);
    assert_eq!(infer(&runtime, 30), Version::Stored(1));
    assert!(matches!(&scene.heard()[..], [RuntimeEvent::Unrecorded { .. }]));
    assert_eq!(runtime.poll().unwrap(), None, "nothing has changed");
    let refused = message(&runtime.activate(1).unwrap_err());
    assert!(refused.contains("mount the file system for writing"), "{refused}");
    assert!(matches!(scene.state(2), VersionState::Trial(trial) if (trial.predictions, trial.starts) == (0, 0)));

    scene.store.confirm(2).unwrap();
    assert_eq!(runtime.poll().unwrap(), Some(Version::Stored(2)));
    assert_eq!(infer(&runtime, 1), Version::Stored(2));
    let third = scene.store.add(&scene.store.read(1).unwrap()).unwrap();
    scene.store.activate(third).unwrap();
    scene.heard();
    assert_eq!(runtime.poll().unwrap(), Some(Version::Stored(2)), "the third cannot be tried here");
    assert!(matches!(&scene.heard()[0], RuntimeEvent::Unrecorded { .. }));
    infer(&runtime, 30);
    drop(runtime);
    assert!(matches!(scene.state(third), VersionState::Trial(trial) if (trial.predictions, trial.starts) == (0, 0)));
}

/// Catches: a model that isn't the store's, taken for a fault of its versions, which are then lost.
#[test]
fn another_base_is_refused_and_quarantines_nothing() {
    let scene = Scene::new();
    let other = tiny::base(scene.folder.path(), 7);
    let error = Runtime::builder(other).device(DEVICE).store(scene.store.path()).open().err().unwrap();
    assert!(matches!(error, Error::Model(_)), "{error}");
    assert!(matches!(scene.state(2), VersionState::Trial(_)));
}

/// Catches: a confirmation by a program that goes to another version than the one that answers.
#[test]
fn a_program_confirms_what_it_runs() {
    let scene = Scene::new();
    let runtime = scene.open();
    runtime.confirm().unwrap();
    assert_eq!(scene.state(2), VersionState::Confirmed);
    assert_eq!(runtime.rollback().unwrap(), Version::Stored(1));
    runtime.confirm().unwrap();
    assert_eq!(runtime.rollback().unwrap(), Version::Base);
    runtime.confirm().unwrap();
}

/// Catches: a frame that waits for a swap, or is answered by a mixture, while versions come, go and fail. Prints how
/// long the longest frame took.
#[test]
fn frames_go_on_whatever_happens_to_the_store() {
    let scene = Scene::new();
    let images = Dataset::open(&scene.folder.path().join("images"), &FolderOptions::default()).unwrap();
    let options = Options::default().with_epochs(1).with_device(DEVICE);
    let (runtime, is_over) = (scene.open(), AtomicBool::new(false));
    thread::scope(|scope| {
        let frames = scope.spawn(|| {
            let mut longest = Duration::ZERO;
            let mut versions = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                let began = Instant::now();
                versions.push(infer(&runtime, 1));
                longest = longest.max(began.elapsed());
                thread::sleep(Duration::from_millis(33).saturating_sub(began.elapsed()));
            }
            (longest, versions)
        });
        for _ in 0..3 {
            runtime.adapt(&images, &options).unwrap();
            runtime.rollback().unwrap();
            let poison = scene.poison();
            assert!(runtime.activate(poison).is_err());
            scene.store.activate(poison).unwrap();
            runtime.poll().unwrap();
            runtime.activate(1).unwrap();
        }
        is_over.store(true, Ordering::Relaxed);
        let (longest, mut versions) = frames.join().unwrap();
        println!("{} frames, the longest took {longest:?}", versions.len());
        versions.dedup();
        assert!(versions.len() > 1, "{versions:?}: frames saw the swaps");
    });
}
