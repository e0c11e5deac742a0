//! Background rehash: reads a file at a limited rate and returns its hash, to find changes that file times don't show.

use sha2::{Digest, Sha256};
use std::{
    io::{self, Read},
    num::NonZeroU64,
    thread,
    time::{Duration, Instant},
};

/// The most bytes that are read at once.
const LARGEST_CHUNK: u64 = 1 << 20;
/// The fewest bytes that are read at once, but for a rate that is lower.
const SMALLEST_CHUNK: u64 = 4 << 10;
/// Maximum sleep of a rehash before it checks whether it is cancelled.
const SLICE: Duration = Duration::from_millis(50);

/// Rehash of a file at a limited rate, for a thread beside the frames.
///
/// It reads through the system's page cache, and so what a memory mapping of the file shows, dirty pages included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rehash {
    /// The rate, on average, in bytes a second.
    pub bytes_per_second: NonZeroU64,
}

impl Default for Rehash {
    /// 1 MiB a second: twenty seconds for a network of 5 M parameters.
    fn default() -> Self {
        Self { bytes_per_second: NonZeroU64::MIN.saturating_add((1 << 20) - 1) }
    }
}

impl Rehash {
    /// Returns the sha256 of all that `source` has, or `None` once `is_cancelled` returns true, which is asked at least
    /// every 50 ms and between two reads.
    ///
    /// # Errors
    /// What reading `source` says: it is no sign of a changed file.
    pub fn run(&self, source: &mut dyn Read, is_cancelled: &dyn Fn() -> bool) -> io::Result<Option<[u8; 32]>> {
        let (start, mut total, mut hash) = (Instant::now(), 0_u64, Sha256::new());
        let mut chunk = vec![0; self.chunk()];
        loop {
            if !self.wait(total, start, is_cancelled) {
                return Ok(None);
            }
            match source.read(&mut chunk) {
                Ok(0) => return Ok(Some(hash.finalize().into())),
                Ok(read) => {
                    hash.update(&chunk[..read]);
                    total += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// A tenth of a second's bytes.
    fn chunk(&self) -> usize {
        (self.bytes_per_second.get() / 10).clamp(SMALLEST_CHUNK, LARGEST_CHUNK) as usize
    }

    /// Returns the time after the start at which that many bytes may have been read.
    fn due(&self, total: u64) -> Duration {
        Duration::from_secs_f64(total as f64 / self.bytes_per_second.get() as f64)
    }

    /// Sleeps until the next bytes are due; returns false if the rehash was cancelled.
    fn wait(&self, total: u64, start: Instant, is_cancelled: &dyn Fn() -> bool) -> bool {
        loop {
            if is_cancelled() {
                return false;
            }
            let rest = self.due(total).saturating_sub(start.elapsed());
            if rest.is_zero() {
                return true;
            }
            thread::sleep(rest.min(SLICE));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn at(bytes_per_second: u64) -> Rehash {
        Rehash { bytes_per_second: NonZeroU64::new(bytes_per_second).unwrap() }
    }

    /// Catches: a hash that differs from that of the file read whole, at a chunk's edge for example.
    #[test]
    fn the_hash_is_that_of_the_whole_file() {
        for length in [0, 1, 4095, 4096, 4097, 3 << 20] {
            let bytes: Vec<u8> = (0..length).map(|index| (index % 251) as u8).collect();
            let found = at(u64::MAX).run(&mut bytes.as_slice(), &|| false).unwrap();
            assert_eq!(found, Some(Sha256::digest(&bytes).into()), "{length}");
        }
    }

    /// Catches: a rate that is not kept: bytes that are due before their time.
    #[test]
    fn bytes_are_due_at_the_rate() {
        assert_eq!(at(1000).due(500), Duration::from_millis(500));
        assert_eq!(Rehash::default().due(20 << 20), Duration::from_secs(20));
        assert_eq!(at(1).chunk(), 4096);
    }

    /// Catches: a robot that shuts down and waits for hours, or an error that is taken for a changed file.
    #[test]
    fn a_rehash_is_cancelled_and_reports_errors() {
        let asked = Cell::new(0);
        let cancelled = || {
            asked.set(asked.get() + 1);
            asked.get() > 2
        };
        assert_eq!(at(1).run(&mut [7; 100_000].as_slice(), &cancelled).unwrap(), None);
        struct Failing;
        impl Read for Failing {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("EIO"))
            }
        }
        assert!(at(1).run(&mut Failing, &|| false).is_err());
    }
}
