//! Tests of failing runs: invalid options, divergence, collapse, dead tensors and unreadable images are reported,
//! never silent.

#![allow(clippy::unwrap_used, reason = "a fixture that cannot be made ends the test")]

mod common;

use common::{Field, options};
use fieldfit_adapt::{AdaptError, ClassWeights, Event, Freeze, METHODS, OptimiserOptions, Options, Phase, TpgmOptions};
use fieldfit_data::Target;
use fieldfit_model::Base;
use fieldfit_model::import::{ImportRequest, import};
use fieldfit_tests::tiny;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use std::fs;
use std::path::Path;

/// Catches: a run that diverges must end with an error that says so, and leave nothing that could be taken for a result.
#[test]
fn a_learning_rate_that_diverges_stops_the_run_and_stores_nothing() {
    let field = Field::new(4);
    let checkpoint = field.folder.path().join("work").join("checkpoint");
    fs::create_dir(field.folder.path().join("work")).unwrap();
    for rate in [1e3, 1e30] {
        let options = options("lp-ft")
            .with_optimiser(OptimiserOptions::sgd().with_learning_rate(rate))
            .with_clip(None)
            .with_epochs(8);
        let mut told = false;
        let outcome = field.adapt_until(&options, &checkpoint, false, |event| {
            told |= matches!(event, Event::Collapse { .. });
            false
        });
        let error = outcome.unwrap_err();
        assert!(matches!(error, AdaptError::Diverged { .. } | AdaptError::Collapsed { .. }), "{error}");
        if rate == 1e30 {
            assert!(matches!(error, AdaptError::Diverged { step: 2, .. }), "not seen at once: {error}");
        }
        assert!(error.to_string().contains("nothing was stored") && error.to_string().contains("learning rate"));
        assert!(told);
        assert_eq!(fs::read_dir(checkpoint.parent().unwrap()).unwrap().count(), 0);
    }
}

/// Catches: options that would fail late, or do something else than what they say.
#[test]
fn options_that_no_run_can_go_by_are_refused_before_it_starts() {
    let field = Field::new(4);
    let refused = |options: Options| {
        let (outcome, events) = field.adapt(&options);
        assert_eq!(events, []);
        outcome.unwrap_err()
    };
    let exclude = |pattern: &str| TpgmOptions::default().with_exclude(vec![pattern.into()]);

    let error = refused(options("tpgm").with_tpgm(exclude("head.*")));
    assert!(matches!(error, AdaptError::PatternMatchesNothing { pattern, .. } if pattern == "head.*"));
    let error = refused(options("magic"));
    assert!(matches!(&error, AdaptError::Method { name, .. } if name == "magic"));
    assert!(METHODS.iter().all(|entry| error.to_string().contains(entry.name)), "{error}");
    for (name, options) in [
        ("batch", options("full").with_batch(0)),
        ("epochs", options("full").with_epochs(0)),
        ("size", options("full").with_size(Some(0))),
        ("clip", options("full").with_clip(Some(f64::NAN))),
        ("learning rate", options("full").with_optimiser(OptimiserOptions::sgd().with_learning_rate(-1.0))),
    ] {
        assert!(matches!(refused(options), AdaptError::Option { name: found, .. } if found == name));
    }
}

/// Catches: a setting that does nothing because its name is wrong, or more than it can.
#[test]
fn a_setting_that_the_method_does_not_have_is_refused_with_those_that_it_has() {
    let field = Field::new(4);
    let refused = |method: &str, name: &str, value: f64| {
        let settings = [(name.to_owned(), value)].into();
        let (outcome, events) = field.adapt(&options(method).with_settings(settings));
        assert_eq!(events, []);
        outcome.unwrap_err()
    };
    let error = refused("l2-sp", "strenght", 0.1);
    assert!(matches!(&error, AdaptError::UnknownSetting { method: "l2-sp", name, .. } if name == "strenght"));
    assert!(error.to_string().contains("strength (0 or more, by default 0.1)"), "{error}");
    let error = refused("lp-ft", "strength", 0.1);
    assert!(error.to_string().contains("it has none"), "{error}");
    for (method, name, value) in [
        ("l2-sp", "strength", -0.1),
        ("mars-sp", "radius", f64::NAN),
        ("wise-ft", "alpha", 1.1),
        ("spd", "strength", f64::INFINITY),
        ("ftp", "strength", 1.5),
    ] {
        let error = refused(method, name, value);
        assert!(matches!(&error, AdaptError::Setting { method: found, .. } if *found == method), "{error}");
        assert!(error.to_string().contains(&format!("it has {name} (0 ")), "{error}");
    }
}

