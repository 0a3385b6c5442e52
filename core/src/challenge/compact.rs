//! What a compact storage answer looks like, and what has to stand in it.
//!
//! One audit in a few ([`SLICES_ONE_IN`]) asks for slices. In all others the samples under a tag key are answered by one proof for each key, as
//! long as at least [`MIN_PER_PROOF`] of them fall under it; the rest, and everything without tags, by slices as ever.

use std::collections::BTreeMap;

use super::{Challenge, Sample, Stream};
use crate::claim::ClaimSet;
use crate::compact::{Name, PROOF_BYTES, Terms};
use crate::hash::Hash32;
use crate::ids::ProviderId;

/// One audit in so many asks for slices by default, whatever tags there are. Which one, nobody knows before it is asked.
pub const SLICES_ONE_IN: u32 = 16;
/// The fewest samples under one key that are worth a proof: it costs more than as many slices.
pub const MIN_PER_PROOF: usize = 4;
/// The most proofs of one answer.
pub const MAX_PROOFS: usize = 10;

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 9;
const GROUP_BYTES: usize = 32 + 8 + PROOF_BYTES;

/// A set of sample positions below 64.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Positions(u64);

impl Positions {
    /// Adds a position; those from 64 on do not exist.
    pub fn insert(&mut self, position: usize) {
        self.0 |= bit(position);
    }

    /// Whether it holds the position.
    pub fn has(self, position: usize) -> bool {
        self.0 & bit(position) != 0
    }

    /// Whether it holds none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Ascending.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        (0..64).filter(move |position| self.has(*position))
    }

    /// What is here and not in `other`.
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// What is here or in `other`.
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn shares(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl FromIterator<usize> for Positions {
    fn from_iter<I: IntoIterator<Item = usize>>(positions: I) -> Self {
        let mut all = Self::default();
        positions.into_iter().for_each(|position| all.insert(position));
        all
    }
}

fn bit(position: usize) -> u64 {
    u32::try_from(position).ok().and_then(|position| 1u64.checked_shl(position)).unwrap_or(0)
}

impl Challenge {
    /// Whether this audit asks for slices whatever tags there are.
    pub fn is_for_slices(&self) -> bool {
        let one_in = u64::from(self.slices_one_in.max(1));
        Stream::new(&[b"assay.storage.mode.v1", self.seed().as_bytes()]).below(one_in) == 0
    }

    /// The samples that are to be answered by compact proofs, by tag key. Empty: everything by slices.
    pub fn compact_plan(&self, claims: &ClaimSet) -> BTreeMap<Hash32, Positions> {
        let mut plan: BTreeMap<Hash32, Positions> = BTreeMap::new();
        if self.is_for_slices() {
            return plan;
        }
        for (position, sample) in self.samples().iter().enumerate() {
            if let Some((claim, _)) = claims.locate(sample.block).filter(|(claim, _)| !claim.tag_key_id.is_zero()) {
                plan.entry(claim.tag_key_id).or_default().insert(position);
            }
        }
        plan.retain(|_, positions| positions.iter().count() >= MIN_PER_PROOF);
        plan
    }

    /// What a compact proof under `key` over the samples at `positions` has to prove. `locate` says in whose replica, under which name, a
    /// global block lies; `None` when it does not know one of them.
    pub fn compact_terms(
        &self,
        key: &Hash32,
        positions: Positions,
        mut locate: impl FnMut(&Sample) -> Option<(Name, u64)>,
    ) -> Option<Terms> {
        let samples = self.samples();
        let items: Option<Vec<_>> = positions.iter().map(|position| locate(samples.get(position)?)).collect();
        Some(Terms::draw(&self.seed(), key, items?.into_iter()))
    }
}

/// The name and the block within its replica of a global block in a claim set.
pub fn named(claims: &ClaimSet, provider: ProviderId, sample: &Sample) -> Option<(Name, u64)> {
    claims.locate(sample.block).map(|(claim, block)| (Name::of(claim, provider), block))
}

/// One proof of a compact answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProofGroup {
    /// The tag key.
    pub key: Hash32,
    /// The samples that it proves.
    pub positions: Positions,
    /// The proof, unchecked.
    pub proof: [u8; PROOF_BYTES],
}

/// The payload of a compact answer: `1 ‖ missing u64 BE ‖ (key id ‖ positions u64 BE ‖ proof)…`, ascending by key id.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct CompactAnswer {
    /// Samples under a key of the plan that the provider states it does not hold.
    pub missing: Positions,
    /// One for each key of the plan that has samples left.
    pub groups: Vec<ProofGroup>,
}

impl CompactAnswer {
    /// The payload.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&self.missing.0.to_be_bytes());
        for group in &self.groups {
            bytes.extend_from_slice(group.key.as_bytes());
            bytes.extend_from_slice(&group.positions.0.to_be_bytes());
            bytes.extend_from_slice(&group.proof);
        }
        bytes
    }

    /// Reads a payload; `None` when it is no compact answer: another length or version, keys out of order, positions twice.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<HEAD_BYTES>()?;
        let (version, missing) = head.split_first()?;
        let (parts, left_over) = rest.as_chunks::<GROUP_BYTES>();
        if *version != VERSION || !left_over.is_empty() || parts.len() > MAX_PROOFS {
            return None;
        }
        let mut answer = Self { missing: Positions(u64::from_be_bytes(missing.try_into().ok()?)), groups: Vec::with_capacity(parts.len()) };
        for part in parts {
            answer.groups.push(parse_group(part)?);
        }
        answer.is_in_order().then_some(answer)
    }

    /// The samples that it covers; all others need slices.
    pub fn covered(&self) -> Positions {
        self.groups.iter().fold(self.missing, |covered, group| covered.and(group.positions))
    }

    /// Whether it answers exactly what the plan asks for.
    pub fn follows(&self, plan: &BTreeMap<Hash32, Positions>) -> bool {
        let planned = plan.values().fold(Positions::default(), |all, positions| all.and(*positions));
        let left = plan.iter().map(|(key, positions)| (*key, positions.without(self.missing))).filter(|(_, left)| !left.is_empty());
        self.missing.without(planned).is_empty() && left.eq(self.groups.iter().map(|group| (group.key, group.positions)))
    }

    /// The proof that covers a sample.
    pub fn group_of(&self, position: usize) -> Option<&ProofGroup> {
        self.groups.iter().find(|group| group.positions.has(position))
    }

    fn is_in_order(&self) -> bool {
        let mut covered = self.missing;
        let mut previous = None;
        self.groups.iter().all(|group| {
            let fits = previous.is_none_or(|previous| previous < group.key) && !covered.shares(group.positions);
            previous = Some(group.key);
            covered = covered.and(group.positions);
            fits && !group.positions.is_empty()
        })
    }
}

fn parse_group(part: &[u8; GROUP_BYTES]) -> Option<ProofGroup> {
    let (key, rest) = part.split_first_chunk::<32>()?;
    let (positions, proof) = rest.split_first_chunk::<8>()?;
    Some(ProofGroup { key: Hash32(*key), positions: Positions(u64::from_be_bytes(*positions)), proof: proof.try_into().ok()? })
}
