//! Abusive files: each in `tests/attacks`, with a line in its `README.md` on what it tries and what it is told. Guards against
//! a file that is accepted, that makes a reader panic, or that takes memory that it has no right to.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use fieldfit::import::{ImportRequest, import};
use fieldfit::model::{Base, ModelError};
use fieldfit::train::peak_memory;
use fieldfit_tests::{message, tiny};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

/// What refusals may add to the process's memory, all of one reader together. The largest files here claim 16 EiB and hold 512
/// MiB. The importer, which runs on a host, reads up to 64 MiB of pickle into a buffer that grows by doubling, and makes up to
/// a million values of it.
const MEMORY: u64 = 16 << 20;
const IMPORTERS_MEMORY: u64 = 256 << 20;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("attacks")
}

/// File and the words of its refusal, from the table.
fn attacks() -> Vec<(String, String)> {
    let index = fs::read_to_string(folder().join("README.md")).unwrap();
    let rows = index.lines().filter_map(|line| line.strip_prefix("| `"));
    let cells = rows.map(|row| row.trim_end_matches(" |").split(" | ").collect::<Vec<_>>());
    cells.map(|cells| (cells[0].trim().trim_end_matches('`').to_owned(), cells[2].trim().to_owned())).collect()
}

/// What the reader that the file is meant for says of it.
fn refusal(scene: &Path, attack: &Path) -> String {
    let model = scene.join("tiny-1");
    let refused: Box<dyn Error> = match attack.extension().unwrap().to_str().unwrap() {
        "delta" | "zst" => match fieldfit::delta::verify(attack, None, None) {
            Ok(_) => panic!("{} was accepted", attack.display()),
            Err(error) => {
                let runtime = fieldfit::Runtime::builder(&model).delta(attack).open();
                assert!(runtime.is_err(), "{} runs", attack.display());
                error.into()
            }
        },
        "safetensors" => {
            let bytes = fs::read(attack).unwrap();
            assert!(imported(scene, attack).is_err(), "{} was imported", attack.display());
            seal(&model, &bytes);
            Base::open(&model).err().unwrap().into()
        }
        "pth" => imported(scene, attack).unwrap_err().into(),
        "toml" => {
            fs::copy(attack, model.join("manifest.toml")).unwrap();
            Base::open(&model).err().unwrap().into()
        }
        other => panic!("no reader of `{other}`"),
    };
    message(refused.as_ref())
}

fn imported(scene: &Path, checkpoint: &Path) -> Result<(), ModelError> {
    let (labels, out) = (scene.join("labels.txt"), scene.join("imported"));
    import(&ImportRequest::new(checkpoint, &out).of("efficientnet-tiny", &labels)).map(drop)
}

/// Puts weights into a model folder whose manifest vouches for them.
fn seal(model: &Path, weights: &[u8]) {
    let manifest = fs::read_to_string(model.join("manifest.toml")).unwrap();
    let hash = Sha256::digest(weights).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let lines = manifest.split_inclusive('\n').map(|line| match line.split(" = ").next() {
        Some("bytes") => format!("bytes = {}\n", weights.len()),
        Some("sha256") => format!("sha256 = \"{hash}\"\n"),
        _ => line.to_owned(),
    });
    fs::write(model.join("manifest.toml"), lines.collect::<String>()).unwrap();
    let file = model.join("weights.safetensors");
    fs::remove_file(&file).unwrap();
    fs::write(file, weights).unwrap();
}

/// Catches: an attack that succeeds, that is refused for another reason than its own, so that the check that is meant
/// is untested, or that takes memory before it is refused.
#[test]
fn every_attack_is_refused_for_what_it_is() {
    let (imports, others): (Vec<_>, Vec<_>) = attacks().into_iter().partition(|(name, _)| name.ends_with(".pth"));
    for (attacks, limit) in [(others, MEMORY), (imports, IMPORTERS_MEMORY)] {
        let scenes: Vec<_> = attacks.iter().map(|_| tempfile::tempdir().unwrap()).collect();
        scenes.iter().for_each(|scene| drop(tiny::base(scene.path(), 1)));
        let before = peak_memory();
        let mut wrong = Vec::new();
        for ((name, words), scene) in attacks.into_iter().zip(&scenes) {
            let refused = refusal(scene.path(), &folder().join(&name));
            if !refused.contains(&words) {
                wrong.push(format!("{name}: not `{words}`: {refused}"));
            }
            assert!(!scene.path().join("imported").exists(), "{name} left something");
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        if let (Some(before), Some(after)) = (before, peak_memory()) {
            assert!(after - before < limit, "{} MiB", (after - before) >> 20);
        }
    }
}

/// Catches: a file that nobody tries, or a line without a file.
#[test]
fn every_attack_is_listed() {
    let listed: BTreeSet<_> = attacks().into_iter().map(|(name, _)| name).chain(["README.md".to_owned()]).collect();
    let files = fs::read_dir(folder()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    assert_eq!(files.collect::<BTreeSet<_>>(), listed);
}