/// Catches: a gate that lets through what is worse than a probe: a random head that had no chance to learn.
#[test]
fn a_result_worse_than_the_probe_is_refused_with_the_figures() {
    let field = Field::new(4);
    let hopeless = OptimiserOptions::sgd().with_learning_rate(1e-12);
    let outcome = field.adapt(&options("full").with_optimiser(hopeless)).0.unwrap();
    let gate = &outcome.gate;
    assert!(!gate.accepted && gate.after < gate.before, "{gate:?}");
    assert!(gate.reason.contains(&gate.after.to_string()) && gate.reason.contains("linear probe"));
}

/// Catches: training that is cut off from its loss: a stem whose outputs are all 0 lets no gradient through, and would train
/// nothing without a word.
#[test]
fn a_tensor_without_gradient_stops_the_run_with_its_name() {
    let field = Field::new(4);
    let base = dead_stem(field.folder.path());
    let error = Field { base, ..field }.adapt(&options("full")).0.unwrap_err();
    assert!(matches!(&error, AdaptError::NoGradient { name } if name == "_conv_stem.weight"), "{error}");
}

/// The tiny base with a shift far below 0 after its first convolution.
fn dead_stem(folder: &Path) -> Base {
    let [alive, dead, labels, out] =
        ["alive.safetensors", "dead.safetensors", "labels.txt", "dead"].map(|name| folder.join(name));
    tiny::checkpoint(&alive, 4);
    let bytes = fs::read(&alive).unwrap();
    let shift = [(-1e3_f32).to_le_bytes(); 8].concat();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let tensors = tensors.tensors().into_iter().map(|(name, view)| {
        let data = if name == "_bn0.bias" { shift.as_slice() } else { view.data() };
        let view = TensorView::new(view.dtype(), view.shape().to_vec(), data).unwrap();
        (name, view)
    });
    fs::write(&dead, safetensors::serialize(tensors, None).unwrap()).unwrap();
    import(&ImportRequest::new(&dead, &out).of("efficientnet-tiny", &labels)).unwrap();
    Base::open(&out).unwrap()
}

/// Catches: a run that is thrown away because its checkpoint can't be written: its folder is gone, as good as a full disk.
#[test]
fn a_run_is_worth_more_than_its_checkpoint() {
    let field = Field::new(4);
    let (folder, mut failed) = (field.folder.path().join("work"), 0);
    fs::create_dir(&folder).unwrap();
    let whole = field.adapt(&options("lp-ft")).0.unwrap();
    let outcome = field.adapt_until(&options("lp-ft"), &folder.join("checkpoint"), false, |event| {
        match event {
            Event::Step { step: 1, .. } => fs::remove_dir_all(&folder).unwrap(),
            Event::CheckpointFailed { .. } => failed += 1,
            _ => {}
        }
        false
    });
    assert_eq!(outcome.unwrap().delta, whole.delta);
    assert_eq!(failed, 2, "once an epoch");
}

/// Catches: images that vanish, more than a data set can spare, and take all that was trained with them.
#[test]
fn an_error_after_the_first_step_leaves_a_checkpoint() {
    let field = Field::new(4);
    let (images, away) = (field.folder.path().join("images"), field.folder.path().join("away"));
    let checkpoint = field.folder.path().join("checkpoint");
    let options = options("lp-ft").with_epochs(3);
    let whole = field.adapt(&options).0.unwrap();
    let failed = field.adapt_until(&options, &checkpoint, false, |event| {
        if matches!(event, Event::Step { step: 1, .. }) {
            fs::rename(&images, &away).unwrap();
        }
        false
    });
    let Err(AdaptError::Failed { source, checkpoint: left }) = failed else { panic!("{failed:?}") };
    assert!(matches!(*source, AdaptError::Data(_)), "{source}");
    assert_eq!(left, checkpoint);
    fs::rename(&away, &images).unwrap();
    let mut from = 0;
    let resumed = field.adapt_until(&options, &checkpoint, true, |event| {
        if let Event::Resumed { step } = event {
            from = *step;
        }
        false
    });
    assert_eq!(resumed.unwrap().delta, whole.delta);
    assert!(from > 0);
}

