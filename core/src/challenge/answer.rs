//! What comes back, how it is signed, and how it is checked.

use super::{Challenge, Kind, Sample};
use crate::abi::Words;
use crate::claim::ClaimSet;
use crate::hash::{Hash32, keccak};
use crate::ids::{Instance, OracleId, ProviderId};
use crate::merkle;
use crate::replica::{BLOCK_BYTES, CHUNKS_PER_BLOCK};
use crate::slice::{self, Slice};

/// A stored chunk with its proof and the hash that only a holder of the chunk can make in time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlockAnswer {
    /// BLAKE3 `keyed_hash(child, chunk)`: keyed, never prefixed.
    pub mac: [u8; 32],
    /// The chunk and its path.
    pub slice: Slice,
}

/// An answer as parsed from the wire; nothing in it is believed yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// To availability and echo challenges.
    Echo([u8; 32]),
    /// To a stored-block challenge; `None` is a statement that the chunk is missing.
    Block(Option<BlockAnswer>),
    /// To a storage challenge, in the order of its samples; `None` is a statement that the chunk is missing.
    Storage(Vec<Option<Slice>>),
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
    /// Whether every sample verified.
    pub fn all_valid(&self) -> bool {
        self.invalid.is_empty() && self.missing.is_empty()
    }
}

/// Why an answer does not even have the form of one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AnswerError {
    /// An answer of another kind than the challenge's.
    #[error("the answer is of another kind than the challenge")]
    Kind,
    /// More or fewer samples than asked for.
    #[error("the answer has {got} samples, asked were {asked}")]
    Count {
        /// Samples in the answer.
        got: usize,
        /// Samples in the challenge.
        asked: usize,
    },
    /// The claim set is not the one the challenge names.
    #[error("the claim set is not the one that the challenge names")]
    Claims,
}

impl Answer {
    /// The digest a provider signs: one word a sample, zero for "missing".
    pub fn digest(&self) -> Hash32 {
        match self {
            Self::Echo(echo) => keccak([echo]),
            Self::Block(None) => Words::new().with(&Hash32::ZERO).with(&Hash32::ZERO).keccak(),
            Self::Block(Some(answer)) => Words::new().with(&Hash32(answer.mac)).with(&answer.slice.digest()).keccak(),
            Self::Storage(samples) => digest_of_samples(&Self::sample_words(samples)),
        }
    }

    /// The words whose hash a storage answer's digest is.
    pub fn sample_words(samples: &[Option<Slice>]) -> Vec<Hash32> {
        samples.iter().map(|sample| sample.as_ref().map_or(Hash32::ZERO, Slice::digest)).collect()
    }

    /// Checks the answer against the challenge and the frozen claim set.
    pub fn check(&self, challenge: &Challenge, claims: &ClaimSet) -> Result<Checked, AnswerError> {
        match (self, challenge.kind) {
            (Self::Echo(answer), Kind::Availability | Kind::LatencyEcho) => {
                let valid = *answer == echo(challenge);
                Ok(Checked { valid: u32::from(valid), invalid: if valid { vec![] } else { vec![0] }, missing: vec![] })
            }
            (Self::Block(answer), Kind::LatencyBlock) => {
                let mac_holds = answer.as_ref().is_none_or(|a| a.mac == block_mac(challenge, &a.slice.chunk));
                let slices = [answer.as_ref().map(|a| &a.slice)];
                let mut checked = check_samples(challenge, claims, slices.into_iter())?;
                if !mac_holds && checked.valid == 1 {
                    checked = Checked { valid: 0, invalid: vec![0], missing: vec![] };
                }
                Ok(checked)
            }
            (Self::Storage(samples), Kind::Storage) => check_samples(challenge, claims, samples.iter().map(Option::as_ref)),
            _ => Err(AnswerError::Kind),
        }
    }
}

fn check_samples<'a>(
    challenge: &Challenge,
    claims: &ClaimSet,
    slices: impl ExactSizeIterator<Item = Option<&'a Slice>>,
) -> Result<Checked, AnswerError> {
    let root = claims.root();
    if root.hash != challenge.claim_root || root.blocks != challenge.claim_blocks {
        return Err(AnswerError::Claims);
    }
    let asked = challenge.samples();
    if slices.len() != asked.len() {
        return Err(AnswerError::Count { got: slices.len(), asked: asked.len() });
    }
    let mut checked = Checked { valid: 0, invalid: vec![], missing: vec![] };
    for ((position, sample), slice) in (0u32..).zip(&asked).zip(slices) {
        match slice {
            None => checked.missing.push(position),
            Some(slice) if sample_holds(sample, slice, claims) => checked.valid = checked.valid.saturating_add(1),
            Some(_) => checked.invalid.push(position),
        }
    }
    Ok(checked)
}

fn sample_holds(sample: &Sample, slice: &Slice, claims: &ClaimSet) -> bool {
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

/// The digest of a storage answer from its words.
pub(crate) fn digest_of_samples(words: &[Hash32]) -> Hash32 {
    let mut all = Words::new();
    for word in words {
        all.push(word);
    }
    all.keccak()
}

/// The right answer to an availability or echo challenge.
pub fn echo(challenge: &Challenge) -> [u8; 32] {
    let label: &[u8] = match challenge.kind {
        Kind::Availability => b"availability",
        _ => b"latency",
    };
    *blake3::keyed_hash(&challenge.child, label).as_bytes()
}

/// The keyed hash of a stored chunk.
pub fn block_mac(challenge: &Challenge, chunk: &[u8]) -> [u8; 32] {
    *blake3::keyed_hash(&challenge.child, chunk).as_bytes()
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
