//! Tests of resumed runs: the same bits as an uninterrupted run, and checkpoints of other runs that are refused.

mod common;

use common::{Field, options};
use fieldfit_adapt::{
    AdaptError, BranchAverage, Branches, ClassWeights, Event, Freeze, METHODS, OptimiserOptions, Options, Phase,
    remove_checkpoint,
};
use std::fs;

fn variants() -> Vec<Options> {
    let set = |method, name: &str, value| options(method).with_settings([(name.to_owned(), value)].into());
    vec![
        options("full").with_optimiser(OptimiserOptions::sgd()),
        options("lp-ft"),
        options("tpgm").with_class_weights(ClassWeights::Balanced).with_epochs(6).with_early_stop(Some(1)),
        options("lp-ft").with_epochs(3).with_freeze(Some(Freeze::new("block0", 2))),
        options("tpgm").with_freeze(Some(Freeze::new("stem", 1))),
        options("bitfit"),
        options("lp-ft").with_branches(Branches::new(3)),
        options("spd").with_epochs(3).with_branches(Branches::new(2).with_common(1).with_average(BranchAverage::Stock)),
        options("tpgm-relative").with_branches(Branches::new(2)).with_freeze(Some(Freeze::new("stem", 2))),
        options("l2-sp"),
        options("mars-sp"),
        options("wise-ft"),
        options("lines"),
        options("maps"),
        options("digrap"),
        options("lwf"),
        set("tpgm-relative", "training-retention", 1.0).with_freeze(Some(Freeze::new("stem", 2))),
        options("spd").with_optimiser(OptimiserOptions::sgd()),
        options("ftp").with_optimiser(OptimiserOptions::sgd()),
        options("ftp"),
        set("tpgm", "every", 3.0),
        set("lwf", "clean", 1.0),
        set("tpgm-relative", "steps", 6.0),
        set("tpgm-relative", "training-share", 0.3),
        set("tpgm-post-hoc", "steps", 6.0),
    ]
}

/// Catches: trainingState that a checkpoint forgets: the optimiser's, the radii's, the place in the epoch, in the validation images or in
/// the random numbers. Stopped early, in the middle of an epoch, at its end, and after the last step.
#[test]
fn a_resumed_run_ends_in_the_same_bits() {
    let field = Field::new(1);
    let checkpoint = field.folder.path().join("checkpoint");
    let stepping = METHODS.iter().filter(|entry| entry.name != "linear-probe");
    assert!(stepping.into_iter().all(|entry| variants().iter().any(|options| options.method == entry.name)));
    for options in variants() {
        let (whole, events) = field.adapt(&options);
        let whole = whole.unwrap();
        let steps = events.iter().filter(|event| matches!(event, Event::Step { .. })).count() as u64;
        assert!(steps >= 6, "{steps} steps are too few to stop between");
        for stop in [1, steps / 2 - 1, steps / 2, steps] {
            let stopped = field.adapt_until(
                &options,
                &checkpoint,
                false,
                |event| matches!(event, Event::Step { step, .. } if *step == stop),
            );
            let resumed = match stopped {
                Err(AdaptError::Interrupted { checkpoint: Some(path) }) => {
                    assert_eq!(path, checkpoint);
                    field.adapt_until(&options, &checkpoint, true, |_| false).unwrap()
                }
                // A method with nothing left to learn after its last step has ended.
                Ok(outcome) if stop == steps => outcome,
                other => panic!("{other:?}"),
            };
            assert_eq!(resumed.delta, whole.delta, "{} stopped after step {stop}", options.method);
            assert_eq!(resumed.gate, whole.gate);
        }
    }
}

/// Catches: radius steps after training that a resumed run repeats or leaves out.
#[test]
fn a_run_stopped_while_it_learns_radii_resumes_there() {
    let field = Field::new(1);
    let checkpoint = field.folder.path().join("checkpoint");
    let options = variants().pop().unwrap();
    let whole = field.adapt(&options).0.unwrap();
    let stopped = field.adapt_until(&options, &checkpoint, false, |event| matches!(event, Event::Radii(_)));
    assert!(matches!(stopped, Err(AdaptError::Interrupted { checkpoint: Some(_) })));
    let mut radii = 0;
    let resumed = field.adapt_until(&options, &checkpoint, true, |event| {
        assert!(!matches!(event, Event::Step { .. } | Event::Probe { .. }));
        radii += usize::from(matches!(event, Event::Radii(_)));
        false
    });
    assert_eq!(resumed.unwrap().delta, whole.delta);
    assert_eq!(radii, 5);
}

