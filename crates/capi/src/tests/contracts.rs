//! Tests of arguments that break a function's contract: a status and a message, never a crash.

use super::{Scene, c_path, call, frame, infer, open, pixels, zeroed};
use crate::adaptation::*;
use crate::adapted::fieldfit_adapted;
use crate::class_addition::*;
use crate::collector::*;
use crate::embedding::*;
use crate::frame::fieldfit_frame;
use crate::notice::fieldfit_on_notice;
use crate::options::{FIELDFIT_INT8, fieldfit_options};
use crate::prediction::{fieldfit_infer, fieldfit_infer_batch, fieldfit_prediction, fieldfit_scores};
use crate::runtime::*;
use crate::status::fieldfit_status::*;
use crate::status::*;
use crate::task::*;
use crate::text::fieldfit_string_free;
use crate::version::*;
use std::ffi::c_char;
use std::ptr::{self, null, null_mut};

type Call<'a> = (&'static str, Box<dyn Fn(*mut *mut fieldfit_error) -> fieldfit_status + 'a>);

/// Every call that takes a runtime, with arguments that are otherwise NULL where they may be.
fn calls_of_a_runtime<'a>(runtime: *const fieldfit_runtime) -> Vec<Call<'a>> {
    // SAFETY: each pointer is NULL.
    unsafe {
        vec![
            ("infer", Box::new(move |error| fieldfit_infer(runtime, null(), null_mut(), error))),
            ("scores", Box::new(move |error| fieldfit_scores(runtime, null(), null_mut(), 0, null_mut(), error))),
            ("infer_batch", Box::new(move |error| fieldfit_infer_batch(runtime, null(), 1, null_mut(), error))),
            ("embed", Box::new(move |error| fieldfit_embed(runtime, null(), null_mut(), 0, null_mut(), error))),
            ("task", Box::new(move |error| fieldfit_current_task(runtime, null_mut(), error))),
            ("segment", Box::new(move |error| fieldfit_segment(runtime, null(), 4, 4, null_mut(), null_mut(), error))),
            ("estimate", Box::new(move |error| fieldfit_estimate(runtime, null(), null_mut(), 0, null_mut(), error))),
            ("tag", Box::new(move |error| fieldfit_tag(runtime, null(), null_mut(), null_mut(), 0, null_mut(), error))),
            ("embedding_length", Box::new(move |error| fieldfit_embedding_length(runtime, null_mut(), error))),
            ("version", Box::new(move |error| fieldfit_current_version(runtime, null_mut(), error))),
            ("labels", Box::new(move |error| fieldfit_labels(runtime, null_mut(), 0, null_mut(), error))),
            ("labels", Box::new(move |error| fieldfit_labels(runtime, null_mut(), 3, &mut 0, error))),
            ("drift", Box::new(move |error| fieldfit_drift(runtime, null_mut(), error))),
            ("add", Box::new(move |error| fieldfit_add(runtime, null(), null_mut(), error))),
            (
                "teach",
                Box::new(move |error| {
                    fieldfit_teach(runtime, null(), null(), 0, null(), null_mut(), null_mut(), error)
                }),
            ),
            (
                "teach",
                Box::new(move |error| {
                    fieldfit_teach(runtime, c"mud".as_ptr(), null(), 2, null(), null_mut(), null_mut(), error)
                }),
            ),
            (
                "remove_taught",
                Box::new(move |error| fieldfit_remove_taught(runtime, null(), null_mut(), null_mut(), error)),
            ),
            (
                "adapt_start",
                Box::new(move |error| {
                    fieldfit_adapt_start(runtime, null(), null(), None, null_mut(), null_mut(), error)
                }),
            ),
            (
                "adapt_start",
                Box::new(move |error| {
                    fieldfit_adapt_start(runtime, null(), null(), None, null_mut(), &mut null_mut(), error)
                }),
            ),
        ]
    }
}

/// Every call that takes a runtime and needs nothing else.
fn bare_calls_of_a_runtime<'a>(runtime: *mut fieldfit_runtime) -> Vec<Call<'a>> {
    // SAFETY: each pointer is NULL.
    unsafe {
        vec![
            ("activate", Box::new(move |error| fieldfit_activate(runtime, 1, error))),
            ("confirm", Box::new(move |error| fieldfit_confirm(runtime, error))),
            ("rollback", Box::new(move |error| fieldfit_rollback(runtime, null_mut(), error))),
            ("poll", Box::new(move |error| fieldfit_poll(runtime, null_mut(), null_mut(), error))),
            ("on_notice", Box::new(move |error| fieldfit_on_notice(runtime, None, null_mut(), error))),
        ]
    }
}

