//! Tests of the drift monitor: confidence and base agreement of the running version, without labels.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use fieldfit::data::{Dataset, FolderOptions, ImageSet};
use fieldfit::delta::Codec;
use fieldfit::model::Base;
use fieldfit::train::Norm;
use fieldfit::{Device, Frame, Runtime, RuntimeEvent, Version};
use fieldfit_delta::Provenance;
use fieldfit_model::{TrainingResult, encode_delta};
use fieldfit_tensor::Params;
use fieldfit_tests::tiny;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

const DEVICE: Device = Device::Cpu { threads: 1 };

/// A delta that turns the backbone into another one, far enough for some images to get another class.
fn other_backbone(base: &Base) -> Vec<u8> {
    let network = base.network();
    let mut delta = Params::zeros_where(network, |id| network.tensor(id).shape.len() == 4);
    for (id, spec) in network.tensors().filter(|(_, spec)| spec.shape.len() == 4) {
        let scale = 0.5 / (spec.len() / spec.rows()) as f32;
        delta[id].iter_mut().enumerate().for_each(|(index, value)| *value = scale * (index as f32 * 0.7).sin());
    }
    let params: Params<f32> = base.params();
    let change = TrainingResult {
        delta: &delta,
        radii: &vec![None; network.tensors.len()],
        norm: Norm::L2,
        head_weight: &params[network.head.weight],
        head_bias: &params[network.head.bias],
        labels: base.labels(),
        input_size: 32,
        crop: 0.875,
        codecs: &vec![Codec::F32; network.tensors.len()],
    };
    encode_delta(base, &change, Provenance::default(), None).unwrap()
}

/// A base, a store whose version 1 has another backbone, and images.
struct Scene {
    _folder: tempfile::TempDir,
    model: PathBuf,
    store: PathBuf,
    images: Dataset,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (model, store) = (tiny::base(folder.path(), 1), folder.path().join("store"));
        tiny::images(&folder.path().join("images"), 8, 3);
        let images = Dataset::open(&folder.path().join("images"), &FolderOptions::default()).unwrap();
        let runtime = Runtime::builder(&model).store_or_new(&store).open().unwrap();
        let delta = folder.path().join("a.delta");
        std::fs::write(&delta, other_backbone(runtime.base())).unwrap();
        assert_eq!(runtime.add(&delta).unwrap(), 1);
        Self { _folder: folder, model, store, images }
    }

    /// The images as a camera would bring them.
    fn frames(&self) -> Vec<Vec<u8>> {
        self.images.samples.iter().map(|sample| std::fs::read(sample.image.path().unwrap()).unwrap()).collect()
    }
}

/// Catches: an agreement that compares the wrong two networks, or at the wrong size; one that goes on counting for the
/// version before a swap, or keeps its networks.
#[test]
fn agreement_with_the_base_is_that_of_an_evaluation() {
    let scene = Scene::new();
    let runtime = Runtime::builder(&scene.model).device(DEVICE).store(&scene.store).open().unwrap();
    let frames = scene.frames();
    assert!(runtime.agrees_with_base(&Frame::Encoded(&frames[0])).unwrap(), "the base agrees with itself");
    assert_eq!((runtime.drift().compared, runtime.drift().agreement), (1, Some(1.0)));

    runtime.activate(1).unwrap();
    assert_eq!((runtime.drift().version, runtime.drift().compared), (Version::Stored(1), 0));
    let agreeing = frames.iter().filter(|frame| runtime.agrees_with_base(&Frame::Encoded(frame)).unwrap()).count();
    assert!((1..frames.len()).contains(&agreeing), "{agreeing} of {} tell nothing", frames.len());
    let expected = runtime.agreement(&ImageSet::of("frames", scene.images.clone()), &mut |_, _| {}).unwrap();
    let drift = runtime.drift();
    assert_eq!(drift.compared, frames.len());
    assert!((drift.agreement.unwrap() - expected).abs() < 1e-12, "{drift:?}, expected {expected}");
}

/// Catches: figures of other frames than those that were answered; an event that nobody hears, or that a listener can't
/// act on because it holds a lock.
#[test]
fn confidence_is_told_of_the_frames_that_were_answered() {
    let scene = Scene::new();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let sink = heard.clone();
    let hear = move |notice: &RuntimeEvent| {
        if let RuntimeEvent::Drift(drift) = notice {
            sink.lock().unwrap().push(*drift);
        }
    };
    let builder = Runtime::builder(&scene.model).device(DEVICE).store(&scene.store);
    let runtime = builder.on_event(hear).drift_every(NonZeroU32::new(10).unwrap()).open().unwrap();
    let answers: Vec<f64> = scene
        .frames()
        .iter()
        .map(|frame| f64::from(runtime.infer(&Frame::Encoded(frame)).unwrap().best().unwrap().probability))
        .collect();
    let drift = runtime.drift();
    assert_eq!((drift.version, drift.frames), (Version::Base, answers.len()));
    let mean = |answers: &[f64]| answers.iter().sum::<f64>() / answers.len() as f64;
    assert!((drift.confidence.unwrap() - mean(&answers)).abs() < 1e-9);
    // Another thread delivers; it ends once the runtime is gone.
    drop(runtime);
    while Arc::strong_count(&heard) > 1 {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let heard = heard.lock().unwrap();
    assert_eq!(heard.iter().map(|drift| drift.frames).collect::<Vec<_>>(), [10, 20]);
    assert!((heard[0].confidence.unwrap() - mean(&answers[..10])).abs() < 1e-9);
}
