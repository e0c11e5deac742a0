//! Checkpoint tests: forged files, whose seal is right and whose content no run can have written, and full disks.

use crate::adaptation::adapt;
use crate::checkpoint::identity::Identity;
use crate::checkpoint::snapshot::{KIND, Snapshot};
use crate::error::{AdaptError, CheckpointDamage};
use crate::event::{Event, Phase};
use crate::methods;
use crate::methods::ftp::Ftp;
use crate::methods::relative_radii::RelativeRadii;
use crate::methods::tensor_radii::TensorRadii;
use crate::options::{OptimiserOptions, Options};
use crate::plan::run::Run;
use crate::plan::run_plan::RunPlan;
use crate::request::{AdaptRequest, Checkpointing};
use crate::train::control::Control;
use fieldfit_data::{Dataset, FolderOptions, Fractions};
use fieldfit_durable::{Claim, Disk, EntryType, FileSystem, NewFile, commit_sealed};
use fieldfit_exec::Device;
use fieldfit_model::Base;
use fieldfit_tensor::{Norm, Params};
use fieldfit_tests::tiny;
use fieldfit_tpgm::{FastRadius, Radius, RadiusAdam};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

type Forgery = (&'static str, fn(&mut Snapshot<'static>));

/// A run that was stopped, and what its checkpoint is read by.
struct Stopped {
    _folder: TempDir,
    base: Base,
    dataset: Dataset,
    options: Options,
    plan: RunPlan,
    identity: Identity,
    path: PathBuf,
    /// The checkpoint as the run left it.
    whole: Vec<u8>,
}

impl Stopped {
    fn new(method: &str, stop: impl Fn(&Event) -> bool) -> Self {
        let folder = TempDir::new().unwrap();
        let base = Base::open(&tiny::base(folder.path(), 1)).unwrap();
        let (images, path) = (folder.path().join("images"), folder.path().join("checkpoint"));
        tiny::images(&images, 16, 1);
        let dataset = Dataset::open(&images, &FolderOptions::default()).unwrap();
        let options = Options {
            method: method.into(),
            epochs: 2,
            size: Some(32),
            batch: 8,
            fractions: Fractions::new(0.2, 0.2),
            device: Device::Cpu { threads: 1 },
            ..Options::default()
        };
        let checkpoint = Some(Checkpointing { path: &path, resume: false });
        let request = AdaptRequest {
            base: &base,
            dataset: &dataset,
            options: &options,
            methods: &[],
            active: None,
            start: None,
            checkpoint,
        };
        let control = Control::new();
        let stopped = adapt(&request, &control, &mut |event| {
            if stop(&event) {
                control.stop();
            }
        });
        assert!(matches!(stopped, Err(AdaptError::Interrupted { .. })), "{stopped:?}");
        let (plan, _) = RunPlan::new(&request, &Control::new()).unwrap();
        let identity = Identity::new(&request, &plan);
        let whole = fs::read(&path).unwrap();
        Self { _folder: folder, plan, identity, whole, path, options, base, dataset }
    }

    fn read(&self) -> Result<Snapshot<'static>, AdaptError> {
        let Self { base, dataset, options, .. } = self;
        let request =
            AdaptRequest { base, dataset, options, methods: &[], active: None, start: None, checkpoint: None };
        let mut method = methods::method(options, &self.plan.network).unwrap();
        Snapshot::read(&self.path, &self.identity, Run { request: &request, plan: &self.plan }, method.as_mut())
    }

    /// What is said of the checkpoint that is there, which is refused; with a whole one before it, that one is taken.
    fn refusal(&self, forgery: &str) -> CheckpointDamage {
        let before = self.path.with_file_name("checkpoint.before");
        fs::remove_file(&before).unwrap_or_default();
        let refused = self.read().map(|_| forgery);
        let Err(AdaptError::DamagedCheckpoint { damage, .. }) = refused else { panic!("{forgery}: {refused:?}") };
        fs::write(&before, &self.whole).unwrap();
        assert!(self.read().is_ok(), "{forgery}: the one before is whole");
        damage
    }

    /// Forges the checkpoint in each of these ways, and expects to be told which part of it is wrong.
    fn refuses(&self, forgeries: &[Forgery]) {
        for (expected, forge) in forgeries {
            fs::write(&self.path, &self.whole).unwrap();
            let mut snapshot = self.read().unwrap();
            forge(&mut snapshot);
            snapshot.write(&Disk, &self.path, 0).unwrap();
            match self.refusal(expected) {
                CheckpointDamage::Contents { what, expected: wanted, found } => {
                    assert!(what.starts_with(expected), "{expected}: {what}: expected {wanted}, found {found}");
                    assert_ne!(wanted, found);
                }
                other => panic!("{expected}: {other}"),
            }
        }
    }
}

