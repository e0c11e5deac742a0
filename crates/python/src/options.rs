//! Options of a run as keyword arguments, under the names of the command's flags.

use fieldfit::data::Augmentation;
use fieldfit::delta::Codec;
use fieldfit::train::{
    BranchAverage, ClassWeights, Coding, Freeze, HeadMode, OptimiserOptions, Options, ScheduleOptions, Sharing,
    StartPoint,
};
use fieldfit::{Device, data::Fractions};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use std::collections::BTreeMap;

/// Converts keyword arguments; an unknown one is a `TypeError`, as of any Python function.
pub fn options(device: Device, arguments: Option<&Bound<'_, PyDict>>) -> PyResult<Options> {
    let mut options = Options::default().with_device(device);
    let Some(arguments) = arguments else { return Ok(options) };
    let mut rate = None;
    let mut views = None;
    for (name, value) in arguments.iter() {
        let name = name.cast::<PyString>()?.to_string();
        match name.as_str() {
            "learning_rate" => rate = value.extract()?,
            "views" => views = value.extract()?,
            name => set(&mut options, name, &value)?,
        }
    }
    if let Some(rate) = rate {
        options.optimiser = options.optimiser.with_learning_rate(rate);
    }
    match (&mut options.freeze, views) {
        (_, None) => {}
        (Some(freeze), Some(views)) => freeze.views = views,
        (None, Some(_)) => return Err(PyValueError::new_err("`views` needs `freeze`")),
    }
    Ok(options)
}

fn set(options: &mut Options, name: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
    match name {
        "method" => options.method = value.extract()?,
        "settings" => options.settings = value.extract::<BTreeMap<String, f64>>()?,
        "epochs" => options.epochs = value.extract()?,
        "size" => options.size = value.extract()?,
        "batch" => options.batch = value.extract()?,
        "optimiser" => {
            options.optimiser =
                choice(name, value, [("adamw", OptimiserOptions::adamw()), ("sgd", OptimiserOptions::sgd())])?;
        }
        "warm_up" => options.schedule = ScheduleOptions::new(value.extract()?),
        "clip" => options.clip = value.extract()?,
        "augmentation" => options.augmentation = choice(name, value, Augmentation::ALL.map(|one| (one.name(), one)))?,
        "seed" => options.seed = value.extract()?,
        "fractions" => {
            let (validation, gate) = value.extract()?;
            options.fractions = Fractions::new(validation, gate);
        }
        "exclude" => options.tpgm.exclude = value.extract()?,
        "radii_per" => options.tpgm.sharing = choice(name, value, Sharing::ALL.map(|one| (one.name(), one)))?,
        "retain" => options.retain = value.extract()?,
        "freeze" => {
            let stage: Option<String> = value.extract()?;
            options.freeze = stage.map(|stage| Freeze::new(stage, Freeze::VIEWS));
        }
        "codec" => {
            let codecs = Codec::ALL.map(|codec| (codec.name(), Coding::Kernels(codec)));
            options.coding = choice(name, value, [("auto", Coding::Auto)].into_iter().chain(codecs))?;
        }
        "micro_batch" => options.micro_batch = value.extract()?,
        "nice" => options.nice = value.extract()?,
        "memory_budget" => options.memory_budget = value.extract()?,
        "class_weights" => options.class_weights = choice(name, value, ClassWeights::ALL.map(|one| (one.name(), one)))?,
        "early_stop" => options.early_stop = value.extract()?,
        "flip_negates" => options.flip_negates = value.extract()?,
        "branches" => options.branches.count = value.extract()?,
        "common_epochs" => options.branches.common = value.extract()?,
        "branch_average" => {
            let averages = BranchAverage::ALL.map(|one| (one.name(), one));
            options.branches.average = choice(name, value, averages)?;
        }
        "head" => options.head = choice(name, value, HeadMode::ALL.map(|one| (one.name(), one)))?,
        "start" => options.start = choice(name, value, StartPoint::ALL.map(|one| (one.name(), one)))?,
        "novelty" => options.novelty = value.extract()?,
        _ => return Err(PyTypeError::new_err(format!("unexpected keyword argument '{name}'"))),
    }
    Ok(())
}

fn choice<T>(
    name: &str,
    value: &Bound<'_, PyAny>,
    choices: impl IntoIterator<Item = (&'static str, T)>,
) -> PyResult<T> {
    named(name, &value.extract::<String>()?, choices)
}

/// Returns the choice of that name.
pub fn named<T>(name: &str, given: &str, choices: impl IntoIterator<Item = (&'static str, T)>) -> PyResult<T> {
    let mut known = Vec::new();
    for (choice, value) in choices {
        if choice == given {
            return Ok(value);
        }
        known.push(choice);
    }
    Err(PyValueError::new_err(format!("{name} is {given:?}: use one of {}", known.join(", "))))
}
