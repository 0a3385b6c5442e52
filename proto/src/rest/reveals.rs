//! The included reveals, page by page.

use assay_core::challenge::Challenge;
use assay_core::hash::Hash32;
use assay_core::ids::{OracleId, ProviderId};
use assay_core::observation::{Commit, Evidence, Fact, Fault, Observation, PlacedClaim, Reveal, SaltedObservation, Seeds, SignedCommit};
use assay_core::slice::{CHUNK_BYTES, MAX_SIBLINGS, Slice};
use serde::{Deserialize, Serialize};

use super::{HexBytes, bls};
use crate::convert::{ConvertError, malformed, signature};

/// A page of `/v1/epochs/{e}/observations`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObservationsPage {
    /// Epoch.
    pub epoch: u64,
    /// Digest of the report that counts them.
    pub report_digest: Hash32,
    /// The report's root over the included reveals.
    pub data_digest: Hash32,
    /// Whether the reveals are exactly those under `data_digest`; otherwise the node lacks one, or no longer knows which.
    pub complete: bool,
    /// Ascending by oracle.
    pub reveals: Vec<RevealDocument>,
    /// `after` of the next page; none behind the last.
    pub next: Option<ProviderId>,
}

impl ObservationsPage {
    /// Adds the next page of the same list; refused when it is of another list, or does not go on behind this one.
    pub fn extend(&mut self, next: Self) -> Result<(), ConvertError> {
        let head = |page: &Self| (page.epoch, page.report_digest, page.data_digest, page.complete, page.reveals.len());
        if head(self) != head(&next) {
            return Err(ConvertError { field: "reveals", problem: "not the same on every page" });
        }
        if next.next.is_some() && next.next <= self.next {
            return Err(ConvertError { field: "next", problem: "a list that runs in a circle" });
        }
        for (known, more) in self.reveals.iter_mut().zip(next.reveals) {
            known.extend(more)?;
        }
        self.next = next.next;
        Ok(())
    }
}

/// One oracle's reveal: its head in full, what it says of the page's providers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevealDocument {
    /// Who reveals.
    pub oracle: OracleId,
    /// The commit it opens.
    pub commit: Commit,
    /// Digest of the commit.
    pub commit_digest: Hash32,
    /// By the verdict key.
    pub commit_signature: HexBytes,
    /// The seeds it measured under.
    pub seeds: Seeds,
    /// One for each slot.
    pub vrfs: Vec<HexBytes>,
    /// Observations, ascending by provider.
    pub observations: Vec<SaltedDocument>,
    /// Facts, in the reveal's order.
    pub facts: Vec<FactDocument>,
    /// Own challenges that struck out, in the reveal's order.
    pub struck: Vec<Challenge>,
}

/// An observation and the salt that hid it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SaltedDocument {
    /// The values.
    pub observation: Observation,
    /// 32 random bytes.
    pub salt: Hash32,
}

/// A fact.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FactDocument {
    /// Its identity.
    pub digest: Hash32,
    /// What it proves.
    pub fault: Fault,
    /// The challenge.
    pub challenge: Challenge,
    /// Which of its samples is at fault.
    pub position: u32,
    /// The answer's payload, as signed; empty for slices.
    pub payload: HexBytes,
    /// The words of the answer's slices, as signed.
    pub words: Vec<Hash32>,
    /// What proves the fault.
    pub evidence: EvidenceDocument,
    /// By the provider's receipt key.
    pub signature: HexBytes,
}

/// What a fact shows beside the signed answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum EvidenceDocument {
    /// The provider signed that the sample is missing.
    Missing,
    /// A chunk that does not lead to its replica's root.
    Slice {
        /// The chunk and its path.
        slice: SliceDocument,
        /// The claim that the sample falls into.
        place: PlacedClaim,
    },
    /// A compact proof, in the payload, that does not hold.
    Compact {
        /// v and w, compressed.
        tag_key: HexBytes,
        /// Every claim that the proof's samples fall into.
        places: Vec<PlacedClaim>,
    },
}

/// A chunk and its path.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SliceDocument {
    /// At most 1,024 bytes.
    pub chunk: HexBytes,
    /// From the chunk upwards.
    pub siblings: Vec<Hash32>,
}

/// What a storage fact proves, if it proves anything.
pub fn fault_of(fact: &Fact) -> Fault {
    match fact.evidence {
        Evidence::Missing => Fault::StorageMissing,
        Evidence::Slice { .. } | Evidence::Compact { .. } => Fault::StorageInvalid,
    }
}

impl From<&Evidence> for EvidenceDocument {
    fn from(evidence: &Evidence) -> Self {
        match evidence {
            Evidence::Missing => Self::Missing,
            Evidence::Slice { slice, place } => Self::Slice {
                slice: SliceDocument {
                    chunk: (&slice.chunk).into(),
                    siblings: slice.siblings.iter().map(|sibling| Hash32(*sibling)).collect(),
                },
                place: place.clone(),
            },
            Evidence::Compact { key, places } => Self::Compact { tag_key: key.into(), places: places.clone() },
        }
    }
}

