//! Records of adaptations, their statistics, and a page that shows them.
//!
//! A [`Run`] is all that one adaptation leaves for a reader: how good it is on images of its own source and on shifted
//! ones, what it has not forgotten, what it cost, and how it went. A comparison is a list of runs. [`Summary`] is its
//! table, [`Difference`] what one method has over another, and [`page`] one HTML page
//! that shows it all.
//!
//! What this crate is not: it computes no network and reads no image; whoever ran the adaptation fills in the record.

mod page;
mod record;
#[cfg(test)]
mod sample;
mod statistics;
mod summary;

pub use page::{PageOptions, page};
pub use record::{Loss, Radius, Run, Scores, Worst};
pub use statistics::{Difference, Estimate, Measure};
pub use summary::{Better, Cell, Column, Row, Summary};
