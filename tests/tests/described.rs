//! A base whose network came with its own graph: everything that works with a built-in architecture works with it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use fieldfit::data::{Dataset, FolderOptions};
use fieldfit::delta::{export_merged, verify};
use fieldfit::model::{Base, Dtype};
use fieldfit::store::Store;
use fieldfit::train::{Event, Freeze, Options};
use fieldfit::{Device, Frame, Info, PixelFormat, Pixels, Runtime, info};
use fieldfit_delta::{Delta, TensorKind};
use fieldfit_tests::{described, tiny};
use safetensors::SafeTensors;
use std::fs;
use std::path::{Path, PathBuf};

/// A described base and images of three colours.
struct Scene {
    folder: tempfile::TempDir,
    model: PathBuf,
    images: Dataset,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let model = described::base(folder.path(), 1);
        tiny::images(&folder.path().join("images"), 30, 5);
        let images = Dataset::open(&folder.path().join("images"), &FolderOptions::default()).unwrap();
        Self { folder, model, images }
    }

    fn runtime(&self, store: &Path) -> Runtime {
        Runtime::builder(&self.model).device(Device::Cpu { threads: 1 }).store_or_new(store).open().unwrap()
    }
}

fn top(runtime: &Runtime) -> Vec<(String, f32)> {
    let data: Vec<u8> = (0..40 * 32 * 3).map(|index| (index * 7 % 251) as u8).collect();
    let frame = Frame::Pixels(Pixels::packed(&data, PixelFormat::Rgb8, 40, 32));
    let prediction = runtime.infer(&frame).unwrap();
    prediction.top().map(|ranked| (ranked.label.to_owned(), ranked.probability)).collect()
}

fn options(method: &str) -> Options {
    Options::default().with_method(method).with_epochs(2).with_device(Device::Cpu { threads: 1 })
}

/// Catches: a graph that only opens: one that does not run, learn, store its delta, or give the same answers once its store
/// is opened again.
#[test]
fn a_described_base_learns_and_its_store_reopens() {
    let scene = Scene::new();
    let other = described::base(scene.folder.path(), 2);
    for method in ["lp-ft", "tpgm", "tpgm-post-hoc"] {
        let store = scene.folder.path().join(method);
        let runtime = scene.runtime(&store);
        assert!(top(&runtime)[0].0.starts_with("thing "));
        let adapted = runtime.adaptation(&scene.images).options(options(method)).run().unwrap();
        assert!(adapted.active && adapted.gate.after > 0.5, "{method}: {:?}", adapted.gate);
        let answers = top(&runtime);
        assert_eq!(answers.len(), tiny::CLASSES.len());
        drop(runtime);
        assert_eq!(top(&scene.runtime(&store)), answers, "{method}");
        let delta = Store::open(&store).unwrap().delta_path(1);
        verify(&delta, Some(&scene.model), None).unwrap();
        verify(&delta, Some(&other), None).unwrap_err();
    }
}

/// Catches: sections of a described network that freezing does not know, or that move all the same.
#[test]
fn its_sections_can_be_frozen() {
    let scene = Scene::new();
    let store = scene.folder.path().join("store");
    let runtime = scene.runtime(&store);
    let options = options("tpgm").with_freeze(Some(Freeze::new("stem", 1)));
    let mut frozen = Vec::new();
    let mut hear = |event| {
        if let Event::Frozen { stages, .. } = event {
            frozen = stages;
        }
    };
    runtime.adaptation(&scene.images).options(options).on_event(&mut hear).run().unwrap();
    assert_eq!(frozen, ["stem"]);
    let bytes = fs::read(Store::open(&store).unwrap().delta_path(1)).unwrap();
    let delta = Delta::parse(&bytes).unwrap();
    let moved = || delta.records().filter(|record| record.kind == TensorKind::Difference);
    assert!(moved().count() > 0 && moved().all(|record| !record.name.starts_with("stem.")));
}

/// Catches: an export whose tensors do not fit the network that the file came from: other names, shapes or orders of axes.
#[test]
fn an_adapted_model_is_exported_in_the_layout_of_its_file() {
    let scene = Scene::new();
    let (store, out) = (scene.folder.path().join("store"), scene.folder.path().join("out.safetensors"));
    scene.runtime(&store).adaptation(&scene.images).options(options("linear-probe")).run().unwrap();
    let delta = Store::open(&store).unwrap().delta_path(1);
    export_merged(&delta, &scene.model, Dtype::F32, &out).unwrap();
    let bytes = fs::read(&out).unwrap();
    let exported = SafeTensors::deserialize(&bytes).unwrap();
    let base = Base::open(&scene.model).unwrap();
    for (id, spec) in base.network().tensors().filter(|(_, spec)| !spec.role.is_head()) {
        let tensor = exported.tensor(&spec.name).unwrap();
        assert_eq!(tensor.shape(), base.source_layout(id).unwrap().shape, "{}", spec.name);
    }
    let turned = exported.tensor(described::TURNED).unwrap();
    let found: Vec<f32> = turned.data().as_chunks().0.iter().map(|bits| f32::from_le_bytes(*bits)).collect();
    let stored: fieldfit_tensor::Params<f32> = base.params();
    let stored = &stored[base.network().find(described::TURNED).unwrap()];
    // [16, 8] in the network, [8, 16] in the file.
    for (index, value) in found.iter().enumerate() {
        assert_eq!(*value, stored[index % 16 * 8 + index / 16], "{index}");
    }
}

/// Catches: a description of the model that leaves out the network's own sections.
#[test]
fn info_lists_its_sections() {
    let scene = Scene::new();
    let Info::Model(model) = info(&scene.model).unwrap() else { panic!("no model") };
    let stages: Vec<&str> = model.stages.iter().map(|stage| stage.name.as_str()).collect();
    assert_eq!((model.architecture.as_str(), stages), ("imported", vec!["stem", "body", "pool", "classifier"]));
    assert_eq!(model.id, Base::open(&scene.model).unwrap().id().to_string());
}
