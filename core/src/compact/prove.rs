//! Answering a challenge.

use ark_bls12_381::Fr;
use ark_ff::AdditiveGroup;

use super::fold::Fold;
use super::{CompactError, PROOF_BYTES, Powers, Terms, check_block, field, finite_point, point, sized};
use crate::bls::BlsError;
use crate::curve::{Affine, Sum, Width};

/// Gathers the sampled blocks and their tags, one at a time. Holds about 300 KB, and 200 bytes more for a block.
pub struct Prover {
    fold: Fold,
    tags: Sum,
    coefficients: Vec<u128>,
}

impl Default for Prover {
    fn default() -> Self {
        Self::new()
    }
}

impl Prover {
    /// No blocks yet.
    pub fn new() -> Self {
        Self { fold: Fold::new(), tags: Sum::new(Width::Short), coefficients: Vec::new() }
    }

    /// Adds the block of the next item, with that item's coefficient.
    pub fn add(&mut self, nu: u128, block: &[u8], tag: &[u8]) -> Result<(), CompactError> {
        check_block(block)?;
        let tag = finite_point("a tag", tag)?;
        self.fold.add(nu, block);
        self.tags.add(tag.point(), &nu.to_le_bytes());
        self.coefficients.push(nu);
        Ok(())
    }

    /// The proof, when the blocks that were added are those of `terms`. Takes one sum over 4,096 points.
    pub fn finish(self, terms: &Terms, powers: &Powers) -> Result<Proof, CompactError> {
        let (expected, found) = (terms.items.len(), self.coefficients.len());
        if terms.items.is_empty() {
            return Err(CompactError::Empty { what: "blocks" });
        }
        if !terms.items.iter().map(|item| item.nu).eq(self.coefficients) {
            return Err(CompactError::Count { what: "blocks, each with its item's coefficient,", expected, found });
        }
        let (y, quotient) = divided(&self.fold.total(), terms.place());
        let sigma = self.tags.total().affine();
        if sigma.is_infinity() {
            return Err(CompactError::Point { what: "the sum of the tags", source: BlsError::Infinity });
        }
        Ok(Proof { sigma, psi: powers.commit(&quotient).affine(), y })
    }
}

/// The value of a polynomial at `r`, and the quotient of what is left by `x - r`, the constant first.
fn divided(polynomial: &[Fr], r: Fr) -> (Fr, Vec<Fr>) {
    let mut quotient = Vec::with_capacity(polynomial.len());
    let mut value = Fr::ZERO;
    for coefficient in polynomial.iter().rev() {
        quotient.push(value);
        value = value * r + coefficient;
    }
    quotient.reverse();
    // The highest term is always zero; it is the first that was pushed.
    quotient.pop();
    (value, quotient)
}

/// The answer for one tag key: 128 bytes. Its points and its scalar are well formed; [`super::verify`] tells what it is worth.
#[derive(Clone, Copy, PartialEq)]
pub struct Proof {
    pub(super) sigma: Affine,
    pub(super) psi: Affine,
    pub(super) y: Fr,
}

impl Eq for Proof {}

impl std::fmt::Debug for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "0x{}", hex::encode(self.to_bytes()))
    }
}

impl Proof {
    /// Reads sigma, psi and y. Both points must be canonical and in the subgroup, y below the group order.
    ///
    /// Infinity is refused for sigma. For psi it is not: it answers for blocks of which every scalar but the first is zero, and an owner
    /// who stores such blocks must not make an honest provider fail.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CompactError> {
        let bytes: &[u8; PROOF_BYTES] = sized("a compact proof", bytes)?;
        let part = |range| bytes.get(range).unwrap_or_default();
        let y = field::from_big_endian(sized("y", part(96..128))?).ok_or(CompactError::Scalar { what: "y" })?;
        Ok(Self { sigma: finite_point("sigma", part(0..48))?, psi: point("psi", part(48..96))?, y })
    }

    /// 128 bytes: sigma and psi compressed, y big-endian.
    pub fn to_bytes(&self) -> [u8; PROOF_BYTES] {
        let mut bytes = [0; PROOF_BYTES];
        let parts = self.sigma.to_compressed().into_iter().chain(self.psi.to_compressed()).chain(self.y());
        for (to, from) in bytes.iter_mut().zip(parts) {
            *to = from;
        }
        bytes
    }

    /// Sigma for a contract.
    pub fn sigma_eip2537(&self) -> [u8; 128] {
        self.sigma.to_eip2537()
    }

    /// Psi for a contract; infinity is all zero.
    pub fn psi_eip2537(&self) -> [u8; 128] {
        self.psi.to_eip2537()
    }

    /// The value of the sum at the drawn place, big-endian.
    pub fn y(&self) -> [u8; 32] {
        field::to_big_endian(self.y)
    }
}
