//! Tests of the batch loader: order, content, augmentation, errors, and the end of its threads.
#![allow(clippy::unwrap_used, dead_code, reason = "helpers of tests")]

mod common;

use common::{preprocessor, write_images};
use fieldfit_data::{
    Augmentation, Batch, DataError, Dataset, FolderOptions, Frame, Loader, LoaderOptions, Preprocessor, ReadFailures,
    shuffled,
};
use tempfile::{TempDir, tempdir};

/// Two classes of 9 images.
fn dataset() -> (TempDir, Dataset) {
    let folder = tempdir().unwrap();
    write_images(&folder.path().join("a"), "", 0, 9);
    write_images(&folder.path().join("b"), "", 20, 9);
    let dataset = Dataset::open(folder.path(), &FolderOptions::default()).unwrap();
    (folder, dataset)
}

fn options(augmentation: Augmentation, threads: usize) -> LoaderOptions {
    LoaderOptions { batch: 4, augmentation, seed: 7, threads, ..LoaderOptions::default() }
}

fn load(dataset: &Dataset, order: &[usize], options: &LoaderOptions) -> Vec<Batch> {
    Loader::new(dataset, order, &preprocessor(), options).unwrap().map(Result::unwrap).collect()
}

fn all(dataset: &Dataset) -> Vec<usize> {
    (0..dataset.samples.len()).collect()
}

/// Catches: evaluation that sees other pixels than inference, and labels beside the wrong image.
#[test]
fn without_augmentation_images_are_as_at_inference() {
    let (_folder, dataset) = dataset();
    let order = shuffled(&all(&dataset), 3, 0);
    let batches = load(&dataset, &order, &options(Augmentation::None, 2));
    assert_eq!(batches.iter().flat_map(|batch| batch.samples.clone()).collect::<Vec<_>>(), order);
    let mut inference = preprocessor();
    let mut expected = vec![0.0; inference.values()];
    for batch in &batches {
        for (position, sample) in batch.samples.iter().enumerate() {
            let sample = &dataset.samples[*sample];
            inference
                .prepare(&Frame::Encoded(&std::fs::read(sample.image.path().unwrap()).unwrap()), &mut expected)
                .unwrap();
            assert_eq!(batch.images.image(position), expected);
            assert_eq!(batch.targets.classes()[position], sample.target.class().unwrap());
        }
    }
}

/// Catches: a short last batch that is lost, padded or delivered against the caller's wish.
#[test]
fn the_last_batch_is_short_or_left_out() {
    let (_folder, dataset) = dataset();
    let sizes = |drop_last| {
        let options = LoaderOptions { drop_last, ..options(Augmentation::None, 2) };
        load(&dataset, &all(&dataset), &options).iter().map(|batch| batch.images.count).collect::<Vec<_>>()
    };
    assert_eq!(sizes(false), [4, 4, 4, 4, 2]);
    assert_eq!(sizes(true), [4, 4, 4, 4]);
    assert!(load(&dataset, &[], &options(Augmentation::None, 2)).is_empty());
}

/// Catches: randomness or order that depends on which thread is faster.
#[test]
fn the_number_of_threads_changes_no_bit() {
    let (_folder, dataset) = dataset();
    let order = shuffled(&all(&dataset), 3, 1);
    for augmentation in [Augmentation::Basic, Augmentation::Robust] {
        let one = load(&dataset, &order, &options(augmentation, 1));
        for threads in [2, 3, 8] {
            assert_eq!(load(&dataset, &order, &options(augmentation, threads)), one);
        }
    }
}

/// Catches: augmentation that ignores seed or epoch, or that depends on the image's place in the order.
#[test]
fn augmentation_follows_from_seed_epoch_and_sample_alone() {
    let (_folder, dataset) = dataset();
    for augmentation in [Augmentation::Basic, Augmentation::Robust] {
        let images = |order: &[usize], seed, epoch| {
            let options = LoaderOptions { seed, epoch, ..options(augmentation, 2) };
            load(&dataset, order, &options)
        };
        let first = images(&[5, 6], 7, 0);
        assert_eq!(images(&[6, 5], 7, 0)[0].images.image(1), first[0].images.image(0));
        assert_ne!(images(&[5, 6], 8, 0)[0].images, first[0].images);
        assert_ne!(images(&[5, 6], 7, 1)[0].images, first[0].images);
        let plain = load(&dataset, &[5, 6], &options(Augmentation::None, 2));
        assert_ne!(plain[0].images, first[0].images);
    }
}

