//! Wire types to core types and back. Every wire message is hostile until it came through here.

use assay_core::challenge::{Answer, Challenge, Kind, MAX_CHUNKS, MAX_EXTRA};
use assay_core::claim::{Claim, ClaimRoot, SignedClaimSet};
use assay_core::compact::TagKey;
use assay_core::hash::Hash32;
use assay_core::ids::{Address, Instance, OracleId, ProviderId};
use assay_core::secp::Signature65;
use assay_core::slice::group::Group;
use assay_core::slice::{CHUNK_BYTES, GROUP_BYTES, MAX_SIBLINGS, Slice};
use bytes::Bytes;
use thiserror::Error;

use crate::provider::v1 as wire;

/// A field is absent or has the wrong size or value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("field {field} is {problem}")]
pub struct ConvertError {
    /// Name of the field.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: &'static str,
}

/// An error about `field`.
pub fn malformed(field: &'static str) -> ConvertError {
    ConvertError { field, problem: "malformed" }
}

/// An error about a `field` that must be there.
pub fn absent(field: &'static str) -> ConvertError {
    ConvertError { field, problem: "absent" }
}

/// Exactly 32 bytes.
pub fn hash(bytes: &[u8], field: &'static str) -> Result<Hash32, ConvertError> {
    Hash32::from_slice(bytes).ok_or(malformed(field))
}

/// Exactly 20 bytes.
pub fn address(bytes: &[u8], field: &'static str) -> Result<Address, ConvertError> {
    Address::from_slice(bytes).ok_or(malformed(field))
}

/// Exactly 65 bytes.
pub fn signature(bytes: &[u8]) -> Result<Signature65, ConvertError> {
    Signature65::from_slice(bytes).map_err(|_| malformed("signature"))
}

/// Exactly 192 bytes: v and w in the subgroup, neither of them infinity.
pub fn tag_key(bytes: &[u8]) -> Result<TagKey, ConvertError> {
    TagKey::from_bytes(bytes).map_err(|_| malformed("tag_key"))
}

