//! What comes back, how it is signed, and how it is checked.

use super::compact::{self, CompactAnswer, Positions, ProofGroup};
use super::{Asked, Challenge, Sample};
use crate::abi::Words;
use crate::claim::ClaimSet;
use crate::compact::{Proof, verify};
use crate::hash::{Hash32, keccak};
use crate::ids::{Instance, OracleId, ProviderId};
use crate::merkle;
use crate::replica::{BLOCK_BYTES, CHUNKS_PER_BLOCK};
use crate::slice::{self, Slice};

/// An answer as parsed from the wire; nothing in it is believed yet.
///
/// Every kind's answer has this form: the kind's own message, and the stored chunks that the challenge asks for.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Answer {
    /// The kind's own message, at most [`Answer::MAX_PAYLOAD_BYTES`].
    pub payload: Vec<u8>,
    /// In the order of the challenge's samples; `None` is a statement that the chunk is missing.
    pub samples: Vec<Option<Slice>>,
}

/// What checking an answer showed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checked {
    /// Samples that verified (1 for an echo).
    pub valid: u32,
    /// Positions of samples that do not verify.
    pub invalid: Vec<u32>,
    /// Positions of samples stated missing.
    pub missing: MissingSamples,
}

/// Positions of samples that the provider states it does not hold.
pub type MissingSamples = Vec<u32>;

impl Checked {
    /// Of an answer without samples: right or wrong.
    pub fn all_or_nothing(holds: bool) -> Self {
        Self { valid: u32::from(holds), invalid: if holds { vec![] } else { vec![0] }, missing: vec![] }
    }

    /// Whether every sample verified.
    pub fn all_valid(&self) -> bool {
        self.invalid.is_empty() && self.missing.is_empty()
    }
}

/// Why an answer does not even have the form of one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AnswerError {
    /// The kind's own message is none, or a sample is larger than any can be.
    #[error("the answer's payload is not of the challenge's kind, or a sample is too large")]
    Payload,
    /// More or fewer samples than asked for.
    #[error("the answer has {got} samples, asked were {asked}")]
    Count {
        /// Samples in the answer.
        got: usize,
        /// Samples in the challenge.
        asked: usize,
    },
    /// The claim set is not known, or not the one the challenge names.
    #[error("the claim set that the challenge names is not known")]
    Claims,
    /// The challenge asks for another number of chunks than its kind does.
    #[error("the challenge is none of its kind")]
    Challenge,
    /// It cannot be checked without the oracle's VRF.
    #[error("the answer cannot be checked without the oracle's VRF")]
    Secret,
}

impl Answer {
    /// The most bytes of a kind's own message.
    pub const MAX_PAYLOAD_BYTES: usize = 4_096;

    /// An answer of a payload alone.
    pub fn of_payload(payload: impl Into<Vec<u8>>) -> Self {
        Self { payload: payload.into(), samples: Vec::new() }
    }

    /// The digest a provider signs: the payload's hash, then one word a sample, zero for "missing".
    pub fn digest(&self) -> Hash32 {
        digest_of_words(&self.payload, &self.sample_words())
    }

    /// One word a sample.
    pub fn sample_words(&self) -> Vec<Hash32> {
        self.samples.iter().map(|sample| sample.as_ref().map_or(Hash32::ZERO, Slice::digest)).collect()
    }
}

/// Checks the samples of an answer by slices, each against its replica's root in the frozen claim set.
pub fn check_samples(asked: &Asked<'_>, samples: &[Option<Slice>]) -> Result<Checked, AnswerError> {
    let claims = claims_of(asked)?;
    let drawn: Vec<_> = (0u32..).zip(asked.challenge.samples()).collect();
    let mut checked = Checked { valid: 0, invalid: vec![], missing: vec![] };
    check_slices(&mut checked, claims, &drawn, samples)?;
    Ok(checked)
}

/// Checks a storage answer: slices, or compact proofs where the challenge wants them.
pub fn check_storage(asked: &Asked<'_>, answer: &Answer) -> Result<Checked, AnswerError> {
    let claims = claims_of(asked)?;
    let plan = asked.challenge.compact_plan(claims);
    if plan.is_empty() {
        return match answer.payload.is_empty() {
            true => check_samples(asked, &answer.samples),
            false => Err(AnswerError::Payload),
        };
    }
    let compact = CompactAnswer::parse(&answer.payload).filter(|compact| compact.follows(&plan)).ok_or(AnswerError::Payload)?;
    let mut checked = Checked { valid: 0, invalid: vec![], missing: numbers(compact.missing) };
    for group in &compact.groups {
        let positions = numbers(group.positions);
        match proof_holds(asked.challenge, claims, group)? {
            true => checked.valid = checked.valid.saturating_add(u32::try_from(positions.len()).unwrap_or(u32::MAX)),
            false => checked.invalid.extend(positions),
        }
    }
    let covered = compact.covered();
    let drawn: Vec<_> = asked.challenge.samples().into_iter().enumerate().filter(|(position, _)| !covered.has(*position)).collect();
    let drawn: Vec<_> = drawn.into_iter().filter_map(|(position, sample)| Some((u32::try_from(position).ok()?, sample))).collect();
    check_slices(&mut checked, claims, &drawn, &answer.samples)?;
    checked.invalid.sort_unstable();
    checked.missing.sort_unstable();
    Ok(checked)
}

