//! Subcommand `doctor`: checks the machine, its devices and disk, and a model's memory plan.

use super::info::{IMAGES, plan_text};
use crate::args::DoctorArgs;
use crate::error::CliError;
use crate::output::{Output, Text, mebibytes};
use fieldfit::doctor::{Diagnosis, examine};
use fieldfit::model::Base;
use fieldfit::target::TargetProfile;
use fieldfit::train::MemoryPlan;
use serde::Serialize;
use std::path::Path;
use std::process::ExitCode;

/// Diagnosis of the machine, with the memory plan of a model.
#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    diagnosis: Diagnosis,
    /// Target profile that plan and machine are checked against.
    profile: Option<String>,
    plan: Option<MemoryPlan>,
    /// Problems of the model, the plan, or the machine as that target.
    problems: Vec<String>,
}

pub fn run(args: &DoctorArgs, output: &Output) -> Result<ExitCode, CliError> {
    let diagnosis = examine(&args.scratch)?;
    let target = args
        .target_profile
        .clone()
        .or_else(|| diagnosis.boards.iter().find_map(|name| TargetProfile::named(name).ok()));
    let mut problems = Vec::new();
    if let Some(target) = &args.target_profile {
        problems.extend(misfits(target, &diagnosis));
    }
    let plan = args.model.as_deref().map(|model| plan(args, model, target.as_ref()));
    let plan = plan.transpose().unwrap_or_else(|error| {
        problems.push(crate::error::chain(&error));
        None
    });
    let is_healthy = diagnosis.is_healthy() && problems.is_empty();
    let report = Report { diagnosis, profile: target.map(|target| target.name), plan, problems };
    output.show(&report, text)?;
    Ok(if is_healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Returns where the machine differs from the target profile.
fn misfits(target: &TargetProfile, Diagnosis { machine, .. }: &Diagnosis) -> Vec<String> {
    let mut misfits = Vec::new();
    let (architecture, system) = (&machine.architecture, &machine.system);
    if !target.is_built_for(architecture, system) {
        misfits.push(format!("this machine is {architecture} {system}, and {} is {}", target.name, target.triple));
    }
    let needed = target.memory.adaptation_bytes();
    if let Some(memory) = machine.memory.filter(|memory| memory.available < needed) {
        let available = mebibytes(memory.available);
        misfits.push(format!(
            "{available} of memory are free, and {} gives adaptation {}",
            target.name,
            mebibytes(needed)
        ));
    }
    misfits
}

fn plan(args: &DoctorArgs, model: &Path, target: Option<&TargetProfile>) -> Result<MemoryPlan, fieldfit::Error> {
    let base = Base::open(model)?;
    let defaults = super::defaults(target);
    let (method, batch) = (args.method.as_ref().unwrap_or(&defaults.method).clone(), defaults.batch);
    let batch = args.batch.map_or(batch, |images| images as usize);
    let options = defaults.with_method(method).with_size(args.size).with_batch(batch);
    Ok(fieldfit::train::plan_memory(&base, base.labels().len(), IMAGES, &options)?)
}

fn text(report: &Report) -> Text {
    let Report { diagnosis, profile, plan, problems } = report;
    let Diagnosis { machine, devices, disk, boards, checks, .. } = diagnosis;
    let known = |value: &Option<String>| value.clone().unwrap_or_default();
    let boards = if boards.is_empty() { "none of targets/".to_owned() } else { boards.join(", ") };
    let memory = machine.memory.map(|now| format!("{} free of {}", mebibytes(now.available), mebibytes(now.total)));
    let mut text = Text::default();
    text.fields(&[
        ("machine", format!("{} {} {}", machine.architecture, machine.system, known(&machine.kernel))),
        ("model", known(&machine.board)),
        (
            "processor",
            format!("{} ({} cores: {})", known(&machine.processor), machine.cores, machine.features.join(", ")),
        ),
        ("memory", memory.unwrap_or_default()),
        ("disk", disk.to_string()),
        ("board", boards),
        ("profile", known(profile)),
    ]);
    devices
        .iter()
        .map(ToString::to_string)
        .chain(checks.iter().map(ToString::to_string))
        .for_each(|line| text.line(line));
    if let Some(plan) = plan {
        plan_text(plan, &mut text);
    }
    // A problem has a line for each cause.
    problems
        .iter()
        .flat_map(|problem| format!("problem: {problem}").lines().map(str::to_owned).collect::<Vec<_>>())
        .for_each(|line| text.line(line));
    text
}
