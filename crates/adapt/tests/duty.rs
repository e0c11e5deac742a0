//! How a run yields to others: paused, held by a guard, at low priority. Guards against a pause that changes the result or
//! doesn't reach a phase, and a priority that is lowered for threads that answer frames.

mod common;

use common::{Field, options};
use fieldfit_adapt::{AdaptError, Control, Event, Options, Pace, adapt};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A run that is paused again and again and ends in other bits, or one that goes on while it should wait.
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

/// A guard over a failing battery that is not obeyed.
#[test]
fn a_guard_stops_a_run() {
    let field = Field::new(1);
    let control = Control::new().guarded_by(|| Pace::Stop);
    let stopped = adapt(&field.request(&options("lp-ft")), &control, &mut |_| ());
    assert!(matches!(stopped, Err(AdaptError::Interrupted { checkpoint: None })), "{stopped:?}");
}

/// Niceness from `/proc`, by the name of a thread of this process.
#[cfg(target_os = "linux")]
fn niceness() -> Vec<(String, i64)> {
    let read = |task: std::io::Result<std::fs::DirEntry>| {
        let text = std::fs::read_to_string(task.ok()?.path().join("stat")).ok()?;
        // pid (name) state ppid …: niceness is the 19th field, the 17th after the name.
        let (start, rest) = text.rsplit_once(") ")?;
        Some((start.split_once('(')?.1.to_owned(), rest.split(' ').nth(16)?.parse().ok()?))
    };
    std::fs::read_dir("/proc/self/task").unwrap().filter_map(read).collect()
}

/// Threads that compute or load images at full priority, or the listener, whose process answers frames, at a low one.
#[cfg(target_os = "linux")]
#[test]
fn only_the_run_and_its_threads_are_nice() {
    let field = Field::new(1);
    let own = || rustix::process::getpriority_process(None).unwrap();
    let before = i64::from(own());
    let options = Options { nice: 3, ..options("lp-ft") };
    let mut computing = 0;
    adapt(&field.request(&options), &Control::new(), &mut |event| {
        if matches!(event, Event::Step { .. }) {
            let ours = |name: &String| name.starts_with("fieldfit");
            let threads: Vec<_> = niceness().into_iter().filter(|(name, _)| ours(name)).collect();
            computing = computing.max(threads.len());
            assert!(threads.iter().all(|(_, nice)| *nice == before + 3), "{threads:?}");
        }
    })
    .unwrap();
    assert!(computing >= 3, "the run, its loader and its pool were seen: {computing}");
    assert_eq!(i64::from(own()), before);
}
