//! Tests of pauses and guards. Guards against a pause that changes the result or does not reach a phase.

mod common;

use common::{Field, options};
use fieldfit_adapt::{AdaptError, Control, Event, Pace, Phase, adapt, open_images};
use fieldfit_data::FolderOptions;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Catches: a run that is paused again and again and ends in other bits, or one that goes on while it should wait.
#[test]
fn a_guard_holds_every_phase_and_changes_nothing() {
    let field = Field::new(1);
    let options = options("tpgm-relative");
    let (whole, events) = field.adapt(&options);
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    // Held once before it goes on, each time.
    let hold = move || if count.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) { Pace::Hold } else { Pace::Full };
    let control = Control::new().guarded_by(hold);
    let mut heard = Vec::new();
    let held = adapt(&field.request(&options), &control, &mut |event| heard.push(event)).unwrap();
    assert_eq!(held.delta, whole.unwrap().delta);

    let pauses = heard.iter().filter(|event| **event == Event::Paused).count();
    assert_eq!(pauses, events.len(), "a pause after each event, and so in every phase");
    assert_eq!(asked.load(Ordering::SeqCst), 2 * pauses);
    let pairs = heard.iter().zip(&heard[1..]).filter(|(event, _)| **event == Event::Paused);
    for (_, next) in pairs {
        assert!(matches!(next, Event::Unpaused { seconds } if *seconds > 0.0), "{next:?} during a pause");
    }
}

/// Catches: a guard over a failing battery that is not obeyed.
#[test]
fn a_guard_stops_a_run() {
    let field = Field::new(1);
    let control = Control::new().guarded_by(|| Pace::Stop);
    let stopped = adapt(&field.request(&options("lp-ft")), &control, &mut |_| ());
    assert!(matches!(stopped, Err(AdaptError::Interrupted { checkpoint: None })), "{stopped:?}");
}

/// Catches: a stop that is not heard once training is over, and one that promises a checkpoint although the result stands.
#[test]
fn a_stop_is_heard_until_there_is_a_verdict() {
    let field = Field::new(1);
    let options = options("lp-ft");
    let path = field.folder.path().join("checkpoint");
    for phase in [Phase::Coding, Phase::Gate] {
        let stopped = field.adapt_until(
            &options,
            &path,
            false,
            |event| matches!(event, Event::Progress { phase: told, .. } if *told == phase),
        );
        assert!(matches!(stopped, Err(AdaptError::Interrupted { checkpoint: Some(_) })), "{phase:?}: {stopped:?}");
    }
    let stopped = field.adapt_until(&options, &path, true, |event| matches!(event, Event::Gate(_)));
    assert!(matches!(stopped, Err(AdaptError::Interrupted { checkpoint: Some(_) })), "{stopped:?}");

    let control = Control::new();
    adapt(&field.request(&options), &control, &mut |_| ()).unwrap();
    assert!(!control.stop(), "the result stands");
    let next = adapt(&field.request(&options), &control, &mut |_| ());
    assert!(matches!(next, Err(AdaptError::Interrupted { checkpoint: None })), "{next:?}");
}

/// Catches: a stop that is only heard once all images are opened.
#[test]
fn a_stop_is_heard_while_images_are_opened() {
    let field = Field::new(1);
    let (control, mut last) = (Control::new(), 0);
    let opened =
        open_images(&field.folder.path().join("images"), &FolderOptions::default(), &control, &mut |scanned| {
            last = scanned.done;
            control.stop();
        });
    assert!(matches!(opened, Err(AdaptError::Interrupted { checkpoint: None })), "{opened:?}");
    assert_eq!(last, 1);

    // The retained images are opened within the run, and are none that can be read.
    let folder = field.folder.path().join("retained");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("a.png"), b"no image").unwrap();
    let options = options("tpgm-relative").with_retain(Some(folder));
    let stopped = adapt(&field.request(&options), &control, &mut |_| ());
    assert!(matches!(stopped, Err(AdaptError::Interrupted { checkpoint: None })), "{stopped:?}");
}
