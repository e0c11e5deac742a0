//! Tests of what changes a runtime: adaptations, versions, classes, notices.

use super::{Scene, c_path, call, frame, infer, pixels, text, zeroed};
use crate::adaptation::*;
use crate::adapted::fieldfit_adapted;
use crate::callback::fieldfit_callback;
use crate::class_addition::{fieldfit_remove_taught, fieldfit_teach};
use crate::collector::*;
use crate::notice::fieldfit_on_notice;
use crate::runtime::*;
use crate::status::fieldfit_status::{self, *};
use crate::text::fieldfit_string_free;
use crate::version::*;
use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr::{self, null, null_mut};
use std::sync::Mutex;

/// Events that a callback heard.
type Heard = Mutex<Vec<String>>;

unsafe extern "C-unwind" fn hear(json: *const c_char, user: *mut c_void) {
    // SAFETY: `user` is a `Heard` that outlives the callback.
    unsafe { &*user.cast::<Heard>() }.lock().unwrap().push(unsafe { text(json) });
}

fn user(heard: &Heard) -> *mut c_void {
    ptr::from_ref(heard).cast_mut().cast()
}

pub(super) const SHORT: &CStr = c"{\"epochs\":1,\"size\":32,\"threads\":1}";

pub(super) fn start(
    scene: &Scene,
    options: &CStr,
    callback: fieldfit_callback,
    user: *mut c_void,
) -> *mut fieldfit_adaptation {
    let images = scene.images();
    let mut adaptation = null_mut();
    // SAFETY: the strings and the place outlive the call.
    call(|error| unsafe {
        fieldfit_adapt_start(scene.runtime, images.as_ptr(), options.as_ptr(), callback, user, &mut adaptation, error)
    })
    .unwrap();
    adaptation
}

pub(super) fn wait(
    adaptation: *mut fieldfit_adaptation,
) -> Result<(fieldfit_adapted, String), (fieldfit_status, String)> {
    let (mut adapted, mut json) = (zeroed(), null_mut());
    // SAFETY: the places outlive the call.
    call(|error| unsafe { fieldfit_adapt_wait(adaptation, -1, &mut adapted, &mut json, error) })?;
    Ok((adapted, owned(json)))
}

/// Takes a string of the library's.
fn owned(json: *mut c_char) -> String {
    // SAFETY: a call gave it, and it is freed once.
    unsafe {
        let taken = text(json);
        fieldfit_string_free(json);
        taken
    }
}

fn version(scene: &Scene) -> fieldfit_version {
    let mut version = fieldfit_version { kind: 9, number: 9 };
    // SAFETY: the place outlives the call.
    call(|error| unsafe { fieldfit_current_version(scene.runtime, &mut version, error) }).unwrap();
    version
}

const BASE: fieldfit_version = fieldfit_version { kind: 0, number: 0 };

const fn stored(number: u32) -> fieldfit_version {
    fieldfit_version { kind: 2, number }
}