/// Catches: augmentation that leaves the range of the network's input, never flips, or always does.
#[test]
fn augmented_images_stay_images_and_flip_half_the_time() {
    let folder = tempdir().unwrap();
    let half = |left: u8, right: u8| {
        image::RgbImage::from_fn(40, 40, |x, _| image::Rgb([if x < 20 { left } else { right }; 3]))
    };
    for class in ["a", "b"] {
        std::fs::create_dir(folder.path().join(class)).unwrap();
    }
    half(0, 255).save(folder.path().join("a/0.png")).unwrap();
    half(10, 250).save(folder.path().join("b/0.png")).unwrap();
    let dataset = Dataset::open(folder.path(), &FolderOptions::default()).unwrap();
    let mut flipped = 0;
    for epoch in 0..100 {
        let options = LoaderOptions { epoch, ..options(Augmentation::Basic, 1) };
        let image = load(&dataset, &[0], &options).remove(0).images.values;
        assert!(image.iter().all(|value| (-127.0 / 128.0..=1.0).contains(value)));
        let row = &image[8 * 16 * 3..][..16 * 3];
        flipped += usize::from(row[0] > row[15 * 3]);
        assert_ne!(row[0] > 0.0, row[15 * 3] > 0.0, "one half is dark, the other bright");
    }
    assert!((35..=65).contains(&flipped), "{flipped} of 100");
}

/// Catches: a robust preset that leaves the range of the network's input, makes numbers that are none, or is basic.
#[test]
fn robust_images_stay_in_range_and_differ_from_basic_ones() {
    let (_folder, dataset) = dataset();
    for epoch in 0..40 {
        let of = |augmentation| {
            load(&dataset, &all(&dataset), &LoaderOptions { epoch, ..options(augmentation, 2) })
                .into_iter()
                .flat_map(|batch| batch.images.values)
                .collect::<Vec<_>>()
        };
        let (basic, robust) = (of(Augmentation::Basic), of(Augmentation::Robust));
        assert!(robust.iter().all(|value| (-127.0 / 128.0..=1.0).contains(value)));
        let differing = basic.iter().zip(&robust).filter(|(basic, robust)| basic != robust).count();
        assert!(differing > basic.len() / 2, "epoch {epoch}: {differing} of {} values", basic.len());
    }
}

/// Catches: a name that no command line could be given, or one that means another preset.
#[test]
fn presets_are_known_by_name() {
    for augmentation in Augmentation::ALL {
        assert_eq!(augmentation.name().parse::<Augmentation>().unwrap(), augmentation);
    }
    let error = "strong".parse::<Augmentation>().unwrap_err().to_string();
    assert_eq!(error, "there is no augmentation `strong`: expected one of none, basic, robust");
}

/// Catches: an order that is not a permutation, or that does not follow from seed and epoch.
#[test]
fn shuffling_follows_from_seed_and_epoch() {
    let order: Vec<usize> = (10..60).collect();
    let shuffle = shuffled(&order, 1, 2);
    assert_eq!(shuffle, shuffled(&order, 1, 2));
    assert_ne!(shuffle, shuffled(&order, 1, 3));
    assert_ne!(shuffle, shuffled(&order, 2, 2));
    let mut sorted = shuffle.clone();
    sorted.sort_unstable();
    assert!(sorted == order && shuffle != order);
}

/// Catches: an image that disappears during training and takes the run down, or is left out in silence.
#[test]
fn an_image_that_is_gone_is_an_error_with_its_name_and_the_end() {
    let (_folder, dataset) = dataset();
    std::fs::remove_file(dataset.samples[6].image.path().unwrap()).unwrap();
    let mut loader = Loader::new(&dataset, &all(&dataset), &preprocessor(), &options(Augmentation::Basic, 2)).unwrap();
    assert!(loader.next().unwrap().is_ok());
    match loader.next().unwrap() {
        Err(DataError::Read { path, .. }) => assert_eq!(path, dataset.samples[6].image.path().unwrap()),
        other => panic!("{other:?}"),
    }
    assert!(loader.next().is_none());
}

/// Catches: a loader whose drop waits for ever on threads that wait for a consumer: the test would not end.
#[test]
fn dropping_a_loader_ends_its_threads() {
    let (_folder, dataset) = dataset();
    let order: Vec<usize> = all(&dataset).into_iter().cycle().take(1800).collect();
    let mut loader = Loader::new(&dataset, &order, &preprocessor(), &options(Augmentation::Basic, 3)).unwrap();
    assert!(loader.next().unwrap().is_ok());
    drop(loader);
    drop(Loader::new(&dataset, &order, &preprocessor(), &options(Augmentation::None, 2)).unwrap());
}

/// Catches: settings that would hang or panic in a thread.
#[test]
fn impossible_loaders_are_refused() {
    let (_folder, dataset) = dataset();
    let new = |order: &[usize], batch, threads| {
        let options = LoaderOptions { batch, threads, ..LoaderOptions::default() };
        Loader::new(&dataset, order, &preprocessor(), &options)
    };
    assert!(matches!(new(&[0], 0, 2), Err(DataError::Batches { batch: 0, threads: 2 })));
    assert!(matches!(new(&[0], 4, 0), Err(DataError::Batches { batch: 4, threads: 0 })));
    assert!(matches!(new(&[18], 4, 1), Err(DataError::NoSuchSample { index: 18, samples: 18 })));
}

