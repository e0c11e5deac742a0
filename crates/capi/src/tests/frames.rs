//! Tests of frames: the same answers as the crate's, to the bit, and without an allocation.

use super::{SIDES, Scene, frame, infer, open, pixels, text, zeroed};
use crate::embedding::{fieldfit_embed, fieldfit_embedding_length};
use crate::frame::{fieldfit_format, fieldfit_rect};
use crate::prediction::{fieldfit_infer_batch, fieldfit_prediction, fieldfit_scores};
use crate::runtime::{fieldfit_close, fieldfit_labels, fieldfit_open, fieldfit_runtime};
use crate::status::fieldfit_status::*;
use crate::task::{fieldfit_current_task, fieldfit_estimate, fieldfit_segment, fieldfit_tag, fieldfit_task};
use crate::tests::{c_path, call};
use crate::version::fieldfit_version;
use fieldfit::data::DatasetBuilder;
use fieldfit::train::Options;
use fieldfit::{Device, Frame, PixelFormat, Pixels, Rect, Runtime};
use fieldfit_tests::{scenes, tiny};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::Path;
use std::ptr;

/// Counts the allocations of each thread.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: the system's allocator does all the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Catches: a ranking that is cut or shifted on its way to C, pixels that are read in another order, a crop that is lost.
#[test]
fn a_frame_is_answered_as_by_the_crate() {
    let scene = Scene::new();
    let runtime = Runtime::open(scene.folder.path().join("tiny-2"), Device::Cpu { threads: 1 }).unwrap();
    let data = pixels();
    for (format, number) in
        [(PixelFormat::Rgb8, fieldfit_format::FIELDFIT_RGB8), (PixelFormat::Bgr8, fieldfit_format::FIELDFIT_BGR8)]
    {
        for cropped in [false, true] {
            let mut expected = Frame::Pixels(Pixels::packed(&data, format, SIDES[0], SIDES[1]));
            let mut given = frame(&data);
            given.format = number as u32;
            if cropped {
                expected = expected.crop(Rect { left: 3, top: 5, width: 20, height: 11 }).unwrap();
                given.crop = fieldfit_rect { left: 3, top: 5, width: 20, height: 11 };
            }
            let (expected, found) = (runtime.infer(&expected).unwrap(), infer(scene.runtime, &given).unwrap());
            assert_eq!(found.count as usize, expected.top().len());
            for (found, expected) in found.top.iter().zip(expected.top()) {
                assert_eq!(
                    (found.index, found.probability.to_bits()),
                    (expected.index, expected.probability.to_bits())
                );
                // SAFETY: the runtime is open.
                assert_eq!(unsafe { text(found.label) }, expected.label);
            }
            assert_eq!(found.version, fieldfit_version { kind: 0, number: 0 });
            assert_eq!((found.base_count, found.has_novelty), (0, 0));
        }
    }
}

/// Catches: values or labels of other targets, thresholds beside their labels, masks whose sides change places, an answer of another
/// task.
#[test]
fn values_labels_and_pixels_are_those_of_the_crate() {
    let folder = tempfile::tempdir().unwrap();
    let data = pixels();
    let shown = Frame::Pixels(Pixels::packed(&data, PixelFormat::Rgb8, SIDES[0], SIDES[1]));

    let (runtime, handle) =
        taught(folder.path(), "values", &mut DatasetBuilder::of_values(vec!["shade".into(), "tilt [deg]".into()]));
    let expected: Vec<f32> = runtime.estimate(&shown).unwrap().values().map(|one| one.value).collect();
    let mut values = [0.0; 2];
    let mut version = fieldfit_version { kind: 0, number: 0 };
    // SAFETY: the structures outlive the calls.
    call(|error| unsafe { fieldfit_estimate(handle, &frame(&data), values.as_mut_ptr(), 2, &mut version, error) })
        .unwrap();
    assert_eq!((values.as_slice(), version.number), (expected.as_slice(), 1));
    let mut task = fieldfit_task::FIELDFIT_CLASSIFICATION;
    // SAFETY: as above.
    call(|error| unsafe { fieldfit_current_task(handle, &mut task, error) }).unwrap();
    assert_eq!(task, fieldfit_task::FIELDFIT_REGRESSION);
    // SAFETY: as above.
    let short = call(|error| unsafe {
        fieldfit_estimate(handle, &frame(&data), values.as_mut_ptr(), 1, ptr::null_mut(), error)
    });
    assert_eq!(short.unwrap_err().0, FIELDFIT_INVALID_ARGUMENT);
    assert_eq!(infer(handle, &frame(&data)).unwrap_err().0, FIELDFIT_VERSION);
    fieldfit_close(handle);

    let (runtime, handle) =
        taught(folder.path(), "labels", &mut DatasetBuilder::of_labels(vec!["bright".into(), "odd".into()]));
    let expected: Vec<(f32, f32)> =
        runtime.tag(&shown).unwrap().all().map(|tag| (tag.probability, tag.threshold)).collect();
    let (mut probabilities, mut thresholds) = ([0.0; 2], [0.0; 2]);
    let (one, two) = (probabilities.as_mut_ptr(), thresholds.as_mut_ptr());
    // SAFETY: as above.
    call(|error| unsafe { fieldfit_tag(handle, &frame(&data), one, two, 2, ptr::null_mut(), error) }).unwrap();
    assert_eq!(probabilities.into_iter().zip(thresholds).collect::<Vec<_>>(), expected);
    fieldfit_close(handle);

    let base = scenes::base(folder.path());
    let runtime = Runtime::open(&base, Device::Cpu { threads: 1 }).unwrap();
    let handle = open(&base, &folder.path().join("pixels")).unwrap();
    let mut classes = vec![0; 40 * 30];
    // SAFETY: as above.
    call(|error| unsafe {
        fieldfit_segment(handle, &frame(&data), 40, 30, classes.as_mut_ptr(), ptr::null_mut(), error)
    })
    .unwrap();
    let expected = runtime.segment(&shown).unwrap().resized(30, 40);
    assert_eq!(classes, expected.classes());
    // SAFETY: as above; nothing is written.
    let flat = call(|error| unsafe {
        fieldfit_segment(handle, &frame(&data), 0, 30, classes.as_mut_ptr(), ptr::null_mut(), error)
    });
    assert!(flat.unwrap_err().1.contains("`width` is 0"));
    fieldfit_close(handle);
}

