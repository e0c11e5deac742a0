//! Fuzz target of resumed runs: a checkpoint under a valid seal and with the identity of the run that is resumed.

use crate::base::message;
use crate::scratch;
use fieldfit_adapt::{
    AdaptError, AdaptRequest, Checkpointing, Control, Event, Freeze, Options, Outcome, Phase, adapt, remove_checkpoint,
};
use fieldfit_data::{Augmentation, Dataset, FolderOptions};
use fieldfit_durable::{SEAL_LEN, seal};
use fieldfit_exec::Device;
use fieldfit_model::Base;
use fieldfit_tests::tiny;
use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

/// The methods whose checkpoints are forged, by the lowest bits of the first byte.
pub const METHODS: [&str; 6] = ["lp-ft", "tpgm", "ftp", "tpgm-relative", "tpgm-post-hoc", "wise-ft"];
/// Set in the first byte where a content follows, after the identity; otherwise edits follow, each a position in the content
/// (two bytes, little-endian) and what is put there.
pub const WHOLE: u8 = 0x80;
/// Set in the first byte where what is accepted goes on for a step.
pub const STEP: u8 = 0x40;
/// Bytes of the identity that a checkpoint begins with: base, images and options.
const IDENTITY: usize = 3 * 32;

/// A base, images, and where the checkpoint is.
struct Field {
    base: Base,
    images: Dataset,
    checkpoint: PathBuf,
}

static FIELD: LazyLock<Field> = LazyLock::new(|| {
    let folder = scratch::path("resume");
    fs::create_dir_all(folder.join("images")).expect("a temporary folder");
    tiny::images(&folder.join("images"), 9, 1);
    Field {
        base: Base::open(&tiny::base(&folder, 1)).expect("a tiny base"),
        images: Dataset::open(&folder.join("images"), &FolderOptions::default()).expect("small images"),
        checkpoint: folder.join("checkpoint"),
    }
});

/// The contents of the checkpoints that runs of each method leave when they are stopped.
static CONTENTS: LazyLock<[Vec<u8>; METHODS.len()]> = LazyLock::new(|| {
    METHODS.map(|method| {
        let learns_after_training = matches!(method, "tpgm-relative" | "tpgm-post-hoc" | "wise-ft");
        let stopped = FIELD.adapt(method, false, |event| match event {
            Event::Step { step: 2, .. } => !learns_after_training,
            Event::Progress { phase: Phase::Radii | Phase::Interpolation, done: 2, .. } => true,
            _ => false,
        });
        assert!(matches!(stopped, Err(AdaptError::Interrupted { checkpoint: Some(_) })), "{stopped:?}");
        fs::read(&FIELD.checkpoint).expect("a checkpoint").split_off(SEAL_LEN)
    })
});

impl Field {
    /// A run of the head and the stages before it, stopped once `stop` says so.
    fn adapt(&self, method: &str, resume: bool, stop: impl Fn(&Event) -> bool) -> Result<Outcome, AdaptError> {
        let options = Options::default()
            .with_method(method)
            .with_epochs(2)
            .with_size(Some(16))
            .with_batch(4)
            .with_augmentation(Augmentation::None)
            .with_freeze(Some(Freeze::new("block2", 1)))
            .with_device(Device::Cpu { threads: 1 });
        let checkpoint = Some(Checkpointing { path: &self.checkpoint, resume });
        let request = AdaptRequest {
            base: &self.base,
            dataset: &self.images,
            options: &options,
            methods: &[],
            active: None,
start: None,
            checkpoint,
        };
        let control = Control::new();
        adapt(&request, &control, &mut |event| {
            if stop(&event) {
                control.stop();
            }
        })
    }
}

/// Resumes from the forged checkpoint: it is refused as damaged, or the run goes on.
pub fn run(data: &[u8]) {
    let [form, rest @ ..] = data else { return };
    let method = usize::from(form & 0xf) % METHODS.len();
    let content = &CONTENTS[method];
    let forged = if form & WHOLE == 0 { edited(content, rest) } else { [&content[..IDENTITY], rest].concat() };
    remove_checkpoint(&FIELD.checkpoint).expect("a file in memory");
    fs::write(&FIELD.checkpoint, seal(*b"FFADAPT1", &forged)).expect("room in the temporary folder");
    let ends = |event: &Event| match event {
        Event::Resumed { .. } => form & STEP == 0,
        Event::Step { .. } | Event::Radii(_) | Event::Progress { .. } => true,
        _ => false,
    };
    match FIELD.adapt(METHODS[method], true, ends) {
        Ok(_) | Err(AdaptError::Interrupted { .. } | AdaptError::Diverged { .. } | AdaptError::Collapsed { .. }) => {}
        Err(error @ AdaptError::DamagedCheckpoint { .. }) => drop(message(&error)),
        Err(other) => panic!("{other:?}"),
    }
}

/// The content with those edits behind its identity.
fn edited(content: &[u8], edits: &[u8]) -> Vec<u8> {
    let mut content = content.to_vec();
    let state = &mut content[IDENTITY..];
    for &[low, high, byte] in edits.as_chunks().0 {
        let position = usize::from(u16::from_le_bytes([low, high])) % state.len();
        state[position] = byte;
    }
    content
}