/// Catches: a preprocessor that keeps something of one image in the next: the order of batches must not matter.
#[test]
fn preprocessors_keep_nothing_between_images() {
    let (_folder, dataset) = dataset();
    let mut shared: Preprocessor = preprocessor();
    let files: Vec<Vec<u8>> =
        dataset.samples.iter().map(|sample| std::fs::read(sample.image.path().unwrap()).unwrap()).collect();
    let mut again = vec![0.0; shared.values()];
    let mut fresh = vec![0.0; shared.values()];
    for bytes in &files {
        shared.prepare(&Frame::Encoded(bytes), &mut again).unwrap();
        preprocessor().prepare(&Frame::Encoded(bytes), &mut fresh).unwrap();
        assert_eq!(again, fresh);
    }
}

/// Three classes of 20 images, of which 3 may become unreadable.
fn spare_dataset() -> (TempDir, Dataset) {
    let folder = tempdir().unwrap();
    for (class, seed) in [("a", 0), ("b", 40), ("c", 80)] {
        write_images(&folder.path().join(class), "", seed, 20);
    }
    let dataset = Dataset::open(folder.path(), &FolderOptions::default()).unwrap();
    assert_eq!(dataset.spare_images(), 3);
    (folder, dataset)
}

/// Catches: an image that vanishes and ends the run, one that is left out in silence or counted twice, and batches whose
/// content then depends on the number of threads.
#[test]
fn images_that_vanish_are_skipped_and_recorded() {
    let (_folder, dataset) = spare_dataset();
    let order = shuffled(&all(&dataset), 3, 0);
    let lost = [order[5], order[6], order[40]];
    lost.iter().for_each(|sample| std::fs::remove_file(dataset.samples[*sample].image.path().unwrap()).unwrap());
    let mut passes = Vec::new();
    for threads in [1, 3] {
        let failures = ReadFailures::new(&dataset);
        for _ in 0..2 {
            let loader =
                Loader::new(&dataset, &order, &preprocessor(), &options(Augmentation::Basic, threads)).unwrap();
            passes.push(loader.recording(&failures).map(Result::unwrap).collect::<Vec<_>>());
        }
        assert_eq!(failures.count(), 3);
        assert!(lost.iter().all(|sample| failures.contains(*sample)));
        let new = failures.take_new();
        assert_eq!(new.iter().map(|failure| failure.sample).collect::<Vec<_>>(), lost);
        assert_eq!(new[0].path, dataset.samples[lost[0]].image.path().unwrap());
        assert!(new[0].reason.contains("No such file"), "{}", new[0]);
        assert!(failures.take_new().is_empty());
    }
    assert!(passes.iter().all(|pass| *pass == passes[0]));
    let samples: Vec<usize> = passes[0].iter().flat_map(|batch| batch.samples.clone()).collect();
    assert_eq!(samples, order.iter().copied().filter(|sample| !lost.contains(sample)).collect::<Vec<_>>());
    assert!(passes[0].iter().all(|batch| batch.images.count == batch.samples.len()));
    let sizes: Vec<usize> = passes[0].iter().map(|batch| batch.samples.len()).collect();
    assert_eq!((sizes.len(), sizes[1], sizes[10]), (15, 2, 3));
}

/// Catches: a medium that is pulled out and takes half of the images out of training, which goes on.
#[test]
fn more_images_than_can_be_spared_end_the_pass() {
    let (_folder, dataset) = spare_dataset();
    let remove = |sample: usize| std::fs::remove_file(dataset.samples[sample].image.path().unwrap()).unwrap();
    (0..3).for_each(remove);
    let failures = ReadFailures::new(&dataset);
    let pass = |order: &[usize]| {
        let loader = Loader::new(&dataset, order, &preprocessor(), &options(Augmentation::None, 2)).unwrap();
        loader.recording(&failures).collect::<Vec<_>>()
    };
    assert!(pass(&all(&dataset)).iter().all(Result::is_ok));
    // A fourth one, in another slice of the same data set.
    remove(50);
    let rest = pass(&[40, 41, 42, 43, 48, 49, 50, 51, 52]);
    assert_eq!(rest.len(), 2, "it ends with the error");
    match rest[1].as_ref().unwrap_err() {
        DataError::TooManyFailures { failed: 4, allowed: 3, first } => assert_eq!(first[0].sample, 0),
        other => panic!("{other:?}"),
    }
}

/// Catches: a slice of which nothing is left, and that passes for an empty one or is drawn from for ever.
#[test]
fn a_slice_without_a_readable_image_is_an_error() {
    let (_folder, dataset) = spare_dataset();
    (0..2).for_each(|sample| std::fs::remove_file(dataset.samples[sample].image.path().unwrap()).unwrap());
    let failures = ReadFailures::new(&dataset);
    let load = |order: &[usize]| {
        let loader = Loader::new(&dataset, order, &preprocessor(), &options(Augmentation::None, 2)).unwrap();
        loader.recording(&failures)
    };
    let mut nothing = load(&[0, 1, 0, 1, 0, 1]);
    assert!(matches!(nothing.next(), Some(Err(DataError::NoImageLeft { images: 6, .. }))));
    assert!(nothing.next().is_none());
    // A batch without images is passed over, not delivered.
    let batches: Vec<Batch> = load(&[0, 1, 0, 1, 2]).map(Result::unwrap).collect();
    assert_eq!((batches.len(), &batches[0].samples), (1, &vec![2]));
}
