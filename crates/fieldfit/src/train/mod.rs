//! Training: options and methods of an adaptation, the run itself, its control and its events.

pub mod method;

pub use crate::adaptation::{Adaptation, Adapted};
pub use crate::class_addition::ClassAddition;
pub use crate::comparison::{BaseSteadiness, Comparison, Cost, Recorder};
pub use fieldfit_adapt::{
    AdaptError, BranchAverage, BranchMean, Branches, ClassWeights, Coding, Control, Event, Freeze, Gate, GateFigures,
    HeadMode, MEAN_ERROR_RESOLUTION, METHODS, MemoryPlan, MethodEntry, OptimiserOptions, Options, Pace, Phase,
    RadiiSummary, Reference, ScheduleOptions, Setting as MethodSetting, Sharing, StageMean, StartPoint, TeachError,
    TensorShare, TpgmOptions, open_images, peak_memory, plan_memory,
};
pub use fieldfit_exec::Passes;
pub use fieldfit_tensor::Norm;
