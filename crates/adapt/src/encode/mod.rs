//! Delta encoding: chooses codecs, writes the delta file, and records its provenance.

pub(crate) mod activation_ranges;
pub(crate) mod chosen_codecs;
pub(crate) mod codec_search;
pub(crate) mod delta_file;
pub(crate) mod head_outputs;
pub(crate) mod novelty_threshold;
pub(crate) mod provenance;
mod sensitivity;
