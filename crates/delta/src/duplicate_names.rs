//! Duplicate-name filter: detects names that may have occurred before, without a heap.

use crate::limits::MAX_TENSORS;

/// Eight bits per tensor of the limit: at the limit, one name in sixteen is a false positive on average.
const BITS: usize = 8 * MAX_TENSORS;

/// Bloom filter of names with one hash function: false positives, no false negatives.
pub(crate) struct NameFilter {
    bits: [u8; BITS / 8],
    seed: u64,
}

impl NameFilter {
    /// Creates a filter seeded by the file's hash, so that names cannot be chosen to collide, which would make the
    /// exact comparisons quadratic.
    pub(crate) fn new(file_hash: &[u8; 32]) -> Self {
        let seed = file_hash.first_chunk().map_or(0, |&bytes| u64::from_le_bytes(bytes));
        Self { bits: [0; BITS / 8], seed }
    }

    /// Adds a name; returns whether it may have been added before.
    pub(crate) fn add(&mut self, name: &str) -> bool {
        let bit = (self.hash(name) >> (u64::BITS - BITS.ilog2())) as usize;
        let mask = 1 << (bit % 8);
        let byte = &mut self.bits[bit / 8];
        let found = *byte & mask != 0;
        *byte |= mask;
        found
    }

    /// FNV-1a from the seed, then a multiplication that carries the last bytes into the high bits.
    fn hash(&self, name: &str) -> u64 {
        let fold = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        let hash = name.bytes().fold(self.seed, fold);
        (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a set that forgets a name, which would let a duplicate pass, or one that takes most new names for
    /// old.
    #[test]
    fn an_added_name_is_seen_and_few_others_are() {
        let mut names = NameFilter::new(&[0x5a; 32]);
        let mut name = heapless::String::<16>::new();
        let mut mistaken = 0;
        for index in 0..MAX_TENSORS {
            name.clear();
            core::fmt::write(&mut name, format_args!("blocks.{index}")).unwrap();
            mistaken += usize::from(names.add(&name));
            assert!(names.add(&name), "{name} was forgotten");
        }
        assert!(mistaken < MAX_TENSORS / 8, "{mistaken} names of {MAX_TENSORS} were mistaken for others");
    }
}
