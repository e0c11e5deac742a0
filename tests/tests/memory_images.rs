//! Test of an adaptation to images from memory, end to end.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use fieldfit::data::{Dataset, DatasetBuilder, FolderOptions, ImageSet};
use fieldfit::train::{Event, Options};
use fieldfit::{Device, Frame, Runtime};
use fieldfit_tests::tiny;

/// Catches: a step of a run, an evaluation or a resumption that looks for a sample's file; training that sees other images than
/// those of a folder.
#[test]
fn a_run_on_images_from_memory_is_that_on_their_files() {
    let folder = tempfile::tempdir().unwrap();
    let (model, images) = (tiny::base(folder.path(), 1), folder.path().join("images"));
    tiny::images(&images, 24, 7);
    let files = Dataset::open(&images, &FolderOptions::default()).unwrap();
    let mut memory = DatasetBuilder::new();
    for sample in &files.samples {
        let bytes = std::fs::read(sample.image.path().unwrap()).unwrap();
        memory.push(&Frame::Encoded(&bytes), &files.classes[sample.target.class().unwrap() as usize], None).unwrap();
    }
    let memory = memory.build().unwrap();

    let device = Device::Cpu { threads: 1 };
    let options = Options::default().with_epochs(2).with_device(device);
    let run = |dataset: &Dataset, store: &str| {
        let runtime = Runtime::builder(&model).device(device).store_or_new(folder.path().join(store)).open().unwrap();
        let mut losses = Vec::new();
        let adaptation = runtime.adaptation(dataset).options(options.clone());
        let adapted = adaptation.on_event(|event| {
            if let Event::Step { loss, .. } = event {
                losses.push(loss.to_bits());
            }
        });
        let adapted = adapted.run().unwrap();
        let evaluation = runtime.evaluate(&ImageSet::of("all", dataset.clone()), &mut |_, _| ()).unwrap();
        (losses, adapted.gate, evaluation)
    };
    let expected = run(&files, "from-files");
    std::fs::remove_dir_all(&images).unwrap();
    assert_eq!(run(&memory, "from-memory"), expected);
}
