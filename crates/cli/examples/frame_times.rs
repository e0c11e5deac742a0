//! Times frames: our side of `tests/peers/frames.py`, which compares frame loops in Python and frames beside a page.
//!
//! ```text
//! cargo run --release -p fieldfit-cli --example frame_times -- infer THREADS MODEL [STORE]
//! cargo run --release -p fieldfit-cli --example frame_times -- nv12
//! ```
//!
//! `infer` answers a camera frame of 640 × 480 px, BGR; `nv12` prepares one of 1920 × 1080 px in NV12 for an input of 224 px. For each
//! line of the standard input, a number of frames, one JSON line is printed: the milliseconds of each.

use fieldfit::{Device, Frame, PixelFormat, Pixels, Runtime};
use fieldfit_data::Preprocessor;
use fieldfit_tensor::{Filter, Fit, Preprocessing};
use std::env;
use std::error::Error;
use std::io::{self, BufRead};
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["infer", threads, model] => infer(threads.parse()?, model, None),
        ["infer", threads, model, store] => infer(threads.parse()?, model, Some(store)),
        ["nv12"] => nv12(),
        _ => Err("usage: frame_times infer THREADS MODEL [STORE] | nv12".into()),
    }
}

fn infer(threads: usize, model: &str, store: Option<&str>) -> Result<(), Box<dyn Error>> {
    let builder = Runtime::builder(model).device(Device::Cpu { threads });
    let runtime = match store {
        Some(store) => builder.store(store).open()?,
        None => builder.open()?,
    };
    let (width, height) = (640, 480);
    let frame = bytes(3 * width * height);
    let pixels = Pixels::packed(&frame, PixelFormat::Bgr8, width as u32, height as u32);
    serve(|| {
        runtime.infer(&Frame::Pixels(pixels))?;
        Ok(())
    })
}

fn nv12() -> Result<(), Box<dyn Error>> {
    let (width, height, size) = (1920, 1080, 224);
    let recipe = Preprocessing {
        size,
        fit: Fit::Crop,
        crop: 0.875,
        mean: [127.0; 3],
        std: [128.0; 3],
        filter: Filter::Bilinear,
    };
    let mut preprocessor = Preprocessor::new(&recipe, size, recipe.crop)?;
    let mut input = vec![0.0; preprocessor.values()];
    let frame = bytes(width * height * 3 / 2);
    let (luma, chroma) = frame.split_at(width * height);
    let pixels = Pixels::nv12(luma, chroma, width as u32, height as u32);
    serve(|| Ok(preprocessor.prepare(&Frame::Pixels(pixels), &mut input)?))
}

/// Bytes of a frame: smooth, so that nothing depends on noise.
fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|index| (index / 7 % 251) as u8).collect()
}

/// Answers each line of the standard input, a number of frames, until it ends.
fn serve(mut frame: impl FnMut() -> Result<(), Box<dyn Error>>) -> Result<(), Box<dyn Error>> {
    for line in io::stdin().lock().lines() {
        let mut milliseconds = Vec::new();
        for _ in 0..line?.trim().parse()? {
            let start = Instant::now();
            frame()?;
            milliseconds.push(start.elapsed().as_secs_f64() * 1e3);
        }
        println!("{}", serde_json::json!({ "ms": milliseconds }));
    }
    Ok(())
}
