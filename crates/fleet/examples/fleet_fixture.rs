//! Writes a small fleet for tests of the command: a base, images, and robots' stores that trust each other's keys.
//!
//! ```text
//! cargo run --example fleet_fixture -- FOLDER ROBOTS
//! ```
//!
//! FOLDER is new. It gets `model`, `images`, and of each robot `robot-N/store` with a confirmed version and `robot-N/key.pem`; the
//! first one, `robot-0`, has learned nothing.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a fixture that cannot be made ends the program")]

#[path = "../tests/fleet/common.rs"]
mod common;

use common::ground;
use fieldfit::{
    delta::new_key,
    store::{Store, TRUST_FILE, Verdict},
};
use std::{env, fs, path::Path, process::Command};

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [folder, robots] = arguments.as_slice() else { panic!("usage: fleet_fixture FOLDER ROBOTS") };
    let (folder, robots) = (Path::new(folder), robots.parse::<u64>().unwrap());
    fs::create_dir(folder).unwrap();
    for (from, to) in [(&ground().model, "model"), (&ground().usual, "images")] {
        assert!(Command::new("cp").arg("-r").arg(from).arg(folder.join(to)).status().unwrap().success());
    }
    let keys: Vec<_> = (0..=robots)
        .map(|robot| {
            let home = folder.join(format!("robot-{robot}"));
            fs::create_dir(&home).unwrap();
            (robot, new_key(home.join("key.pem")).unwrap())
        })
        .collect();
    let listed: String = keys.iter().map(|(robot, key)| format!("robot-{robot} = \"{}\"\n", key.public())).collect();
    for (robot, key) in &keys {
        let store = Store::create_or_open(folder.join(format!("robot-{robot}/store"))).unwrap();
        fs::write(store.path().join(TRUST_FILE), format!("[keys]\n{listed}")).unwrap();
        store.fix_base(&ground().base_id()).unwrap();
        if *robot > 0 {
            let delta = ground().large(*robot);
            let version = store.add_judged(&delta, Some(key), Verdict::Activate, None).unwrap();
            store.confirm(version).unwrap();
        }
    }
}
