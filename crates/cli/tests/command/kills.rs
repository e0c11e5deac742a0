//! Tests of SIGKILL at any moment: of an adaptation, whose store loses nothing, and whose resumed run ends in the same bits; of a
//! run that collects images, whose collection keeps each that it stored.

use crate::collect::{jpeg, mjpeg};
use crate::scene::Scene;
use fieldfit::collect::{Collection, Contents, ImageId, Limits};
use fieldfit::store::{Store, VersionState};
use std::collections::BTreeSet;
use std::fs::{self, File};
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
            turn = next_moment(turn);
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

/// The next moment of a kill as a share of the run, of moments that are spread evenly over it, whatever it takes here and now.
fn next_moment(turn: f64) -> f64 {
    (turn + 0.618_033_988_75_f64) % 1.0
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

/// The images that a collection's log names, each of which has to be on the disk, whole.
fn stored(collection: &Path) -> BTreeSet<ImageId> {
    if !fieldfit::collect::is_collection(collection) {
        return BTreeSet::new();
    }
    let contents = Contents::read(collection).unwrap();
    let id = |(image, label): (&_, &fieldfit::collect::Label)| {
        let found = ImageId::of(&fs::read(contents.file(image)).unwrap());
        assert_eq!((found, label.class.as_str()), (image.id, "mud"));
        found
    };
    contents.images().map(id).collect()
}

/// Number of files in the folders of a collection's images.
fn image_files(collection: &Path) -> usize {
    let Ok(shards) = fs::read_dir(collection.join("images")) else { return 0 };
    shards.map(|shard| fs::read_dir(shard.unwrap().path()).unwrap().count()).sum()
}

/// Catches: an image that was stored and is lost, or not whole, after a kill; a label without its image; a lock or half a line
/// that keeps the collection from opening; files that no label names and that stay; a run that cannot go on. `FIELDFIT_KILLS`
/// says how often, 20 times without it.
#[test]
fn a_collection_whose_run_is_killed_keeps_what_it_stored() {
    const FRAMES: u32 = 40;
    let scene = Scene::new();
    fs::write(scene.path("stream"), mjpeg(FRAMES)).unwrap();
    let all: BTreeSet<ImageId> = (0..FRAMES).map(|frame| ImageId::of(&jpeg(frame))).collect();
    let start = |out: &str| {
        let arguments = format!("collect - --out {out} --class mud --fps 2 --all");
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("fieldfit"));
        command.args(arguments.split(' ')).current_dir(scene.folder()).stdin(File::open(scene.path("stream")).unwrap());
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let began = Instant::now();
    assert!(start("whole").wait().unwrap().success());
    let takes = began.elapsed();
    assert_eq!(stored(&scene.path("whole")), all);

    let field = scene.path("field");
    let (mut killed, mut partial, mut turn) = (0, 0, 0.0);
    while killed < times(20) {
        let mut child = start("field");
        turn = next_moment(turn);
        std::thread::sleep(takes.mul_f64(turn));
        let before = stored(&field);
        child.kill().unwrap();
        killed += u32::from(!child.wait().unwrap().success());
        drop(Collection::open(&field, Limits::NONE).unwrap());
        let after = stored(&field);
        assert!(before.is_subset(&after) && after.is_subset(&all), "{} of {} are left", after.len(), before.len());
        assert_eq!(image_files(&field), after.len(), "files that no label names");
        partial += u32::from(!after.is_empty() && after != all);
        if after == all {
            fs::remove_dir_all(&field).unwrap();
        }
    }
    println!("{partial} of {killed} kills came between the first image and the last");
    assert!(partial > 0, "no kill came in the middle");
    assert!(start("field").wait().unwrap().success());
    assert_eq!(stored(&field), all);
}
