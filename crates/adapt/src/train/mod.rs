//! Training: the loop, what it computes with, where its batches come from, and how it is controlled.

pub(crate) mod activation_cache;
pub(crate) mod base_answers;
pub(crate) mod batch_source;
pub(crate) mod branches;
pub(crate) mod clean_answers;
pub(crate) mod control;
pub(crate) mod divergence_detector;
pub(crate) mod early_stopping;
pub(crate) mod frozen_prefix;
#[cfg(test)]
mod frozen_tests;
pub(crate) mod host_params;
pub(crate) mod images;
pub(crate) mod labelled_features;
pub(crate) mod lr_schedule;
pub(crate) mod optimiser;
pub(crate) mod pixel_features;
pub(crate) mod priority;
pub(crate) mod probe;
pub(crate) mod reporter;
pub(crate) mod session;
pub(crate) mod slice_features;
pub(crate) mod target_loss;
pub(crate) mod target_scaling;
pub(crate) mod trainer;
pub(crate) mod training_state;