/// A runtime of the crate and one of the interface with one version, which was adapted to shades of grey.
fn taught(folder: &Path, store: &str, images: &mut DatasetBuilder) -> (Runtime, *mut fieldfit_runtime) {
    for shade in 0..60_u8 {
        let data = vec![shade * 4; 12 * 12 * 3];
        let frame = Frame::Pixels(Pixels::packed(&data, PixelFormat::Rgb8, 12, 12));
        let labels: Vec<&str> = [(shade >= 30, "bright"), (shade % 2 == 1, "odd")]
            .iter()
            .filter(|(has, _)| *has)
            .map(|(_, label)| *label)
            .collect();
        match store {
            "labels" => images.push_labels(&frame, &labels, None).unwrap(),
            _ => images.push_values(&frame, &[f32::from(shade), 90.0 - f32::from(shade)], None).unwrap(),
        }
    }
    let model = if folder.join("tiny-2").exists() { folder.join("tiny-2") } else { tiny::base(folder, 2) };
    let store = folder.join(store);
    let runtime = Runtime::builder(&model).device(Device::Cpu { threads: 1 }).store_or_new(&store).open().unwrap();
    let options = Options::default().with_method("linear-probe").with_size(Some(32));
    let adapted = runtime.adapt(&images.clone().build().unwrap(), &options).unwrap();
    if !adapted.active {
        runtime.activate(adapted.version).unwrap();
    }
    (runtime, open(&model, &store).unwrap())
}

/// Catches: planes and strides that are mixed up, and an encoded image that needs sides.
#[test]
fn planes_strides_and_encoded_images_are_read() {
    let scene = Scene::new();
    let runtime = Runtime::open(scene.folder.path().join("tiny-2"), Device::Cpu { threads: 1 }).unwrap();
    let best = |frame: &Frame<'_>| runtime.infer(frame).unwrap().best().unwrap().probability.to_bits();
    let data = pixels();
    let mut nv12 = frame(&data[..64 * 20]);
    nv12.format = fieldfit_format::FIELDFIT_NV12 as u32;
    (nv12.width, nv12.height, nv12.stride) = (32, 20, 64);
    (nv12.chroma, nv12.chroma_length, nv12.chroma_stride) = (data[1500..].as_ptr(), 320, 0);
    let mut pixels = Pixels::nv12(&data[..64 * 20], &data[1500..][..320], 32, 20);
    pixels.stride = 64;
    assert_eq!(infer(scene.runtime, &nv12).unwrap().top[0].probability.to_bits(), best(&Frame::Pixels(pixels)));
    let image = std::fs::read(scene.folder.path().join("images/grass/grass_0.png")).unwrap();
    let mut encoded = frame(&image);
    (encoded.format, encoded.width, encoded.height) = (fieldfit_format::FIELDFIT_ENCODED as u32, 0, 0);
    let found = infer(scene.runtime, &encoded).unwrap();
    assert_eq!(found.top[0].probability.to_bits(), best(&Frame::Encoded(&image)));
}

/// Catches: a table of labels, a handle or an error that is allocated for each frame.
#[test]
fn c_adds_no_allocation_to_a_frame() {
    let scene = Scene::new();
    let runtime = Runtime::open(scene.folder.path().join("tiny-2"), Device::Cpu { threads: 1 }).unwrap();
    let data = pixels();
    let (given, borrowed) = (frame(&data), Frame::Pixels(Pixels::packed(&data, PixelFormat::Rgb8, SIDES[0], SIDES[1])));
    let count = |answer: &dyn Fn()| {
        answer();
        let before = ALLOCATIONS.get();
        (0..100).for_each(|_| answer());
        ALLOCATIONS.get() - before
    };
    let by_the_crate = count(&|| assert!(runtime.infer(&borrowed).is_ok()));
    assert_eq!(count(&|| assert!(infer(scene.runtime, &given).is_ok())), by_the_crate);
}