/// Catches: validation images that vanish while a step needs them, of which the newest checkpoint is of an epoch ago: they
/// must be read before the step changes anything. As much for those of the radii after training.
#[test]
fn a_validation_draw_that_fails_leaves_the_newest_state() {
    for (method, batch) in [("tpgm", 1), ("tpgm-post-hoc", 16)] {
        let field = Field::new(4);
        let checkpoint = field.folder.path().join("checkpoint");
        let options = options(method).with_batch(batch).with_epochs(1);
        let split = field.dataset.split(&options.fractions).unwrap();
        let moved: Vec<_> = split
            .validation
            .iter()
            .map(|&image| field.dataset.samples[image].image.path().unwrap().to_path_buf())
            .collect();
        let away = |path: &Path| path.with_extension("away");
        let whole = field.adapt(&options).0.unwrap();
        let (mut steps, mut radius_steps) = (0, 0);
        let failed = field.adapt_until(&options, &checkpoint, false, |event| {
            match event {
                Event::Step { step, .. } => steps = *step,
                Event::Progress { phase: Phase::Radii, done, .. } => radius_steps = *done,
                _ => {}
            }
            if matches!(event, Event::Step { step: 1, .. }) && method == "tpgm" || radius_steps == 1 {
                moved.iter().for_each(|path| drop(fs::rename(path, away(path))));
            }
            false
        });
        let Err(AdaptError::Failed { source, checkpoint: left }) = failed else { panic!("{method}: {failed:?}") };
        assert!(matches!(*source, AdaptError::Data(_)) && left == checkpoint, "{method}: {source}");
        assert!(batch > 1 || steps < split.train.len() as u64, "{method}: within the epoch");
        moved.iter().for_each(|path| fs::rename(away(path), path).unwrap());
        let (mut from, mut first) = (0, 0);
        let resumed = field.adapt_until(&options, &checkpoint, true, |event| {
            match event {
                Event::Resumed { step } => from = *step,
                Event::Progress { phase: Phase::Radii, done, .. } if first == 0 => first = *done,
                _ => {}
            }
            false
        });
        assert_eq!(resumed.unwrap().delta, whole.delta, "{method}");
        assert_eq!(from, steps, "{method}");
        assert!(radius_steps == 0 || first == radius_steps + 1, "{method}: {first} after {radius_steps}");
    }
}

/// Catches: one image that vanishes and ends the run, in whatever phase it is first missed, or goes unmentioned.
#[test]
fn an_image_that_vanishes_is_skipped_and_named() {
    for method in ["tpgm-relative", "tpgm", "wise-ft"] {
        for freeze in [None, Some(Freeze::new("stem", 2))] {
            let field = Field::new(4);
            let options = options(method).with_freeze(freeze);
            let split = field.dataset.split(&options.fractions).unwrap();
            for slice in [&split.train, &split.validation, &split.gate] {
                let victim = field.dataset.samples[slice[0]].image.path().unwrap();
                let bytes = fs::read(victim).unwrap();
                fs::remove_file(victim).unwrap();
                let (outcome, events) = field.adapt(&options);
                fs::write(victim, bytes).unwrap();
                outcome.unwrap();
                let named = |event: &&Event| matches!(event, Event::Unreadable { path, .. } if path == victim);
                assert_eq!(events.iter().filter(named).count(), 1, "{method}: {}", victim.display());
            }
        }
    }
}

/// Catches: a batch of which no image is left that counts as a step, so that its checkpoint is refused as forged.
#[test]
fn a_batch_without_images_is_no_step() {
    let field = Field::new(4);
    let checkpoint = field.folder.path().join("checkpoint");
    let options = options("tpgm").with_batch(1).with_optimiser(OptimiserOptions::sgd().with_learning_rate(1e-4));
    let split = field.dataset.split(&options.fractions).unwrap();
    fs::remove_file(field.dataset.samples[split.train[0]].image.path().unwrap()).unwrap();
    let whole = field.adapt(&options).0.unwrap();
    let per_epoch = split.train.len() as u64;
    let stop = |event: &Event| matches!(event, Event::Step { step, .. } if *step > per_epoch);
    let stopped = field.adapt_until(&options, &checkpoint, false, stop);
    assert!(matches!(stopped, Err(AdaptError::Interrupted { checkpoint: Some(_) })), "{stopped:?}");
    let resumed = field.adapt_until(&options, &checkpoint, true, |_| false).unwrap();
    assert_eq!(resumed.delta, whole.delta);
}

/// Catches: an epoch too many or too few before training ends early, and options that do nothing.
#[test]
fn training_ends_once_the_accuracy_stops_rising() {
    let field = Field::new(4);
    let hopeless = OptimiserOptions::sgd().with_learning_rate(1e-12);
    let options = options("lp-ft").with_optimiser(hopeless).with_epochs(6).with_early_stop(Some(2));
    let (outcome, events) = field.adapt(&options);
    outcome.unwrap();
    let epochs = events.iter().filter(|event| matches!(event, Event::Epoch { .. })).count();
    assert_eq!(epochs, 3, "one that is the best, and two that are no better");
    let ends = events.iter().filter(|event| matches!(event, Event::EarlyStop { epoch: 3, stale: 2, .. })).count();
    assert_eq!(ends, 1);

    let balanced = options.with_class_weights(ClassWeights::Balanced).with_early_stop(None).with_epochs(1);
    let few = field.dataset.classes.len() as u32 - 1;
    let mut field = field;
    let mut kept = 0;
    field.dataset.samples.retain(|sample| {
        sample.target != Target::Class(few) || {
            kept += 1;
            kept <= 8
        }
    });
    let probe = |options: &Options| field.adapt(options).0.unwrap().delta;
    assert_ne!(probe(&balanced), probe(&balanced.clone().with_class_weights(ClassWeights::Uniform)));
}
