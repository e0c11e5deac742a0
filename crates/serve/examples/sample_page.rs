//! Serves the page of a made-up store: versions, a process that answers frames, an adaptation and a collection, all invented.
//!
//! ```console
//! cargo run -p fieldfit-serve --example sample_page -- FOLDER
//! ```

use fieldfit_collect::{Collector, CollectorOptions, Label, ModelOutput, Origin, Selection, Span};
use fieldfit_data::{Frame, PixelFormat, Pixels};
use fieldfit_delta::Provenance;
use fieldfit_serve::{Server, ServerOptions};
use fieldfit_store::{
    AdaptationPhase, AdaptationStatus, EpochStatus, LatencyHistogram, RuntimeStatus, StepLoss, Store, unix_time,
};
use fieldfit_tests::deltas;
use std::error::Error;
use std::path::Path;
use std::time::Duration;
use std::{env, thread};

const BASE: [u8; 32] = [1; 32];
const CLASSES: [&str; 2] = ["gravel", "mud"];

fn main() -> Result<(), Box<dyn Error>> {
    let folder = env::args_os().nth(1).ok_or("expected a folder to create the store in")?;
    let folder = Path::new(&folder);
    let store = filled_store(&folder.join("robot"))?;
    let collection = folder.join("field");
    fill_collection(&collection)?;
    let options = ServerOptions::default().with_listen("127.0.0.1:0".parse()?).with_collection(Some(collection));
    let server = Server::bind(store.clone(), options)?;
    println!("{}", server.url());
    let _work = store.work_dir()?;
    thread::spawn(move || {
        for second in 0_u64.. {
            // A page may have been closed, or the folder removed.
            let _ = store.publish_runtime(0, &runtime(&store, second));
            let _ = store.publish_adaptation(&adaptation(&store, second));
            thread::sleep(Duration::from_secs(1));
        }
    });
    Ok(server.run()?)
}

/// A store with a version that was refused, two that ran, and one on trial.
fn filled_store(path: &Path) -> Result<Store, Box<dyn Error>> {
    let store = Store::create_or_open(path)?;
    store.fix_base(&BASE)?;
    for seed in 1..=4 {
        let version = store.add(&delta(seed)?)?;
        match seed {
            1 => store.refuse(version, "31 of 47 right, and 34 before")?,
            2 | 3 => store.activate(version).and_then(|()| store.confirm(version))?,
            _ => store.activate(version)?,
        }
    }
    Ok(store)
}

fn delta(seed: u64) -> Result<Vec<u8>, Box<dyn Error>> {
    let (before, after) = (0.72, 0.66 + 0.05 * seed as f32);
    let method = "tpgm-relative".try_into().map_err(|_| "a short name")?;
    let (train, validation, gate) = (180, 40, 47);
    let provenance = Provenance { seed, method, train, validation, gate, before, after, ..Provenance::default() };
    Ok(deltas::small(BASE, provenance, CLASSES))
}

/// A collection of drawn images.
fn fill_collection(path: &Path) -> Result<(), Box<dyn Error>> {
    let options =
        CollectorOptions::default().with_selection(Selection::default().with_hamming(None).with_sharpness(0.0));
    let collector = Collector::open(path, options)?;
    for number in 0..16_u32 {
        let pixels: Vec<u8> = (0..96 * 96_u32).flat_map(|at| texture(number, at % 96, at / 96)).collect();
        let frame = Frame::Pixels(Pixels::packed(&pixels, PixelFormat::Rgb8, 96, 96));
        let at = Duration::from_secs(u64::from(number));
        let Some(id) = collector.observe(&frame, at, ModelOutput::default())? else { continue };
        let origin = if number % 3 == 0 { Origin::Outcome } else { Origin::Operator };
        collector.label(Span::Frame(id), &Label::new(CLASSES[number as usize % 2], origin))?;
    }
    Ok(())
}

/// A pixel of stripes or of dots.
fn texture(number: u32, x: u32, y: u32) -> [u8; 3] {
    let wave = if number.is_multiple_of(2) { (x / (2 + number)) % 2 } else { ((x + number) / 7 + y / 7) % 2 };
    let level = (90 + 110 * wave + (x * y + number * 31) % 23) as u8;
    [level, (f32::from(level) * 0.8) as u8, (f32::from(level) * 0.55) as u8]
}

fn runtime(store: &Store, second: u64) -> RuntimeStatus {
    let frames = 30 * second;
    let mut latency = LatencyHistogram { seconds: 0.006 * frames as f64, ..LatencyHistogram::default() };
    latency.counts[4] = frames - frames / 200;
    latency.counts[7] = frames / 200;
    let version = store.active().unwrap_or_default();
    RuntimeStatus {
        process: 4711,
        started: unix_time(),
        updated: unix_time(),
        version,
        running: version.map_or_else(|| "the base".into(), |version| format!("version {version}")),
        task: "classification".into(),
        frames,
        failures: 2,
        latency,
        confidence: Some(0.87),
        agreement: Some(0.61),
        compared: 128,
    }
}

fn adaptation(store: &Store, second: u64) -> AdaptationStatus {
    let step = (40 + second).min(144);
    let loss = |step: u64| 1.6 * (-(step as f64) / 50.0).exp() + 0.15 + 0.1 * ((step * 37 % 11) as f64 / 11.0);
    AdaptationStatus {
        process: 4712,
        started: unix_time() - 60.0,
        updated: unix_time(),
        method: "tpgm-relative".into(),
        phase: AdaptationPhase::Training,
        paused: store.is_pause_wanted(),
        done: step as f64 / 144.0,
        step,
        steps: 144,
        losses: (1..=step).map(|step| StepLoss { step, loss: loss(step) }).collect(),
        epochs: [(1, 0.71), (2, 0.82), (3, 0.84)].map(|(epoch, accuracy)| EpochStatus { epoch, accuracy }).to_vec(),
        shares: vec![1.0, 0.9, 0.83, 0.8],
        result: None,
    }
}