/// Changes what the method saved.
fn forge<T: Serialize + DeserializeOwned>(snapshot: &mut Snapshot<'_>, change: impl FnOnce(&mut T)) {
    let mut state: T = postcard::from_bytes(&snapshot.method).unwrap();
    change(&mut state);
    snapshot.method = postcard::to_stdvec(&state).unwrap();
}

/// What can't be made otherwise: the value whose parts, in order, are these.
fn made_of<T: DeserializeOwned>(parts: impl Serialize) -> T {
    postcard::from_bytes(&postcard::to_stdvec(&parts).unwrap()).unwrap()
}

fn third_step(event: &Event) -> bool {
    matches!(event, Event::Step { step: 3, .. })
}

fn progress_of(phase: Phase) -> impl Fn(&Event) -> bool {
    move |event| matches!(event, Event::Progress { phase: told, done: 2, .. } if *told == phase)
}

/// The first tensor that has values.
fn some<T>(params: &mut Params<T>) -> &mut Vec<T> {
    params.buffers_mut().iter_mut().find(|values| !values.is_empty()).unwrap()
}

const OF_EVERY_RUN: &[Forgery] = &[
    ("steps done", |snapshot| snapshot.progress.to_mut().step = u64::MAX),
    ("validation batches drawn", |snapshot| snapshot.progress.to_mut().drawn = u64::MAX),
    ("the epoch's loss", |snapshot| snapshot.progress.to_mut().epoch_loss = f64::NAN),
    ("the loss of guessing", |snapshot| snapshot.progress.to_mut().divergence.chance = 0.0),
    ("whether there was a first loss", |snapshot| snapshot.progress.to_mut().divergence.first = None),
    ("the first loss", |snapshot| snapshot.progress.to_mut().divergence.first = Some(f64::INFINITY)),
    ("the smoothed loss", |snapshot| snapshot.progress.to_mut().divergence.smoothed = f64::NAN),
    ("steps in a row", |snapshot| snapshot.progress.to_mut().divergence.above = u32::MAX),
    ("how many values there are in the probe's", |snapshot| snapshot.probe.to_mut().head.weight.truncate(3)),
    ("how many values there are in the probe's", |snapshot| snapshot.probe.to_mut().head.bias.push(0.0)),
    ("the probe's `", |snapshot| snapshot.probe.to_mut().head.weight[5] = f32::NAN),
    ("the probe's `", |snapshot| snapshot.probe.to_mut().head.bias[0] = f32::INFINITY),
    ("the probe's penalty", |snapshot| snapshot.probe.to_mut().penalty = -1.0),
    ("the probe's loss", |snapshot| snapshot.probe.to_mut().loss = f64::NAN),
    ("the probe's accuracy", |snapshot| snapshot.probe.to_mut().accuracy = 1.5),
    ("how many tensors there are in the list of the difference", |snapshot| {
        *snapshot.delta.to_mut() = Params::default()
    }),
    ("how many values there are in the difference", |snapshot| some(snapshot.delta.to_mut()).truncate(1)),
    ("how many values there are in the difference", |snapshot| *some(snapshot.delta.to_mut()) = vec![0.0; 1 << 16]),
    ("the difference of", |snapshot| some(snapshot.delta.to_mut())[1] = f32::NAN),
    ("the optimiser", |snapshot| snapshot.optimiser.to_mut().options = OptimiserOptions::sgd()),
    ("the optimiser's steps", |snapshot| snapshot.optimiser.to_mut().steps = u64::MAX),
    ("how many tensors there are in the list of tensors that decay", |snapshot| {
        snapshot.optimiser.to_mut().decayed.clear();
    }),
    ("whether `", |snapshot| snapshot.optimiser.to_mut().decayed[0] ^= true),
    ("how many values there are in the first moment", |snapshot| some(&mut snapshot.optimiser.to_mut().first).clear()),
    ("the first moment of", |snapshot| some(&mut snapshot.optimiser.to_mut().first)[0] = f32::NEG_INFINITY),
    ("how many tensors there are in the list of the second moment", |snapshot| {
        snapshot.optimiser.to_mut().second = Params::default();
    }),
    ("the second moment of", |snapshot| some(&mut snapshot.optimiser.to_mut().second)[0] = -1e-3),
    ("bytes behind", |snapshot| snapshot.method.push(0)),
];

type Learned = (TensorRadii<f32>, u64);

