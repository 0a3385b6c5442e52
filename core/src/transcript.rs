//! Transcripts: a challenge, what came back, the oracle's clock readings, and what the answer is worth.
//!
//! [`judge`] is the one place where an answer becomes an [`Outcome`]; [`summarise`] counts outcomes and [`facts_of`] takes out what
//! proves a fault. The prober hands over readings, it decides nothing.

mod facts;
mod summary;

pub use facts::facts_of;
pub use summary::{ScheduledCounts, is_asked, summarise};

use crate::abi::Words;
use crate::challenge::{self, Answer, Challenge, Checked, Kind};
use crate::claim::ClaimSet;
use crate::hash::{Hash32, keccak};
use crate::ids::{Address, Instance, OracleId, ProviderId};
use crate::merkle;
use crate::secp::{self, Signature65};

/// One request of an availability probe: the probe itself or a retry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attempt {
    /// When it was sent, in microseconds after the probe's first request.
    pub offset_us: u64,
    /// Its round trip; `None` when it got no answer in time.
    pub rtt_us: Option<u64>,
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

/// Everything an oracle keeps of one challenge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transcript {
    /// What was asked.
    pub challenge: Challenge,
    /// When it was to be sent, in microseconds from the slot's start.
    pub scheduled_at_us: u64,
    /// How much later it was sent.
    pub slip_us: u64,
    /// Round trip of the answer on the oracle's monotonic clock; `None` without an answer in time.
    pub rtt_us: Option<u64>,
    /// Availability only: every request that was sent.
    pub attempts: Vec<Attempt>,
    /// What became of it.
    pub outcome: Outcome,
    /// The answer, kept only when the outcome is [`Outcome::Checked`].
    pub answer: Option<Answer>,
    /// Storage only: the provider's signature over the answer. Other answers are sealed ([`SlotSeal`]).
    pub signature: Option<Signature65>,
}

impl Transcript {
    /// The digest under the observation's evidence root (`assay.transcript.v1`): it binds every field.
    ///
    /// Every list is preceded by its length and every option by a flag, so that no two transcripts share an encoding.
    pub fn digest(&self) -> Hash32 {
        let mut words = Words::tagged("assay.transcript.v1").with(&self.challenge.digest()).with(&self.scheduled_at_us).with(&self.slip_us);
        push_option(&mut words, self.rtt_us);
        push_length(&mut words, self.attempts.len());
        for attempt in &self.attempts {
            words.push(&attempt.offset_us);
            push_option(&mut words, attempt.rtt_us);
        }
        self.outcome.push_words(&mut words);
        push_answer(&mut words, self.answer.as_ref());
        words.push(&self.signature.map_or(Hash32::ZERO, |signature| keccak([&signature.0])));
        words.keccak()
    }

    /// What a seal of the slot has to cover: (challenge digest, answer digest) of an answer that is not signed by itself.
    pub fn unsigned_answer(&self) -> Option<(Hash32, Hash32)> {
        match (&self.outcome, &self.answer) {
            (Outcome::Checked(_), Some(answer)) if self.challenge.kind != Kind::Storage => Some((self.challenge.digest(), answer.digest())),
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

/// Form (0 none, 1 echo, 2 block, 3 storage) and the digest, which binds every byte of the answer.
fn push_answer(words: &mut Words, answer: Option<&Answer>) {
    let form: u8 = match answer {
        None => 0,
        Some(Answer::Echo(_)) => 1,
        Some(Answer::Block(_)) => 2,
        Some(Answer::Storage(_)) => 3,
    };
    words.push(&form);
    words.push(&answer.map_or(Hash32::ZERO, Answer::digest));
}

/// The root over transcripts in an observation; the order does not matter.
pub fn evidence_root(digests: impl IntoIterator<Item = Hash32>) -> Hash32 {
    merkle::root(digests.into_iter().map(|digest| merkle::leaf(&Words::new().with(&digest))).collect())
}

/// What an answer that came in time is worth.
///
/// Silent are: an answer of another kind or number of samples, one that cannot be checked because the provider does not serve the claims
/// it registered (`claims` is `None`), and a storage answer that its receipt key did not sign: nothing that proves a fault, and nothing
/// that earns credit.
pub fn judge(
    challenge: &Challenge,
    answer: &Answer,
    signature: Option<&Signature65>,
    receipt_key: &Address,
    claims: Option<&ClaimSet>,
) -> Outcome {
    if challenge.kind == Kind::Storage && !is_signed(challenge, answer, signature, receipt_key) {
        return Outcome::Silent;
    }
    let nothing = ClaimSet::default();
    let claims = match challenge.kind {
        Kind::Availability | Kind::LatencyEcho => &nothing,
        Kind::LatencyBlock | Kind::Storage => match claims {
            Some(claims) => claims,
            None => return Outcome::Silent,
        },
    };
    answer.check(challenge, claims).map_or(Outcome::Silent, Outcome::Checked)
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
