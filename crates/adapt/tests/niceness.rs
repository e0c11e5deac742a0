//! Test of a run at low priority, in a process of its own: other tests' threads would be taken for the run's.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::{Field, options};
use fieldfit_adapt::{Control, Event, adapt};

/// Niceness from `/proc`, by the name of a thread of this process.
fn niceness() -> Vec<(String, i64)> {
    let read = |task: std::io::Result<std::fs::DirEntry>| {
        let text = std::fs::read_to_string(task.ok()?.path().join("stat")).ok()?;
        // pid (name) state ppid …: niceness is the 19th field, the 17th after the name.
        let (start, rest) = text.rsplit_once(") ")?;
        Some((start.split_once('(')?.1.to_owned(), rest.split(' ').nth(16)?.parse().ok()?))
    };
    std::fs::read_dir("/proc/self/task").unwrap().filter_map(read).collect()
}

/// Catches: threads that compute or load images at full priority, or the listener, whose process answers frames, at a low one.
#[test]
fn only_the_run_and_its_threads_are_nice() {
    let field = Field::new(1);
    let test = std::thread::current().name().unwrap().to_owned();
    // The kernel keeps fifteen characters of a name.
    let own = || niceness().into_iter().find(|(name, _)| test.starts_with(name)).unwrap().1;
    let before = own();
    let options = options("lp-ft").with_nice(3);
    let mut computing = 0;
    adapt(&field.request(&options), &Control::new(), &mut |event| {
        if matches!(event, Event::Step { .. }) {
            let ours = |name: &String| name.starts_with("fieldfit");
            let threads: Vec<_> = niceness().into_iter().filter(|(name, _)| ours(name)).collect();
            computing = computing.max(threads.len());
            assert!(threads.iter().all(|(_, nice)| *nice == (before + 3).min(19)), "{threads:?}");
        }
    })
    .unwrap();
    assert!(computing >= 3, "the run, its loader and its pool were seen: {computing}");
    assert_eq!(own(), before);
}
