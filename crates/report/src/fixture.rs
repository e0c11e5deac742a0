//! Test fixture: a synthetic run record with every field filled in.

use crate::record::{HardestImage, LossRecord, RadiusRecord, RunRecord, Scores};
use fieldfit_tensor::Task;

/// Builds a record with two classes, two shifts, radii, losses and one misclassified image per set.
pub(crate) fn run(method: &str, seed: u64, source: &str) -> RunRecord {
    let scores = |name: &str| Scores {
        task: Task::Classification,
        task_score: None,
        name: name.to_owned(),
        confusion: vec![vec![8, 2], vec![1, 9 + seed as usize]],
        calibration_error: 0.05,
        loss: 0.4,
        agreement: 0.75,
        hardest: vec![HardestImage {
            file: "dog/1.jpg".to_owned(),
            truth: "dog".to_owned(),
            predicted: "cat".to_owned(),
            confidence: 0.9,
            thumbnail: "data:image/png;base64,AAAA".to_owned(),
        }],
        frames: Vec::new(),
    };
    RunRecord {
        identity: format!("{method} {seed} {source}"),
        method: method.to_owned(),
        seed,
        source: source.to_owned(),
        options: "steps=100".to_owned(),
        classes: vec!["dog".to_owned(), "cat".to_owned()],
        colours: Vec::new(),
        validation_loss: 0.3,
        in_distribution: scores("gate"),
        shifts: vec![scores("dusk"), scores("fog")],
        base_task: None,
        accepted: true,
        seconds: 12.0,
        peak_bytes: Some(200 << 20),
        delta_bytes: 3 << 20,
        radii: vec![
            RadiusRecord { tensor: "conv_stem.weight".to_owned(), stage: 0, share: 0.2 },
            RadiusRecord { tensor: "blocks.0.weight".to_owned(), stage: 1, share: 0.6 },
        ],
        losses: (0..4).map(|step| LossRecord { step: 10 * step, loss: 2.0 / (step + 1) as f64 }).collect(),
    }
}
