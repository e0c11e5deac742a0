//! Policy of a robot: what it receives, how much of it, and what may run.

use fieldfit_store::Keep;

/// Whether a received delta may become active.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activate {
    /// Received deltas stay candidates, judged if there is a judge.
    Never,
    /// The best of those that the robot's own gate accepts becomes active, on trial.
    #[default]
    IfGatePasses,
}

/// Policy of a robot towards deltas of others.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Policy {
    /// Whether a received delta may become active.
    pub activate: Activate,
    /// Whether the mean of the active version and all new candidates is a candidate, too.
    pub merge: bool,
    /// Largest share of robots, 0..1, that a delta must be offered to so that this robot takes it as a canary; a card's share
    /// below counts as it is. At 0, this robot takes nothing.
    pub share: f64,
    /// Classes that a delta must know to be downloaded.
    pub classes: Vec<String>,
    /// Maximum bytes of a delta file.
    pub max_bytes: u64,
    /// Maximum bytes that one sync downloads.
    pub max_total_bytes: u64,
    /// Maximum number of deltas that one sync receives.
    pub max_deltas: u32,
    /// Retention of the store after a sync.
    pub keep: Keep,
}

impl Default for Policy {
    /// The gate decides; no merge; every delta that is offered to this robot; 16 MiB a delta, 64 MiB and 16 deltas a sync; every
    /// version is kept.
    fn default() -> Self {
        Self {
            activate: Activate::default(),
            merge: false,
            share: 1.0,
            classes: Vec::new(),
            max_bytes: 16 << 20,
            max_total_bytes: 64 << 20,
            max_deltas: 16,
            keep: Keep::ALL,
        }
    }
}
