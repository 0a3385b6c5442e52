//! Public commitments: every block's polynomial is committed to as KZG does, on a setup whose secret nobody knows, and the verifier holds
//! the list. No owner's secret, so no owner can forge; but a commitment costs a sum over 4,096 points.
//!
//! `C_i = f_i(tau) · g1`; with `P = Σ nu_i · f_i`, `y = P(r)` and `psi = ((P(tau) − y) / (tau − r)) · g1` a proof stands when
//! `e(Σ nu_i · C_i − y · g1 + r · psi, g2) = e(psi, tau · g2)`.

use ark_bls12_381::Fr;
use ark_ff::One as _;
use blst::{blst_p1_affine, blst_p2_affine};

use super::curve::{
    FULL_BITS, SECTOR_BYTES, SHORT_BITS, compressed, multiple_of_g1, multiple_of_g2, pairings_cancel, scalar_from, scalars_of, sum,
    sum_of_multiples, to_big_endian,
};

/// Scalars of a block.
pub const SCALARS: usize = 4_096;
/// Bytes of a block.
pub const BLOCK_BYTES: usize = SCALARS * SECTOR_BYTES;
/// Bytes of a commitment.
pub const COMMITMENT_BYTES: usize = 48;

/// Powers of a secret, as a ceremony leaves them.
pub struct Setup {
    powers: Vec<blst_p1_affine>,
    tau_g2: blst_p2_affine,
    minus_g2: blst_p2_affine,
}

/// The answer for any number of blocks.
pub struct Proof {
    psi: blst_p1_affine,
    y: Fr,
}

impl Proof {
    /// Psi compressed, then y.
    pub fn to_bytes(&self) -> Vec<u8> {
        [&compressed(self.psi)[..], &to_big_endian(self.y)].concat()
    }
}

/// The place at which a challenge opens the sum.
pub fn place(seed: &[u8]) -> Fr {
    scalar_from(seed)
}

impl Setup {
    /// A setup whose secret follows from the seed: as quick as a real one, and as safe as its seed is secret.
    pub fn from_seed(seed: &[u8]) -> Self {
        let tau = scalar_from(seed);
        let powers = std::iter::successors(Some(Fr::one()), |power| Some(*power * tau)).take(SCALARS);
        Self { powers: powers.map(multiple_of_g1).collect(), tau_g2: multiple_of_g2(tau), minus_g2: multiple_of_g2(-Fr::one()) }
    }

    /// The commitment to a block.
    pub fn commit(&self, block: &[u8]) -> blst_p1_affine {
        let scalars: Vec<Fr> = scalars_of(block).collect();
        self.at_tau(&scalars)
    }

    fn at_tau(&self, polynomial: &[Fr]) -> blst_p1_affine {
        sum_of_multiples(&self.powers[..polynomial.len()], polynomial, FULL_BITS)
    }

    /// The proof for the asked blocks, each with its coefficient, opened at `r`.
    pub fn prove(&self, items: &[(u128, &[u8])], r: Fr) -> Proof {
        let mut polynomial = vec![Fr::from(0u64); SCALARS];
        for (nu, block) in items {
            let nu = Fr::from(*nu);
            polynomial.iter_mut().zip(scalars_of(block)).for_each(|(sum, scalar)| *sum += nu * scalar);
        }
        let (mut quotient, mut y) = (Vec::with_capacity(SCALARS), Fr::from(0u64));
        for coefficient in polynomial.iter().rev() {
            quotient.push(y);
            y = y * r + coefficient;
        }
        quotient.reverse();
        Proof { psi: self.at_tau(&quotient), y }
    }

    /// Whether a proof stands for the blocks with these commitments and coefficients.
    pub fn verify(&self, items: &[(blst_p1_affine, u128)], r: Fr, proof: &Proof) -> bool {
        let (commitments, nus): (Vec<_>, Vec<_>) = items.iter().map(|(commitment, nu)| (*commitment, Fr::from(*nu))).unzip();
        let committed = sum_of_multiples(&commitments, &nus, SHORT_BITS);
        let opened = sum_of_multiples(&[self.powers[0], proof.psi], &[-proof.y, r], FULL_BITS);
        pairings_cancel(&[(sum(committed, opened), self.minus_g2), (proof.psi, self.tau_g2)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(number: u64) -> Vec<u8> {
        let mut bytes = vec![0; BLOCK_BYTES];
        blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    }

    #[test]
    fn an_honest_proof_stands_and_a_flipped_bit_is_refused() {
        let (setup, r) = (Setup::from_seed(b"setup"), place(b"challenge"));
        let (one, mut other) = (block(1), block(2));
        let held = [(setup.commit(&one), 3), (setup.commit(&other), u128::MAX)];
        let proof = setup.prove(&[(3, &one), (u128::MAX, &other)], r);
        assert_eq!(proof.to_bytes().len(), 80);
        assert!(setup.verify(&held, r, &proof));
        assert!(!setup.verify(&held, place(b"other"), &proof), "opened elsewhere");
        other[BLOCK_BYTES / 2] ^= 1;
        assert!(!setup.verify(&held, r, &setup.prove(&[(3, &one), (u128::MAX, &other)], r)));
    }
}
