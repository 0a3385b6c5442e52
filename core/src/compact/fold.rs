//! The sum of blocks with random coefficients, one block at a time.

use ark_bls12_381::Fr;

use super::SCALARS;
use super::field::{self, Limbs, multiply_add, power_of_two};

/// A coefficient has 128 bits and a scalar 248, so this many products fit in six limbs.
const PRODUCTS: usize = 256;

/// `Σ coefficient · scalar` for each of a block's 4,096 places. Holds about 300 KB.
pub(super) struct Fold {
    sums: Vec<[u64; 6]>,
    pending: usize,
    reduced: Vec<Fr>,
}

impl Fold {
    /// No blocks.
    pub(super) fn new() -> Self {
        Self { sums: vec![[0; 6]; SCALARS], pending: 0, reduced: vec![Fr::from(0_u64); SCALARS] }
    }

    /// Adds one block of 4,096 scalars.
    pub(super) fn add(&mut self, coefficient: u128, block: &[u8]) {
        if self.pending >= PRODUCTS {
            self.reduce();
        }
        let factor = [coefficient as u64, (coefficient >> 64) as u64];
        for (sum, scalar) in self.sums.iter_mut().zip(field::scalars(block)) {
            add_product(sum, factor, scalar);
        }
        self.pending = self.pending.saturating_add(1);
    }

    /// The 4,096 sums.
    pub(super) fn total(mut self) -> Vec<Fr> {
        self.reduce();
        self.reduced
    }

    fn reduce(&mut self) {
        let (middle, high) = (power_of_two(128), power_of_two(256));
        let pair = |low: u64, high: u64| Fr::from(u128::from(low) | u128::from(high) << 64);
        for (to, [a, b, c, d, e, f]) in self.reduced.iter_mut().zip(&mut self.sums) {
            *to += pair(*a, *b) + pair(*c, *d) * middle + pair(*e, *f) * high;
            [*a, *b, *c, *d, *e, *f] = [0; 6];
        }
        self.pending = 0;
    }
}

#[inline(always)]
fn add_product([s0, s1, s2, s3, s4, s5]: &mut [u64; 6], [f0, f1]: [u64; 2], [a, b, c, d]: Limbs) {
    let mut carry = 0;
    *s0 = multiply_add(*s0, f0, a, &mut carry);
    *s1 = multiply_add(*s1, f0, b, &mut carry);
    *s2 = multiply_add(*s2, f0, c, &mut carry);
    *s3 = multiply_add(*s3, f0, d, &mut carry);
    let mut upper = 0;
    *s1 = multiply_add(*s1, f1, a, &mut upper);
    *s2 = multiply_add(*s2, f1, b, &mut upper);
    *s3 = multiply_add(*s3, f1, c, &mut upper);
    // Both carries end in the fourth limb.
    let (sum, first) = s4.overflowing_add(carry);
    *s4 = multiply_add(sum, f1, d, &mut upper);
    *s5 = s5.wrapping_add(upper).wrapping_add(u64::from(first));
}