const OF_TPGM: &[Forgery] = &[
    ("the radii's norm", |snapshot| forge(snapshot, |(radii, _): &mut Learned| radii.norm = Norm::L2)),
    ("the radii's optimiser", |snapshot| {
        forge(snapshot, |(radii, _): &mut Learned| radii.adam.learning_rate = f64::NAN)
    }),
    ("how many tensors there are in the list of tensors that are constrained", |snapshot| {
        forge(snapshot, |(radii, _): &mut Learned| radii.constrained.push(true));
    }),
    ("whether `", |snapshot| forge(snapshot, |(radii, _): &mut Learned| radii.constrained[0] ^= true)),
    ("how many tensors there are in the list of radii", |snapshot| {
        forge(snapshot, |(radii, _): &mut Learned| radii.radii.clear());
    }),
    ("whether `", |snapshot| {
        forge(snapshot, |(radii, _): &mut Learned| {
            let free = radii.constrained.iter().position(|constrained| !constrained).unwrap();
            radii.radii[free] = Some(Radius::new(1.0));
        });
    }),
    ("whether the radius of", |snapshot| {
        forge(snapshot, |(radii, _): &mut Learned| radii.radii[0] = Some(Radius::new(f32::NAN)));
    }),
    ("whether the radius of", |snapshot| {
        forge(snapshot, |(radii, _): &mut Learned| radii.radii[0] = Some(made_of((1.0_f32, 0.0_f32, -1.0_f32, 1_u64))));
    }),
    ("radius steps of", |snapshot| {
        forge(snapshot, |(radii, _): &mut Learned| {
            radii.radii[0] = Some(made_of((1.0_f32, 0.0_f32, 0.0_f32, u64::MAX)));
        });
    }),
    ("radius steps after training", |snapshot| forge(snapshot, |(_, learned): &mut Learned| *learned = 1)),
];

const OF_FTP: &[Forgery] = &[
    ("FTP's strength", |snapshot| forge(snapshot, |ftp: &mut Ftp<f32>| ftp.strength = 0.5)),
    ("the radii's optimiser", |snapshot| {
        forge(snapshot, |ftp: &mut Ftp<f32>| ftp.adam = RadiusAdam { beta1: 2.0, ..ftp.adam });
    }),
    ("how many tensors there are in the list of radii", |snapshot| {
        forge(snapshot, |ftp: &mut Ftp<f32>| ftp.radii.push(None));
    }),
    ("whether `", |snapshot| forge(snapshot, |ftp: &mut Ftp<f32>| ftp.radii[0] = None)),
    ("radius steps of", |snapshot| forge(snapshot, |ftp: &mut Ftp<f32>| ftp.radii[0] = Some(FastRadius::new()))),
    ("whether the radius of", |snapshot| {
        forge(snapshot, |ftp: &mut Ftp<f32>| ftp.radii[0] = Some(made_of(((f32::INFINITY, 0_f32, 0_f32, 3_u64), ""))));
    }),
    ("how many values there are in distances", |snapshot| {
        forge(snapshot, |ftp: &mut Ftp<f32>| ftp.radii[0] = Some(made_of(((1_f32, 0_f32, 0_f32, 3_u64), vec![0_f32]))));
    }),
    ("distances of the rows", |snapshot| {
        forge(snapshot, |ftp: &mut Ftp<f32>| {
            let rows = ftp.radii[0].as_ref().unwrap().distances().len();
            ftp.radii[0] = Some(made_of(((1_f32, 0_f32, 0_f32, 3_u64), vec![f32::NAN; rows])));
        });
    }),
];

type Done = (RelativeRadii, u64);

const OF_RELATIVE: &[Forgery] = &[
    ("how many tensors there are in the list of shares", |snapshot| {
        forge(snapshot, |(shares, _): &mut Done| shares.groups.clear());
    }),
    ("which share is that of", |snapshot| {
        forge(snapshot, |(shares, _): &mut Done| shares.groups[0] = Some(usize::MAX));
    }),
    ("how many values there are in shares", |snapshot| forge(snapshot, |(shares, _): &mut Done| shares.shares.clear())),
    ("shares, value 0", |snapshot| forge(snapshot, |(shares, _): &mut Done| shares.shares[0] = f64::NAN)),
    ("how many values there are in sums", |snapshot| forge(snapshot, |(shares, _): &mut Done| shares.sums.push(0.0))),
    ("sums of shares, value 0", |snapshot| forge(snapshot, |(shares, _): &mut Done| shares.sums[0] = 1e3)),
    ("shares remembered", |snapshot| forge(snapshot, |(shares, _): &mut Done| shares.remembered = u64::MAX)),
    ("radius steps done", |snapshot| forge(snapshot, |(_, done): &mut Done| *done = u64::MAX)),
];

const OF_WISE_FT: &[Forgery] = &[
    ("shares tried", |snapshot| forge(snapshot, |losses: &mut Vec<f64>| losses.resize(1000, 1.0))),
    ("the losses of the shares tried", |snapshot| forge(snapshot, |losses: &mut Vec<f64>| losses[0] = f64::NAN)),
];

