//! A challenge kind is a plug: everything that is particular to it stands behind [`ChallengeKind`].
//!
//! Nothing outside a kind's own module knows its answers, its schedule or its arithmetic. A new kind is a new implementation and an
//! entry in [`Kinds::standard`]; `tests/toy_kind.rs` adds one from outside.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::kinds::{availability, bandwidth, latency, locality, storage};
use super::schedule::{PairSecret, SlotTerms};
use super::{Answer, AnswerError, Challenge, Checked};
use crate::claim::ClaimSet;
use crate::observation::Counts;
use crate::params::{Class, Params};
use crate::transcript::Transcript;
use crate::verdict::Objective;

/// A kind's number: its form on the wire and in every digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Kind(pub u8);

impl Kind {
    /// A minimal authenticated call, with retries.
    pub const AVAILABILITY: Self = Self(1);
    /// Round trip of an echo.
    pub const LATENCY_ECHO: Self = Self(2);
    /// Round trip of a keyed hash over a random stored chunk: an echo proxy without the data cannot answer.
    pub const LATENCY_BLOCK: Self = Self(3);
    /// Possession of randomly drawn chunks.
    pub const STORAGE: Self = Self(4);
    /// Bytes per second from the oracle to the provider.
    pub const INGRESS: Self = Self(5);
    /// Bytes per second from the provider to the oracle.
    pub const EGRESS: Self = Self(6);
    /// How far the data is from the machine that answers: a chain of dependent reads. A score, nothing more.
    pub const LOCALITY: Self = Self(7);
}

/// A challenge as whoever verifies an answer knows it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The challenge.
    pub challenge: &'a Challenge,
    /// The claim set that it names; `None` when the provider does not serve it.
    pub claims: Option<&'a ClaimSet>,
    /// The half of its secret that is never sent ([`PairSecret::kept`]); `None` where the oracle's VRF is not known.
    pub kept: Option<[u8; 32]>,
}

/// One kind of challenge.
///
/// All methods are pure and total: whatever a provider sends, `verify` gives a value, and `summarise` only possible counts.
pub trait ChallengeKind: Sync {
    /// Its number. Two kinds of one list never share it.
    fn kind(&self) -> Kind;
    /// The name that people see.
    fn name(&self) -> &'static str;
    /// Stored chunks that one challenge asks for, at most [`super::MAX_CHUNKS`].
    fn chunks(&self) -> u32 {
        0
    }
    /// Whether it can only be asked of a provider that claims to store something.
    fn needs_claims(&self) -> bool {
        self.chunks() > 0
    }
    /// Whether the provider signs every answer by itself, so that it can prove a fault. Other answers are covered by the slot's seal.
    fn is_signed(&self) -> bool {
        false
    }
    /// What one challenge adds to `scheduled` and, when counted, to `counted`: the unit of its counts.
    fn weight(&self, _class: &Class) -> u64 {
        1
    }
    /// How many grounds (ways to be bad) and readings (figures for people) its [`Counts`] have.
    fn arity(&self) -> (usize, usize);
    /// Derive: when it is asked, in microseconds from the slot's start. A function of the pair's secret and the slot's public terms.
    fn derive(&self, secret: &PairSecret, slot: &SlotTerms<'_>) -> Vec<u64>;
    /// Verify: what an answer is worth.
    fn verify(&self, asked: &Asked<'_>, answer: &Answer) -> Result<Checked, AnswerError>;
    /// Summarise: one epoch's transcripts of this kind, first asks only, into integers. `scheduled` is what the VRFs schedule.
    fn summarise(&self, params: &Params, class: &Class, scheduled: u64, transcripts: &[&Transcript]) -> Counts;
    /// What a class promises about it; empty when the class promises nothing.
    fn objectives(&self, class: &Class) -> Vec<Objective>;
}

/// The kinds that a network uses, ascending by number.
#[derive(Clone, Copy)]
pub struct Kinds(&'static [&'static dyn ChallengeKind]);

const STANDARD: &[&dyn ChallengeKind] = &[
    &availability::Availability,
    &latency::Latency::Echo,
    &latency::Latency::Block,
    &storage::Storage,
    &bandwidth::Bandwidth::Ingress,
    &bandwidth::Bandwidth::Egress,
    &locality::Locality,
];

impl Kinds {
    /// Protocol version 1.
    pub const fn standard() -> Self {
        Self(STANDARD)
    }

    /// Any list, for a network with kinds of its own: ascending by number.
    pub const fn new(kinds: &'static [&'static dyn ChallengeKind]) -> Self {
        Self(kinds)
    }

    /// All of them.
    pub fn iter(self) -> impl Iterator<Item = &'static dyn ChallengeKind> {
        self.0.iter().copied()
    }

    /// The kind with this number.
    pub fn get(self, kind: Kind) -> Option<&'static dyn ChallengeKind> {
        self.iter().find(|plug| plug.kind() == kind)
    }

    /// Whether answers of this kind carry a signature of their own; no for an unknown one.
    pub fn is_signed(self, kind: Kind) -> bool {
        self.get(kind).is_some_and(ChallengeKind::is_signed)
    }
}

impl PartialEq for Kinds {
    fn eq(&self, other: &Self) -> bool {
        self.iter().map(ChallengeKind::kind).eq(other.iter().map(ChallengeKind::kind))
    }
}

impl Eq for Kinds {}

impl fmt::Debug for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(ChallengeKind::name)).finish()
    }
}