impl TryFrom<&EvidenceDocument> for Evidence {
    type Error = ConvertError;

    fn try_from(document: &EvidenceDocument) -> Result<Self, ConvertError> {
        match document {
            EvidenceDocument::Missing => Ok(Self::Missing),
            EvidenceDocument::Slice { slice: SliceDocument { chunk, siblings }, place } => {
                if chunk.0.len() as u64 > CHUNK_BYTES || siblings.len() > MAX_SIBLINGS {
                    return Err(malformed("facts.slice"));
                }
                let slice = Slice { chunk: chunk.0.clone(), siblings: siblings.iter().map(|sibling| sibling.0).collect() };
                Ok(Self::Slice { slice, place: place.clone() })
            }
            EvidenceDocument::Compact { tag_key, places } => {
                let key = tag_key.0.as_slice().try_into().map_err(|_| malformed("facts.tag_key"))?;
                Ok(Self::Compact { key, places: places.clone() })
            }
        }
    }
}

impl From<&Fact> for FactDocument {
    fn from(fact: &Fact) -> Self {
        Self {
            digest: fact.digest(),
            fault: fault_of(fact),
            challenge: fact.challenge.clone(),
            position: fact.position,
            payload: (&fact.payload).into(),
            words: fact.words.clone(),
            evidence: (&fact.evidence).into(),
            signature: fact.signature.0.into(),
        }
    }
}

impl TryFrom<&FactDocument> for Fact {
    type Error = ConvertError;

    fn try_from(document: &FactDocument) -> Result<Self, ConvertError> {
        let fact = Self {
            challenge: document.challenge.clone(),
            position: document.position,
            payload: document.payload.0.clone(),
            words: document.words.clone(),
            evidence: (&document.evidence).try_into()?,
            signature: signature(&document.signature.0)?,
        };
        match fact.digest() == document.digest && fault_of(&fact) == document.fault {
            true => Ok(fact),
            false => Err(ConvertError { field: "facts.digest", problem: "not the fact's" }),
        }
    }
}

impl RevealDocument {
    /// A reveal as far as `holds` says of its providers.
    pub fn new(signed: &SignedCommit, commit_digest: Hash32, reveal: &Reveal, holds: impl Fn(ProviderId) -> bool) -> Self {
        let observations = reveal.observations.iter().filter(|salted| holds(salted.observation.provider));
        Self {
            oracle: reveal.oracle,
            commit: signed.commit,
            commit_digest,
            commit_signature: signed.signature.to_compressed().into(),
            seeds: reveal.seeds.clone(),
            vrfs: reveal.vrfs.iter().map(|vrf| vrf.to_compressed().into()).collect(),
            observations: observations
                .map(|salted| SaltedDocument { observation: salted.observation.clone(), salt: salted.salt })
                .collect(),
            facts: reveal.facts.iter().filter(|fact| holds(fact.challenge.provider)).map(Into::into).collect(),
            struck: reveal.struck.iter().filter(|challenge| holds(challenge.provider)).cloned().collect(),
        }
    }

    /// Adds the next page of the same reveal; refused when its head is another.
    pub fn extend(&mut self, next: Self) -> Result<(), ConvertError> {
        let head = |page: &Self| {
            let Self { oracle, commit, commit_digest, commit_signature, seeds, vrfs, .. } = page.clone();
            (oracle, commit, commit_digest, commit_signature, seeds, vrfs)
        };
        if head(self) != head(&next) {
            return Err(ConvertError { field: "reveals", problem: "not the same on every page" });
        }
        self.observations.extend(next.observations);
        self.facts.extend(next.facts);
        self.struck.extend(next.struck);
        Ok(())
    }

    /// The commit with its signature.
    pub fn signed_commit(&self) -> Result<SignedCommit, ConvertError> {
        Ok(SignedCommit { commit: self.commit, signature: bls(&self.commit_signature, "commit_signature")? })
    }

    /// The reveal, unchecked.
    pub fn reveal(&self) -> Result<Reveal, ConvertError> {
        let salted = |document: &SaltedDocument| SaltedObservation { observation: document.observation.clone(), salt: document.salt };
        Ok(Reveal {
            epoch: self.commit.epoch,
            oracle: self.oracle,
            seeds: self.seeds.clone(),
            observations: self.observations.iter().map(salted).collect(),
            vrfs: self.vrfs.iter().map(|vrf| bls(vrf, "vrfs")).collect::<Result<_, _>>()?,
            facts: self.facts.iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            struck: self.struck.clone(),
        })
    }
}
