//! Renders the report page of a run log:
//! `cargo run -p fieldfit-report --example page -- RUNS.jsonl PAGE.html [REFERENCE]`
//!
//! `made-up.jsonl` beside this file is a synthetic comparison; the example `wide` writes one with many methods and shifts.

use std::error::Error;
use std::fs;

use fieldfit_report::{PageOptions, RunRecord, render_page};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(runs), Some(out)) = (arguments.next(), arguments.next()) else {
        return Err("usage: page RUNS.jsonl PAGE.html [REFERENCE]".into());
    };
    let lines = fs::read_to_string(&runs)?;
    let runs: Vec<RunRecord> = lines.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let title = match runs.as_slice() {
        [run] => format!("Adaptation of {}", run.source),
        _ => "Comparison of adaptations".to_owned(),
    };
    fs::write(out, render_page(&runs, &PageOptions::new(title).with_reference(arguments.next())))?;
    Ok(())
}
