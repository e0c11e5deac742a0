//! Random numbers that depend on nothing but what they are for.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// What random numbers are for: two purposes never share a stream.
#[derive(Clone, Copy)]
pub(crate) enum Stream {
    Order,
    Augmentation,
    /// What a corruption does, given its seed.
    Corruption,
    /// The seed of a sample's corruption.
    CorruptionSeed,
}

/// The generator of one sample in one epoch: independent of threads and of other samples.
pub(crate) fn generator(stream: Stream, seed: u64, epoch: u64, sample: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    for (slot, word) in key.chunks_exact_mut(8).zip([seed, epoch, sample, stream as u64]) {
        slot.copy_from_slice(&word.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

/// The same samples in the random order of that seed and epoch.
pub fn shuffled(order: &[usize], seed: u64, epoch: u64) -> Vec<usize> {
    let mut shuffled = order.to_vec();
    shuffled.shuffle(&mut generator(Stream::Order, seed, epoch, 0));
    shuffled
}
