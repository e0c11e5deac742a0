//! Tests of branches: what is refused, what the mean keeps to, and a run that is killed where one ends.

mod common;

use common::{Field, options};
use fieldfit_adapt::{AdaptError, BranchMean, Branches, Coding, Event};
use fieldfit_delta::{Codec, Delta};
use std::fs;

/// Catches: branches that would carry one's radii into the next, or that have no epochs of their own.
#[test]
fn branches_that_would_not_start_anew_are_refused() {
    let field = Field::new(4);
    let refused = |options| {
        let (outcome, events) = field.adapt(&options);
        assert_eq!(events, []);
        outcome.unwrap_err()
    };
    for (name, options) in [
        ("method", options("tpgm").with_branches(Branches::new(2))),
        ("method", options("ftp").with_branches(Branches::new(2))),
        ("branches", options("lp-ft").with_branches(Branches::new(0))),
        ("branches", options("lp-ft").with_branches(Branches::new(17))),
        ("common-epochs", options("lp-ft").with_branches(Branches::new(2).with_common(2))),
        ("common-epochs", options("lp-ft").with_branches(Branches::new(1).with_common(1))),
        ("early-stop", options("lp-ft").with_branches(Branches::new(2)).with_early_stop(Some(1))),
    ] {
        let error = refused(options);
        assert!(matches!(error, AdaptError::Option { name: found, .. } if found == name), "{name}: {error}");
    }
}

/// Catches: branches that are one and the same run, a mean that is longer than they are, and epochs that are not counted.
#[test]
fn branches_differ_and_their_mean_is_shorter() {
    let field = Field::new(5);
    let (outcome, events) = field.adapt(&options("lp-ft").with_branches(Branches::new(3)));
    outcome.unwrap();
    let means: Vec<_> =
        events.iter().filter_map(|event| if let Event::Branches(mean) = event { Some(mean) } else { None }).collect();
    let [BranchMean { branches: 3, cosine, single, mean, stages, .. }] = means[..] else { unreachable!("{means:?}") };
    assert!((0.05..0.999).contains(cosine), "cosine {cosine}");
    assert!(*mean > 0.0 && mean < single, "{mean} of {single}");
    assert_eq!(stages.len(), field.base.network().graph.sections.len());
    let epochs: Vec<_> = events
        .iter()
        .filter_map(|event| if let Event::Epoch { epoch, epochs, .. } = event { Some((*epoch, *epochs)) } else { None })
        .collect();
    assert_eq!(epochs, [1, 2, 3, 4, 5, 6].map(|epoch| (epoch, 6)));
}

/// Catches: a mean that leaves the ball that every branch was held in.
#[test]
fn the_mean_lies_in_the_ball_of_its_branches() {
    let field = Field::new(5);
    let options = options("mars-sp").with_setting("radius", 1e-3).with_coding(Coding::Kernels(Codec::F16));
    let delta = field.adapt(&options.with_branches(Branches::new(2))).0.unwrap().delta;
    let held: Vec<_> = Delta::parse(&delta).unwrap().records().filter_map(|record| record.constraint).collect();
    assert!(held.len() > 5);
    assert!(held.iter().all(|constraint| constraint.distance <= constraint.radius * 1.001), "{held:?}");
}

/// Catches: a branch that is lost or counted twice where the run was killed between its last step and the sum.
#[test]
fn a_run_killed_at_the_end_of_a_branch_goes_on_to_the_same_bits() {
    let field = Field::new(1);
    let folder = field.folder.path();
    let options = options("lp-ft").with_branches(Branches::new(2).with_common(1));
    let whole = field.adapt(&options).0.unwrap();
    let checkpoint = folder.join("checkpoint");
    let mut copies = Vec::new();
    let run = field.adapt_until(&options, &checkpoint, false, |event| {
        if let Event::Checkpoint { path, step } = event {
            let copy = folder.join(format!("step-{step}"));
            fs::copy(path, &copy).unwrap();
            copies.push(copy);
        }
        false
    });
    assert_eq!(run.unwrap().delta, whole.delta);
    assert_eq!(copies.len(), 3, "an end of the common epoch, and one of each branch");
    for copy in copies {
        let resumed = field.adapt_until(&options, &copy, true, |_| false).unwrap();
        assert_eq!(resumed.delta, whole.delta, "resumed at {}", copy.display());
    }
}
