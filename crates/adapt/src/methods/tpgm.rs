//! TPGM (Tian et al., CVPR 2023, arXiv 2303.10720): LP-FT inside a ball around the base for every tensor, whose radius
//! is learned on images that never train weights. In the paper's two settings: radii learned between steps (DomainNet),
//! or once training is over (ImageNet).

use super::MethodEntry;
use crate::patterns::held;
use crate::{
    AdaptError, Balls, ConstraintSet, Damage, Event, HeadStart, Method, Options, Phase, Reached, Session, Setting,
    Tracker, check,
};
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

/// When radii are learned and when weights are projected.
enum Mode {
    /// Weights are projected after every optimiser step, and radii learned every that many.
    EveryStep { radius_every: u64 },
    /// Weights train freely, then radii are learned, then weights are projected once.
    PostHoc { steps: u64 },
}

struct Tpgm {
    mode: Mode,
    balls: Balls<f32>,
    /// Radius steps done after training.
    learned: u64,
}

impl Tpgm {
    fn new(options: &Options, network: &Network, mode: Mode, norm: Norm) -> Result<Self, AdaptError> {
        let held = held(options, network)?;
        let adam = RadiusAdam { learning_rate: options.tpgm.learning_rate, ..RadiusAdam::default() };
        let balls = Balls::new(network, options.tpgm.norm.unwrap_or(norm), adam, |id| held[id.index()]);
        Ok(Self { mode, balls, learned: 0 })
    }

    fn learn(&mut self, session: &mut Session<'_>, tracker: &mut Tracker<'_>) -> Result<(), AdaptError> {
        let batch = session.validation.next_batch()?;
        let loss = session.in_place(|place| self.balls.radius_step(place, &batch.images, &batch.labels))?;
        tracker.tell(Event::Radii(self.balls.summary(loss)));
        Ok(())
    }
}

impl Method for Tpgm {
    fn head(&self) -> HeadStart {
        HeadStart::Probe
    }

    fn draws_validation(&self) -> bool {
        true
    }

    fn drawn(&self, step: u64) -> u64 {
        match self.mode {
            Mode::EveryStep { radius_every } => step.div_ceil(radius_every),
            Mode::PostHoc { .. } => self.learned,
        }
    }

    fn after_step(
        &mut self,
        step: u64,
        session: &mut Session<'_>,
        tracker: &mut Tracker<'_>,
    ) -> Result<(), AdaptError> {
        let Mode::EveryStep { radius_every } = self.mode else { return Ok(()) };
        if (step - 1).is_multiple_of(radius_every) {
            self.learn(session, tracker)?;
            session.in_place(|place| self.balls.project_measured(place))?;
        } else {
            session.in_place(|place| self.balls.project(place))?;
        }
        Ok(())
    }

    fn finish(&mut self, session: &mut Session<'_>, tracker: &mut Tracker<'_>) -> Result<ControlFlow<()>, AdaptError> {
        let Mode::PostHoc { steps } = self.mode else { return Ok(ControlFlow::Continue(())) };
        while self.learned < steps {
            if tracker.is_stopped() {
                return Ok(ControlFlow::Break(()));
            }
            self.learn(session, tracker)?;
            self.learned += 1;
            tracker.tell(Event::Progress { phase: Phase::Radii, done: self.learned as usize, total: steps as usize });
        }
        session.in_place(|place| self.balls.project(place))?;
        tracker.tell(Event::Shares { tensors: self.balls.shares(session.state.network()) });
        Ok(ControlFlow::Continue(()))
    }

    fn constraint(&self) -> Option<ConstraintSet> {
        Some(ConstraintSet { norm: self.balls.norm(), radii: self.balls.values() })
    }

    fn save(&self) -> Result<Vec<u8>, AdaptError> {
        Ok(postcard::to_stdvec(&(&self.balls, self.learned))?)
    }

    fn restore(&mut self, bytes: &[u8], reached: &Reached<'_>) -> Result<(), Damage> {
        let (balls, learned) = check::decode("the balls", bytes)?;
        let most = match self.mode {
            Mode::EveryStep { .. } => 0,
            Mode::PostHoc { steps } => steps,
        };
        check::within("radius steps after training", reached.after_training(most), &learned)?;
        self.learned = learned;
        check::balls(&balls, &self.balls, reached.network, self.drawn(reached.step))?;
        self.balls = balls;
        Ok(())
    }
}
