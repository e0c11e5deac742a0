//! Sends an adaptation from one robot to another as a signed, compressed file, which the second accepts by its trust file.
//!
//! ```text
//! cargo run --release -p fieldfit --example fleet_file -- MODEL STORE FOLDER
//! ```
//!
//! STORE has an active version; FOLDER is new, and gets the key, the file and the second robot's store.

use fieldfit::Runtime;
use fieldfit::delta::{new_key, pack, sign, verify};
use fieldfit::store::{Store, TRUST_FILE};
use std::path::Path;
use std::{env, fs};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [model, store, folder] = arguments.as_slice() else {
        return Err("usage: fleet_file MODEL STORE FOLDER".into());
    };
    let folder = Path::new(folder);
    fs::create_dir(folder)?;

    // The first robot signs and compresses its active version.
    let key = new_key(folder.join("fleet.pem"))?;
    let store = Store::open(store)?;
    let version = store.active()?.ok_or("STORE has no active version: adapt first")?;
    let (signed, packed) = (folder.join("night.delta"), folder.join("night.delta.zst"));
    sign(store.delta_path(version), &key, None, &signed)?;
    let sizes = pack(&signed, &packed)?;
    println!("{}: {} bytes, compressed from {}", packed.display(), sizes.packed, sizes.bytes);

    // The second robot accepts deltas of this key alone, verifies the file against its own base, and runs it on trial.
    let runtime = Runtime::builder(model).store_or_new(folder.join("store")).open()?;
    let trust = folder.join("store").join(TRUST_FILE);
    fs::write(&trust, format!("require-signature = true\n\n[keys]\nfleet = \"{}\"\n", key.public()))?;
    let verified = verify(&packed, Some(Path::new(model)), Some(&trust))?;
    println!("signed by {}, number {}", verified.signer.unwrap_or_default(), verified.sequence.unwrap_or_default());
    runtime.activate(runtime.add(&packed)?)?;
    println!("{} runs", runtime.version());
    Ok(())
}
