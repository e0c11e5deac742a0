//! Branches: continuations of training from one start, one after the other, whose mean is the result.
//!
//! Much of one run's δ is the noise of its order and its augmentation. Runs that differ in nothing else share the signal and
//! not the noise, so that their mean is shorter and loses none of it. It stays within any ball around θ0 that all of
//! them lie in, for a ball is convex.
//!
//! The branches may share their first epochs. How far a stage's mean is kept from there is either all of it, or Model Stock's share
//! (Jang, Yun and Han, ECCV 2024, arXiv 2403.19522), which the branches' disagreement gives.

use crate::event::{BranchMean, StageMean};
use crate::options::{BranchAverage, Branches, Options, StartPoint};
use fieldfit_nets::Network;
use fieldfit_tensor::{Params, by_tensor};
use serde::{Deserialize, Serialize};

/// Order of a run's steps over its branches: the common ones, then each branch's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BranchOrder {
    /// Steps before the branches part.
    common: u64,
    /// Steps of each branch after that.
    own: u64,
    branches: u64,
    /// Where training starts, which is where branches without a common part do.
    start: StartPoint,
}

impl BranchOrder {
    /// Order of the branches that the options ask for, with that many steps an epoch; one branch where there are no steps.
    pub fn new(options: &Options, steps_per_epoch: u64) -> Self {
        let Branches { count, common, .. } = options.branches;
        let common = common.min(options.epochs);
        let steps = |epochs: u32| steps_per_epoch * u64::from(epochs);
        let (branches, start) = (u64::from(count), options.start);
        Self { common: steps(common), own: steps(options.epochs - common), branches, start }
    }

    /// Number of steps in all.
    pub const fn steps(&self) -> u64 {
        self.common + self.own * self.branches
    }

    /// Number of steps from the start to the end of one branch.
    pub const fn steps_of_one(&self) -> u64 {
        self.common + self.own
    }

    /// Position of a step on the way of its branch, both counted from 0.
    pub const fn position(&self, step: u64) -> u64 {
        match step.checked_sub(self.common) {
            Some(after) if self.own > 0 => self.common + after % self.own,
            _ => step,
        }
    }

    /// What ends where that many steps are done, where there is more than one branch.
    pub const fn end(&self, done: u64) -> Option<BranchEnd> {
        if self.branches == 1 {
            return None;
        }
        match done.checked_sub(self.common) {
            Some(0) if self.common > 0 => Some(BranchEnd::Common),
            Some(own) if own > 0 && own.is_multiple_of(self.own) => Some(BranchEnd::Branch),
            _ => None,
        }
    }

    /// Where the part of the run ends that ended last when that many steps are done; 0 where none has.
    pub const fn last_end(&self, done: u64) -> u64 {
        match done.checked_sub(self.common) {
            Some(own) if self.branches > 1 => self.common + own - own % self.own,
            _ => 0,
        }
    }

    /// Number of branches that are complete after that many steps, where there is more than one.
    pub const fn complete(&self, done: u64) -> u64 {
        match done.checked_sub(self.common) {
            Some(own) if self.branches > 1 => own / self.own,
            _ => 0,
        }
    }

    /// Whether the branches part somewhere else than at the base, and have by then.
    pub const fn has_parted(&self, done: u64) -> bool {
        let at_base = match self.start {
            StartPoint::Base => self.common == 0,
            StartPoint::Active => false,
        };
        self.branches > 1 && !at_base && done >= self.common
    }
}

/// End of a part of a run with branches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BranchEnd {
    /// The steps that the branches share.
    Common,
    /// One branch.
    Branch,
}

/// Branches so far: where they part, and the sum of those that are complete.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct BranchSum {
    /// δ where the branches part; empty where they part at the base.
    pub fork: Params<f32>,
    /// Sum of the complete branches' δ, from the fork on.
    pub sum: Params<f32>,
    /// Lengths of the complete branches in each stage, and in the head behind the last.
    #[serde(deserialize_with = "by_tensor")]
    pub lengths: Vec<Lengths>,
    /// Batches done or passed over when the current branch began.
    pub step: u64,
    /// Optimiser steps taken by then.
    pub taken: u64,
}

/// Lengths of the branches' differences over some tensors.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Lengths {
    /// Sum of the L2 norms.
    pub sum: f64,
    /// Sum of their squares.
    pub squares: f64,
}

impl Lengths {
    fn add(&mut self, square: f64) {
        self.sum += square.sqrt();
        self.squares += square;
    }
}