/// The bytes of a hash, an address, a signature.
pub fn wire_bytes(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

impl TryFrom<wire::Claim> for Claim {
    type Error = ConvertError;

    fn try_from(claim: wire::Claim) -> Result<Self, ConvertError> {
        let tag_key_id = match claim.tag_key_id.is_empty() {
            true => Hash32::ZERO,
            false => hash(&claim.tag_key_id, "tag_key_id")?,
        };
        Ok(Self {
            object_id: hash(&claim.object_id, "object_id")?,
            replica_index: claim.replica_index,
            root: hash(&claim.root, "root")?,
            object_length: claim.object_length,
            blocks: claim.blocks,
            tag_key_id,
            owner: address(&claim.owner, "owner")?,
        })
    }
}

impl From<&Claim> for wire::Claim {
    fn from(claim: &Claim) -> Self {
        let tag_key_id = match claim.tag_key_id.is_zero() {
            true => Bytes::new(),
            false => wire_bytes(&claim.tag_key_id.0),
        };
        Self {
            object_id: wire_bytes(&claim.object_id.0),
            replica_index: claim.replica_index,
            root: wire_bytes(&claim.root.0),
            object_length: claim.object_length,
            blocks: claim.blocks,
            tag_key_id,
            owner: wire_bytes(&claim.owner.0),
        }
    }
}

impl wire::SignedClaim {
    /// A claim and its owner's signature.
    pub fn new(claim: &Claim, signature: &Signature65) -> Self {
        Self { claim: Some(claim.into()), signature: wire_bytes(&signature.0) }
    }

    /// The claim and the signature, unchecked.
    pub fn parse(self) -> Result<(Claim, Signature65), ConvertError> {
        let claim = self.claim.ok_or(absent("claim"))?.try_into()?;
        Ok((claim, signature(&self.signature)?))
    }
}

impl TryFrom<wire::SignedClaimSet> for SignedClaimSet {
    type Error = ConvertError;

    fn try_from(set: wire::SignedClaimSet) -> Result<Self, ConvertError> {
        Ok(Self {
            sequence: set.sequence,
            root: ClaimRoot { hash: hash(&set.root, "root")?, blocks: set.blocks },
            count: set.count,
            signature: signature(&set.signature)?,
        })
    }
}

impl From<&SignedClaimSet> for wire::SignedClaimSet {
    fn from(set: &SignedClaimSet) -> Self {
        Self {
            sequence: set.sequence,
            root: wire_bytes(&set.root.hash.0),
            blocks: set.root.blocks,
            count: set.count,
            signature: wire_bytes(&set.signature.0),
        }
    }
}

impl TryFrom<wire::ChallengeRequest> for Challenge {
    type Error = ConvertError;

    fn try_from(request: wire::ChallengeRequest) -> Result<Self, ConvertError> {
        Ok(Self {
            instance: Instance { chain_id: request.chain_id, settlement: address(&request.settlement, "settlement")? },
            epoch: request.epoch,
            slot: request.slot,
            oracle: OracleId(request.oracle_id),
            provider: ProviderId(request.provider_id),
            kind: u8::try_from(request.kind).ok().filter(|number| *number > 0).map(Kind).ok_or(malformed("kind"))?,
            index: request.index,
            class_id: u16::try_from(request.class_id).map_err(|_| malformed("class_id"))?,
            claim_root: hash(&request.claim_root, "claim_root")?,
            claim_blocks: request.claim_blocks,
            chunks: Some(request.chunks).filter(|chunks| *chunks <= MAX_CHUNKS).ok_or(malformed("chunks"))?,
            slices_one_in: request.slices_one_in,
            extra: Some(request.extra).filter(|extra| extra.len() <= MAX_EXTRA).ok_or(malformed("extra"))?,
            child: hash(&request.child, "child")?.0,
        })
    }
}

impl From<&Challenge> for wire::ChallengeRequest {
    fn from(challenge: &Challenge) -> Self {
        Self {
            chain_id: challenge.instance.chain_id,
            settlement: wire_bytes(&challenge.instance.settlement.0),
            epoch: challenge.epoch,
            slot: challenge.slot,
            oracle_id: challenge.oracle.0,
            provider_id: challenge.provider.0,
            kind: u32::from(challenge.kind.0),
            index: challenge.index,
            class_id: u32::from(challenge.class_id),
            claim_root: wire_bytes(&challenge.claim_root.0),
            claim_blocks: challenge.claim_blocks,
            child: wire_bytes(&challenge.child),
            chunks: challenge.chunks,
            extra: challenge.extra.clone(),
            slices_one_in: challenge.slices_one_in,
        }
    }
}

impl TryFrom<wire::Slice> for Slice {
    type Error = ConvertError;

    fn try_from(slice: wire::Slice) -> Result<Self, ConvertError> {
        let (siblings, rest) = slice.siblings.as_chunks::<32>();
        if !rest.is_empty() || siblings.len() > MAX_SIBLINGS {
            return Err(malformed("siblings"));
        }
        if slice.chunk.len() as u64 > CHUNK_BYTES {
            return Err(malformed("chunk"));
        }
        Ok(Self { chunk: slice.chunk.to_vec(), siblings: siblings.to_vec() })
    }
}

impl From<Slice> for wire::Slice {
    fn from(slice: Slice) -> Self {
        Self { chunk: slice.chunk.into(), siblings: slice.siblings.into_flattened().into() }
    }
}

impl TryFrom<wire::Group> for Group {
    type Error = ConvertError;

    fn try_from(group: wire::Group) -> Result<Self, ConvertError> {
        let (siblings, rest) = group.siblings.as_chunks::<32>();
        if !rest.is_empty() || siblings.len() > MAX_SIBLINGS {
            return Err(malformed("siblings"));
        }
        if group.data.len() as u64 > GROUP_BYTES {
            return Err(malformed("data"));
        }
        Ok(Self { bytes: group.data.into(), siblings: siblings.to_vec() })
    }
}

impl From<Group> for wire::Group {
    fn from(group: Group) -> Self {
        Self { data: group.bytes.into(), siblings: group.siblings.into_flattened().into() }
    }
}

impl wire::ChallengeReply {
    /// An answer; `signature` for kinds that are signed by themselves.
    pub fn new(answer: Answer, signature: Option<&Signature65>) -> Self {
        let samples = answer.samples.into_iter().map(|slice| wire::Sample { slice: slice.map(Into::into) });
        Self {
            payload: answer.payload.into(),
            samples: samples.collect(),
            signature: signature.map(|s| wire_bytes(&s.0)).unwrap_or_default(),
        }
    }

    /// The answer and its signature, if it has one; both unchecked.
    pub fn parse(self) -> Result<(Answer, Option<Signature65>), ConvertError> {
        if self.payload.len() > Answer::MAX_PAYLOAD_BYTES {
            return Err(malformed("payload"));
        }
        if self.samples.len() > MAX_CHUNKS as usize {
            return Err(malformed("samples"));
        }
        let samples = self.samples.into_iter().map(|sample| sample.slice.map(TryInto::try_into).transpose());
        let answer = Answer { payload: self.payload.into(), samples: samples.collect::<Result<_, _>>()? };
        let signature = match self.signature.is_empty() {
            true => None,
            false => Some(signature(&self.signature)?),
        };
        Ok((answer, signature))
    }
}
