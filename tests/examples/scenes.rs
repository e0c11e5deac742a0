//! Writes frames with masks to a folder: `cargo run --example scenes -- FOLDER COUNT SEED`.
#![allow(clippy::unwrap_used, reason = "an example that cannot go on ends")]

use fieldfit_tests::scenes;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, count, seed] = &arguments[..] else {
        eprintln!("expected FOLDER COUNT SEED");
        std::process::exit(2);
    };
    scenes::frames(folder.as_ref(), count.parse().unwrap(), seed.parse().unwrap());
}
