//! Challenges: what is asked, when, and what a right answer looks like.
//!
//! A challenge is a function of public randomness and the oracle's VRF ([`schedule`]); everything that matters is bound into one
//! digest and one merlin transcript, so that an answer to one challenge is worth nothing for another.

mod answer;
pub mod schedule;
mod stream;

pub use answer::{
    Answer, AnswerError, BlockAnswer, Checked, MissingSamples, answer_signing_digest, block_mac, echo, seal_digest, seal_leaf,
};
pub(crate) use answer::{digest_of_samples as answer_digest_of, holds_in_replica};
pub use stream::Stream;

use merlin::Transcript;

use crate::abi::Words;
use crate::hash::Hash32;
use crate::ids::{Instance, OracleId, ProviderId};
use crate::replica::CHUNKS_PER_BLOCK;

/// Samples of one storage audit (c in the detection bound `1 − (1 − f)^c`).
pub const STORAGE_SAMPLES: usize = 30;

/// A kind of challenge; the number is its wire and ABI form.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Kind {
    /// A minimal authenticated call, with retries.
    Availability = 1,
    /// Round trip of an echo.
    LatencyEcho = 2,
    /// Round trip of a keyed hash over a random stored chunk: an echo proxy without the data cannot answer.
    LatencyBlock = 3,
    /// Possession of randomly drawn chunks.
    Storage = 4,
}

impl Kind {
    /// All kinds in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Availability, Self::LatencyEcho, Self::LatencyBlock, Self::Storage];

    /// The kind with this number.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| u32::from(kind.number()) == number)
    }

    /// Its number.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// How many stored chunks it asks for.
    pub fn samples(self) -> usize {
        match self {
            Self::Availability | Self::LatencyEcho => 0,
            Self::LatencyBlock => 1,
            Self::Storage => STORAGE_SAMPLES,
        }
    }
}

/// One challenge, complete: whoever holds it can derive what is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
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
    /// The challenge's own secret, which reveals nothing of any other's.
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

impl Challenge {
    fn words(&self) -> Words {
        Words::new()
            .with_instance(&self.instance)
            .with(&self.epoch)
            .with(&self.slot)
            .with(&self.oracle)
            .with(&self.provider)
            .with(&self.kind.number())
            .with(&self.index)
            .with(&self.class_id)
            .with(&self.claim_root)
            .with(&self.claim_blocks)
            .with(&Hash32(self.child))
    }

    /// The digest that answers and facts name (`assay.challenge.v1`).
    pub fn digest(&self) -> Hash32 {
        let mut words = Words::tagged("assay.challenge.v1").as_bytes().to_vec();
        words.extend_from_slice(self.words().as_bytes());
        crate::hash::keccak([&words])
    }

    /// The merlin transcript's seed, from which all that is drawn follows.
    pub fn seed(&self) -> Hash32 {
        let mut transcript = Transcript::new(b"assay.challenge.v1");
        transcript.append_message(b"context", self.words().as_bytes());
        let mut seed = [0; 32];
        transcript.challenge_bytes(b"seed", &mut seed);
        Hash32(seed)
    }

    /// The chunks asked for: uniform over the claim set, with replacement. None when nothing is claimed.
    pub fn samples(&self) -> Vec<Sample> {
        if self.claim_blocks == 0 {
            return Vec::new();
        }
        let mut stream = Stream::new(&[self.seed().as_bytes()]);
        (0..self.kind.samples())
            .map(|_| Sample { block: stream.below(self.claim_blocks), chunk: u32::try_from(stream.below(CHUNKS_PER_BLOCK)).unwrap_or(0) })
            .collect()
    }
}
