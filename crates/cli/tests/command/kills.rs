//! Tests of SIGKILL at any moment of an adaptation: the store loses nothing, and a resumed run ends in
//! the same bits.

use crate::scene::Scene;
use fieldfit::store::{Store, VersionState};
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What is killed, in a folder, and the one version that comes of it when nobody does.
struct Killed<'a> {
    folder: &'a Path,
    arguments: Vec<&'a str>,
    delta: Vec<u8>,
    takes: Duration,
}

/// How kills went.
#[derive(Debug, Default)]
struct Kills {
    /// Runs that a kill ended.
    killed: u32,
    /// Of those, the ones that went on from a checkpoint.
    resumed: u32,
    /// Runs that got through.
    ended: u32,
}

impl<'a> Killed<'a> {
    fn new(folder: &'a Path, arguments: &'a str) -> Self {
        let mut killed =
            Self { folder, arguments: arguments.split(' ').collect(), delta: Vec::new(), takes: Duration::ZERO };
        let began = Instant::now();
        assert!(killed.start(false).wait().unwrap().success());
        killed.takes = began.elapsed();
        killed.delta = killed.store().read(1).unwrap();
        killed.begin_anew();
        killed
    }

    fn start(&self, resume: bool) -> Child {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("fieldfit"));
        command.args(&self.arguments).args(resume.then_some("--resume")).current_dir(self.folder);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    fn store(&self) -> Store {
        Store::open(self.folder.join("store")).unwrap()
    }

    fn begin_anew(&self) {
        fs::remove_dir_all(self.folder.join("store")).unwrap();
    }

    fn has_checkpoint(&self) -> bool {
        let work = self.folder.join("store/work");
        ["adapt.checkpoint", "adapt.checkpoint.before"].iter().any(|name| work.join(name).exists())
    }

    /// Runs and kills until so many runs were killed.
    fn kill(&self, times: u32) -> Kills {
        let mut kills = Kills::default();
        let mut turn = 0.0;
        while kills.killed < times {
            let resume = self.has_checkpoint();
            let mut child = self.start(resume);
            // Spread evenly over the run, whatever it takes here and now.
            turn = (turn + 0.618_033_988_75_f64) % 1.0;
            std::thread::sleep(self.takes.mul_f64(turn));
            match child.try_wait().unwrap() {
                Some(status) => assert!(status.success(), "a run that went on after a kill failed"),
                None => child.kill().unwrap(),
            }
            if child.wait().unwrap().success() {
                kills.ended += 1;
            } else {
                kills.killed += 1;
                kills.resumed += u32::from(resume);
            }
            self.check();
        }
        if self.folder.join("store/state").exists() && !self.store().versions().unwrap().is_empty() {
            self.begin_anew();
        }
        assert!(self.start(self.has_checkpoint()).wait().unwrap().success());
        self.check();
        kills
    }

    /// The store holds nothing, or the one version, whole; then the next run begins anew.
    fn check(&self) {
        if !self.folder.join("store/state").exists() {
            return;
        }
        let store = self.store();
        assert!(store.verify().unwrap().is_empty());
        let versions = store.versions().unwrap();
        if let Some(version) = versions.first() {
            assert_eq!(store.read(version.version).unwrap(), self.delta, "the bits of a run that nobody killed");
            assert_eq!(versions.len(), 1);
            self.begin_anew();
        }
    }
}

/// Catches: a kill between the file of a delta that the gate refused and its verdict, or between two commits of them, that
/// leaves a candidate which anyone may activate.
#[test]
fn a_refused_delta_whose_run_is_killed_is_no_candidate() {
    let scene = Scene::adapted();
    scene.mislead();
    let (delta, state) = ("versions/000002.delta", "state");
    let before = fs::read(scene.path("store/state")).unwrap();
    let mut unjudged = 0;
    for attempt in 0..8 {
        let store = scene.path(&format!("store-{attempt}"));
        fs::create_dir_all(store.join("versions")).unwrap();
        for file in [state, "versions/000001.delta"] {
            fs::copy(scene.path("store").join(file), store.join(file)).unwrap();
        }
        let arguments = format!("adapt --model tiny-1 --data wrong --store store-{attempt} --epochs 1 --threads 1");
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("fieldfit"));
        command.args(arguments.split(' ')).current_dir(scene.folder()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        // As soon as there is the delta, or another state.
        let is_due = || match attempt % 2 {
            0 => store.join(delta).exists(),
            _ => fs::read(store.join(state)).is_ok_and(|now| now != before),
        };
        while !is_due() && child.try_wait().unwrap().is_none() {}
        child.kill().unwrap();
        child.wait().unwrap();

        let store = Store::open(&store).unwrap();
        let versions = store.versions().unwrap();
        unjudged += usize::from(versions.len() == 1 && store.delta_path(2).exists());
        let second = versions.iter().find(|entry| entry.version == 2);
        let is_refused = second.is_none_or(|entry| matches!(entry.state, VersionState::Refused { .. }));
        assert!(is_refused && store.activate(2).is_err(), "attempt {attempt}: {second:?}");
        assert_eq!(store.active().unwrap(), Some(1));
    }
    println!("{unjudged} of 8 kills came between the delta and its verdict");
}

fn times(default: u32) -> u32 {
    std::env::var("FIELDFIT_KILLS").map_or(default, |times| times.parse().unwrap())
}

/// Catches: a store that doesn't open, a version that is half there, or a resumed run that ends in other bits. `FIELDFIT_KILLS` says
/// how often, 20 times without it.
#[test]
fn an_adaptation_that_is_killed_loses_nothing() {
    let scene = Scene::new();
    let arguments = "adapt --model tiny-1 --data images --store store --epochs 12 --augment basic --threads 1";
    let kills = Killed::new(scene.folder(), arguments).kill(times(20));
    println!("{kills:?}");
    assert!(kills.resumed > 0, "no kill came after a checkpoint: {kills:?}");
}

/// Catches: the same faults on the shipped base: `FIELDFIT_KILLS=50 cargo test --test command kills -- --ignored`.
#[test]
#[ignore = "takes minutes on two cores"]
fn an_adaptation_of_lite0_that_is_killed_loses_nothing() {
    let scene = Scene::new();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/efficientnet-lite0").canonicalize().unwrap();
    let arguments = format!(
        "adapt --model {} --data images --store store --size 32 --epochs 4 --codec f16 --augment basic --threads 1",
        model.display()
    );
    let kills = Killed::new(scene.folder(), &arguments).kill(times(50));
    println!("{kills:?}");
    assert!(kills.resumed > 0, "no kill came after a checkpoint: {kills:?}");
}
