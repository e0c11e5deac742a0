//! Adapts in one thread while another answers frames, swaps the result in, and rolls back.
//!
//! ```text
//! cargo run --release -p fieldfit --example adapt_and_swap -- MODEL IMAGES STORE
//! cargo run --release -p fieldfit --example adapt_and_swap -- models/efficientnet-lite0 tests/data/emoji/google adaptations
//! ```

use fieldfit::data::{Dataset, FolderOptions};
use fieldfit::train::{Adapted, Event, Options};
use fieldfit::{Error, Frame, Runtime};
use std::env;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [model, images, store] = arguments.as_slice() else {
        return Err("usage: adapt_and_swap MODEL IMAGES STORE".into());
    };
    let runtime = Runtime::builder(model).store_or_new(store).open()?;
    let images = Dataset::open(Path::new(images), &FolderOptions::default())?;
    let camera = std::fs::read(images.samples[0].image.path().ok_or("the first image has no file")?)?;
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let frames = scope.spawn(|| answer_frames(&runtime, &camera, &is_over));
        let adapted = adapt(&runtime, &images);
        thread::sleep(Duration::from_millis(500));
        is_over.store(true, Ordering::Relaxed);
        frames.join().map_err(|_| "the thread that answers frames panicked")??;
        if adapted?.active {
            println!("rolled back: {} runs", runtime.rollback()?);
        }
        Ok(())
    })
}

/// Prints the answer to the camera's frame whenever another version gives it.
fn answer_frames(runtime: &Runtime, camera: &[u8], is_over: &AtomicBool) -> Result<(), Error> {
    let mut last = None;
    while !is_over.load(Ordering::Relaxed) {
        let prediction = runtime.infer(&Frame::Encoded(camera))?;
        if last != Some(prediction.version())
            && let Some(best) = prediction.best()
        {
            println!("{}: {} ({:.0} %)", prediction.version(), best.label, 100.0 * best.probability);
            last = Some(prediction.version());
        }
        thread::sleep(Duration::from_millis(33));
    }
    Ok(())
}

fn adapt(runtime: &Runtime, images: &Dataset) -> Result<Adapted, Error> {
    let options = Options::default().with_size(Some(96)).with_epochs(2);
    let adaptation = runtime.adaptation(images).options(options).on_event(|event| {
        if let Event::Epoch { epoch, epochs, accuracy, .. } = event {
            println!("epoch {epoch} of {epochs}: {:.1} % of the validation images", 100.0 * accuracy);
        }
    });
    let adapted = adaptation.run()?;
    println!("version {}, {} bytes: {}", adapted.version, adapted.delta_bytes, adapted.reason);
    Ok(adapted)
}
