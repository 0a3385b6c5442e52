//! BLS12-381 for the baselines, on the same library as ours: `blst`, through its safe interface.
//!
//! That interface has no hash to G1 by itself, so a point comes as a signature with the key 1, which costs a multiplication more. Where
//! hashing is timed, [`hash_all`] does the same hashes without it.

use std::sync::LazyLock;

use ark_bls12_381::Fr;
use ark_ff::{BigInt, One, PrimeField, Zero};
use blst::{MultiPoint, Pairing, blst_fp12, blst_p1, blst_p1_affine, blst_p2_affine, min_pk, min_sig, p1_affines};

/// Bytes of a field element that holds data.
pub(super) const SECTOR_BYTES: usize = 31;
/// Bits of a random coefficient.
pub const SHORT_BITS: usize = 128;
/// Bits of any scalar.
pub(super) const FULL_BITS: usize = 255;
/// A pairing buffers this many messages before it computes.
const BUFFERED: usize = 7;

/// Sectors of 31 little-endian bytes as field elements.
pub fn scalars_of(block: &[u8]) -> impl Iterator<Item = Fr> {
    block.as_chunks::<SECTOR_BYTES>().0.iter().map(|sector| {
        let mut bytes = [0; 32];
        bytes[..SECTOR_BYTES].copy_from_slice(sector);
        let (words, _) = bytes.as_chunks::<8>();
        Fr::from(BigInt::new(std::array::from_fn(|at| u64::from_le_bytes(words[at]))))
    })
}

/// 32 big-endian bytes.
pub(super) fn to_big_endian(scalar: Fr) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (to, limb) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(scalar.into_bigint().0.into_iter().rev()) {
        *to = limb.to_be_bytes();
    }
    bytes
}

fn little_endian(scalar: Fr, bits: usize) -> impl Iterator<Item = u8> {
    to_big_endian(scalar).into_iter().rev().take(bits.div_ceil(8))
}

/// A multiple of G1's generator.
pub fn multiple_of_g1(scalar: Fr) -> blst_p1_affine {
    // The library has no key of zero.
    min_pk::SecretKey::from_bytes(&to_big_endian(scalar)).map_or_else(|_| blst_p1_affine::default(), |key| key.sk_to_pk().into())
}

/// A multiple of G2's generator; of zero, infinity.
pub(super) fn multiple_of_g2(scalar: Fr) -> blst_p2_affine {
    min_sig::SecretKey::from_bytes(&to_big_endian(scalar)).map_or_else(|_| blst_p2_affine::default(), |key| key.sk_to_pk().into())
}

/// G2's generator.
pub fn g2() -> blst_p2_affine {
    static G2: LazyLock<blst_p2_affine> = LazyLock::new(|| multiple_of_g2(Fr::one()));
    *G2
}

/// A multiple of a message's point by a scalar other than zero.
pub(super) fn multiple_of_hash(scalar: Fr, message: &[u8], dst: &[u8]) -> blst_p1_affine {
    let key = min_sig::SecretKey::from_bytes(&to_big_endian(scalar));
    key.map_or_else(|_| blst_p1_affine::default(), |key| key.sign(message, dst, &[]).into())
}

/// A message's point (RFC 9380, random oracle).
pub fn hash_to_g1(message: &[u8], dst: &[u8]) -> blst_p1_affine {
    multiple_of_hash(Fr::one(), message, dst)
}

/// Hashes all messages to G1 as a verifier does, each to an affine point, and keeps none: for the clock alone. Returns whether it went well.
pub fn hash_all<'a>(messages: &[impl AsRef<[u8]>], dst: &'a [u8]) -> bool {
    let key = g2();
    messages.chunks(BUFFERED).all(|messages| {
        let mut pairing: Pairing<'a> = Pairing::new(true, dst);
        let no_signature: Option<&blst_p1_affine> = None;
        messages
            .iter()
            .all(|message| pairing.aggregate(&key, false, &no_signature, false, message.as_ref(), &[]) == blst::BLST_ERROR::BLST_SUCCESS)
    })
}

/// `Σ scalar · point`; of each scalar the low `bits`.
pub fn sum_of_multiples(points: &[blst_p1_affine], scalars: &[Fr], bits: usize) -> blst_p1_affine {
    let scalars: Vec<u8> = scalars.iter().flat_map(|scalar| little_endian(*scalar, bits)).collect();
    affine(points.mult(&scalars, bits))
}

/// The sum of two points.
pub(super) fn sum(one: blst_p1_affine, other: blst_p1_affine) -> blst_p1_affine {
    affine([one, other].as_slice().add())
}

fn affine(point: blst_p1) -> blst_p1_affine {
    p1_affines::from(&[point]).as_slice()[0]
}

/// 48 bytes.
pub(super) fn compressed(point: blst_p1_affine) -> [u8; 48] {
    min_pk::PublicKey::from(point).compress()
}

/// Whether `Π e(point, key)` is one.
pub fn pairings_cancel(pairs: &[(blst_p1_affine, blst_p2_affine)]) -> bool {
    let finite = pairs.iter().filter(|(point, _)| *point != blst_p1_affine::default());
    let (points, keys): (Vec<_>, Vec<_>) = finite.copied().unzip();
    let one = blst_fp12::default();
    points.is_empty() || blst_fp12::finalverify(&blst_fp12::miller_loop_n(&keys, &points), &one)
}

/// A scalar other than zero for keys that nobody needs to keep.
pub(super) fn scalar_from(seed: &[u8]) -> Fr {
    let mut wide = [0; 64];
    blake3::Hasher::new().update(seed).finalize_xof().fill(&mut wide);
    let scalar = Fr::from_be_bytes_mod_order(&wide);
    if scalar.is_zero() { Fr::one() } else { scalar }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DST: &[u8] = b"ASSAY-BASELINE-TEST_BLS12381G1_XMD:SHA-256_SSWU_RO_";

    #[test]
    fn sums_multiples_and_pairings_agree() {
        let (a, b) = (scalar_from(b"a"), scalar_from(b"b"));
        let both = sum_of_multiples(&[multiple_of_g1(a), multiple_of_g1(b)], &[b, a], FULL_BITS);
        assert!(both == sum(multiple_of_g1(a * b), multiple_of_g1(a * b)));
        assert!(pairings_cancel(&[(multiple_of_g1(a), multiple_of_g2(b)), (multiple_of_g1(-b), multiple_of_g2(a))]));
        assert!(!pairings_cancel(&[(multiple_of_g1(a), multiple_of_g2(b)), (multiple_of_g1(b), multiple_of_g2(a))]));
    }

    #[test]
    fn hashes_are_points_that_differ_and_can_be_made_in_any_number() {
        assert!(hash_to_g1(b"one", DST) != hash_to_g1(b"two", DST));
        let three = Fr::from(3u64);
        let point = hash_to_g1(b"one", DST);
        assert!(multiple_of_hash(three, b"one", DST) == sum(sum(point, point), point));
        assert!(hash_all(&[b"message"; 30], DST));
    }

    #[test]
    fn sectors_are_little_endian() {
        let mut block = [0; 62];
        (block[0], block[31 + 8]) = (5, 1);
        assert!(scalars_of(&block).eq([Fr::from(5u64), Fr::from(1u128 << 64)]));
    }
}
