//! Reveals with their facts.

use assay_core::bls::Signature;
use assay_core::claim::{ClaimProof, ClaimRoot, MAX_DEPTH, ProofStep};
use assay_core::ids::OracleId;
use assay_core::observation::{Fact, Reveal};
use assay_core::secp::Signature65;
use assay_core::slice::Slice;
use prost::Message as _;

use super::fields::{all, bls, concatenated, hash_bytes, hashes};
use super::{MAX_FACTS, MAX_OBSERVATIONS, MAX_SLOTS, MAX_STRUCK};
use crate::convert::{ConvertError, absent, hash, malformed, wire_bytes};
use crate::oracle::v1 as wire;

/// The most words of one fact.
pub(super) const MAX_WORDS: usize = 64;

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

impl TryFrom<wire::Fact> for Fact {
    type Error = ConvertError;

    fn try_from(fact: wire::Fact) -> Result<Self, ConvertError> {
        Ok(Self {
            challenge: fact.challenge.ok_or(absent("challenge"))?.try_into()?,
            position: fact.position,
            words: hashes(&fact.words, MAX_WORDS, "words")?,
            slice: fact.slice.map(Slice::try_from).transpose()?,
            claim: fact.claim.ok_or(absent("claim"))?.try_into()?,
            proof: ClaimProof { steps: all(fact.proof, MAX_DEPTH, "proof")? },
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
            slice: fact.slice.clone().map(Into::into),
            claim: Some((&fact.claim).into()),
            proof: fact.proof.steps.iter().map(Into::into).collect(),
            signature: wire_bytes(&fact.signature.0),
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
