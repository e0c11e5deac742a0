//! Ring of frames before a trigger: bounded in time and bytes.

use crate::label::PredictedClass;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Number of a frame in the buffer of one collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrameId(pub(crate) u64);

/// Frames that a label is for. Times are the camera's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Span {
    /// One frame.
    Frame(FrameId),
    /// The frames of this time up to the newest.
    Last(Duration),
    /// The frames from the first time to the second, both included.
    Between(Duration, Duration),
}

/// An encoded frame in memory. Clones share its bytes.
#[derive(Debug, Clone)]
pub(crate) struct BufferedFrame {
    pub id: FrameId,
    pub at: Duration,
    pub bytes: Arc<[u8]>,
    pub prediction: Option<PredictedClass>,
    pub features: Option<Arc<[f32]>>,
}

/// Buffer of the newest frames, at most so long and so large.
#[derive(Debug)]
pub(crate) struct Ring {
    frames: VecDeque<BufferedFrame>,
    duration: Duration,
    max_bytes: usize,
    bytes: usize,
    next: u64,
}

impl Ring {
    pub fn new(duration: Duration, max_bytes: usize) -> Self {
        Self { frames: VecDeque::new(), duration, max_bytes, bytes: 0, next: 0 }
    }

    /// Adds the newest frame, and drops those that are too old or too many. Where the camera's clock jumped by more than the
    /// buffer's duration, in either direction, no earlier frame is left: how old they are is unknown.
    pub fn push(
        &mut self,
        at: Duration,
        bytes: Arc<[u8]>,
        prediction: Option<PredictedClass>,
        features: Option<Arc<[f32]>>,
    ) -> FrameId {
        let id = FrameId(self.next);
        self.next += 1;
        let frame = BufferedFrame { id, at, bytes, prediction, features };
        self.bytes += frame.footprint();
        self.frames.push_back(frame);
        let duration = self.duration;
        self.retain(|frame| frame.at.abs_diff(at) <= duration);
        // The newest frame stays, however large.
        while self.bytes > self.max_bytes && self.frames.len() > 1 {
            self.pop();
        }
        id
    }

    /// Returns the frames of a span, oldest first.
    pub fn select(&self, span: Span) -> Vec<BufferedFrame> {
        let newest = self.frames.back().map(|frame| frame.at).unwrap_or_default();
        let is_selected = |frame: &&BufferedFrame| match span {
            Span::Frame(id) => frame.id == id,
            Span::Last(duration) => frame.at <= newest && newest - frame.at <= duration,
            Span::Between(from, to) => (from..=to).contains(&frame.at),
        };
        self.frames.iter().filter(is_selected).cloned().collect()
    }

    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Bytes of the buffered frames.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn clear(&mut self) {
        self.frames.clear();
        self.bytes = 0;
    }

    fn pop(&mut self) {
        if let Some(frame) = self.frames.pop_front() {
            self.bytes -= frame.footprint();
        }
    }

    fn retain(&mut self, is_kept: impl Fn(&BufferedFrame) -> bool) {
        self.frames.retain(is_kept);
        self.bytes = self.frames.iter().map(BufferedFrame::footprint).sum();
    }
}

impl BufferedFrame {
    fn footprint(&self) -> usize {
        self.bytes.len() + self.features.as_ref().map_or(0, |features| size_of_val::<[f32]>(features))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(FrameId(id)) => write!(f, "number {id}"),
            Self::Last(duration) => write!(f, "the last {duration:?}"),
            Self::Between(from, to) => write!(f, "the time from {from:?} to {to:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(ring: &mut Ring, millis: u64, bytes: usize) -> FrameId {
        ring.push(Duration::from_millis(millis), vec![0; bytes].into(), None, None)
    }

    fn times(frames: &[BufferedFrame]) -> Vec<u128> {
        frames.iter().map(|frame| frame.at.as_millis()).collect()
    }

    /// Catches: a buffer that grows with time, with the size of frames or with features.
    #[test]
    fn duration_and_bytes_are_bounded() {
        let mut ring = Ring::new(Duration::from_secs(2), 1000);
        for frame in 0..10_000 {
            push(&mut ring, 100 * frame, (frame % 90) as usize);
            assert!(ring.bytes() <= 1000 && ring.len() <= 21, "{} {}", ring.bytes(), ring.len());
        }
        let features: Arc<[f32]> = vec![0.0; 300].into();
        ring.push(Duration::from_secs(1000), vec![0; 5].into(), None, Some(features));
        assert_eq!((ring.len(), ring.bytes()), (1, 1205), "the newest frame stays, however large");
        push(&mut ring, 1_000_100, 5);
        assert_eq!((ring.len(), ring.bytes()), (1, 5));
    }

    /// Catches: spans that are off by one frame, or that select by arrival where the clock went back a little.
    #[test]
    fn spans_select_by_the_cameras_clock() {
        let mut ring = Ring::new(Duration::from_secs(10), 1000);
        let ids: Vec<FrameId> = [1000, 2000, 1500, 3000].map(|at| push(&mut ring, at, 1)).into();
        assert_eq!(times(&ring.select(Span::Frame(ids[2]))), [1500]);
        assert_eq!(times(&ring.select(Span::Last(Duration::from_millis(1500)))), [2000, 1500, 3000]);
        assert_eq!(
            times(&ring.select(Span::Between(Duration::from_secs(1), Duration::from_millis(1500)))),
            [1000, 1500]
        );
        assert!(ring.select(Span::Between(Duration::from_secs(2), Duration::from_secs(1))).is_empty());
    }

    /// Catches: frames of another time that a label is given to after the camera's clock jumped.
    #[test]
    fn a_clock_that_jumps_empties_the_buffer() {
        for jump in [3_600_000, 0] {
            let mut ring = Ring::new(Duration::from_secs(5), 1000);
            push(&mut ring, 100_000, 1);
            push(&mut ring, jump, 1);
            assert_eq!(times(&ring.select(Span::Last(Duration::from_secs(u64::MAX)))), [u128::from(jump)]);
        }
    }
}
