//! Reveals with their facts.

use assay_core::bls::Signature;
use assay_core::challenge::Answer;
use assay_core::claim::{ClaimProof, ClaimRoot, MAX_DEPTH, ProofStep};
use assay_core::ids::OracleId;
use assay_core::observation::{Evidence, Fact, PlacedClaim, Reveal};
use assay_core::secp::Signature65;
use prost::Message as _;

use super::fields::{all, bls, concatenated, hash_bytes, hashes};
use super::{MAX_FACTS, MAX_OBSERVATIONS, MAX_SLOTS, MAX_STRUCK};
use crate::convert::{ConvertError, absent, hash, malformed, wire_bytes};
use crate::oracle::v1 as wire;
use crate::oracle::v1::fact::Evidence as WireEvidence;

/// The most words of one fact.
pub(super) const MAX_WORDS: usize = 64;
/// The most claims of one compact fact: one for each sample.
const MAX_PLACES: usize = 64;

impl TryFrom<wire::ProofStep> for ProofStep {
    type Error = ConvertError;

    fn try_from(step: wire::ProofStep) -> Result<Self, ConvertError> {
        let sibling = ClaimRoot { hash: hash(&step.sibling_hash, "sibling_hash")?, blocks: step.sibling_blocks };
        Ok(Self { sibling_is_left: step.sibling_is_left, sibling })
    }
}

impl From<&ProofStep> for wire::ProofStep {
    fn from(step: &ProofStep) -> Self {
        Self { sibling_is_left: step.sibling_is_left, sibling_hash: wire_bytes(&step.sibling.hash.0), sibling_blocks: step.sibling.blocks }
    }
}

impl TryFrom<wire::PlacedClaim> for PlacedClaim {
    type Error = ConvertError;

    fn try_from(place: wire::PlacedClaim) -> Result<Self, ConvertError> {
        let claim = place.claim.ok_or(absent("claim"))?.try_into()?;
        Ok(Self { claim, proof: ClaimProof { steps: all(place.proof, MAX_DEPTH, "proof")? } })
    }
}

impl From<&PlacedClaim> for wire::PlacedClaim {
    fn from(place: &PlacedClaim) -> Self {
        Self { claim: Some((&place.claim).into()), proof: place.proof.steps.iter().map(Into::into).collect() }
    }
}

impl TryFrom<WireEvidence> for Evidence {
    type Error = ConvertError;

    fn try_from(evidence: WireEvidence) -> Result<Self, ConvertError> {
        match evidence {
            WireEvidence::Slice(found) => Ok(Self::Slice {
                slice: found.slice.ok_or(absent("slice"))?.try_into()?,
                place: found.place.ok_or(absent("place"))?.try_into()?,
            }),
            WireEvidence::Compact(found) => {
                let key = found.tag_key[..].try_into().map_err(|_| malformed("tag_key"))?;
                Ok(Self::Compact { key, places: all(found.places, MAX_PLACES, "places")? })
            }
        }
    }
}

fn wire_evidence(evidence: &Evidence) -> Option<WireEvidence> {
    match evidence {
        Evidence::Missing => None,
        Evidence::Slice { slice, place } => {
            Some(WireEvidence::Slice(wire::SliceEvidence { slice: Some(slice.clone().into()), place: Some(place.into()) }))
        }
        Evidence::Compact { key, places } => {
            Some(WireEvidence::Compact(wire::CompactEvidence { tag_key: wire_bytes(key), places: places.iter().map(Into::into).collect() }))
        }
    }
}

impl TryFrom<wire::Fact> for Fact {
    type Error = ConvertError;

    fn try_from(fact: wire::Fact) -> Result<Self, ConvertError> {
        if fact.payload.len() > Answer::MAX_PAYLOAD_BYTES {
            return Err(malformed("fact.payload"));
        }
        Ok(Self {
            challenge: fact.challenge.ok_or(absent("challenge"))?.try_into()?,
            position: fact.position,
            payload: fact.payload.into(),
            words: hashes(&fact.words, MAX_WORDS, "words")?,
            evidence: fact.evidence.map_or(Ok(Evidence::Missing), TryInto::try_into)?,
            signature: Signature65::from_slice(&fact.signature).map_err(|_| malformed("fact.signature"))?,
        })
    }
}

impl From<&Fact> for wire::Fact {
    fn from(fact: &Fact) -> Self {
        Self {
            challenge: Some((&fact.challenge).into()),
            position: fact.position,
            words: hash_bytes(&fact.words),
            evidence: wire_evidence(&fact.evidence),
            signature: wire_bytes(&fact.signature.0),
            payload: wire_bytes(&fact.payload),
        }
    }
}

/// How many bytes a fact adds to an encoded reveal, its key and length included.
pub fn encoded_fact_bytes(fact: &Fact) -> usize {
    let bytes = wire::Fact::from(fact).encoded_len();
    1 + prost::length_delimiter_len(bytes) + bytes
}

impl TryFrom<wire::Reveal> for Reveal {
    type Error = ConvertError;

    fn try_from(reveal: wire::Reveal) -> Result<Self, ConvertError> {
        let vrfs = concatenated::<48>(&reveal.vrfs, MAX_SLOTS, "vrfs")?;
        Ok(Self {
            epoch: reveal.epoch,
            oracle: OracleId(reveal.oracle_id),
            seeds: reveal.seeds.ok_or(absent("seeds"))?.try_into()?,
            observations: all(reveal.observations, MAX_OBSERVATIONS, "observations")?,
            vrfs: vrfs.iter().map(|vrf| bls(vrf, "vrfs")).collect::<Result<_, _>>()?,
            facts: all(reveal.facts, MAX_FACTS, "facts")?,
            struck: all(reveal.struck, MAX_STRUCK, "struck")?,
        })
    }
}

impl From<&Reveal> for wire::Reveal {
    fn from(reveal: &Reveal) -> Self {
        Self {
            epoch: reveal.epoch,
            oracle_id: reveal.oracle.0,
            seeds: Some((&reveal.seeds).into()),
            observations: reveal.observations.iter().map(Into::into).collect(),
            vrfs: reveal.vrfs.iter().flat_map(Signature::to_compressed).collect(),
            facts: reveal.facts.iter().map(Into::into).collect(),
            struck: reveal.struck.iter().map(Into::into).collect(),
        }
    }
}
