//! The scalar field, and blocks as lists of its elements.

use ark_bls12_381::Fr;
use ark_ff::{BigInt, Field, PrimeField};

use super::SCALAR_BYTES;

/// A scalar of a block, least significant limb first; below 2^248, so below the group order.
pub(super) type Limbs = [u64; 4];

/// The scalars of a block in order.
pub(super) fn scalars(block: &[u8]) -> impl Iterator<Item = Limbs> {
    let (scalars, _) = block.as_chunks::<SCALAR_BYTES>();
    scalars.iter().map(limbs)
}

#[inline(always)]
fn limbs(scalar: &[u8; SCALAR_BYTES]) -> Limbs {
    let word = |at: usize| scalar.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u64::from_le_bytes(*bytes));
    // The last word begins a byte early, within the scalar.
    [word(0), word(8), word(16), word(23) >> 8]
}

/// `accumulator + a · b + carry`: the low limb, and the high one in `carry`. Cannot overflow.
#[inline(always)]
pub(super) fn multiply_add(accumulator: u64, a: u64, b: u64, carry: &mut u64) -> u64 {
    let product = u128::from(a).wrapping_mul(u128::from(b));
    let sum = product.wrapping_add(u128::from(accumulator)).wrapping_add(u128::from(*carry));
    *carry = (sum >> 64) as u64;
    sum as u64
}

/// `Σ scalar · factor` over the integers, reduced once at the end.
#[derive(Default)]
pub(super) struct Products {
    /// Seven columns of 192 bits, 64 bits apart.
    columns: [Column; 7],
}

#[derive(Clone, Copy, Default)]
struct Column {
    low: u128,
    high: u64,
}

impl Column {
    #[inline(always)]
    fn add(&mut self, a: u64, b: u64) {
        let (low, carry) = self.low.overflowing_add(u128::from(a).wrapping_mul(u128::from(b)));
        self.low = low;
        self.high = self.high.wrapping_add(u64::from(carry));
    }
}

impl Products {
    /// Adds one product.
    #[inline(always)]
    pub(super) fn add(&mut self, [a0, a1, a2, a3]: Limbs, [b0, b1, b2, b3]: Limbs) {
        let [c0, c1, c2, c3, c4, c5, c6] = &mut self.columns;
        c0.add(a0, b0);
        c1.add(a0, b1);
        c1.add(a1, b0);
        c2.add(a0, b2);
        c2.add(a1, b1);
        c2.add(a2, b0);
        c3.add(a0, b3);
        c3.add(a1, b2);
        c3.add(a2, b1);
        c3.add(a3, b0);
        c4.add(a1, b3);
        c4.add(a2, b2);
        c4.add(a3, b1);
        c5.add(a2, b3);
        c5.add(a3, b2);
        c6.add(a3, b3);
    }

    /// The sum as a field element.
    pub(super) fn total(&self) -> Fr {
        let (limb, wide) = (power_of_two(64), power_of_two(128));
        self.columns.iter().rev().fold(Fr::from(0_u64), |sum, column| sum * limb + Fr::from(column.low) + Fr::from(column.high) * wide)
    }
}

/// `2^bits` in the field.
pub(super) fn power_of_two(bits: u64) -> Fr {
    Fr::from(2_u64).pow([bits])
}

/// The limbs of the canonical integer.
pub(super) fn to_limbs(element: Fr) -> Limbs {
    element.into_bigint().0
}

/// 32 little-endian bytes, as the curve takes scalars.
pub(super) fn to_little_endian(element: Fr) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (to, from) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(to_limbs(element)) {
        *to = from.to_le_bytes();
    }
    bytes
}

/// 32 big-endian bytes, as encodings hold scalars.
pub(super) fn to_big_endian(element: Fr) -> [u8; 32] {
    let mut bytes = to_little_endian(element);
    bytes.reverse();
    bytes
}

/// Reads 32 big-endian bytes; `None` at or above the group order.
pub(super) fn from_big_endian(bytes: &[u8; 32]) -> Option<Fr> {
    let mut limbs = [0; 4];
    for (to, from) in limbs.iter_mut().rev().zip(bytes.as_chunks::<8>().0) {
        *to = u64::from_be_bytes(*from);
    }
    Fr::from_bigint(BigInt::new(limbs))
}
