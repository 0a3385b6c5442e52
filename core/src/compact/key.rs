//! The owner's tag secret, what it publishes, and the tags that it makes.

use std::fmt;

use ark_bls12_381::Fr;
use ark_ff::{AdditiveGroup, Field, PrimeField};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::field::{self, Limbs, Products};
use super::{CompactError, POWERS_BYTES, SCALARS, TAG_KEY_BYTES, block_point, check_block, sized};
use crate::abi::Words;
use crate::bls::PublicKey;
use crate::claim::Claim;
use crate::curve::{self, Point};
use crate::hash::{Hash32, keccak, tag};
use crate::ids::ProviderId;
use crate::replica::OwnerSecret;

const KEY_CONTEXT: &str = "assay 2026-11 tag key v1";
/// Tags whose coordinates are computed together.
const BATCH: usize = 256;

/// What makes tags. Follows from the owner secret, so there is nothing else to keep. Whoever knows it forges proofs.
#[derive(ZeroizeOnDrop)]
pub struct TagSecret {
    epsilon: Fr,
    alpha: Fr,
    /// alpha^0 … alpha^4095, not in Montgomery form.
    alphas: Vec<Limbs>,
}

impl fmt::Debug for TagSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TagSecret(hidden)")
    }
}

impl TagSecret {
    /// The tag secret of an owner.
    pub fn derive(secret: &OwnerSecret) -> Self {
        let mut reader = secret.derive(KEY_CONTEXT);
        let (epsilon, alpha) = (nonzero(&mut reader), nonzero(&mut reader));
        let mut alphas = Vec::with_capacity(SCALARS);
        let mut power = Fr::ONE;
        for _ in 0..SCALARS {
            alphas.push(field::to_limbs(power));
            power *= alpha;
        }
        power.zeroize();
        Self { epsilon, alpha, alphas }
    }

    /// The public key: `epsilon · g2` and `epsilon · alpha · g2`.
    pub fn key(&self) -> TagKey {
        let multiple = |scalar: Fr| curve::g2_times_secret(&secret_bytes(scalar));
        TagKey { v: multiple(self.epsilon), w: multiple(self.epsilon * self.alpha) }
    }

    /// The public powers `alpha^j · g1`, 196,608 bytes. Takes about half a second.
    pub fn powers(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(POWERS_BYTES);
        let (generator, mut power) = (Point::generator(), Fr::ONE);
        let mut points = Vec::with_capacity(SCALARS);
        for _ in 0..SCALARS {
            points.push(generator.times_secret(&secret_bytes(power)));
            power *= self.alpha;
        }
        power.zeroize();
        for point in Point::all_affine(&points) {
            bytes.extend_from_slice(&point.to_compressed());
        }
        bytes
    }

    /// The block's polynomial at the secret place. Needs no name, so it can be made before the replica's root is known.
    pub fn evaluate(&self, block: &[u8]) -> Result<Evaluation, CompactError> {
        check_block(block)?;
        let mut products = Products::default();
        for (scalar, power) in field::scalars(block).zip(&self.alphas) {
            products.add(scalar, *power);
        }
        Ok(Evaluation(products.total()))
    }

    /// The tags of consecutive blocks from `first_block` on, 48 bytes each.
    ///
    /// One name and block number must never get tags for two contents: their difference would give the secret away.
    pub fn tags(&self, name: &Name, first_block: u64, evaluations: &[Evaluation]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(evaluations.len().saturating_mul(super::TAG_BYTES));
        let epsilon = secret_bytes(self.epsilon);
        let mut block = first_block;
        for batch in evaluations.chunks(BATCH) {
            let mut points = Vec::with_capacity(batch.len());
            for evaluation in batch {
                let content = Point::generator().times_secret(&secret_bytes(evaluation.0));
                points.push(block_point(name, block).plus(&content).times_secret(&epsilon));
                block = block.wrapping_add(1);
            }
            for point in Point::all_affine(&points) {
                bytes.extend_from_slice(&point.to_compressed());
            }
        }
        bytes
    }
}

/// The next 64 bytes as a scalar; of two, the second when the first is zero, which never happens.
fn nonzero(reader: &mut blake3::OutputReader) -> Fr {
    let mut wide = Zeroizing::new([0; 64]);
    loop {
        reader.fill(wide.as_mut());
        let scalar = Fr::from_be_bytes_mod_order(wide.as_ref());
        if scalar != Fr::ZERO {
            return scalar;
        }
    }
}

fn secret_bytes(scalar: Fr) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(field::to_little_endian(scalar))
}

/// A block's polynomial at the owner's secret place. As secret as that: with the block it gives the place away.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Evaluation(Fr);

impl fmt::Debug for Evaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Evaluation(hidden)")
    }
}

impl Evaluation {
    /// 32 bytes, big-endian.
    pub fn to_bytes(&self) -> [u8; 32] {
        field::to_big_endian(self.0)
    }

    /// Reads 32 bytes, big-endian, below the group order.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, CompactError> {
        field::from_big_endian(bytes).map(Self).ok_or(CompactError::Scalar { what: "an evaluation" })
    }
}

/// The public key of an owner's tags. Both points are checked: in the subgroup, not infinity.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TagKey {
    v: PublicKey,
    w: PublicKey,
}

impl TagKey {
    /// Reads both compressed points, 192 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CompactError> {
        let bytes: &[u8; TAG_KEY_BYTES] = sized("a tag key", bytes)?;
        let half = |range| {
            let bytes = bytes.get(range).unwrap_or_default();
            let point = PublicKey::from_compressed(sized("half a tag key", bytes)?);
            point.map_err(|source| CompactError::Point { what: "a tag key's point", source })
        };
        Ok(Self { v: half(0..96)?, w: half(96..192)? })
    }

    /// 192 bytes: v, then w, compressed.
    pub fn to_bytes(&self) -> [u8; TAG_KEY_BYTES] {
        let mut bytes = [0; TAG_KEY_BYTES];
        for (to, from) in bytes.iter_mut().zip(self.v.to_compressed().into_iter().chain(self.w.to_compressed())) {
            *to = from;
        }
        bytes
    }

    /// What claims name: a hash of both points in the form that contracts take.
    pub fn id(&self) -> Hash32 {
        keccak([tag("assay.tagkey.v1").as_bytes(), &self.v_eip2537(), &self.w_eip2537()])
    }

    /// v for a contract.
    pub fn v_eip2537(&self) -> [u8; 256] {
        self.v.to_eip2537()
    }

    /// w for a contract.
    pub fn w_eip2537(&self) -> [u8; 256] {
        self.w.to_eip2537()
    }

    /// epsilon · g2.
    pub(super) fn v(&self) -> &PublicKey {
        &self.v
    }

    /// epsilon · alpha · g2.
    pub(super) fn w(&self) -> &PublicKey {
        &self.w
    }
}

/// What the tags of one stored replica are bound to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Name(pub Hash32);

impl Name {
    /// The name of a claimed replica's tags at one provider. It holds the root, so other content has another name.
    pub fn of(claim: &Claim, provider: ProviderId) -> Self {
        let words = Words::tagged("assay.tagname.v1")
            .with(&claim.tag_key_id)
            .with(&claim.object_id)
            .with(&claim.replica_index)
            .with(&claim.root)
            .with(&claim.object_length)
            .with(&provider);
        Self(words.keccak())
    }
}
