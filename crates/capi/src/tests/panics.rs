//! Tests of panics: a status, and a runtime that still answers frames.

use super::changes::{SHORT, start, wait};
use super::{Scene, call, frame, infer, pixels};
use crate::adaptation::fieldfit_adapt_close;
use crate::failure::Failure;
use crate::guard::guard;
use crate::runtime::RUNTIMES;
use crate::status::fieldfit_status::*;
use crate::status::fieldfit_status_name;
use crate::version::{fieldfit_confirm, fieldfit_poll};
use std::ffi::{c_char, c_void};
use std::ptr::null_mut;

/// Catches: a panic that crosses into C, or loses its message.
#[test]
fn a_panic_is_a_status_with_its_message() {
    // SAFETY: the place for the error is the call's.
    let (status, message) = call(|error| unsafe { guard(error, || panic!("frame {}", 7)) }).unwrap_err();
    assert_eq!(status, FIELDFIT_PANICKED);
    assert!(message.contains("frame 7"), "{message}");
}

/// Catches: a runtime that is changed again after a change panicked half-way, or that answers no frame any more.
#[test]
fn a_runtime_whose_change_panicked_answers_frames_and_changes_no_more() {
    let scene = Scene::new();
    let state = RUNTIMES.get(scene.runtime, "runtime").unwrap();
    let panicked = state.change(|_| -> Result<(), Failure> { panic!("half-way") });
    assert_eq!(panicked.unwrap_err().status(), FIELDFIT_PANICKED);
    // SAFETY: the places are NULL or the call's.
    let refused = call(|error| unsafe { fieldfit_poll(scene.runtime, null_mut(), null_mut(), error) });
    assert_eq!(refused.unwrap_err().0, FIELDFIT_POISONED);
    let data = pixels();
    infer(scene.runtime, &frame(&data)).unwrap();
}

unsafe extern "C-unwind" fn panic(_: *const c_char, _: *mut c_void) {
    panic!("a callback's own fault");
}

/// Catches: a panic of a callback that ends the process, or leaves whoever waits for ever.
#[test]
fn a_panic_in_a_callback_ends_its_run_alone() {
    let scene = Scene::new();
    let adaptation = start(&scene, SHORT, Some(panic), null_mut());
    let (status, message) = wait(adaptation).unwrap_err();
    assert_eq!(status, FIELDFIT_PANICKED);
    assert!(message.contains("a callback's own fault"), "{message}");
    assert_eq!(fieldfit_adapt_close(adaptation), FIELDFIT_OK);
    // SAFETY: the place for the error is the call's.
    let refused = call(|error| unsafe { fieldfit_confirm(scene.runtime, error) });
    assert_eq!(refused.unwrap_err().0, FIELDFIT_POISONED);
}

/// Catches: a name that is another status's.
#[test]
fn statuses_have_their_names() {
    for status in [FIELDFIT_OK, FIELDFIT_RUNNING, FIELDFIT_STORE, FIELDFIT_FAILED] {
        // SAFETY: the name is static.
        assert_eq!(unsafe { super::text(fieldfit_status_name(status as i32)) }, format!("{status:?}"));
    }
    for number in [-1, 16, i32::MAX] {
        // SAFETY: the name is static.
        assert_eq!(unsafe { super::text(fieldfit_status_name(number)) }, "FIELDFIT_FAILED");
    }
}