fn calls_of_an_adaptation<'a>(adaptation: *mut fieldfit_adaptation) -> Vec<Call<'a>> {
    // SAFETY: each pointer is NULL.
    unsafe {
        vec![
            ("pause", Box::new(move |error| fieldfit_adapt_pause(adaptation, error))),
            ("resume", Box::new(move |error| fieldfit_adapt_resume(adaptation, error))),
            ("stop", Box::new(move |error| fieldfit_adapt_stop(adaptation, error))),
            ("wait", Box::new(move |error| fieldfit_adapt_wait(adaptation, -1, null_mut(), null_mut(), error))),
        ]
    }
}

fn all_return(calls: Vec<Call<'_>>, expected: fieldfit_status) {
    for (name, function) in calls {
        let (status, message) = call(&function).unwrap_err();
        assert_eq!(status, expected, "{name}: {message}");
        assert!(!message.is_empty(), "{name}");
        assert_eq!(function(null_mut()), expected, "{name}, without a place for the error");
    }
}

/// Catches: a NULL that is followed, or taken for something.
#[test]
fn null_is_refused() {
    all_return(calls_of_a_runtime(null()), FIELDFIT_INVALID_ARGUMENT);
    all_return(bare_calls_of_a_runtime(null_mut()), FIELDFIT_INVALID_ARGUMENT);
    all_return(calls_of_an_adaptation(null_mut()), FIELDFIT_INVALID_ARGUMENT);
    let scene = Scene::new();
    all_return(calls_of_a_runtime(scene.runtime), FIELDFIT_INVALID_ARGUMENT);
    // SAFETY: each pointer is NULL or a place.
    let opens: Vec<Call<'_>> = unsafe {
        vec![
            ("open", Box::new(|error| fieldfit_open(null(), &mut null_mut(), error))),
            ("open", Box::new(|error| fieldfit_open(&zeroed(), null_mut(), error))),
            ("open", Box::new(|error| fieldfit_open(&zeroed(), &mut null_mut(), error))),
        ]
    };
    all_return(opens, FIELDFIT_INVALID_ARGUMENT);
}

/// Catches: a function of cleaning up that does not take NULL.
#[test]
fn cleaning_up_nothing_is_nothing() {
    assert_eq!((fieldfit_close(null_mut()), fieldfit_adapt_close(null_mut())), (FIELDFIT_OK, FIELDFIT_OK));
    // SAFETY: NULL is allowed.
    unsafe {
        fieldfit_error_free(null_mut());
        fieldfit_string_free(null_mut());
        assert_eq!(fieldfit_error_status(null()), FIELDFIT_OK);
        assert_eq!(super::text(fieldfit_error_message(null())), "");
    }
}

/// Catches: a handle that is followed after it was closed, a number of another kind taken for one, and an address that is.
#[test]
fn closed_and_foreign_handles_are_found_out() {
    let scene = Scene::new();
    let path = c_path(scene.folder.path());
    let mut adaptation = null_mut();
    // SAFETY: the strings and the place outlive the call.
    let start = |error: *mut *mut fieldfit_error, adaptation: *mut *mut fieldfit_adaptation| unsafe {
        fieldfit_adapt_start(scene.runtime, path.as_ptr(), null(), None, null_mut(), adaptation, error)
    };
    call(|error| start(error, &mut adaptation)).unwrap();
    let (runtime, of_another_kind) = (scene.runtime, adaptation.cast::<fieldfit_runtime>());
    all_return(bare_calls_of_a_runtime(of_another_kind), FIELDFIT_CLOSED);
    assert_eq!(fieldfit_adapt_close(adaptation), FIELDFIT_OK);
    all_return(calls_of_an_adaptation(adaptation), FIELDFIT_CLOSED);
    assert_eq!(fieldfit_adapt_close(adaptation), FIELDFIT_CLOSED);
    let data = pixels();
    infer(runtime, &frame(&data)).unwrap();
    drop(scene);
    all_return(bare_calls_of_a_runtime(runtime), FIELDFIT_CLOSED);
    assert_eq!(infer(runtime, &frame(&data)).unwrap_err().0, FIELDFIT_CLOSED);
    assert_eq!(fieldfit_close(runtime), FIELDFIT_CLOSED, "closed twice");
    assert_eq!(fieldfit_close(ptr::dangling_mut()), FIELDFIT_CLOSED, "never opened");
}

