//! Tests of what a runtime and an adaptation tell processes that watch their store, and of a pause that these want.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use fieldfit::data::{Dataset, FolderOptions};
use fieldfit::store::{AdaptationResult, AdaptationStatus, RuntimeStatus, Store};
use fieldfit::train::{Control, Event, Options, Pace};
use fieldfit::{Device, Error, Frame, PixelFormat, Pixels, Runtime};
use fieldfit_tests::tiny;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const DEVICE: Device = Device::Cpu { threads: 1 };

struct Scene {
    _folder: TempDir,
    runtime: Runtime,
    images: Dataset,
    store: Store,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (model, images) = (tiny::base(folder.path(), 1), folder.path().join("images"));
        tiny::images(&images, 16, 1);
        let images = Dataset::open(&images, &FolderOptions::default()).unwrap();
        let path = folder.path().join("store");
        let runtime = Runtime::builder(model).device(DEVICE).store_or_new(&path).open().unwrap();
        Self { _folder: folder, runtime, images, store: Store::open(path).unwrap() }
    }

    /// Waits for a status of the runtime, and fails only if there never is such.
    fn runtime_status(&self, is_wanted: impl Fn(&RuntimeStatus) -> bool) -> RuntimeStatus {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            self.store.watch_runtimes().unwrap();
            if let Some(status) = self.store.runtimes().unwrap().into_iter().find(&is_wanted) {
                return status;
            }
            assert!(Instant::now() < deadline, "{:?}", self.store.runtimes());
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn adaptation(&self) -> AdaptationStatus {
        self.store.adaptation().unwrap().unwrap()
    }
}

fn options() -> Options {
    Options::default().with_method("tpgm-relative").with_epochs(2).with_size(Some(32)).with_device(DEVICE)
}

/// Catches: a runtime that writes where nobody watches, counts wrongly, or stays in the list when it is gone.
#[test]
fn a_runtime_is_seen_while_somebody_watches() {
    let Scene { _folder, runtime, images, store } = Scene::new();
    thread::sleep(Duration::from_millis(1500));
    assert!(!store.path().join("runtimes").exists(), "nobody watches");
    let pixels = vec![120; 40 * 32 * 3];
    for _ in 0..5 {
        runtime.infer(&Frame::Pixels(Pixels::packed(&pixels, PixelFormat::Rgb8, 40, 32))).unwrap();
    }
    assert!(runtime.infer(&Frame::Encoded(b"no image")).is_err());
    let scene = Scene { _folder, runtime, images, store };
    let status = scene.runtime_status(|status| status.frames == 5);
    assert_eq!((status.process, status.version, status.failures), (std::process::id(), None, 1));
    assert_eq!(status.latency.frames(), 5);
    assert!(status.latency.seconds > 0.0 && status.confidence.is_some_and(|share| share > 0.0));

    scene.runtime.adapt(&scene.images, &options().with_method("linear-probe")).unwrap();
    let active = scene.store.active().unwrap();
    scene.runtime_status(|status| status.version == active);
    let Scene { runtime, store, .. } = scene;
    drop(runtime);
    assert_eq!(store.runtimes().unwrap(), []);
}

/// Catches: a status that never ends, ends without the version, or lacks what a watcher draws.
#[test]
fn an_adaptation_is_followed_to_its_result() {
    let scene = Scene::new();
    assert_eq!(scene.store.adaptation().unwrap(), None);
    let adapted = scene.runtime.adapt(&scene.images, &options()).unwrap();
    let status = scene.adaptation();
    assert!(!status.is_running() && status.step == status.steps && status.steps > 0, "{status:?}");
    assert!(status.losses.len() > 1 && status.epochs.len() == 2 && !status.shares.is_empty(), "{status:?}");
    let AdaptationResult::Stored { version, active, .. } = status.result.unwrap() else { panic!("it is stored") };
    assert_eq!((version, active), (adapted.version, adapted.active));

    let control = Control::new();
    control.stop();
    let stopped = scene.runtime.adaptation(&scene.images).options(options()).control(&control).run();
    assert!(stopped.is_err());
    assert!(matches!(scene.adaptation().result, Some(AdaptationResult::Failed { .. })));
}

/// Catches: a pause that does not hold the run, cannot be ended, outlives its run, or takes the place of the program's own guard.
#[test]
fn others_pause_a_run_beside_the_programs_own_guard() {
    let scene = Scene::new();
    // Left from a run that was killed.
    scene.store.pause_adaptation(true).unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let control = Control::new().guarded_by(move || {
        count.fetch_add(1, Ordering::Relaxed);
        Pace::Full
    });
    let mut paused = 0;
    let (store, resumer) = (&scene.store, scene.store.clone());
    let run =
        scene.runtime.adaptation(&scene.images).options(options()).control(&control).on_event(|event| match event {
            Event::Step { step: 2, .. } => store.pause_adaptation(true).unwrap(),
            Event::Paused => {
                paused += 1;
                assert!(store.adaptation().unwrap().unwrap().paused);
                let resumer = resumer.clone();
                thread::spawn(move || resumer.pause_adaptation(false).unwrap());
            }
            _ => {}
        });
    let adapted: Result<_, Error> = run.run();
    adapted.unwrap();
    assert_eq!(paused, 1);
    assert!(asked.load(Ordering::Relaxed) > 2 && !scene.adaptation().paused);
}
