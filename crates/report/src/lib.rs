//! Reporting: run records, statistics over seeds, and a self-contained HTML page.
//!
//! A [`RunRecord`] holds everything that a reader wants to know about one adaptation: its metrics in distribution and on
//! shifted images, its agreement with the base, its cost and its training curve. A comparison is a list of records.
//! [`Summary`] is the results table of a comparison, [`PairedDifference`] compares two methods, and [`render_page`] renders
//! all of it as one HTML page.
//!
//! This crate runs no network and decodes no image; the caller that ran the adaptation fills in the record.

mod event_file;
#[cfg(test)]
mod fixture;
mod page;
mod record;
mod statistics;
mod summary;

pub use event_file::EventFileWriter;
pub use page::{PageOptions, render_page};
pub use record::{HardestImage, LossRecord, RadiusRecord, RunRecord, Scores, SegmentedFrame};
pub use statistics::{MeanEstimate, Metric, PairedDifference};
pub use summary::{Direction, Summary, SummaryCell, SummaryColumn, SummaryRow};