/// Catches: a structure whose size is not looked at, so that what follows it is read or overwritten.
#[test]
fn sizes_that_are_none_are_refused() {
    let scene = Scene::new();
    let data = pixels();
    // The result is the smallest structure.
    for size in [0, 4, size_of::<fieldfit_adapted>() as u32 - 1, u32::MAX] {
        let mut small = frame(&data);
        small.struct_size = size;
        let (status, message) = infer(scene.runtime, &small).unwrap_err();
        assert_eq!(status, FIELDFIT_INVALID_ARGUMENT);
        assert!(message.contains("struct_size") && message.contains(&size.to_string()), "{message}");
        let mut prediction: fieldfit_prediction = zeroed();
        prediction.struct_size = size;
        // SAFETY: the structures outlive the call.
        let refused = call(|error| unsafe { fieldfit_infer(scene.runtime, &frame(&data), &mut prediction, error) });
        assert_eq!(refused.unwrap_err().0, FIELDFIT_INVALID_ARGUMENT);
        let mut options: fieldfit_options = zeroed();
        options.struct_size = size;
        // SAFETY: as above.
        let refused = call(|error| unsafe { fieldfit_open(&options, &mut null_mut(), error) });
        assert_eq!(refused.unwrap_err().0, FIELDFIT_INVALID_ARGUMENT);
        let mut adapted: fieldfit_adapted = zeroed();
        adapted.struct_size = size;
        // SAFETY: as above.
        let refused = call(|error| unsafe {
            fieldfit_remove_taught(scene.runtime, c"mud".as_ptr(), &mut adapted, null_mut(), error)
        });
        assert_eq!(refused.unwrap_err().0, FIELDFIT_INVALID_ARGUMENT);
    }
}

/// Catches: a program of a later release whose new member is ignored without a word, or that is refused for its size alone.
#[test]
fn members_of_a_later_release_must_be_zero() {
    #[repr(C)]
    struct Later {
        frame: fieldfit_frame,
        member: u64,
    }
    #[repr(C)]
    struct LaterPrediction {
        prediction: fieldfit_prediction,
        member: u64,
        beyond: u64,
    }
    let scene = Scene::new();
    let data = pixels();
    let mut later = Later { frame: frame(&data), member: 0 };
    later.frame.struct_size = size_of::<Later>() as u32;
    let mut out = LaterPrediction { prediction: zeroed(), member: 7, beyond: 7 };
    out.prediction.struct_size = size_of::<LaterPrediction>() as u32 - 8;
    let mut answer = |later: &Later| {
        // SAFETY: both structures have the size that they begin with.
        call(|error| unsafe {
            fieldfit_infer(scene.runtime, ptr::from_ref(later).cast(), ptr::from_mut(&mut out).cast(), error)
        })
    };
    answer(&later).unwrap();
    later.member = 1 << 32;
    let (status, message) = answer(&later).unwrap_err();
    assert_eq!(status, FIELDFIT_INVALID_ARGUMENT);
    assert!(message.contains("byte 84"), "{message}");
    assert_eq!((out.member, out.beyond), (0, 7), "what is unknown is 0, what follows is untouched");
    assert_eq!(out.prediction.struct_size as usize, size_of::<LaterPrediction>() - 8);
}

/// Catches: values outside their range that are taken for a default, and text that is cut where it is not UTF-8.
#[test]
fn values_that_are_none_are_refused_by_name() {
    let scene = Scene::new();
    let data = pixels();
    let mut unknown = frame(&data);
    unknown.format = 10;
    let mut long = frame(&data);
    long.length = usize::MAX;
    let mut short = frame(&data);
    short.length -= 1;
    let mut outside = frame(&data);
    outside.crop.width = 1000;
    for (frame, status, words) in [
        (unknown, FIELDFIT_INVALID_ARGUMENT, "frame.format"),
        (long, FIELDFIT_INVALID_ARGUMENT, "frame.data"),
        (short, FIELDFIT_IMAGE, "3600"),
        (outside, FIELDFIT_IMAGE, "1000"),
    ] {
        let (found, message) = infer(scene.runtime, &frame).unwrap_err();
        assert_eq!(found, status, "{message}");
        assert!(message.contains(words), "{message}");
    }
    let not_utf8 = c"m\xffd".as_ptr();
    let (status, message) = call(|error| {
        // SAFETY: the string is NUL-terminated.
        unsafe { fieldfit_remove_taught(scene.runtime, not_utf8, null_mut(), null_mut(), error) }
    })
    .unwrap_err();
    assert_eq!(status, FIELDFIT_INVALID_ARGUMENT);
    assert!(message.contains("`name`") && message.contains("byte 1"), "{message}");
    let opened = |change: &dyn Fn(&mut fieldfit_options)| {
        let model = c_path(&scene.folder.path().join("tiny-2"));
        let mut options: fieldfit_options = zeroed();
        options.model = model.as_ptr();
        change(&mut options);
        // SAFETY: the string outlives the call.
        call(|error| unsafe { fieldfit_open(&options, &mut null_mut(), error) }).unwrap_err()
    };
    assert!(opened(&|options| options.flags = 128).1.contains("options.flags"));
    assert!(opened(&|options| options.flags = FIELDFIT_INT8).1.contains("fieldfit calibrate"));
    assert!(opened(&|options| options.device = 3).1.contains("options.device"));
    assert_eq!(opened(&|options| options.device = 1).0, FIELDFIT_DEVICE);
}

