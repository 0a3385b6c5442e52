//! Challenges: what is asked, when, and what a right answer looks like.
//!
//! A challenge is a function of public randomness and the oracle's VRF ([`schedule`]); everything that matters is bound into one
//! digest and one merlin transcript, so that an answer to one challenge is worth nothing for another. What a *kind* of challenge asks,
//! accepts and counts stands behind one trait, [`ChallengeKind`]; the rest of the system knows kinds by their number alone.

mod answer;
pub mod compact;
pub mod egress;
pub mod kind;
pub mod kinds;
pub mod schedule;
mod stream;
pub mod window;

pub use answer::{
    Answer, AnswerError, Checked, MissingSamples, answer_signing_digest, check_samples, check_storage, seal_digest, seal_leaf,
};
pub(crate) use answer::{claims_of, digest_of_words, holds_in_replica, sample_holds};
pub use kind::{Asked, ChallengeKind, Kind, Kinds};
pub use kinds::storage::STORAGE_SAMPLES;
pub use stream::Stream;

use merlin::Transcript;
use serde::{Deserialize, Serialize};

use crate::abi::Words;
use crate::hash::Hash32;
use crate::ids::{Instance, OracleId, ProviderId};
use crate::replica::CHUNKS_PER_BLOCK;

/// The most stored chunks that one challenge may ask for, whatever its kind.
pub const MAX_CHUNKS: u32 = 64;
/// The most blocks that a storage challenge may ask for beside the drawn ones.
pub const MAX_EXTRA: usize = 10;

/// One challenge, complete: whoever holds it can derive what is asked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Challenge {
    /// Chain and settlement contract.
    pub instance: Instance,
    /// Epoch number from genesis.
    pub epoch: u64,
    /// Slot within the epoch.
    pub slot: u32,
    /// Who asks.
    pub oracle: OracleId,
    /// Who answers.
    pub provider: ProviderId,
    /// What is asked.
    pub kind: Kind,
    /// Its number within (oracle, epoch, slot, provider).
    pub index: u32,
    /// The provider's service class.
    pub class_id: u16,
    /// Root of the provider's claim set, frozen for the epoch.
    pub claim_root: Hash32,
    /// Blocks in the claim set: pins every size below it.
    pub claim_blocks: u64,
    /// How many stored chunks it asks for, at most [`MAX_CHUNKS`].
    pub chunks: u32,
    /// A storage audit is for slices once in so many times; 0 for every other kind.
    pub slices_one_in: u32,
    /// Blocks that the oracle asks for beside the drawn ones, at most [`MAX_EXTRA`]: those whose objects were not proven for the longest
    /// time. They are the oracle's choice, so they are outside every bound, and nothing that is drawn depends on them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extra: Vec<u64>,
    /// The challenge's own secret, which reveals nothing of any other's.
    #[serde(with = "as_hash")]
    pub child: [u8; 32],
}

/// One stored chunk asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sample {
    /// Block number over the provider's whole claim set.
    pub block: u64,
    /// Chunk of 1 KiB within the block, below 124.
    pub chunk: u32,
}

/// 32 bytes in the form of a hash: `0x` and hex.
mod as_hash {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::hash::Hash32;

    pub fn serialize<S: Serializer>(bytes: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
        Hash32(*bytes).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
        Hash32::deserialize(deserializer).map(|hash| hash.0)
    }
}

impl Challenge {
    fn words(&self) -> Words {
        Words::new()
            .with_instance(&self.instance)
            .with(&self.epoch)
            .with(&self.slot)
            .with(&self.oracle)
            .with(&self.provider)
            .with(&self.kind.0)
            .with(&self.index)
            .with(&self.class_id)
            .with(&self.claim_root)
            .with(&self.claim_blocks)
            .with(&self.chunks)
            .with(&self.slices_one_in)
            .with(&Hash32(self.child))
    }

    /// The digest that answers and facts name (`assay.challenge.v1`).
    pub fn digest(&self) -> Hash32 {
        let mut extra = Words::new();
        self.extra.iter().for_each(|block| extra.push(block));
        let mut words = Words::tagged("assay.challenge.v1").as_bytes().to_vec();
        words.extend_from_slice(self.words().as_bytes());
        words.extend_from_slice(extra.as_bytes());
        crate::hash::keccak([&words])
    }

    /// Whether the extra blocks are some that may be asked for.
    pub fn has_possible_extra(&self) -> bool {
        let may_have_some = self.kind == Kind::STORAGE || self.extra.is_empty();
        may_have_some && self.extra.len() <= MAX_EXTRA && self.extra.iter().all(|block| *block < self.claim_blocks)
    }

    /// The challenge as it stands on the schedule.
    pub fn without_extra(&self) -> Self {
        Self { extra: Vec::new(), ..self.clone() }
    }

    /// The merlin transcript's seed, from which all that is drawn follows. The extra blocks are no part of it: else an oracle could choose
    /// them until the draw suits it.
    pub fn seed(&self) -> Hash32 {
        let mut transcript = Transcript::new(b"assay.challenge.v1");
        transcript.append_message(b"context", self.words().as_bytes());
        let mut seed = [0; 32];
        transcript.challenge_bytes(b"seed", &mut seed);
        Hash32(seed)
    }

    /// The chunks asked for: uniform over the claim set, with replacement, then one of each extra block. None when nothing is claimed.
    pub fn samples(&self) -> Vec<Sample> {
        let mut draws = self.draws();
        let mut samples: Vec<_> = draws.by_ref().take(usize::try_from(self.chunks.min(MAX_CHUNKS)).unwrap_or(0)).collect();
        samples.extend(self.extra.iter().zip(draws).map(|(block, Sample { chunk, .. })| Sample { block: *block, chunk }));
        samples
    }

    /// Chunks without end, uniform over the claim set, with replacement: [`Self::samples`] begin with them. Empty when nothing
    /// is claimed.
    pub fn draws(&self) -> impl Iterator<Item = Sample> + Send + use<> {
        let mut stream = Stream::new(&[self.seed().as_bytes()]);
        let blocks = self.claim_blocks;
        std::iter::from_fn(move || {
            let block = (blocks > 0).then(|| stream.below(blocks))?;
            Some(Sample { block, chunk: u32::try_from(stream.below(CHUNKS_PER_BLOCK)).unwrap_or(0) })
        })
    }
}
