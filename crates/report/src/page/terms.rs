//! Terms of a task: what the page calls the figure that methods are compared by, and what it counts.

use fieldfit_tensor::Task;

/// Terms of the runs' task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Terms {
    /// Name of [`Scores::quality`](crate::Scores::quality), which a heading capitalises.
    pub quality: &'static str,
    /// What the answers are counted in.
    pub counted: &'static str,
}

impl Terms {
    /// Returns the terms of a task.
    pub const fn of(task: Task) -> Self {
        match task {
            Task::Classification => Self { quality: "accuracy", counted: "images" },
            Task::Segmentation => Self { quality: "mean IoU", counted: "pixels" },
            Task::Regression => Self { quality: "1 / (1 + mean error)", counted: "images" },
            Task::MultiLabel => Self { quality: "mean average precision", counted: "images" },
        }
    }

    /// Returns the name of the quality as a sentence begins with it.
    pub fn heading(self) -> String {
        let mut letters = self.quality.chars();
        letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
    }
}