/// Catches: relativeRadii of the difference that a resumed run tries again or leaves out, so that losses no longer match their shares.
#[test]
fn a_run_stopped_on_its_way_back_resumes_there() {
    let field = Field::new(1);
    let checkpoint = field.folder.path().join("checkpoint");
    let trial = |event: &Event| matches!(event, Event::Progress { phase: Phase::Interpolation, .. });
    let mut whole_losses = Vec::new();
    let (whole, events) = field.adapt(&options("wise-ft"));
    let mut tried = 0;
    let stopped = field.adapt_until(&options("wise-ft"), &checkpoint, false, |event| {
        tried += usize::from(trial(event));
        tried == 4
    });
    assert!(matches!(stopped, Err(AdaptError::Interrupted { checkpoint: Some(_) })));
    let losses = |event: &Event, into: &mut Vec<f64>| {
        if let Event::Interpolation { losses, .. } = event {
            into.extend(losses);
        }
    };
    events.iter().for_each(|event| losses(event, &mut whole_losses));
    let mut resumed_losses = Vec::new();
    let resumed = field.adapt_until(&options("wise-ft"), &checkpoint, true, |event| {
        assert!(!matches!(event, Event::Step { .. } | Event::Probe { .. }));
        tried += usize::from(trial(event));
        losses(event, &mut resumed_losses);
        false
    });
    assert_eq!(resumed.unwrap().delta, whole.unwrap().delta);
    assert_eq!((tried, resumed_losses), (11, whole_losses));
}

/// Catches: a run killed outright: the checkpoint at the end of the last epoch serves as well.
#[test]
fn every_epoch_leaves_a_checkpoint() {
    let field = Field::new(1);
    let checkpoint = field.folder.path().join("checkpoint");
    let mut steps = Vec::new();
    let whole = field.adapt_until(&options("tpgm"), &checkpoint, false, |event| {
        if let Event::Checkpoint { step, .. } = event {
            steps.push(*step);
        }
        false
    });
    assert_eq!(steps.len(), 2);
    let resumed = field.adapt_until(&options("tpgm"), &checkpoint, true, |_| false);
    assert_eq!(resumed.unwrap().delta, whole.unwrap().delta);
}

/// Catches: a checkpoint that is resumed with other options, images or base would end in a mixture of two runs.
#[test]
fn a_checkpoint_of_another_run_is_refused_by_what_differs() {
    let (field, other) = (Field::new(1), Field::new(2));
    let checkpoint = field.folder.path().join("checkpoint");
    let stop = |event: &Event| matches!(event, Event::Step { step: 3, .. });
    field.adapt_until(&options("lp-ft"), &checkpoint, false, stop).unwrap_err();
    let before = fs::read(&checkpoint).unwrap();

    let changed = options("lp-ft").with_seed(9);
    let with_images = Field { dataset: other.dataset.clone(), ..Field::new(1) };
    let other_passes = options("lp-ft").with_micro_batch(Some(3));
    let refusals = [
        ("options", field.adapt_until(&other_passes, &checkpoint, true, |_| false)),
        ("options", field.adapt_until(&changed, &checkpoint, true, |_| false)),
        ("base", other.adapt_until(&options("lp-ft"), &checkpoint, true, |_| false)),
        ("images", with_images.adapt_until(&options("lp-ft"), &checkpoint, true, |_| false)),
    ];
    for (expected, refusal) in refusals {
        match refusal {
            Err(AdaptError::OtherCheckpoint { what, path }) => assert_eq!((what, &path), (expected, &checkpoint)),
            other => panic!("expected other {expected}, found {other:?}"),
        }
    }
    assert_eq!(fs::read(&checkpoint).unwrap(), before);

    let unlike = options("l2-sp").with_settings([("strength".to_owned(), 0.2)].into());
    let like = options("l2-sp").with_settings([("strength".to_owned(), 0.1)].into());
    let of_settings = field.folder.path().join("of-settings");
    field.adapt_until(&options("l2-sp"), &of_settings, false, stop).unwrap_err();
    let refused = field.adapt_until(&unlike, &of_settings, true, |_| false);
    assert!(matches!(refused, Err(AdaptError::OtherCheckpoint { what: "options", .. })));
    field.adapt_until(&like, &of_settings, true, |_| false).unwrap();

    let same_passes = options("lp-ft").with_micro_batch(Some(4)).with_memory_budget(Some(1 << 40));
    field.adapt_until(&same_passes, &checkpoint, true, |_| false).unwrap();
}

