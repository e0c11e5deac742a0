//! Labels of a recording's frames: which class holds at a time.

/// Classes by the time from which on they hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FrameLabels {
    /// Times in nanoseconds, ascending, with the class from then on; an empty one is none.
    changes: Vec<(u64, String)>,
}

impl FrameLabels {
    /// Labels that hold until the next message. An empty message ends a label.
    pub fn of_messages(mut messages: Vec<(u64, String)>) -> Self {
        // Stable: of messages of one time, the last holds.
        messages.sort_by_key(|(time, _)| *time);
        messages.iter_mut().for_each(|(_, class)| *class = class.trim().to_owned());
        Self { changes: messages }
    }

    /// Labels of ranges after the start of the recording, which do not overlap and are in order.
    pub fn of_ranges(start: u64, ranges: Vec<TimeRange>) -> Self {
        let mut changes = Vec::with_capacity(2 * ranges.len());
        for TimeRange { from, to, class } in ranges {
            changes.push((start.saturating_add(from), class));
            changes.push((start.saturating_add(to), String::new()));
        }
        Self { changes }
    }

    /// The class that holds at a time.
    pub fn at(&self, time: u64) -> Option<&str> {
        let after = self.changes.partition_point(|(change, _)| *change <= time);
        let (_, class) = self.changes.get(after.checked_sub(1)?)?;
        Some(class.as_str()).filter(|class| !class.is_empty())
    }
}

/// Class of a stretch of a recording, in nanoseconds after its start; the end does not belong to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TimeRange {
    pub from: u64,
    pub to: u64,
    pub class: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(labels: &[(u64, &str)]) -> Vec<(u64, String)> {
        labels.iter().map(|(time, class)| (*time, (*class).to_owned())).collect()
    }

    /// Catches: an image that gets the label after it, labels in the order of the file instead of time, a label that an empty one
    /// does not end.
    #[test]
    fn messages_hold_until_the_next() {
        let labels =
            FrameLabels::of_messages(texts(&[(30, ""), (10, "mud"), (20, "grass"), (20, " sand\n"), (40, "mud")]));
        let at = [9, 10, 19, 20, 29, 30, 39, 40, u64::MAX].map(|time| labels.at(time));
        let [mud, sand] = [Some("mud"), Some("sand")];
        assert_eq!(at, [None, mud, mud, sand, sand, None, None, mud, mud]);
        assert_eq!(FrameLabels::of_messages(Vec::new()).at(5), None);
    }

    /// Catches: ranges that count from 1970, an end that belongs to its range, a range that ends the one that touches it.
    #[test]
    fn ranges_count_from_the_start() {
        let range = |from, to, class: &str| TimeRange { from, to, class: class.into() };
        let labels =
            FrameLabels::of_ranges(100, vec![range(5, 10, "mud"), range(10, 12, "grass"), range(20, 30, "mud")]);
        let at = [5, 104, 105, 109, 110, 111, 112, 119, 120, 130].map(|time| labels.at(time));
        let [mud, grass] = [Some("mud"), Some("grass")];
        assert_eq!(at, [None, None, mud, mud, grass, grass, None, None, mud, None]);
    }
}
