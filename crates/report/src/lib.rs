//! Records of adaptations, their statistics, and a page that shows them.
//!
//! A [`Run`] is all that one adaptation leaves for a reader: how good it is on images of its own source and on shifted
//! ones, what it has not forgotten, what it cost, and how it went. A comparison is a list of runs.
//!
//! What this crate is not: it computes no network and reads no image; whoever ran the adaptation fills in the record.

mod record;
mod statistics;

pub use record::{Loss, Radius, Run, Scores, Worst};
pub use statistics::{Mean, Summary, paired, summaries};
