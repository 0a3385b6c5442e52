//! Shacham and Waters' publicly verifiable proofs of retrievability (eprint 2008/073) on BLS12-381, 128 sectors to a block: the proof grows
//! with the sectors, the tags shrink with them.
//!
//! `sigma_i = alpha · (H_i + Σ_j m_ij · u_j)`; a proof is `mu_j = Σ_i nu_i · m_ij` and `sigma = Σ_i nu_i · sigma_i`; it stands when
//! `e(sigma, g2) = e(Σ_i nu_i · H_i + Σ_j mu_j · u_j, v)` with `v = alpha · g2`. The owner knows the logarithms of all `u_j`, so that a tag
//! costs two multiplications.

use ark_bls12_381::Fr;
use ark_ff::One as _;
use blst::{blst_p1_affine, blst_p2_affine};

use super::curve::{
    FULL_BITS, SECTOR_BYTES, SHORT_BITS, compressed, hash_to_g1, multiple_of_g1, multiple_of_g2, multiple_of_hash, pairings_cancel,
    scalar_from, scalars_of, sum, sum_of_multiples, to_big_endian,
};

/// Sectors of a block.
pub const SECTORS: usize = 128;
/// Bytes of a block.
pub const BLOCK_BYTES: usize = SECTORS * SECTOR_BYTES;
/// Bytes of a tag.
pub const TAG_BYTES: usize = 48;
/// The domain of the hash to the curve.
pub const DST: &[u8] = b"ASSAY-BASELINE-SW_BLS12381G1_XMD:SHA-256_SSWU_RO_";

/// What makes tags.
pub struct OwnerKey {
    alpha: Fr,
    logarithms: Vec<Fr>,
}

/// What checks proofs.
pub struct PublicKey {
    v: blst_p2_affine,
    minus_g2: blst_p2_affine,
    u: Vec<blst_p1_affine>,
}

/// What a block's tag is bound to: the block's number under a name.
pub fn message(name: &[u8; 32], block: u64) -> [u8; 40] {
    let mut message = [0; 40];
    message[..32].copy_from_slice(name);
    message[32..].copy_from_slice(&block.to_be_bytes());
    message
}

/// The point of a block.
pub fn point(name: &[u8; 32], block: u64) -> blst_p1_affine {
    hash_to_g1(&message(name, block), DST)
}

impl OwnerKey {
    /// A key from a seed.
    pub fn new(seed: &[u8]) -> Self {
        let logarithm = |sector: usize| scalar_from(&[seed, &sector.to_be_bytes()].concat());
        Self { alpha: scalar_from(seed), logarithms: (0..SECTORS).map(logarithm).collect() }
    }

    /// Its public half.
    pub fn public(&self) -> PublicKey {
        let u = self.logarithms.iter().map(|logarithm| multiple_of_g1(*logarithm)).collect();
        PublicKey { v: multiple_of_g2(self.alpha), minus_g2: multiple_of_g2(-Fr::one()), u }
    }

    /// The tag of a block.
    pub fn tag(&self, name: &[u8; 32], number: u64, block: &[u8]) -> blst_p1_affine {
        let content: Fr = scalars_of(block).zip(&self.logarithms).map(|(sector, logarithm)| sector * logarithm).sum();
        let place = multiple_of_hash(self.alpha, &message(name, number), DST);
        sum(place, multiple_of_g1(self.alpha * content))
    }
}

/// The answer for any number of blocks.
pub struct Proof {
    mu: Vec<Fr>,
    sigma: blst_p1_affine,
}

impl Proof {
    /// From the asked blocks, each with its coefficient and its tag.
    pub fn new(items: &[(u128, &[u8], blst_p1_affine)]) -> Self {
        let mut mu = vec![Fr::from(0u64); SECTORS];
        for (nu, block, _) in items {
            let nu = Fr::from(*nu);
            mu.iter_mut().zip(scalars_of(block)).for_each(|(mu, sector)| *mu += nu * sector);
        }
        let (tags, nus): (Vec<_>, Vec<_>) = items.iter().map(|(nu, _, tag)| (*tag, Fr::from(*nu))).unzip();
        Self { mu, sigma: sum_of_multiples(&tags, &nus, SHORT_BITS) }
    }

    /// Sigma compressed, then all mu.
    pub fn to_bytes(&self) -> Vec<u8> {
        compressed(self.sigma).into_iter().chain(self.mu.iter().flat_map(|mu| to_big_endian(*mu))).collect()
    }
}

/// Whether a proof stands for the blocks with these points ([`point`]) and coefficients.
pub fn verify(key: &PublicKey, items: &[(blst_p1_affine, u128)], proof: &Proof) -> bool {
    let (points, nus): (Vec<_>, Vec<_>) = items.iter().map(|(point, nu)| (*point, Fr::from(*nu))).unzip();
    let places = sum_of_multiples(&points, &nus, SHORT_BITS);
    let contents = sum_of_multiples(&key.u, &proof.mu, FULL_BITS);
    pairings_cancel(&[(proof.sigma, key.minus_g2), (sum(places, contents), key.v)])
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: [u8; 32] = [9; 32];

    fn block(number: u64) -> Vec<u8> {
        let mut bytes = vec![0; BLOCK_BYTES];
        blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    }

    /// The proof of three blocks, with a bit of the data flipped where asked for, and what a verifier holds.
    fn proven(flip: Option<usize>) -> (PublicKey, Vec<(blst_p1_affine, u128)>, Proof) {
        let owner = OwnerKey::new(b"owner");
        let asked: Vec<(u64, u128)> = vec![(3, 17), (8, u128::MAX), (3, 5)];
        let mut blocks: Vec<Vec<u8>> = asked.iter().map(|(number, _)| block(*number)).collect();
        let tags: Vec<_> = asked.iter().zip(&blocks).map(|((number, _), block)| owner.tag(&NAME, *number, block)).collect();
        if let Some(at) = flip {
            blocks[1][at] ^= 1;
        }
        let items: Vec<_> = asked.iter().zip(&blocks).zip(&tags).map(|(((_, nu), block), tag)| (*nu, block.as_slice(), *tag)).collect();
        let points = asked.iter().map(|(number, nu)| (point(&NAME, *number), *nu)).collect();
        (owner.public(), points, Proof::new(&items))
    }

    #[test]
    fn an_honest_proof_stands_and_has_the_published_size() {
        let (key, items, proof) = proven(None);
        assert!(verify(&key, &items, &proof));
        assert_eq!(proof.to_bytes().len(), 32 * SECTORS + 48);
    }

    #[test]
    fn a_flipped_bit_is_refused() {
        for at in [0, 77, BLOCK_BYTES - 2] {
            let (key, items, proof) = proven(Some(at));
            assert!(!verify(&key, &items, &proof), "byte {at}");
        }
        let (key, mut items, proof) = proven(None);
        items[0].1 ^= 1;
        assert!(!verify(&key, &items, &proof), "another coefficient");
    }
}