/// Catches: a result that is lost between the run and C, labels that die with their version, and a way back that is none.
#[test]
fn an_adaptation_runs_is_swapped_in_and_rolled_back() {
    let scene = Scene::new();
    let data = pixels();
    let before = infer(scene.runtime, &frame(&data)).unwrap();
    let heard = Heard::default();
    let adaptation = start(&scene, SHORT, Some(hear), user(&heard));
    let (adapted, json) = wait(adaptation).unwrap();
    assert_eq!(wait(adaptation).unwrap().1, json, "whoever waits is told the same");
    assert_eq!(fieldfit_adapt_close(adaptation), FIELDFIT_OK);
    assert_eq!(adapted.version, 1);
    assert!(adapted.delta_bytes > 0 && adapted.gate_images > 0);
    assert!(json.starts_with(r#"{"event":"done","version":1,"#), "{json}");
    let heard = heard.into_inner().unwrap();
    assert!(heard[0].starts_with(r#"{"event":"plan","method":"tpgm-relative","#), "{}", heard[0]);
    assert_eq!(heard.last(), Some(&json));
    if adapted.active == 0 {
        // SAFETY: the place for the error is the call's.
        call(|error| unsafe { fieldfit_activate(scene.runtime, 1, error) }).unwrap_err();
        return;
    }
    let after = infer(scene.runtime, &frame(&data)).unwrap();
    assert_eq!((before.version, after.version, version(&scene)), (BASE, stored(1), stored(1)));
    assert_eq!((before.count, after.count), (10, 3));
    // SAFETY: the runtime is open.
    assert!(unsafe { text(before.top[0].label) }.starts_with("thing "), "labels outlive their version");
    // SAFETY: the place outlives the call.
    call(|error| unsafe { fieldfit_confirm(scene.runtime, error) }).unwrap();
    let mut back = stored(9);
    // SAFETY: the place outlives the call.
    call(|error| unsafe { fieldfit_rollback(scene.runtime, &mut back, error) }).unwrap();
    assert_eq!((back, version(&scene)), (BASE, BASE));
    // SAFETY: as above.
    let (status, _) = call(|error| unsafe { fieldfit_rollback(scene.runtime, null_mut(), error) }).unwrap_err();
    assert_eq!(status, FIELDFIT_STORE);
}

/// Catches: a taught class that does not run, or that stays when it is removed; a change by another process that is not seen.
#[test]
fn classes_are_taught_and_other_processes_changes_are_polled() {
    let scene = Scene::new();
    let (one, other) = (pixels(), pixels().into_iter().rev().collect::<Vec<_>>());
    let teach = |name: &CStr, data: &[u8]| {
        let frames = [frame(data)];
        let (mut adapted, mut json): (fieldfit_adapted, _) = (zeroed(), null_mut());
        // SAFETY: the arguments outlive the call.
        call(|error| unsafe {
            fieldfit_teach(scene.runtime, name.as_ptr(), frames.as_ptr(), 1, null(), &mut adapted, &mut json, error)
        })
        .map(|()| (adapted, owned(json)))
    };
    let first = teach(c"mud", &one).unwrap().0;
    assert_eq!((first.version, first.active), (1, 1));
    let (status, message) = teach(c"mud", &other).unwrap_err();
    assert_eq!(status, FIELDFIT_ADAPTATION, "{message}");
    assert_eq!(teach(c"ice", &other).unwrap().0.version, 2);
    assert_eq!(infer(scene.runtime, &frame(&one)).unwrap().count, 2);

    let same = super::open(&scene.folder.path().join("tiny-2"), &scene.folder.path().join("store")).unwrap();
    // SAFETY: the arguments outlive the call.
    call(|error| unsafe { fieldfit_remove_taught(same, c"ice".as_ptr(), null_mut(), null_mut(), error) }).unwrap();
    assert_eq!(fieldfit_close(same), FIELDFIT_OK);
    let poll = || {
        let (mut changed, mut version) = (false, BASE);
        // SAFETY: the places outlive the call.
        call(|error| unsafe { fieldfit_poll(scene.runtime, &mut changed, &mut version, error) }).unwrap();
        (changed, version)
    };
    assert_eq!((poll(), poll()), ((true, stored(3)), (false, stored(3))));
    assert_eq!(infer(scene.runtime, &frame(&one)).unwrap().count, 1);
}

/// Catches: figures that are not JSON, and a delta that is no delta taken into the store.
#[test]
fn drift_is_told_and_files_that_are_no_deltas_are_refused() {
    let scene = Scene::new();
    let data = pixels();
    infer(scene.runtime, &frame(&data)).unwrap();
    let mut json = null_mut();
    // SAFETY: the place outlives the call.
    call(|error| unsafe { fieldfit_drift(scene.runtime, &mut json, error) }).unwrap();
    assert!(owned(json).starts_with(r#"{"version":null,"frames":1,"#));
    let labels = c_path(&scene.folder.path().join("labels.txt"));
    // SAFETY: the path outlives the call.
    let refused = call(|error| unsafe { fieldfit_add(scene.runtime, labels.as_ptr(), null_mut(), error) });
    assert_eq!(refused.unwrap_err().0, FIELDFIT_MODEL);
}

/// Catches: a stop that is not heard while the run is paused, or that is no status of its own; a run that cannot be resumed.
#[test]
fn a_run_is_paused_stopped_and_resumed() {
    let scene = Scene::new();
    let heard = Heard::default();
    let adaptation = start(&scene, c"{\"epochs\":400,\"size\":32,\"threads\":1}", Some(hear), user(&heard));
    // SAFETY: the place for the error is the call's.
    call(|error| unsafe { fieldfit_adapt_pause(adaptation, error) }).unwrap();
    while !heard.lock().unwrap().iter().any(|event| event == r#"{"event":"paused"}"#) {
        std::thread::yield_now();
    }
    // SAFETY: as above.
    let running = call(|error| unsafe { fieldfit_adapt_wait(adaptation, 1, null_mut(), null_mut(), error) });
    assert_eq!(running.unwrap_err().0, FIELDFIT_RUNNING);
    // SAFETY: as above.
    call(|error| unsafe { fieldfit_adapt_resume(adaptation, error) }).unwrap();
    while !heard.lock().unwrap().iter().any(|event| event.starts_with(r#"{"event":"epoch","#)) {
        std::thread::yield_now();
    }
    // SAFETY: as above.
    call(|error| unsafe { fieldfit_adapt_stop(adaptation, error) }).unwrap();
    let (status, message) = wait(adaptation).unwrap_err();
    assert_eq!(status, FIELDFIT_STOPPED, "{message}");
    assert_eq!(fieldfit_adapt_close(adaptation), FIELDFIT_OK);
    heard.lock().unwrap().clear();
    let resume = c"{\"epochs\":400,\"size\":32,\"threads\":1,\"resume\":true}";
    let adaptation = start(&scene, resume, Some(hear), user(&heard));
    while !heard.lock().unwrap().iter().any(|event| event.starts_with(r#"{"event":"resumed","#)) {
        std::thread::yield_now();
    }
    assert_eq!(fieldfit_adapt_close(adaptation), FIELDFIT_OK, "closing stops the run");
}

/// Catches: a folder that cannot be opened and that ends the thread without a word.
#[test]
fn images_that_are_missing_are_an_error_of_the_run() {
    let scene = Scene::new();
    let (nowhere, mut adaptation) = (c_path(&scene.folder.path().join("nowhere")), null_mut());
    // SAFETY: the path and the place outlive the call.
    call(|error| unsafe {
        fieldfit_adapt_start(scene.runtime, nowhere.as_ptr(), null(), None, null_mut(), &mut adaptation, error)
    })
    .unwrap();
    let (status, message) = wait(adaptation).unwrap_err();
    assert_eq!(status, FIELDFIT_IMAGE, "{message}");
    assert!(message.contains("nowhere"), "{message}");
    assert_eq!(fieldfit_adapt_close(adaptation), FIELDFIT_OK);
}

/// Catches: notices of opening that nobody hears, and a callback that is called after it was removed.
#[test]
fn notices_are_delivered_also_those_of_opening() {
    let folder = tempfile::tempdir().unwrap();
    fieldfit_tests::tiny::base(folder.path(), 2);
    let (model, store) = (folder.path().join("tiny-2"), folder.path().join("store"));
    assert_eq!(fieldfit_close(super::open(&model, &store).unwrap()), FIELDFIT_OK);
    std::fs::write(store.join("state"), b"damaged").unwrap();
    let runtime = super::open(&model, &store).unwrap();
    let heard = Heard::default();
    let set = |callback| {
        // SAFETY: `heard` outlives the runtime.
        call(|error| unsafe { fieldfit_on_notice(runtime, callback, user(&heard), error) }).unwrap();
        heard.lock().unwrap().clone()
    };
    let notices = set(Some(hear));
    assert_eq!(notices.len(), 1);
    assert!(notices[0].starts_with(r#"{"notice":"store_unavailable","#), "{notices:?}");
    assert_eq!(set(None), notices);
    assert_eq!(set(Some(hear)), notices, "a notice is delivered once");
    assert_eq!(fieldfit_close(runtime), FIELDFIT_OK);
}

/// What a callback did with its own runtime and adaptation.
struct Inside {
    runtime: *mut fieldfit_runtime,
    adaptation: Mutex<*mut fieldfit_adaptation>,
    statuses: Mutex<Vec<fieldfit_status>>,
}

unsafe extern "C-unwind" fn wait_for_itself(_: *const c_char, user: *mut c_void) {
    // SAFETY: `user` is an `Inside` that outlives the callback.
    let inside = unsafe { &*user.cast::<Inside>() };
    let adaptation = *inside.adaptation.lock().unwrap();
    // SAFETY: the places are NULL.
    let waited = unsafe { fieldfit_adapt_wait(adaptation, -1, null_mut(), null_mut(), null_mut()) };
    let data = pixels();
    let answered = match infer(inside.runtime, &frame(&data)) {
        Ok(_) => FIELDFIT_OK,
        Err((status, _)) => status,
    };
    *inside.statuses.lock().unwrap() = vec![waited, fieldfit_adapt_close(adaptation), answered];
}

/// Catches: a callback that waits for its own thread for ever, and one that may not call the library at all.
#[test]
fn a_callback_may_call_the_library_but_not_wait_for_itself() {
    let scene = Scene::new();
    let inside = Inside { runtime: scene.runtime, adaptation: Mutex::new(null_mut()), statuses: Mutex::default() };
    let held = inside.adaptation.lock().unwrap();
    let adaptation = start(&scene, SHORT, Some(wait_for_itself), ptr::from_ref(&inside).cast_mut().cast());
    let mut held = held;
    *held = adaptation;
    drop(held);
    wait(adaptation).unwrap();
    assert_eq!(*inside.statuses.lock().unwrap(), [FIELDFIT_OWN_THREAD, FIELDFIT_OWN_THREAD, FIELDFIT_OK]);
    assert_eq!(fieldfit_adapt_close(adaptation), FIELDFIT_OK);
}

unsafe extern "C-unwind" fn remove_itself(_: *const c_char, user: *mut c_void) {
    // SAFETY: the place for the error is NULL.
    unsafe { fieldfit_on_notice(user.cast(), None, null_mut(), null_mut()) };
}

/// Catches: a callback that is removed from inside itself and waits for itself for ever.
#[test]
fn a_callback_may_remove_itself() {
    let scene = Scene::new();
    // SAFETY: the callback uses the handle alone.
    call(|error| unsafe { fieldfit_on_notice(scene.runtime, Some(remove_itself), scene.runtime.cast(), error) })
        .unwrap();
    let frames = [pixels()].map(|data| (frame(&data), data));
    // SAFETY: the arguments outlive the call.
    call(|error| unsafe {
        fieldfit_teach(scene.runtime, c"mud".as_ptr(), &frames[0].0, 1, null(), null_mut(), null_mut(), error)
    })
    .unwrap();
}

/// Catches: frames under another class, frames of another time, a prediction that is lost on its way to the log, a collection that an
/// adaptation cannot read in place, days that are not replayed.
#[test]
fn what_was_collected_is_learned_from() {
    let scene = Scene::new();
    let collection = c_path(&scene.folder.path().join("field"));
    let mut collector = null_mut();
    let options = c"{\"rate\":1000,\"all\":true,\"block\":1,\"session\":\"drive\"}";
    // SAFETY: the texts and the place outlive the call.
    call(|error| unsafe { fieldfit_collector_open(collection.as_ptr(), options.as_ptr(), &mut collector, error) })
        .unwrap();
    for number in 0..60_u32 {
        let class = if number % 2 == 0 { c"mud" } else { c"ice" };
        let shade = number as u8 / 2 + if number % 2 == 0 { 0 } else { 130 };
        let data: Vec<u8> = pixels().iter().map(|value| value / 3 + shade).collect();
        let given = frame(&data);
        let (prediction, mut taken) = (infer(scene.runtime, &given).unwrap(), false);
        let at = f64::from(number);
        // SAFETY: the structures outlive the calls, and the runtime is open.
        call(|error| unsafe { fieldfit_collector_observe(collector, &given, at, &prediction, &mut taken, error) })
            .unwrap();
        assert!(taken);
        let mut kept = null_mut();
        // SAFETY: as above.
        call(|error| unsafe {
            match number % 3 {
                0 => fieldfit_collector_label(collector, 0.0, class.as_ptr(), null(), &mut kept, error),
                _ => fieldfit_collector_label_between(
                    collector,
                    at,
                    at,
                    class.as_ptr(),
                    c"tag".as_ptr(),
                    &mut kept,
                    error,
                ),
            }
        })
        .unwrap();
        let kept = owned(kept);
        assert!(kept.starts_with("{\"images\":[\"") && kept.contains("\"evicted\":0"), "{kept}");
    }
    let mut statistics = null_mut();
    // SAFETY: as above.
    call(|error| unsafe { fieldfit_collector_statistics(collector, &mut statistics, error) }).unwrap();
    let statistics = owned(statistics);
    assert!(
        statistics.contains("\"images\":60") && statistics.contains("\"ice\":{\"operator\":10,\"tag\":20}"),
        "{statistics}"
    );
    assert_eq!(fieldfit_collector_close(collector), FIELDFIT_OK);
    let log = std::fs::read_dir(scene.folder.path().join("field")).unwrap();
    let log = log.map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    assert!(log.map(|path| std::fs::read_to_string(path).unwrap_or_default()).any(|text| text.contains("\"margin\"")));

    let heard = Heard::default();
    let mut adaptation = null_mut();
    let options = CString::new(format!(
        "{{\"epochs\":1,\"size\":32,\"threads\":1,\"replay\":[{:?}],\"replay_bytes\":200000}}",
        scene.folder.path().join("images")
    ));
    let options = options.unwrap();
    // SAFETY: the texts, the place and what the callback uses outlive the run.
    call(|error| unsafe {
        fieldfit_adapt_start(
            scene.runtime,
            collection.as_ptr(),
            options.as_ptr(),
            Some(hear),
            user(&heard),
            &mut adaptation,
            error,
        )
    })
    .unwrap();
    wait(adaptation).unwrap();
    fieldfit_adapt_close(adaptation);
    let plan = heard.lock().unwrap().iter().find(|event| event.starts_with("{\"event\":\"plan\"")).cloned().unwrap();
    assert!(plan.contains("[\"ice\",\"mud\",\"grass\",\"sand\",\"water\"]") && plan.contains("replayed "), "{plan}");
}