/// The claim set that the challenge names.
pub(crate) fn claims_of<'a>(asked: &Asked<'a>) -> Result<&'a ClaimSet, AnswerError> {
    let claims = asked.claims.ok_or(AnswerError::Claims)?;
    let root = claims.root();
    match root.hash == asked.challenge.claim_root && root.blocks == asked.challenge.claim_blocks {
        true => Ok(claims),
        false => Err(AnswerError::Claims),
    }
}

fn check_slices(checked: &mut Checked, claims: &ClaimSet, drawn: &[(u32, Sample)], samples: &[Option<Slice>]) -> Result<(), AnswerError> {
    if samples.len() != drawn.len() {
        return Err(AnswerError::Count { got: samples.len(), asked: drawn.len() });
    }
    if samples.iter().flatten().any(|slice| !slice.fits()) {
        return Err(AnswerError::Payload);
    }
    for ((position, sample), slice) in drawn.iter().zip(samples) {
        match slice {
            None => checked.missing.push(*position),
            Some(slice) if sample_holds(sample, slice, claims) => checked.valid = checked.valid.saturating_add(1),
            Some(_) => checked.invalid.push(*position),
        }
    }
    Ok(())
}

fn proof_holds(challenge: &Challenge, claims: &ClaimSet, group: &ProofGroup) -> Result<bool, AnswerError> {
    let key = claims.tag_key(&group.key).ok_or(AnswerError::Claims)?;
    let terms = challenge.compact_terms(&group.key, group.positions, |sample| compact::named(claims, challenge.provider, sample));
    let terms = terms.ok_or(AnswerError::Claims)?;
    Ok(Proof::from_bytes(&group.proof).is_ok_and(|proof| verify(key, &terms, &proof).is_ok()))
}

fn numbers(positions: Positions) -> Vec<u32> {
    positions.iter().filter_map(|position| u32::try_from(position).ok()).collect()
}

/// Whether a slice is the chunk that was asked for.
pub(crate) fn sample_holds(sample: &Sample, slice: &Slice, claims: &ClaimSet) -> bool {
    claims.locate(sample.block).is_some_and(|(claim, block)| holds_in_replica(&claim.root, claim.blocks, block, sample.chunk, slice))
}

/// Whether a slice is chunk `chunk` of block `block` of the replica with this root and exactly this many blocks.
pub(crate) fn holds_in_replica(root: &Hash32, blocks: u64, block: u64, chunk: u32, slice: &Slice) -> bool {
    let position = block.checked_mul(CHUNKS_PER_BLOCK).and_then(|first| first.checked_add(u64::from(chunk)));
    let total_bytes = u64::try_from(BLOCK_BYTES).ok().and_then(|bytes| bytes.checked_mul(blocks));
    match (position, total_bytes) {
        (Some(position), Some(total_bytes)) => slice::verify(root, total_bytes, position, slice).is_ok(),
        _ => false,
    }
}

/// The digest of an answer from its payload and its samples' words.
pub(crate) fn digest_of_words(payload: &[u8], words: &[Hash32]) -> Hash32 {
    let mut all = Words::new().with(&keccak([payload]));
    for word in words {
        all.push(word);
    }
    all.keccak()
}

/// What a provider's receipt key signs for one storage answer (`assay.answer.v1`).
pub fn answer_signing_digest(challenge: &Challenge, answer_digest: &Hash32) -> Hash32 {
    Words::tagged("assay.answer.v1")
        .with_instance(&challenge.instance)
        .with(&challenge.provider)
        .with(&challenge.digest())
        .with(answer_digest)
        .keccak()
}

/// What a provider's receipt key signs for all its unsigned answers to one oracle in one slot (`assay.seal.v1`).
pub fn seal_digest(
    instance: &Instance,
    provider: ProviderId,
    oracle: OracleId,
    epoch: u64,
    slot: u32,
    count: u64,
    answers_root: &Hash32,
) -> Hash32 {
    Words::tagged("assay.seal.v1")
        .with_instance(instance)
        .with(&provider)
        .with(&oracle)
        .with(&epoch)
        .with(&slot)
        .with(&count)
        .with(answers_root)
        .keccak()
}

/// The leaf of one answer under a seal's root.
pub fn seal_leaf(challenge_digest: &Hash32, answer_digest: &Hash32) -> Hash32 {
    merkle::leaf(&Words::new().with(challenge_digest).with(answer_digest))
}
