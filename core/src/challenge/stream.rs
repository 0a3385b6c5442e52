//! Numbers from a seed, by keccak256 so that a contract can follow.

use crate::hash::keccak;

/// A stream of uniform `u64`: `keccak(prefix ‖ counter u64 BE)`, four big-endian words of each digest.
pub struct Stream {
    prefix: Vec<u8>,
    counter: u64,
    block: [u8; 32],
    used: usize,
}

impl Stream {
    /// Starts a stream; the parts are concatenated.
    pub fn new(parts: &[&[u8]]) -> Self {
        Self { prefix: parts.concat(), counter: 0, block: [0; 32], used: 4 }
    }

    /// The next word.
    pub fn word(&mut self) -> u64 {
        if self.used >= 4 {
            self.block = keccak([&self.prefix, &self.counter.to_be_bytes()]).0;
            self.counter = self.counter.wrapping_add(1);
            self.used = 0;
        }
        let (words, _) = self.block.as_chunks::<8>();
        let word = words.get(self.used).map_or(0, |bytes| u64::from_be_bytes(*bytes));
        self.used = self.used.saturating_add(1);
        word
    }

    /// A uniform number below `bound`, by rejection, so without modulo bias; 0 when `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 {
            return 0;
        }
        // The largest multiple of `bound` that fits: words at or above it are drawn again.
        let rest = u64::MAX.checked_rem(bound).map_or(0, |rest| rest.wrapping_add(1).checked_rem(bound).unwrap_or(0));
        let limit = u64::MAX.wrapping_sub(rest);
        loop {
            let word = self.word();
            if word <= limit {
                return word.checked_rem(bound).unwrap_or(0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_uniform() {
        let mut stream = Stream::new(&[b"uniform"]);
        let (bound, draws) = (10u64, 100_000);
        let mut counts = [0f64; 10];
        for _ in 0..draws {
            counts[stream.below(bound) as usize] += 1.0;
        }
        let expected = draws as f64 / bound as f64;
        let chi_square: f64 = counts.iter().map(|count| (count - expected).powi(2) / expected).sum();
        // 99.99 % quantile of chi-square with nine degrees of freedom.
        assert!(chi_square < 33.7, "{chi_square}");
    }

    #[test]
    fn a_bound_just_above_half_the_range_rejects_rather_than_wraps() {
        let bound = (1 << 63) + 1;
        let mut stream = Stream::new(&[b"reject"]);
        let low = (0..10_000).filter(|_| stream.below(bound) < bound / 2).count();
        assert!((4_700..5_300).contains(&low), "{low}");
    }
}
