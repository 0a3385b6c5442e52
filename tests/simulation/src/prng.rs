//! All chance of a run: one stream from its seed.

use assay_core::challenge::Stream;
use assay_core::hash::Hash32;

/// A stream of numbers. Parts of the world that must not disturb each other take streams of their own.
pub struct Prng(Stream);

impl Prng {
    pub fn new(seed: u64, purpose: &str) -> Self {
        Self(Stream::new(&[b"assay.simulation.v1", &seed.to_be_bytes(), purpose.as_bytes()]))
    }

    /// Below `bound`; 0 when `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0.below(bound)
    }

    /// From `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// True so many times in a thousand.
    pub fn chance(&mut self, permille: u64) -> bool {
        self.below(1_000) < permille
    }

    /// One of these; the slice is not empty.
    pub fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        let at = self.below(from.len() as u64) as usize;
        from[at].clone()
    }

    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for at in (1..list.len()).rev() {
            list.swap(at, self.below(at as u64 + 1) as usize);
        }
    }

    pub fn hash32(&mut self) -> Hash32 {
        let mut bytes = [0; 32];
        for word in bytes.chunks_exact_mut(8) {
            word.copy_from_slice(&self.0.word().to_be_bytes());
        }
        Hash32(bytes)
    }
}
