//! Camera process of the soak test: answers frames.

use crate::{Error, field};
use fieldfit::{Frame, PixelFormat, Pixels, Runtime, Version};
use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Thirty frames a second.
const PERIOD: Duration = Duration::from_nanos(1_000_000_000 / 30);

/// What the camera says of itself on standard output, one a line.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Report {
    /// Frames answered.
    pub frames: u64,
    /// Other weights than for the frame before.
    pub swaps: u64,
    /// Frames that were answered later than the next one came.
    pub late: u64,
    /// The longest that a frame waited for its answer, in milliseconds, since the last report.
    pub longest_ms: f64,
    /// The same, of the first frame after a swap.
    pub longest_after_swap_ms: f64,
}

/// Answers one frame thirty times a second for ever, while another thread polls; ends when an answer is not that of a
/// whole version.
pub fn run(folder: &Path) -> Result<(), Error> {
    let runtime = field::robot(folder)?;
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                if let Err(error) = runtime.poll() {
                    eprintln!("camera: {error}");
                }
                thread::sleep(Duration::from_millis(200));
            }
        });
        let ended = answer_frames(&runtime);
        is_over.store(true, Ordering::Relaxed);
        ended
    })
}

fn answer_frames(runtime: &Runtime) -> Result<(), Error> {
    let pixels = pixels();
    let mut report = Report::default();
    let mut expected = HashMap::new();
    let mut last = runtime.version();
    let mut next = Instant::now();
    let mut reported = next;
    loop {
        let began = Instant::now();
        let (version, answer) = answer(runtime, &pixels)?;
        let took = began.elapsed().as_secs_f64() * 1e3;
        if *expected.entry(version).or_insert_with(|| answer.clone()) != answer {
            return Err(format!("{version} answers otherwise than it did: mixed versions").into());
        }
        report.frames += 1;
        report.longest_ms = report.longest_ms.max(took);
        if version != last {
            report.swaps += 1;
            report.longest_after_swap_ms = report.longest_after_swap_ms.max(took);
            last = version;
            // Versions are pruned and never come back; the table is not to grow in their stead.
            expected.retain(|known, _| *known == version || *known == Version::Base);
        }
        if reported.elapsed() > Duration::from_secs(5) {
            println!("{}", serde_json::to_string(&report)?);
            (report.longest_ms, report.longest_after_swap_ms) = (0.0, 0.0);
            reported = Instant::now();
        }
        next += PERIOD;
        match next.checked_duration_since(Instant::now()) {
            Some(rest) => thread::sleep(rest),
            None => {
                report.late += 1;
                next = Instant::now();
            }
        }
    }
}

/// Starts, answers a few frames and ends, if nobody kills it first.
pub fn visit(folder: &Path) -> Result<(), Error> {
    let runtime = field::robot(folder)?;
    let pixels = pixels();
    for _ in 0..10 {
        answer(&runtime, &pixels)?;
    }
    Ok(())
}

/// Which version said what, to the bit.
fn answer(runtime: &Runtime, pixels: &[u8]) -> Result<(Version, Vec<(String, u32)>), Error> {
    let prediction = runtime.infer(&Frame::Pixels(Pixels::packed(pixels, PixelFormat::Rgb8, 40, 32)))?;
    let said = prediction.top().map(|class| (class.label.to_owned(), class.probability.to_bits())).collect();
    Ok((prediction.version(), said))
}

fn pixels() -> Vec<u8> {
    (0..40 * 32 * 3).map(|index| (index * 7 % 251) as u8).collect()
}
