//! TPGM (Tian et al., CVPR 2023, arXiv 2303.10720): LP-FT inside a ball around the base for every tensor, whose radius
//! is learned on images that never train weights. In the paper's two settings: radii learned between steps (DomainNet),
//! or once training is over (ImageNet).

use crate::checkpoint::check::{decode, within};
use crate::checkpoint::resume_point::ResumePoint;
use crate::error::{AdaptError, CheckpointDamage};
use crate::event::{Event, Phase};
use crate::methods::entry::MethodEntry;
use crate::methods::method::{ConstraintSet, HeadStart, Method, Requirements, Steps, StoreSteps};
use crate::methods::setting::Setting;
use crate::methods::tensor_pattern::held;
use crate::methods::tensor_radii::TensorRadii;
use crate::options::Options;
use crate::train::reporter::Reporter;
use crate::train::session::{HostSession, Session};
use crate::train::target_scaling::TargetScaling;
use fieldfit_data::Batch;
use fieldfit_exec::{ExecError, ParamStore};
use fieldfit_nets::Network;
use fieldfit_tensor::Norm;
use fieldfit_tpgm::RadiusAdam;
use std::ops::ControlFlow;

const EVERY: Setting = Setting {
    name: "every",
    default: Some(1.0),
    range: 1.0..=f64::MAX,
    about: "one radius step every that many optimiser steps, starting with the first",
};

pub(super) const EVERY_STEP: MethodEntry = MethodEntry {
    name: "tpgm",
    about: "as lp-ft, every tensor inside a radius around the base that is learned between steps",
    settings: &[EVERY],
    build: |options, network| {
        let mode = Mode::EveryStep { radius_every: EVERY.of(options) as u64 };
        Ok(Box::new(Tpgm::new(options, network, mode, Norm::Mars)?))
    },
};

const STEPS: Setting = Setting {
    name: "steps",
    default: Some(200.0),
    range: 1.0..=f64::MAX,
    about: "radius steps, each on a batch of validation images",
};

pub(super) const POST_HOC: MethodEntry = MethodEntry {
    name: "tpgm-post-hoc",
    about: "as lp-ft, then every tensor back into a radius around the base that is learned after training",
    settings: &[STEPS],
    build: |options, network| {
        let mode = Mode::PostHoc { steps: STEPS.of(options) as u64 };
        Ok(Box::new(Tpgm::new(options, network, mode, Norm::L2)?))
    },
};

/// Mode: when radii are learned and weights are projected.
enum Mode {
    /// Weights are projected after every optimiser step, and radii learned every that many.
    EveryStep { radius_every: u64 },
    /// Weights train freely, then radii are learned, then weights are projected once.
    PostHoc { steps: u64 },
}

struct Tpgm {
    mode: Mode,
    radii: TensorRadii<f32>,
    /// Radius steps done after training.
    learned: u64,
}

impl Tpgm {
    fn new(options: &Options, network: &Network, mode: Mode, norm: Norm) -> Result<Self, AdaptError> {
        let held = held(options, network)?;
        let adam = RadiusAdam { learning_rate: options.tpgm.learning_rate, ..RadiusAdam::default() };
        let radii = TensorRadii::new(network, options.tpgm.norm.unwrap_or(norm), adam, |id| held[id.index()]);
        Ok(Self { mode, radii, learned: 0 })
    }

    /// One radius step on a batch of validation images, where δ lives.
    fn learn(
        &mut self,
        store: &mut dyn ParamStore<f32>,
        batch: &Batch,
        scaling: &TargetScaling,
        reporter: &mut Reporter<'_>,
    ) -> Result<(), ExecError> {
        let loss = self.radii.radius_step(store, &batch.images, &scaling.objective(&batch.targets))?;
        reporter.report(Event::Radii(self.radii.summary(loss)));
        Ok(())
    }
}

impl Method for Tpgm {
    fn head(&self) -> HeadStart {
        HeadStart::Probe
    }

    fn requirements(&self) -> Requirements {
        Requirements::default().with_validation_batches(true)
    }

    fn steps(&mut self) -> Steps<'_> {
        match self.mode {
            Mode::EveryStep { .. } => Steps::Store(self),
            Mode::PostHoc { .. } => Steps::Plain,
        }
    }

    fn drawn(&self, step: u64) -> u64 {
        match self.mode {
            Mode::EveryStep { radius_every } => step.div_ceil(radius_every),
            Mode::PostHoc { .. } => self.learned,
        }
    }

    fn finish(
        &mut self,
        session: &mut HostSession<'_>,
        reporter: &mut Reporter<'_>,
    ) -> Result<ControlFlow<()>, AdaptError> {
        let Mode::PostHoc { steps } = self.mode else { return Ok(ControlFlow::Continue(())) };
        while self.learned < steps {
            if reporter.is_stopped() {
                return Ok(ControlFlow::Break(()));
            }
            let (batch, scaling) = (session.validation.next_batch()?, session.target_scaling.clone());
            session.in_place(|store| self.learn(store, &batch, &scaling, reporter))?;
            self.learned += 1;
            reporter.report(Event::Progress {
                phase: Phase::Radii,
                done: self.learned as usize,
                total: steps as usize,
            });
        }
        session.in_place(|store| self.radii.project(store))?;
        reporter.report(Event::Shares { tensors: self.radii.shares(session.state.network()) });
        Ok(ControlFlow::Continue(()))
    }

    fn constraint(&self) -> Option<ConstraintSet> {
        Some(ConstraintSet { norm: self.radii.norm(), radii: self.radii.values() })
    }

    fn save(&self) -> Result<Vec<u8>, AdaptError> {
        Ok(postcard::to_stdvec(&(&self.radii, self.learned))?)
    }

    fn restore(&mut self, bytes: &[u8], point: &ResumePoint<'_>) -> Result<(), CheckpointDamage> {
        let (radii, learned): (TensorRadii<f32>, u64) = decode("the radii", bytes)?;
        let most = match self.mode {
            Mode::EveryStep { .. } => 0,
            Mode::PostHoc { steps } => steps,
        };
        within("radius steps after training", point.after_training(most), &learned)?;
        self.learned = learned;
        radii.validate(&self.radii, point.network, self.drawn(point.step))?;
        self.radii = radii;
        Ok(())
    }
}

impl StoreSteps for Tpgm {
    fn after_step(
        &mut self,
        step: u64,
        session: &mut Session<'_>,
        reporter: &mut Reporter<'_>,
    ) -> Result<(), AdaptError> {
        let Mode::EveryStep { radius_every } = self.mode else { return Ok(()) };
        if (step - 1).is_multiple_of(radius_every) {
            let (batch, scaling) = (session.next_validation_batch()?, session.target_scaling().clone());
            session.in_place(|store| {
                self.learn(store, &batch, &scaling, reporter)?;
                self.radii.project_measured(store)
            })?;
        } else {
            session.in_place(|store| self.radii.project(store))?;
        }
        Ok(())
    }
}
