//! Transcripts: a challenge, what came back, the oracle's clock readings, and what the answer is worth.
//!
//! [`judge`] is the one place where an answer becomes an [`Outcome`]; [`summarise`] counts outcomes and [`facts_of`] takes out what
//! proves a fault. The prober hands over readings, it decides nothing.

mod facts;
mod schedule;
mod summary;

pub use facts::facts_of;
pub use schedule::{Pair, PairSchedule, SlotSchedule};
pub use summary::{struck_out, summarise};

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::abi::Words;
use crate::challenge::{self, Answer, Asked, Challenge, Checked, Kinds};
use crate::hash::{Hash32, keccak};
use crate::ids::{Address, Instance, OracleId, ProviderId};
use crate::merkle;
use crate::secp::{self, Signature65};

/// A clock reading of the oracle besides the round trip. The kind says what it means:
///
/// - availability: one for every request, when it was sent and its round trip in µs (`None` without an answer in time);
/// - bandwidth: one at the end of every 100 ms slice, when the last byte was acknowledged and how many were by then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reading {
    /// Microseconds after the challenge's first request.
    pub at_us: u64,
    /// What was read.
    pub value: Option<u64>,
}

/// Why a probe is the oracle's own loss and says nothing of the provider.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum OracleFault {
    /// Sent too long after its time.
    SendSlip = 1,
    /// The oracle's process stood still between sending and receiving.
    Stall = 2,
    /// Too many of the oracle's own requests were under way.
    Congested = 3,
}

impl OracleFault {
    /// The fault with this number.
    pub fn from_number(number: u32) -> Option<Self> {
        [Self::SendSlip, Self::Stall, Self::Congested].into_iter().find(|fault| u32::from(fault.number()) == number)
    }

    /// Its number.
    pub fn number(self) -> u8 {
        self as u8
    }
}

/// What became of a challenge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// An answer of the right form came in time; `Checked` says what it is worth, sample by sample.
    Checked(Checked),
    /// Asked, and no valid signed answer in time, whatever the transport said.
    Silent,
    /// The oracle's own fault: never counted.
    OracleError(OracleFault),
}

/// An outcome in one word, for people.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// Everything asked for verified.
    Answered,
    /// At least one sample does not verify.
    Invalid,
    /// Nothing is invalid, but at least one sample was stated missing.
    Missing,
    /// No valid answer.
    Silent,
    /// Not counted.
    OracleError,
}

impl Outcome {
    /// The outcome in one word.
    pub fn fate(&self) -> Fate {
        match self {
            Self::Checked(checked) if !checked.invalid.is_empty() => Fate::Invalid,
            Self::Checked(checked) if !checked.missing.is_empty() => Fate::Missing,
            Self::Checked(_) => Fate::Answered,
            Self::Silent => Fate::Silent,
            Self::OracleError(_) => Fate::OracleError,
        }
    }

    fn push_words(&self, words: &mut Words) {
        match self {
            Self::Checked(checked) => {
                words.push(&1u8);
                words.push(&checked.valid);
                push_positions(words, &checked.invalid);
                push_positions(words, &checked.missing);
            }
            Self::Silent => words.push(&2u8),
            Self::OracleError(fault) => {
                words.push(&3u8);
                words.push(&fault.number());
            }
        }
    }
}

/// Everything an oracle keeps of one ask of one challenge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transcript {
    /// What was asked.
    pub challenge: Challenge,
    /// 0 for the first ask; a storage challenge that stays unanswered is asked again and again: 1, 2, …
    pub strike: u32,
    /// When it was to be sent, in microseconds from the slot's start (for a later ask: of the slot in which it was due).
    pub scheduled_at_us: u64,
    /// How much later it was sent.
    pub slip_us: u64,
    /// Round trip of the answer on the oracle's monotonic clock; `None` without an answer in time.
    pub rtt_us: Option<u64>,
    /// More readings, as the kind has them.
    pub readings: Vec<Reading>,
    /// What became of it.
    pub outcome: Outcome,
    /// The answer, kept only when the outcome is [`Outcome::Checked`].
    pub answer: Option<Answer>,
    /// The provider's signature over the answer, for kinds that are signed by themselves. Other answers are sealed ([`SlotSeal`]).
    pub signature: Option<Signature65>,
}

impl Transcript {
    /// The digest under the observation's evidence root (`assay.transcript.v1`): it binds every field.
    ///
    /// Every list is preceded by its length and every option by a flag, so that no two transcripts share an encoding.
    pub fn digest(&self) -> Hash32 {
        let mut words = Words::tagged("assay.transcript.v1")
            .with(&self.challenge.digest())
            .with(&self.strike)
            .with(&self.scheduled_at_us)
            .with(&self.slip_us);
        push_option(&mut words, self.rtt_us);
        push_length(&mut words, self.readings.len());
        for reading in &self.readings {
            words.push(&reading.at_us);
            push_option(&mut words, reading.value);
        }
        self.outcome.push_words(&mut words);
        words.push(&self.answer.is_some());
        words.push(&self.answer.as_ref().map_or(Hash32::ZERO, Answer::digest));
        words.push(&self.signature.map_or(Hash32::ZERO, |signature| keccak([&signature.0])));
        words.keccak()
    }