/// Catches: a damaged checkpoint that is trained on from, or a missing one that starts a run nobody asked for.
#[test]
fn a_damaged_or_missing_checkpoint_is_refused() {
    let field = Field::new(1);
    let checkpoint = field.folder.path().join("checkpoint");
    let missing = field.adapt_until(&options("lp-ft"), &checkpoint, true, |_| false);
    assert!(matches!(missing, Err(AdaptError::NoCheckpoint { path }) if path == checkpoint));

    let stop = |event: &Event| matches!(event, Event::Step { step: 3, .. });
    field.adapt_until(&options("lp-ft"), &checkpoint, false, stop).unwrap_err();
    let whole = fs::read(&checkpoint).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 4;
    for bytes in [&flipped, &whole[..whole.len() / 2], &[]] {
        fs::write(&checkpoint, bytes).unwrap();
        let refused = field.adapt_until(&options("lp-ft"), &checkpoint, true, |_| false);
        assert!(matches!(refused, Err(AdaptError::DamagedCheckpoint { .. })), "{refused:?}");
    }
}

/// Catches: a damaged checkpoint that costs the whole run though the one before it is there, or that takes the good one's place when the
/// next is written.
#[test]
fn a_damaged_checkpoint_falls_back_to_the_one_before() {
    let field = Field::new(1);
    let checkpoint = field.folder.path().join("checkpoint");
    let before = field.folder.path().join("checkpoint.before");
    let whole = field.adapt_until(&options("tpgm"), &checkpoint, false, |_| false).unwrap();
    let (last, first) = (fs::read(&checkpoint).unwrap(), fs::read(&before).unwrap());
    let damages: [&dyn Fn(); 3] = [
        &|| fs::write(&checkpoint, &last[..last.len() / 2]).unwrap(),
        &|| fs::write(&checkpoint, [last.as_slice(), &[0]].concat()).unwrap(),
        &|| fs::remove_file(&checkpoint).unwrap(),
    ];
    for damage in damages {
        fs::write(&checkpoint, &last).unwrap();
        fs::write(&before, &first).unwrap();
        damage();
        let mut from = 0;
        let resumed = field.adapt_until(&options("tpgm"), &checkpoint, true, |event| {
            if let Event::Resumed { step } = event {
                from = *step;
                assert_eq!(fs::read(&before).unwrap(), first);
                assert!(!checkpoint.exists(), "the damaged one is out of the way");
            }
            false
        });
        assert_eq!(resumed.unwrap().delta, whole.delta);
        assert!(from > 0, "it went on from the end of the first epoch");
        assert_eq!(fs::read(&checkpoint).unwrap(), last);
    }
    fs::write(&checkpoint, b"torn").unwrap();
    fs::write(&before, b"torn").unwrap();
    let refused = field.adapt_until(&options("tpgm"), &checkpoint, true, |_| false);
    assert!(matches!(refused, Err(AdaptError::DamagedCheckpoint { path, .. }) if path == checkpoint));
    remove_checkpoint(&checkpoint).unwrap();
    assert!(!checkpoint.exists() && !before.exists());
}

/// Catches: a run without a place for checkpoints must say that there is none.
#[test]
fn a_stop_during_the_probe_or_without_a_checkpoint_says_so() {
    let field = Field::new(1);
    let checkpoint = field.folder.path().join("checkpoint");
    let stopped = field.adapt_until(&options("lp-ft"), &checkpoint, false, |event| matches!(event, Event::Plan { .. }));
    let error = stopped.unwrap_err();
    assert!(matches!(error, AdaptError::Interrupted { checkpoint: None }));
    assert!(error.to_string().contains("no checkpoint"));
    assert!(!checkpoint.exists());
}
