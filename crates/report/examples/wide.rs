//! Prints a synthetic run log that is as wide as a report page has to take: many methods and shifts, long names.
//! `cargo run -p fieldfit-report --example wide -- made-up.jsonl >WIDE.jsonl`
//!
//! Every run is a variation of the first one in the given log.

use std::error::Error;
use std::fs;

use fieldfit_report::{RunRecord, Scores};

const SOURCES: [&str; 2] = ["warehouse-north-camera-3-2026-11", "Außenaufnahmen_bei_Dämmerung"];
const SHIFTS: u64 = 10;
const SEEDS: u64 = 2;
/// Numbers of methods on each source.
const METHODS: [u64; 2] = [12, 3];
/// Numbers of classes of each source: one whose matrix has room for names, and one whose matrix has not.
const CLASSES: [usize; 2] = [11, 30];

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: wide RUNS.jsonl")?;
    let lines = fs::read_to_string(&path)?;
    let template: RunRecord = serde_json::from_str(lines.lines().next().ok_or("the run log is empty")?)?;
    for (source, name) in SOURCES.iter().enumerate() {
        for method in 0..METHODS[source] {
            for seed in 0..SEEDS {
                let run = run(&template, name, CLASSES[source], method, seed);
                println!("{}", serde_json::to_string(&run)?);
            }
        }
    }
    Ok(())
}

/// Varies a run.
fn run(template: &RunRecord, source: &str, classes: usize, method: u64, seed: u64) -> RunRecord {
    let name = match method {
        0 => "linear-probe".to_owned(),
        1 => "wise-ft alpha=0.55 learning-rate=0.00012345 radius-learning-rate=0.01".to_owned(),
        2 => format!("method-{}", "without-a-place-to-break".repeat(3).replace('-', "")),
        _ => format!("method-{method} strength=0.{method}"),
    };
    let scores = |set: u64| Scores {
        task: Default::default(),
        name: if set.is_multiple_of(3) {
            format!("gaussian-noise-and-motion-blur severity {set}")
        } else {
            format!("shift {set}")
        },
        confusion: confusion(classes, 3 * method + 2 * set + seed),
        calibration_error: 0.01 * (method + set) as f64,
        agreement: 1.0 / (1.0 + 0.1 * (method + set + seed) as f64),
        ..template.in_distribution.clone()
    };
    RunRecord {
        identity: format!("{source} {method} {seed}"),
        method: name,
        seed,
        source: source.to_owned(),
        classes: (0..classes).map(|class| format!("class {class} with-a-long-name")).collect(),
        in_distribution: scores(0),
        shifts: (1..=SHIFTS).map(scores).collect(),
        seconds: (1000 + 997 * method + 13 * seed) as f64,
        peak_bytes: Some((300 + 111 * method + 7 * seed) << 20),
        ..template.clone()
    }
}

/// A confusion matrix with more errors for a larger `errors`.
fn confusion(classes: usize, errors: u64) -> Vec<Vec<usize>> {
    let cell = |truth: usize, predicted: usize| {
        let is_likely = (truth + 2 * predicted + errors as usize).is_multiple_of(5);
        if truth == predicted { 100 } else { usize::from(is_likely) * (3 + errors as usize) }
    };
    (0..classes).map(|truth| (0..classes).map(|predicted| cell(truth, predicted)).collect()).collect()
}