impl BranchSum {
    /// No branch yet, of a run that starts at this δ.
    pub fn starting_at(delta: &Params<f32>, order: BranchOrder) -> Self {
        let mut branches = Self::default();
        if order.has_parted(0) {
            branches.part(delta);
        }
        branches
    }

    /// Lets the branches part at this δ.
    pub fn part(&mut self, delta: &Params<f32>) {
        self.fork = delta.clone();
    }

    /// Adds a complete branch's δ, and takes δ back to where the branches part.
    pub fn add(&mut self, delta: &mut Params<f32>, network: &Network) {
        if self.lengths.is_empty() {
            self.lengths = vec![Lengths::default(); network.graph.sections.len() + 1];
            self.sum = Params::zeros_where(network, |id| delta.contains(id));
        }
        let mut squares = vec![0.0; self.lengths.len()];
        let stages = network.section_of_each_tensor();
        let tensors = delta.buffers_mut().iter_mut().zip(self.sum.buffers_mut()).zip(stages);
        for (index, ((delta, sum), stage)) in tensors.enumerate() {
            let fork = self.fork.buffers().get(index).map_or(&[][..], Vec::as_slice);
            squares[stage] += take_back(delta, fork, sum);
        }
        self.lengths.iter_mut().zip(squares).for_each(|(lengths, square)| lengths.add(square));
    }

    /// Adds the mean of `count` complete branches to δ, which is where they part: of each stage all of it, or the share that
    /// `average` gives. A new head keeps all of it.
    pub fn average_into(
        &self,
        delta: &mut Params<f32>,
        network: &Network,
        (count, average): (u32, BranchAverage),
    ) -> BranchMean {
        let stages = network.section_of_each_tensor();
        let sums = squares_by(&stages, self.lengths.len(), &self.sum);
        let agreements = sums.iter().zip(&self.lengths).map(|(&of_sum, &lengths)| Agreement { of_sum, lengths, count });
        let agreements: Vec<_> = agreements.collect();
        let shares: Vec<f64> = match average {
            BranchAverage::Mean => vec![1.0; agreements.len()],
            BranchAverage::Stock => {
                let head = agreements.len() - 1;
                agreements
                    .iter()
                    .enumerate()
                    .map(|(stage, one)| if stage == head { 1.0 } else { one.share() })
                    .collect()
            }
        };
        for ((delta, sum), &stage) in delta.buffers_mut().iter_mut().zip(self.sum.buffers()).zip(&stages) {
            let factor = shares[stage] / f64::from(count);
            delta.iter_mut().zip(sum).for_each(|(delta, sum)| *delta += (factor * f64::from(*sum)) as f32);
        }
        summary(network, &agreements, &shares)
    }
}

/// Adds how far a tensor is from the fork to the sum, and takes it back there. Returns the square of its distance.
fn take_back(delta: &mut [f32], fork: &[f32], sum: &mut [f32]) -> f64 {
    let starts = fork.iter().copied().chain(std::iter::repeat(0.0));
    let mut square = 0.0;
    for ((delta, sum), start) in delta.iter_mut().zip(sum).zip(starts) {
        let moved = *delta - start;
        square += f64::from(moved) * f64::from(moved);
        *sum += moved;
        *delta = start;
    }
    square
}

/// Squared L2 norms over the tensors of each of `count` stages.
fn squares_by(stages: &[usize], count: usize, params: &Params<f32>) -> Vec<f64> {
    let mut squares = vec![0.0; count];
    for (&stage, values) in stages.iter().zip(params.buffers()) {
        squares[stage] += values.iter().map(|value| f64::from(*value) * f64::from(*value)).sum::<f64>();
    }
    squares
}

/// Agreement of the branches over some tensors.
#[derive(Debug, Clone, Copy)]
struct Agreement {
    /// Squared L2 norm of the sum of the branches.
    of_sum: f64,
    lengths: Lengths,
    /// Number of branches.
    count: u32,
}

impl Agreement {
    /// Mean cosine of two branches, by their inner products over the products of their lengths; 0 where none has moved.
    fn cosine(&self) -> f64 {
        let products = self.lengths.sum * self.lengths.sum - self.lengths.squares;
        if products <= 0.0 { 0.0 } else { (self.of_sum - self.lengths.squares) / products }
    }

    /// Model Stock's share of the mean, K·c/(1 + (K − 1)·c) for the cosine c of K branches, within 0..1.
    fn share(&self) -> f64 {
        let (cosine, count) = (self.cosine().max(0.0), f64::from(self.count));
        (count * cosine / (1.0 + (count - 1.0) * cosine)).min(1.0)
    }
}