/// Catches: a forged field that is trained on from, that makes the run panic, or that costs the whole checkpoint before it; each in its
/// turn.
#[test]
fn each_forged_field_is_refused_by_what_it_should_be() {
    let tpgm = Stopped::new("tpgm", third_step);
    tpgm.refuses(OF_EVERY_RUN);
    tpgm.refuses(OF_TPGM);
    Stopped::new("ftp", third_step).refuses(OF_FTP);
    Stopped::new("tpgm-relative", progress_of(Phase::Radii)).refuses(OF_RELATIVE);
    Stopped::new("tpgm-relative", third_step)
        .refuses(&[("radius steps done", |snapshot| forge(snapshot, |(_, done): &mut Done| *done = 1))]);
    Stopped::new("tpgm-post-hoc", progress_of(Phase::Radii)).refuses(&[
        ("radius steps after training", |snapshot| forge(snapshot, |(_, learned): &mut Learned| *learned = u64::MAX)),
        ("validation batches drawn", |snapshot| snapshot.progress.to_mut().drawn = 0),
    ]);
    Stopped::new("wise-ft", progress_of(Phase::Interpolation)).refuses(OF_WISE_FT);
    Stopped::new("lp-ft", third_step).refuses(&[("bytes behind no state", |snapshot| snapshot.method.push(1))]);
}

/// Catches: a content that ends too early or too late, and a list that takes a byte a tensor in the file and many in memory.
#[test]
fn what_is_no_state_is_refused() {
    let run = Stopped::new("lp-ft", third_step);
    let content = run.whole[fieldfit_durable::SEAL_LEN..].to_vec();
    let snapshot = run.read().unwrap();
    let before_delta = postcard::to_stdvec(&(&snapshot.identity, &snapshot.progress, &snapshot.probe)).unwrap();
    let many: &[u8] = &[0x80, 0x80, 0x10];
    let bomb = [&before_delta, many, &vec![0; 1 << 18]].concat();
    for (name, forged) in [("cut", &content[..content.len() - 9]), ("empty", &[]), ("bomb", &bomb)] {
        seal(&run.path, forged);
        assert!(matches!(run.refusal(name), CheckpointDamage::Layout(_)), "{name}");
    }
    for longer in [&[0_u8] as &[u8], &[0, 0, 0], &[0, 0, 0x7f], &[1, 0, 0, 0, 0, 0, 0, 0xe0, 0x3f, 0, 0]] {
        seal(&run.path, &[content.as_slice(), longer].concat());
        run.refusal("longer");
    }
}

fn seal(path: &Path, content: &[u8]) {
    commit_sealed(&Disk, path, KIND, content).unwrap();
}

/// A disk that is full while the checkpoint before the last is on it.
#[derive(Debug)]
struct Crowded(PathBuf);

impl FileSystem for Crowded {
    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        Disk.read(path, limit)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        Disk.list(folder)
    }

    fn entry_type(&self, path: &Path) -> io::Result<Option<EntryType>> {
        Disk.entry_type(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn NewFile + '_>> {
        if self.0.exists() { Err(io::ErrorKind::StorageFull.into()) } else { Disk.create(path) }
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn NewFile + '_>> {
        Disk.append(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        Disk.remove(path)
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        Disk.create_folder(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        Disk.sync_folder(folder)
    }

    fn claim(&self, path: &Path, holder: &str) -> io::Result<Claim> {
        Disk.claim(path, holder)
    }

    fn share(&self, path: &Path) -> io::Result<Claim> {
        Disk.share(path)
    }

    fn free_space(&self, folder: &Path) -> Option<u64> {
        Disk.free_space(folder)
    }
}

/// Catches: a disk with room for one checkpoint that is refused because of an older one, and a checkpoint that takes the
/// room that the result needs, or loses the last one when there is none.
#[test]
fn a_full_disk_costs_the_older_checkpoint_first_and_never_the_last() {
    let run = Stopped::new("lp-ft", third_step);
    let before = run.path.with_file_name("checkpoint.before");
    let snapshot = run.read().unwrap();
    fs::write(&before, b"older").unwrap();
    snapshot.write(&Crowded(before.clone()), &run.path, 0).unwrap();
    assert_eq!([fs::read(&run.path).unwrap(), fs::read(&before).unwrap()], [run.whole.clone(), run.whole.clone()]);

    let refused = snapshot.write(&Disk, &run.path, u64::MAX / 2);
    assert!(matches!(refused, Err(AdaptError::CheckpointSpace { .. })), "{refused:?}");
    assert_eq!(fs::read(&run.path).unwrap(), run.whole);
    assert!(!before.exists());
}
