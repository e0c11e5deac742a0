//! Run plan: the decisions that follow from a request alone, and the memory that they take.

pub(crate) mod memory;
pub(crate) mod memory_plan;
pub(crate) mod retained_images;
pub(crate) mod run;
pub(crate) mod run_plan;
pub(crate) mod stage;
pub(crate) mod validation;
