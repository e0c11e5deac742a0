//! Reports: run records, the log that holds them, their statistics, and the HTML page that shows them.

pub use crate::run_log::{RunLog, write_page};
pub use crate::tensorboard::TensorBoardLog;
pub use fieldfit_report::*;
