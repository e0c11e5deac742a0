//! Tests of the model folder writer: a killed import leaves no folder, and a running one loses none.
#![allow(clippy::unwrap_used, reason = "a test that cannot prepare its files has failed")]

mod support;

use std::fs::{self, File};
use std::time::{Duration, SystemTime};
use support::{Workshop, serialise};

/// Catches: gigabytes that imports which were killed leave for ever, and an import that removes what another one is at work
/// in.
#[test]
fn what_killed_imports_left_is_removed_at_the_next() {
    let shop = Workshop::new();
    let make = |name: &str, has_lock: bool| {
        let folder = shop.path(name);
        fs::create_dir_all(folder.join("staged")).unwrap();
        fs::write(folder.join("staged/weights.safetensors"), b"values").unwrap();
        has_lock.then(|| File::create(folder.join("lock")).unwrap())
    };
    let old = |name: &str| {
        let hour = SystemTime::now() - Duration::from_secs(3600);
        File::open(shop.path(name)).unwrap().set_modified(hour).unwrap();
    };
    drop(make(".import-killed", true));
    make(".import-older", false);
    old(".import-older");
    make(".import-just-begun", false);
    let running = make(".import-running", true).unwrap();
    running.lock().unwrap();
    old(".import-running");
    make("import-of-mine", false);
    old("import-of-mine");

    shop.import(&serialise(&shop.tensors)).unwrap();
    for (name, is_kept) in [
        (".import-killed", false),
        (".import-older", false),
        (".import-just-begun", true),
        (".import-running", true),
        ("import-of-mine", true),
    ] {
        assert_eq!(shop.path(name).exists(), is_kept, "{name}");
    }
    drop(running);
    shop.import(&serialise(&shop.tensors)).unwrap();
    assert!(!shop.path(".import-running").exists());
}
