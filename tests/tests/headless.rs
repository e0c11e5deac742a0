//! Tests of a backbone without a head: it adapts as any base does, and what needs a head of its own is rejected with
//! advice.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use fieldfit::data::{Dataset, FolderOptions, ImageSet};
use fieldfit::import::{ImportRequest, import};
use fieldfit::train::{Event, Options};
use fieldfit::{Device, Error, Frame, PixelFormat, Pixels, Runtime};
use fieldfit_tests::{message, tiny};
use safetensors::SafeTensors;
use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

/// A headless base, images of three colours, and a store.
struct Scene {
    folder: tempfile::TempDir,
    images: Dataset,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let whole = folder.path().join("whole.safetensors");
        tiny::checkpoint(&whole, 1);
        let bytes = fs::read(&whole).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let backbone = tensors.iter().filter(|(name, _)| !name.starts_with("_fc."));
        let backbone = safetensors::serialize(backbone, None::<HashMap<String, String>>).unwrap();
        let weights = folder.path().join("backbone.safetensors");
        fs::write(&weights, backbone).unwrap();
        import(&ImportRequest::new(&weights, &folder.path().join("model"))).unwrap();
        tiny::images(&folder.path().join("images"), 30, 5);
        let images = Dataset::open(&folder.path().join("images"), &FolderOptions::default()).unwrap();
        Self { folder, images }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn runtime(&self) -> Runtime {
        let builder = Runtime::builder(self.path("model")).device(Device::Cpu { threads: 1 });
        builder.store_or_new(self.path("store")).open().unwrap()
    }
}

fn options(method: &str) -> Options {
    Options::default().with_method(method).with_epochs(2).with_device(Device::Cpu { threads: 1 })
}

/// Catches: a head of no rows that computes something, reads beyond its end or is asked for the base's answers.
#[test]
fn a_backbone_learns_a_head() {
    let scene = Scene::new();
    let frame = vec![90_u8; 40 * 30 * 3];
    let frame = Frame::Pixels(Pixels::packed(&frame, PixelFormat::Rgb8, 40, 30));
    for method in ["linear-probe", "tpgm", "tpgm-post-hoc", "tpgm-relative"] {
        let runtime = scene.runtime();
        let mut notes = Vec::new();
        let mut hear = |event| {
            if let Event::Degenerate { reason } = event {
                notes.push(reason);
            }
        };
        let adapted = runtime.adaptation(&scene.images).options(options(method)).on_event(&mut hear).run().unwrap();
        assert!(adapted.active && adapted.gate.after > 0.5, "{method}: {:?}", adapted.gate);
        assert_eq!(runtime.infer(&frame).unwrap().top().len(), tiny::CLASSES.len());
        assert_eq!(notes.iter().any(|note| note.contains("has no head")), method == "tpgm-relative", "{notes:?}");
        drop(runtime);
        fs::remove_dir_all(scene.path("store")).unwrap();
    }
}

/// Catches: an answer out of nothing: a frame that the bare base is asked about, an agreement of two heads that aren't
/// there.
#[test]
fn what_needs_the_bases_head_is_refused() {
    let scene = Scene::new();
    let runtime = scene.runtime();
    let frame = vec![90_u8; 40 * 30 * 3];
    let refused = runtime.infer(&Frame::Pixels(Pixels::packed(&frame, PixelFormat::Rgb8, 40, 30))).unwrap_err();
    assert!(message(&refused).contains("cannot answer a frame: adapt it to your classes"), "{refused}");
    let set = ImageSet::of("images", scene.images.clone());
    assert!(matches!(runtime.agreement(&set, &mut |_, _| ()), Err(Error::Headless { .. })));
    assert!(matches!(runtime.evaluate_under_base_head(&set, &mut |_, _| ()), Err(Error::Headless { .. })));
    assert!(matches!(runtime.evaluate(&set, &mut |_, _| ()), Err(Error::Classes { .. })));
    let retaining = options("tpgm-relative").with_retain(Some(scene.path("images")));
    let refused = runtime.adapt(&scene.images, &retaining).unwrap_err();
    assert!(message(&refused).contains("this base has no head"), "{refused}");
}

/// Catches: base answers that are left out without a word where the base has no head.
#[test]
fn a_backbone_gives_no_base_answers() {
    let scene = Scene::new();
    let error = Runtime::builder(scene.path("model")).base_answers(true).open().map(drop).unwrap_err();
    assert!(matches!(error, Error::NoBaseAnswers { .. }), "{error}");
    assert!(error.to_string().contains("without base answers"), "{error}");
}