    /// What a seal of the slot has to cover: (challenge digest, answer digest) of an answer that is not signed by itself.
    pub fn unsigned_answer(&self) -> Option<(Hash32, Hash32)> {
        match (&self.outcome, &self.answer, &self.signature) {
            (Outcome::Checked(_), Some(answer), None) => Some((self.challenge.digest(), answer.digest())),
            _ => None,
        }
    }
}

fn push_length(words: &mut Words, length: usize) {
    words.push(&(length as u64));
}

fn push_option(words: &mut Words, value: Option<u64>) {
    words.push(&value.is_some());
    words.push(&value.unwrap_or(0));
}

fn push_positions(words: &mut Words, positions: &[u32]) {
    push_length(words, positions.len());
    for position in positions {
        words.push(position);
    }
}

/// One transcript of each ask, in the order of the challenges. After a restart in the middle of a slot an oracle stores the asks before it a
/// second time, as lost by its own fault: what was measured stays, and of two measurements the first.
pub fn one_of_each_ask<T: Borrow<Transcript>>(transcripts: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut by_ask: BTreeMap<_, T> = BTreeMap::new();
    for transcript in transcripts {
        let Transcript { challenge, strike, .. } = transcript.borrow();
        match by_ask.entry((challenge.epoch, challenge.slot, challenge.oracle, challenge.index, challenge.digest(), *strike)) {
            Entry::Vacant(free) => {
                free.insert(transcript);
            }
            Entry::Occupied(mut kept) if kept.get().borrow().outcome.fate() == Fate::OracleError => {
                kept.insert(transcript);
            }
            Entry::Occupied(_) => {}
        }
    }
    by_ask.into_values().collect()
}

/// The root over transcripts in an observation; the order does not matter.
pub fn evidence_root(digests: impl IntoIterator<Item = Hash32>) -> Hash32 {
    merkle::root(digests.into_iter().map(|digest| merkle::leaf(&Words::new().with(&digest))).collect())
}

/// What an answer that came in time is worth.
///
/// Silent are: an answer that its kind cannot make sense of (another form or number of samples, a provider that does not serve the claims
/// it registered), and one that its kind wants signed and the receipt key did not sign: nothing that proves a fault, and nothing that
/// earns credit.
pub fn judge(kinds: Kinds, asked: &Asked<'_>, answer: &Answer, signature: Option<&Signature65>, receipt_key: &Address) -> Outcome {
    let Some(plug) = kinds.get(asked.challenge.kind) else { return Outcome::Silent };
    if plug.is_signed() && !is_signed(asked.challenge, answer, signature, receipt_key) {
        return Outcome::Silent;
    }
    plug.verify(asked, answer).map_or(Outcome::Silent, Outcome::Checked)
}

/// What an answer on the chain to a storage challenge is worth: by slices, whatever the challenge would have wanted off the chain.
///
/// The contract cannot know how many samples were asked for. Those that the answer leaves out are stated missing: else a provider rebuts a
/// silence with the samples that it has. Those beyond are of no account.
pub fn judge_late(asked: &Asked<'_>, answer: &Answer, signature: &Signature65, receipt_key: &Address) -> Outcome {
    if !is_signed(asked.challenge, answer, Some(signature), receipt_key) {
        return Outcome::Silent;
    }
    let mut samples = answer.samples.clone();
    samples.resize(asked.challenge.samples().len(), None);
    challenge::check_samples(asked, &samples).map_or(Outcome::Silent, Outcome::Checked)
}

fn is_signed(challenge: &Challenge, answer: &Answer, signature: Option<&Signature65>, receipt_key: &Address) -> bool {
    let signed = challenge::answer_signing_digest(challenge, &answer.digest());
    signature.is_some_and(|signature| secp::recover(&signed, signature) == Ok(*receipt_key))
}

/// A provider's signature over all its unsigned answers to one oracle in one slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SlotSeal {
    /// Chain and settlement contract.
    pub instance: Instance,
    /// Who answered.
    pub provider: ProviderId,
    /// Who asked.
    pub oracle: OracleId,
    /// Epoch.
    pub epoch: u64,
    /// Slot within the epoch.
    pub slot: u32,
    /// How many answers it covers.
    pub count: u64,
    /// Merkle root over (challenge digest, answer digest).
    pub answers_root: Hash32,
    /// By the receipt key.
    pub signature: Signature65,
}

impl SlotSeal {
    /// Whether `receipt_key` made it.
    pub fn is_by(&self, receipt_key: &Address) -> bool {
        let digest =
            challenge::seal_digest(&self.instance, self.provider, self.oracle, self.epoch, self.slot, self.count, &self.answers_root);
        secp::recover(&digest, &self.signature) == Ok(*receipt_key)
    }

    /// Whether it covers exactly these (challenge digest, answer digest).
    pub fn covers(&self, answers: &[(Hash32, Hash32)]) -> bool {
        self.count == answers.len() as u64 && self.answers_root == answers_root(answers)
    }
}

/// The root that a seal over these (challenge digest, answer digest) names.
pub fn answers_root(answers: &[(Hash32, Hash32)]) -> Hash32 {
    merkle::root(answers.iter().map(|(challenge, answer)| challenge::seal_leaf(challenge, answer)).collect())
}

#[cfg(test)]
mod tests;