/// Catches: an error whose status is a general one, and a path with control characters that reaches a terminal.
#[test]
fn failures_of_opening_have_their_status() {
    let folder = tempfile::tempdir().unwrap();
    let (status, message) = open(&folder.path().join("a\u{1b}[31m"), &folder.path().join("store")).unwrap_err();
    assert_eq!(status, FIELDFIT_MODEL, "{message}");
    assert!(message.contains(r"\u{1b}") && !message.contains('\u{1b}'), "{message}");
}

/// Catches: an option that is misspelt and ignored, and options that fail only after minutes.
#[test]
fn options_that_are_none_are_refused_before_the_run() {
    let scene = Scene::new();
    let images = scene.images();
    for (json, words) in [
        (c"{", "EOF"),
        (c"[]", "map"),
        (c"{\"epoch\":1}", "epoch"),
        (c"{\"epochs\":0}", "epochs"),
        (c"{\"resume\":1}", "boolean"),
        (c"{\"tpgm\":{\"sharing\":\"none\"}}", "none"),
        (c"{\"method\":\"magic\"}", "magic"),
    ] {
        let json: *const c_char = json.as_ptr();
        let mut adaptation = ptr::dangling_mut();
        // SAFETY: the strings and the place outlive the call.
        let (_, message) = call(|error| unsafe {
            fieldfit_adapt_start(scene.runtime, images.as_ptr(), json, None, null_mut(), &mut adaptation, error)
        })
        .unwrap_err();
        assert!(message.contains(words), "{message}");
        assert!(adaptation.is_null());
    }
}

/// Catches: a collector that crashes on NULL, a closed handle, times that are none, or options and origins that nobody knows.
#[test]
fn a_collector_refuses_what_is_no_argument() {
    let folder = tempfile::tempdir().unwrap();
    let path = c_path(&folder.path().join("field"));
    let mut collector = null_mut();
    let opened = |options: &std::ffi::CStr, out| {
        // SAFETY: the texts and the place outlive the call.
        call(|error| unsafe { fieldfit_collector_open(path.as_ptr(), options.as_ptr(), out, error) })
    };
    let (status, message) = opened(c"{\"rates\":5}", &mut collector).unwrap_err();
    assert!(status == FIELDFIT_INVALID_ARGUMENT && message.contains("rates") && collector.is_null(), "{message}");
    assert!(opened(c"{\"rate\":0}", &mut collector).unwrap_err().1.contains("rate"));
    opened(c"{\"rate\":10,\"all\":true}", &mut collector).unwrap();
    let (data, label) = (pixels(), c"mud".as_ptr());
    let given = frame(&data);
    // SAFETY: each pointer is NULL, or to what outlives the calls.
    let refusals = unsafe {
        [
            call(|error| fieldfit_collector_observe(collector, null(), 0.0, null(), null_mut(), error)),
            call(|error| fieldfit_collector_observe(collector, &given, -1.0, null(), null_mut(), error)),
            call(|error| fieldfit_collector_observe(collector, &given, f64::NAN, null(), null_mut(), error)),
            call(|error| fieldfit_collector_label(collector, 1.0, label, null(), null_mut(), error)),
            call(|error| fieldfit_collector_label(collector, 1.0, null(), null(), null_mut(), error)),
            call(|error| fieldfit_collector_label(collector, 1.0, label, c"boss".as_ptr(), null_mut(), error)),
            call(|error| fieldfit_collector_label_between(collector, 2.0, -1.0, label, null(), null_mut(), error)),
            call(|error| fieldfit_collector_statistics(collector, null_mut(), error)),
        ]
    };
    for (number, refusal) in refusals.into_iter().enumerate() {
        assert_eq!(
            refusal.as_ref().map_err(|(status, _)| *status),
            Err(FIELDFIT_INVALID_ARGUMENT),
            "{number}: {refusal:?}"
        );
    }
    assert_eq!(fieldfit_collector_close(collector), FIELDFIT_OK);
    assert_eq!(fieldfit_collector_close(collector), FIELDFIT_CLOSED);
    assert_eq!(fieldfit_collector_close(null_mut()), FIELDFIT_OK);
}