/// Catches: scores, features or batches that differ from the crate's, and a buffer that is written beyond its length.
#[test]
fn scores_features_and_batches_are_the_crates() {
    let scene = Scene::new();
    let runtime = Runtime::open(scene.folder.path().join("tiny-2"), Device::Cpu { threads: 1 }).unwrap();
    let data = pixels();
    let frames = [frame(&data), frame(&data[..40 * 30 * 3]), frame(&data)];
    let expected = Frame::Pixels(Pixels::packed(&data, PixelFormat::Rgb8, SIDES[0], SIDES[1]));

    let (mut scores, mut expected_scores) = ([9.0; 11], [0.0; 10]);
    runtime.scores(&expected, &mut expected_scores).unwrap();
    let mut prediction: fieldfit_prediction = zeroed();
    let mut write = |length| {
        // SAFETY: the places outlive the call, and are as long as they say.
        call(|error| unsafe {
            let scores = scores.as_mut_ptr();
            fieldfit_scores(scene.runtime, &frames[0], scores, length, &mut prediction, error)
        })
    };
    assert_eq!(write(11).unwrap_err().0, FIELDFIT_INVALID_ARGUMENT);
    assert_eq!(write(usize::MAX).unwrap_err().0, FIELDFIT_INVALID_ARGUMENT);
    write(10).unwrap();
    assert_eq!((&scores[..10], scores[10]), (&expected_scores[..], 9.0));
    assert_eq!(prediction.top[0].probability, scores[prediction.top[0].index as usize]);

    let mut length = 0;
    // SAFETY: the place outlives the call.
    call(|error| unsafe { fieldfit_embedding_length(scene.runtime, &mut length, error) }).unwrap();
    let (mut features, mut expected_features) = (vec![0.0; length], vec![0.0; runtime.embedding_len()]);
    runtime.embed(&expected, &mut expected_features).unwrap();
    let mut version = fieldfit_version { kind: 9, number: 9 };
    // SAFETY: as above.
    call(|error| unsafe {
        fieldfit_embed(scene.runtime, &frames[0], features.as_mut_ptr(), length, &mut version, error)
    })
    .unwrap();
    assert_eq!((features, version.kind), (expected_features, 0));

    let mut predictions: [fieldfit_prediction; 3] = [zeroed(); 3];
    let mut batch = |frames: &[crate::frame::fieldfit_frame; 3]| {
        // SAFETY: as above.
        call(|error| unsafe {
            fieldfit_infer_batch(scene.runtime, frames.as_ptr(), 3, predictions.as_mut_ptr(), error)
        })
    };
    let mut odd = frames;
    odd[2].struct_size += 8;
    assert_eq!(batch(&odd).unwrap_err().0, FIELDFIT_INVALID_ARGUMENT);
    odd = frames;
    odd[1].length -= 1;
    let (status, message) = batch(&odd).unwrap_err();
    assert_eq!(status, FIELDFIT_IMAGE);
    assert!(message.contains("frame 1"), "{message}");
    batch(&frames).unwrap();
    for found in &predictions {
        assert_eq!(found.top[9].probability.to_bits(), prediction.top[9].probability.to_bits());
    }
}

/// Catches: base answers that are not asked for, or named by the version's classes.
#[test]
fn base_answers_have_the_bases_names() {
    let scene = Scene::new();
    let model = c_path(&scene.folder.path().join("tiny-2"));
    let mut options: crate::options::fieldfit_options = zeroed();
    (options.model, options.flags) = (model.as_ptr(), crate::options::FIELDFIT_BASE_ANSWERS);
    let mut runtime = ptr::null_mut();
    // SAFETY: the string and the place outlive the call.
    call(|error| unsafe { fieldfit_open(&options, &mut runtime, error) }).unwrap();
    let data = pixels();
    let found: fieldfit_prediction = infer(runtime, &frame(&data)).unwrap();
    assert_eq!((found.base_count, found.base[0].index), (10, found.top[0].index));
    // SAFETY: the runtime is open.
    assert!(unsafe { text(found.base[0].label) }.starts_with("thing "));
    assert_eq!(crate::runtime::fieldfit_close(runtime), FIELDFIT_OK);
}

/// Catches: labels that are written beyond the caller's room, and a count of what was written rather than of what there is.
#[test]
fn labels_are_written_as_far_as_there_is_room() {
    let scene = Scene::new();
    let labels = |room: &mut [*const std::ffi::c_char], capacity: usize| {
        let mut count = 0;
        let runtime: *const fieldfit_runtime = scene.runtime;
        // SAFETY: the room is as large as it says.
        call(|error| unsafe { fieldfit_labels(runtime, room.as_mut_ptr(), capacity, &mut count, error) }).unwrap();
        count
    };
    let mut room = [ptr::null(); 12];
    assert_eq!(labels(&mut room, 3), 10);
    assert!(room[3..].iter().all(|name| name.is_null()) && !room[2].is_null());
    assert_eq!(labels(&mut room, 12), 10);
    // SAFETY: the runtime is open.
    assert_eq!(unsafe { text(room[9]) }, "thing 9");
}