/// What the branches' mean is, beside a single branch.
fn summary(network: &Network, agreements: &[Agreement], shares: &[f64]) -> BranchMean {
    let count = agreements[0].count;
    let of_sum: f64 = agreements.iter().map(|one| one.of_sum).sum();
    let squares: f64 = agreements.iter().map(|one| one.lengths.squares).sum();
    let products: f64 = f64::from(count - 1) * squares;
    let stages = network.graph.sections.iter().zip(agreements.iter().zip(shares));
    BranchMean {
        branches: count,
        cosine: if products > 0.0 { (of_sum - squares) / products } else { 0.0 },
        single: (squares / f64::from(count)).sqrt(),
        mean: of_sum.sqrt() / f64::from(count),
        stages: stages
            .map(|(section, (one, &share))| StageMean { stage: section.name.clone(), cosine: one.cosine(), share })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fieldfit_nets::by_name;

    fn order(epochs: u32, branches: Branches, steps_per_epoch: u64) -> BranchOrder {
        BranchOrder::new(&Options::default().with_epochs(epochs).with_branches(branches), steps_per_epoch)
    }

    /// Catches: a branch that starts in the middle of the schedule or never sees its end, common epochs that are trained once for each
    /// branch, an end that is missed.
    #[test]
    fn every_branch_walks_the_whole_schedule() {
        let order = order(3, Branches::new(2).with_common(1), 4);
        assert_eq!((order.steps(), order.steps_of_one()), (20, 12));
        let positions: Vec<_> = (0..20).map(|step| order.position(step)).collect();
        assert_eq!(positions, (0..12).chain(4..12).collect::<Vec<_>>());
        let ends: Vec<_> = (0..=20).filter_map(|done| Some((done, order.end(done)?))).collect();
        assert_eq!(ends, [(4, BranchEnd::Common), (12, BranchEnd::Branch), (20, BranchEnd::Branch)]);
        assert_eq!([0, 3, 4, 11, 12, 19, 20].map(|done| order.last_end(done)), [0, 0, 4, 4, 12, 12, 20]);
        assert_eq!([0, 4, 11, 12, 20].map(|done| order.complete(done)), [0, 0, 0, 1, 2]);
    }

    /// Catches: a run without branches that ends one, and whose δ is then taken from itself.
    #[test]
    fn one_branch_is_a_run_as_ever() {
        let order = order(3, Branches::default(), 4);
        assert_eq!((order.steps(), order.steps_of_one()), (12, 12));
        assert!((0..12).all(|step| order.position(step) == step));
        assert!((0..=12).all(|done| order.end(done).is_none()));
    }

    /// δ of a network's first tensor and head, all else at rest.
    fn delta(network: &Network, first: &[f32], head: f32) -> Params<f32> {
        let id = network.tensors().find(|(id, spec)| spec.len() >= first.len() && *id != network.head.bias);
        let (id, _) = id.expect("a tensor that is large enough");
        let mut delta = Params::zeros_where(network, |other| other == id || other == network.head.bias);
        delta.buffers_mut()[id.index()][..first.len()].copy_from_slice(first);
        delta.buffers_mut()[network.head.bias.index()].fill(head);
        delta
    }

    fn averaged(deltas: &[Params<f32>], average: BranchAverage) -> (Params<f32>, BranchMean) {
        let network = by_name("efficientnet-tiny").expect("a built-in network");
        let mut branches = BranchSum::default();
        let mut rest = deltas[0].clone();
        for delta in deltas {
            rest = delta.clone();
            branches.add(&mut rest, &network);
        }
        let mean = branches.average_into(&mut rest, &network, (deltas.len() as u32, average));
        (rest, mean)
    }

    /// Catches: a mean of all but the last branch, a branch that starts where another ended, a share of a stage of which nothing is to
    /// be left out.
    #[test]
    fn the_plain_mean_is_the_mean() {
        let network = by_name("efficientnet-tiny").expect("a built-in network");
        let deltas = [[3.0, 0.0], [0.0, 6.0], [-3.0, 3.0]].map(|first| delta(&network, &first, first[0]));
        let (mean, summary) = averaged(&deltas, BranchAverage::Mean);
        assert_eq!(mean, delta(&network, &[0.0, 3.0], 0.0));
        assert!(summary.stages.iter().all(|stage| stage.share == 1.0));
        assert!(summary.mean < summary.single);
    }

    /// Catches: shares that are not Model Stock's, as reference values have them (two branches of a vector of 12 in f64), and a
    /// head that is drawn to its start.
    #[test]
    fn stock_keeps_what_branches_agree_on() {
        let network = by_name("efficientnet-tiny").expect("a built-in network");
        for Case { first, second, cosine, share, merged } in CASES {
            let deltas = [first, second].map(|values| delta(&network, &values, 2.0));
            let (mean, summary) = averaged(&deltas, BranchAverage::Stock);
            let stage = summary.stages.iter().find(|stage| stage.cosine != 0.0).expect("a stage that moved");
            assert!((stage.cosine - cosine).abs() < 1e-6, "{stage:?}");
            assert!((stage.share - share).abs() < 1e-6, "{stage:?}");
            let expected = delta(&network, &merged, 2.0);
            let pairs = mean.buffers().iter().flatten().zip(expected.buffers().iter().flatten());
            pairs.for_each(|(found, expected)| assert!((found - expected).abs() < 1e-6, "{found}, not {expected}"));
        }
    }

    /// Catches: a common beginning that is summed with each branch, or lost.
    #[test]
    fn what_branches_share_is_kept_once() {
        let network = by_name("efficientnet-tiny").expect("a built-in network");
        let mut branches = BranchSum::default();
        branches.part(&delta(&network, &[1.0, 1.0], 1.0));
        for first in [[3.0, 1.0], [1.0, 5.0]] {
            let mut branch = delta(&network, &first, 1.0);
            branches.add(&mut branch, &network);
            assert_eq!(branch, delta(&network, &[1.0, 1.0], 1.0));
        }
        let mut rest = delta(&network, &[1.0, 1.0], 1.0);
        branches.average_into(&mut rest, &network, (2, BranchAverage::Mean));
        assert_eq!(rest, delta(&network, &[2.0, 3.0], 1.0));
    }

    /// Two branches, and what Model Stock makes of them.
    struct Case {
        first: [f32; 12],
        second: [f32; 12],
        cosine: f64,
        share: f64,
        merged: [f32; 12],
    }

    const CASES: [Case; 3] = [
        Case {
            first: [
                -1.0226258,
                0.23489884,
                1.6962241,
                -0.14762631,
                1.2746989,
                0.28843173,
                -1.1198235,
                -0.2564096,
                -0.98183477,
                0.7679354,
                -1.1530954,
                1.3225727,
            ],
            second: [
                0.57818794, -2.02231, 0.7843414, 1.5530163, -0.7905237, 0.9852522, -1.7983817, 0.25215662, -1.6613894,
                0.482391, -1.7879628, -2.6328702,
            ],
            cosine: 0.106878965398,
            share: 0.193117709774,
            merged: [
                -0.042914413,
                -0.17259039,
                0.23952056,
                0.13570285,
                0.046751402,
                0.12298547,
                -0.28177854,
                -0.00041066128,
                -0.2552267,
                0.12073008,
                -0.2839852,
                -0.12652083,
            ],
        },
        Case {
            first: [
                1.8127575,
                3.0933037,
                -1.2506068,
                2.1529832,
                0.111501664,
                -0.3250007,
                1.8111411,
                1.0486355,
                -0.2943881,
                1.7996235,
                1.4607877,
                0.18097658,
            ],
            second: [
                -1.2025033,
                -0.42844546,
                0.82830644,
                -0.51163673,
                0.2038391,
                -1.2358243,
                0.124005616,
                -0.45749244,
                1.0126101,
                -0.736964,
                0.050573446,
                -0.9003723,
            ],
            cosine: -0.513181336485,
            share: 0.0,
            merged: [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        },
        Case {
            first: [
                2.3846385, -2.476011, 2.1991985, -0.9097004, 1.3665092, 2.4070704, -3.0056617, -1.2638662, -1.9379218,
                0.82199395, 2.2348166, -0.9197712,
            ],
            second: [
                3.620271, -3.0618346, -2.530408, -2.732107, 2.0784702, 1.1288931, -2.2259922, 1.5964926, -2.2882173,
                2.0704727, 1.2461805, -2.0759616,
            ],
            cosine: 0.62586976978,
            share: 0.769889177366,
            merged: [
                2.3115573,
                -2.1317637,
                -0.12749723,
                -1.401894,
                1.3261262,
                1.36115,
                -2.013897,
                0.12804276,
                -1.6268294,
                1.1134393,
                1.339991,
                -1.1531911,
            ],
        },
    ];
}
