//! Random number generators: one ChaCha stream for each purpose, seed, epoch and sample.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// Purpose of random numbers: two purposes never share a stream.
#[derive(Clone, Copy)]
pub(crate) enum Stream {
    /// Order of the samples in an epoch.
    Order,
    /// Augmentation of a sample.
    Augmentation,
    /// Random part of a corruption, given its seed.
    Corruption,
    /// Seed of a sample's corruption.
    CorruptionSeed,
}

/// Generator of one sample in one epoch: independent of threads and of other samples.
pub(crate) fn rng(stream: Stream, seed: u64, epoch: u64, sample: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    for (slot, word) in key.chunks_exact_mut(8).zip([seed, epoch, sample, stream as u64]) {
        slot.copy_from_slice(&word.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

/// Shuffles sample indices: a permutation that follows from seed and epoch.
pub fn shuffled(order: &[usize], seed: u64, epoch: u64) -> Vec<usize> {
    let mut shuffled = order.to_vec();
    shuffled.shuffle(&mut rng(Stream::Order, seed, epoch, 0));
    shuffled
}
