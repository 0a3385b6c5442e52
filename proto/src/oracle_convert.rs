//! The committee's wire messages to core types and back.
//!
//! What a peer sends is counted before it is decoded: an empty message costs two bytes on the wire and hundreds in memory, so that a
//! small request could otherwise take gigabytes. Decoded values are parsed, not verified: signatures are points, but nobody's yet.

use assay_core::bls::Signature;
use assay_core::claim::{ClaimProof, ClaimRoot, MAX_DEPTH, ProofStep};
use assay_core::epoch::{Basis, BitVote, Proposal, ReportSignature, SignedBitVote, Wish};
use assay_core::hash::Hash32;
use assay_core::ids::{OracleId, ProviderId};
use assay_core::challenge::Kind;
use assay_core::observation::{Commit, Counts, Fact, Observation, Reveal, SaltedObservation, Seeds, SignedCommit, Witness};
use assay_core::report::{Certificate, Report};
use assay_core::secp::Signature65;
use assay_core::slice::Slice;
use bytes::Bytes;
use prost::Message as _;

use crate::convert::{ConvertError, absent, address, hash, malformed, wire_bytes};
use crate::oracle::v1 as wire;

/// The largest envelope, reveal or outcome that is sent or read.
pub const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;
/// The most members of a committee: the signer bitmap's bits.
pub const MAX_MEMBERS: usize = 256;
/// Two commits of one oracle are kept: the second proves that it equivocated.
pub const MAX_COMMITS: usize = 2 * MAX_MEMBERS;
/// The most observations of one reveal.
pub const MAX_OBSERVATIONS: usize = 1_000_000;
/// The most facts of one reveal: four of each of 4,096 providers. Together they are limited by [`MAX_MESSAGE_BYTES`] alone, so that
/// no number of faulty providers makes an honest reveal unacceptable.
pub const MAX_FACTS: usize = 4 * 4_096;
/// One fact, encoded.
pub const MAX_FACT_BYTES: usize = 256 * 1024;
/// No fact is shorter: its hashes, its addresses and its signature alone are longer.
const MIN_FACT_BYTES: usize = 256;
/// The most challenges of one reveal that struck out: one of each provider.
pub const MAX_STRUCK: usize = 4_096;
/// The most kinds of challenges.
const MAX_KINDS: usize = 64;
/// The most grounds, and the most readings, of one kind.
const MAX_VALUES: u64 = 16;
/// The most slots of an epoch.
pub const MAX_SLOTS: usize = 4_096;
/// The most words of one fact.
const MAX_WORDS: usize = 64;

/// A statement of the committee protocol, as it comes from anybody: parsed, not verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// A commit.
    Commit(SignedCommit),
    /// A reveal.
    Reveal(Box<Reveal>),
    /// A bit-vote.
    BitVote(SignedBitVote),
    /// A leader's proposal.
    Proposal(Box<Proposal>),
    /// A signature under a report.
    Signature(ReportSignature),
    /// A wish for a later view.
    Wish(Wish),
    /// A certificate.
    Certificate(Box<Certificate>),
}

/// An input in the node's own log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LogEntry {
    /// A statement, our own included.
    Received(Message),
    /// Our own measurements and the commit to them.
    Own(Box<Reveal>, Commit),
}

impl Message {
    /// Reads an encoded `Envelope`.
    pub fn decode(bytes: &[u8]) -> Result<Self, ConvertError> {
        shape::check(bytes, &shape::ENVELOPE)?;
        wire::Envelope::decode(bytes).map_err(|_| malformed("envelope"))?.try_into()
    }

    /// The one encoding of this statement.
    pub fn encode(&self) -> Bytes {
        wire::Envelope::from(self).encode_to_vec().into()
    }

    /// The epoch it is about.
    pub fn epoch(&self) -> u64 {
        match self {
            Self::Commit(signed) => signed.commit.epoch,
            Self::Reveal(reveal) => reveal.epoch,
            Self::BitVote(signed) => signed.vote.epoch,
            Self::Proposal(proposal) => proposal.epoch,
            Self::Signature(signed) => signed.epoch,
            Self::Wish(wish) => wish.epoch,
            Self::Certificate(certificate) => certificate.report.epoch,
        }
    }

    /// Who states it; none for a certificate, which is the committee's.
    pub fn oracle(&self) -> Option<OracleId> {
        match self {
            Self::Commit(signed) => Some(signed.commit.oracle),
            Self::Reveal(reveal) => Some(reveal.oracle),
            Self::BitVote(signed) => Some(signed.vote.oracle),
            Self::Proposal(proposal) => Some(proposal.leader),
            Self::Signature(signed) => Some(signed.oracle),
            Self::Wish(wish) => Some(wish.oracle),
            Self::Certificate(_) => None,
        }
    }

    /// Its name in a log.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Commit(_) => "commit",
            Self::Reveal(_) => "reveal",
            Self::BitVote(_) => "bit-vote",
            Self::Proposal(_) => "proposal",
            Self::Signature(_) => "report signature",
            Self::Wish(_) => "wish",
            Self::Certificate(_) => "certificate",
        }
    }
}

impl LogEntry {
    /// Reads an encoded `LogEntry`.
    pub fn decode(bytes: &[u8]) -> Result<Self, ConvertError> {
        use wire::log_entry::Entry;
        shape::check(bytes, &shape::LOG_ENTRY)?;
        let entry = wire::LogEntry::decode(bytes).map_err(|_| malformed("log_entry"))?;
        match entry.entry.ok_or(absent("entry"))? {
            Entry::Received(envelope) => Ok(Self::Received(envelope.try_into()?)),
            Entry::Own(own) => {
                let reveal = own.reveal.ok_or(absent("reveal"))?.try_into()?;
                Ok(Self::Own(Box::new(reveal), own.commit.ok_or(absent("commit"))?.try_into()?))
            }
        }
    }

    /// The one encoding of this entry.
    pub fn encode(&self) -> Bytes {
        use wire::log_entry::Entry;
        let entry = match self {
            Self::Received(message) => Entry::Received(message.into()),
            Self::Own(reveal, commit) => {
                Entry::Own(wire::OwnObservation { reveal: Some(reveal.as_ref().into()), commit: Some(commit.into()) })
            }
        };
        wire::LogEntry { entry: Some(entry) }.encode_to_vec().into()
    }
}

/// Reads an encoded `Reveal`.
pub fn decode_reveal(bytes: &[u8]) -> Result<Reveal, ConvertError> {
    shape::check(bytes, &shape::REVEAL)?;
    wire::Reveal::decode(bytes).map_err(|_| malformed("reveal"))?.try_into()
}

/// The one encoding of a reveal.
pub fn encode_reveal(reveal: &Reveal) -> Bytes {
    wire::Reveal::from(reveal).encode_to_vec().into()
}

/// Reads an encoded `Certificate`, as the store keeps it.
pub fn decode_certificate(bytes: &[u8]) -> Result<Certificate, ConvertError> {
    wire::Certificate::decode(bytes).map_err(|_| malformed("certificate"))?.try_into()
}

/// The one encoding of a certificate.
pub fn encode_certificate(certificate: &Certificate) -> Bytes {
    wire::Certificate::from(certificate).encode_to_vec().into()
}

/// Walks encoded protobuf without taking memory and limits how many messages it holds.
mod shape {
    use std::ops::RangeInclusive;

    use super::{ConvertError, MAX_FACT_BYTES, MAX_MESSAGE_BYTES, MIN_FACT_BYTES, malformed};

    /// The fields of a message that are messages themselves, and how many bytes each of these may have.
    pub(super) struct Shape(&'static [(u64, &'static Shape)], RangeInclusive<usize>);

    const fn shape(fields: &'static [(u64, &'static Shape)]) -> Shape {
        Shape(fields, 0..=MAX_MESSAGE_BYTES)
    }

    const LEAF: Shape = shape(&[]);
    const SIGNED_COMMIT: Shape = shape(&[(1, &LEAF)]);
    /// A decoded fact takes hundreds of bytes, however few it had on the wire.
    const FACT: Shape = Shape(&[(1, &LEAF), (4, &LEAF), (5, &LEAF), (6, &LEAF)], MIN_FACT_BYTES..=MAX_FACT_BYTES);
    const CHALLENGE: Shape = Shape(&[], 96..=512);
    pub(super) const REVEAL: Shape = shape(&[(3, &LEAF), (4, &LEAF), (6, &FACT), (7, &CHALLENGE)]);
    const BIT_VOTE: Shape = shape(&[(3, &LEAF)]);
    const SIGNED_BIT_VOTE: Shape = shape(&[(1, &BIT_VOTE)]);
    const PROPOSAL: Shape = shape(&[(4, &SIGNED_COMMIT), (5, &SIGNED_BIT_VOTE)]);
    const CERTIFICATE: Shape = shape(&[(1, &LEAF)]);
    pub(super) const ENVELOPE: Shape =
        shape(&[(1, &SIGNED_COMMIT), (2, &REVEAL), (3, &SIGNED_BIT_VOTE), (4, &PROPOSAL), (5, &LEAF), (6, &LEAF), (7, &CERTIFICATE)]);
    const OWN: Shape = shape(&[(1, &REVEAL), (2, &LEAF)]);
    pub(super) const LOG_ENTRY: Shape = shape(&[(1, &ENVELOPE), (2, &OWN)]);

    /// Every message that honest nodes send in numbers carries a hash or a signature.
    const LEAST_BYTES_EACH: usize = 32;
    const FREE: usize = 64;

    /// Refuses what is too long, is no protobuf, or holds more messages than its length pays for.
    pub(super) fn check(bytes: &[u8], shape: &Shape) -> Result<(), ConvertError> {
        if bytes.len() > MAX_MESSAGE_BYTES {
            return Err(ConvertError { field: "envelope", problem: "too long" });
        }
        let mut left = FREE + bytes.len() / LEAST_BYTES_EACH;
        walk(bytes, shape, &mut left)
    }

    fn walk(mut bytes: &[u8], shape: &Shape, left: &mut usize) -> Result<(), ConvertError> {
        while !bytes.is_empty() {
            let key = varint(&mut bytes)?;
            match key & 7 {
                0 => drop(varint(&mut bytes)?),
                1 => drop(take(&mut bytes, 8)?),
                5 => drop(take(&mut bytes, 4)?),
                2 => {
                    let length = varint(&mut bytes)?;
                    let inner = take(&mut bytes, length)?;
                    if let Some((_, shape)) = shape.0.iter().find(|(field, _)| *field == key >> 3) {
                        *left =
                            left.checked_sub(1).ok_or(ConvertError { field: "envelope", problem: "too many messages for its length" })?;
                        if !shape.1.contains(&inner.len()) {
                            return Err(ConvertError { field: "facts", problem: "one of them too short or too long" });
                        }
                        walk(inner, shape, left)?;
                    }
                }
                _ => return Err(malformed("envelope")),
            }
        }
        Ok(())
    }

    fn take<'a>(bytes: &mut &'a [u8], length: u64) -> Result<&'a [u8], ConvertError> {
        let length = usize::try_from(length).map_err(|_| malformed("envelope"))?;
        let (taken, rest) = bytes.split_at_checked(length).ok_or(malformed("envelope"))?;
        *bytes = rest;
        Ok(taken)
    }

    fn varint(bytes: &mut &[u8]) -> Result<u64, ConvertError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = bytes.split_first().ok_or(malformed("envelope"))?;
            *bytes = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(malformed("envelope"))
    }
}

fn bls(bytes: &[u8], field: &'static str) -> Result<Signature, ConvertError> {
    Signature::from_slice(bytes).map_err(|_| malformed(field))
}

fn bls_bytes(signature: &Signature) -> Bytes {
    wire_bytes(&signature.to_compressed())
}

fn amount(bytes: &[u8], field: &'static str) -> Result<u128, ConvertError> {
    bytes.try_into().map(u128::from_be_bytes).map_err(|_| malformed(field))
}

fn amount_bytes(amount: u128) -> Bytes {
    wire_bytes(&amount.to_be_bytes())
}

fn at_most<T>(list: &[T], most: usize, field: &'static str) -> Result<(), ConvertError> {
    match list.len() <= most {
        true => Ok(()),
        false => Err(ConvertError { field, problem: "too long" }),
    }
}

/// `N`-byte values, concatenated.
fn concatenated<const N: usize>(bytes: &[u8], most: usize, field: &'static str) -> Result<Vec<[u8; N]>, ConvertError> {
    let (values, rest) = bytes.as_chunks::<N>();
    at_most(values, most, field)?;
    match rest.is_empty() {
        true => Ok(values.to_vec()),
        false => Err(malformed(field)),
    }
}

fn hashes(bytes: &[u8], most: usize, field: &'static str) -> Result<Vec<Hash32>, ConvertError> {
    Ok(concatenated::<32>(bytes, most, field)?.into_iter().map(Hash32).collect())
}

fn hash_bytes(hashes: &[Hash32]) -> Bytes {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

fn all<W, C: TryFrom<W, Error = ConvertError>>(list: Vec<W>, most: usize, field: &'static str) -> Result<Vec<C>, ConvertError> {
    at_most(&list, most, field)?;
    list.into_iter().map(TryInto::try_into).collect()
}

impl TryFrom<wire::Envelope> for Message {
    type Error = ConvertError;

    fn try_from(envelope: wire::Envelope) -> Result<Self, ConvertError> {
        use wire::envelope::Body;
        Ok(match envelope.body.ok_or(absent("body"))? {
            Body::Commit(commit) => Self::Commit(commit.try_into()?),
            Body::Reveal(reveal) => Self::Reveal(Box::new(reveal.try_into()?)),
            Body::BitVote(vote) => Self::BitVote(vote.try_into()?),
            Body::Proposal(proposal) => Self::Proposal(Box::new(proposal.try_into()?)),
            Body::ReportSignature(signature) => Self::Signature(signature.try_into()?),
            Body::Wish(wish) => Self::Wish(wish.try_into()?),
            Body::Certificate(certificate) => Self::Certificate(Box::new(certificate.try_into()?)),
        })
    }
}

impl From<&Message> for wire::Envelope {
    fn from(message: &Message) -> Self {
        use wire::envelope::Body;
        let body = match message {
            Message::Commit(commit) => Body::Commit(commit.into()),
            Message::Reveal(reveal) => Body::Reveal(reveal.as_ref().into()),
            Message::BitVote(vote) => Body::BitVote(vote.into()),
            Message::Proposal(proposal) => Body::Proposal(proposal.as_ref().into()),
            Message::Signature(signature) => Body::ReportSignature(signature.into()),
            Message::Wish(wish) => Body::Wish(wish.into()),
            Message::Certificate(certificate) => Body::Certificate(certificate.as_ref().into()),
        };
        Self { body: Some(body) }
    }
}

impl TryFrom<wire::Commit> for Commit {
    type Error = ConvertError;

    fn try_from(commit: wire::Commit) -> Result<Self, ConvertError> {
        Ok(Self {
            epoch: commit.epoch,
            oracle: OracleId(commit.oracle_id),
            seeds: hash(&commit.seeds, "seeds")?,
            secure: commit.secure,
            root: hash(&commit.root, "root")?,
            leaf_count: commit.leaf_count,
            log_head: hash(&commit.log_head, "log_head")?,
        })
    }
}

impl From<&Commit> for wire::Commit {
    fn from(commit: &Commit) -> Self {
        Self {
            epoch: commit.epoch,
            oracle_id: commit.oracle.0,
            seeds: wire_bytes(&commit.seeds.0),
            secure: commit.secure,
            root: wire_bytes(&commit.root.0),
            leaf_count: commit.leaf_count,
            log_head: wire_bytes(&commit.log_head.0),
        }
    }
}

impl TryFrom<wire::SignedCommit> for SignedCommit {
    type Error = ConvertError;

    fn try_from(signed: wire::SignedCommit) -> Result<Self, ConvertError> {
        Ok(Self { commit: signed.commit.ok_or(absent("commit"))?.try_into()?, signature: bls(&signed.signature, "commit.signature")? })
    }
}

impl From<&SignedCommit> for wire::SignedCommit {
    fn from(signed: &SignedCommit) -> Self {
        Self { commit: Some((&signed.commit).into()), signature: bls_bytes(&signed.signature) }
    }
}

impl TryFrom<wire::Seeds> for Seeds {
    type Error = ConvertError;

    fn try_from(seeds: wire::Seeds) -> Result<Self, ConvertError> {
        Ok(Self { epoch: hash(&seeds.epoch, "seeds.epoch")?, slots: hashes(&seeds.slots, MAX_SLOTS, "seeds.slots")?, secure: seeds.secure })
    }
}

impl From<&Seeds> for wire::Seeds {
    fn from(seeds: &Seeds) -> Self {
        Self { epoch: wire_bytes(&seeds.epoch.0), slots: hash_bytes(&seeds.slots), secure: seeds.secure }
    }
}

impl TryFrom<wire::Observation> for SaltedObservation {
    type Error = ConvertError;

    fn try_from(wire: wire::Observation) -> Result<Self, ConvertError> {
        let observation = Observation {
            epoch: wire.epoch,
            provider: ProviderId(wire.provider_id),
            oracle: OracleId(wire.oracle_id),
            counts: counts::read(&wire.counts)?,
            witness: Witness::from_parts(wire.witness, hash_or_zero(&wire.witnessed, "witnessed")?).ok_or(malformed("witness"))?,
            struck: hash_or_zero(&wire.struck, "struck")?,
            evidence_root: hash(&wire.evidence_root, "evidence_root")?,
            facts_root: hash(&wire.facts_root, "facts_root")?,
        };
        Ok(Self { observation, salt: hash(&wire.salt, "salt")? })
    }
}

impl From<&SaltedObservation> for wire::Observation {
    fn from(salted: &SaltedObservation) -> Self {
        let observation = &salted.observation;
        let (witness, witnessed) = observation.witness.parts();
        Self {
            epoch: observation.epoch,
            provider_id: observation.provider.0,
            oracle_id: observation.oracle.0,
            counts: counts::write(&observation.counts),
            witness: u32::from(witness),
            witnessed: bytes_unless_zero(&witnessed),
            struck: bytes_unless_zero(&observation.struck),
            evidence_root: wire_bytes(&observation.evidence_root.0),
            facts_root: wire_bytes(&observation.facts_root.0),
            salt: wire_bytes(&salted.salt.0),
        }
    }
}

/// Exactly 32 bytes, or none for the zero hash; zero bytes are refused, so that there is one encoding.
fn hash_or_zero(bytes: &[u8], field: &'static str) -> Result<Hash32, ConvertError> {
    match bytes.is_empty() {
        true => Ok(Hash32::ZERO),
        false => hash(bytes, field).and_then(|hash| if hash.is_zero() { Err(malformed(field)) } else { Ok(hash) }),
    }
}

fn bytes_unless_zero(hash: &Hash32) -> Bytes {
    match hash.is_zero() {
        true => Bytes::new(),
        false => wire_bytes(&hash.0),
    }
}

/// Counts as varints in one byte string: a list of small messages would cost a receiver many times its bytes.
mod counts {
    use super::{Bytes, ConvertError, Counts, Kind, MAX_KINDS, MAX_VALUES, malformed};

    pub(super) fn write(all: &[Counts]) -> Bytes {
        let mut bytes = Vec::new();
        let mut put = |value: u64| prost::encoding::encode_varint(value, &mut bytes);
        for counts in all {
            [u64::from(counts.kind.0), counts.scheduled, counts.counted].into_iter().for_each(&mut put);
            for list in [&counts.bad, &counts.readings] {
                put(list.len() as u64);
                list.iter().copied().for_each(&mut put);
            }
        }
        bytes.into()
    }

    pub(super) fn read(mut bytes: &[u8]) -> Result<Vec<Counts>, ConvertError> {
        let mut all = Vec::new();
        while !bytes.is_empty() {
            if all.len() == MAX_KINDS {
                return Err(malformed("counts"));
            }
            let kind = u8::try_from(take(&mut bytes)?).map_err(|_| malformed("counts"))?;
            let (scheduled, counted) = (take(&mut bytes)?, take(&mut bytes)?);
            let (bad, readings) = (list(&mut bytes)?, list(&mut bytes)?);
            all.push(Counts { kind: Kind(kind), scheduled, counted, bad, readings });
        }
        Ok(all)
    }

    fn list(bytes: &mut &[u8]) -> Result<Vec<u64>, ConvertError> {
        match take(bytes)? {
            length if length <= MAX_VALUES => (0..length).map(|_| take(bytes)).collect(),
            _ => Err(malformed("counts")),
        }
    }

    /// A varint in its shortest form, so that the same counts have one encoding.
    fn take(bytes: &mut &[u8]) -> Result<u64, ConvertError> {
        let before = bytes.len();
        let value = prost::encoding::decode_varint(bytes).map_err(|_| malformed("counts"))?;
        match before - bytes.len() == prost::encoding::encoded_len_varint(value) {
            true => Ok(value),
            false => Err(malformed("counts")),
        }
    }
}

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

impl TryFrom<wire::SignedBitVote> for SignedBitVote {
    type Error = ConvertError;

    fn try_from(signed: wire::SignedBitVote) -> Result<Self, ConvertError> {
        let vote = signed.vote.ok_or(absent("vote"))?;
        at_most(&vote.held, MAX_COMMITS, "held")?;
        let held = vote.held.iter().map(|held| Ok((OracleId(held.oracle_id), hash(&held.commit_digest, "commit_digest")?)));
        Ok(Self {
            vote: BitVote { epoch: vote.epoch, oracle: OracleId(vote.oracle_id), held: held.collect::<Result<_, _>>()? },
            signature: bls(&signed.signature, "bit_vote.signature")?,
        })
    }
}

impl From<&SignedBitVote> for wire::SignedBitVote {
    fn from(signed: &SignedBitVote) -> Self {
        let held = signed.vote.held.iter();
        let held = held.map(|(oracle, digest)| wire::HeldCommit { oracle_id: oracle.0, commit_digest: wire_bytes(&digest.0) });
        let vote = wire::BitVote { epoch: signed.vote.epoch, oracle_id: signed.vote.oracle.0, held: held.collect() };
        Self { vote: Some(vote), signature: bls_bytes(&signed.signature) }
    }
}

impl TryFrom<wire::Proposal> for Proposal {
    type Error = ConvertError;

    fn try_from(proposal: wire::Proposal) -> Result<Self, ConvertError> {
        Ok(Self {
            epoch: proposal.epoch,
            view: proposal.view,
            leader: OracleId(proposal.leader),
            basis: Basis {
                commits: all(proposal.commits, MAX_COMMITS, "commits")?,
                bit_votes: all(proposal.bit_votes, MAX_MEMBERS, "bit_votes")?,
            },
            report_digest: hash(&proposal.report_digest, "report_digest")?,
            signature: bls(&proposal.signature, "proposal.signature")?,
        })
    }
}

impl From<&Proposal> for wire::Proposal {
    fn from(proposal: &Proposal) -> Self {
        Self {
            epoch: proposal.epoch,
            view: proposal.view,
            leader: proposal.leader.0,
            commits: proposal.basis.commits.iter().map(Into::into).collect(),
            bit_votes: proposal.basis.bit_votes.iter().map(Into::into).collect(),
            report_digest: wire_bytes(&proposal.report_digest.0),
            signature: bls_bytes(&proposal.signature),
        }
    }
}

impl TryFrom<wire::ReportSignature> for ReportSignature {
    type Error = ConvertError;

    fn try_from(signed: wire::ReportSignature) -> Result<Self, ConvertError> {
        Ok(Self {
            epoch: signed.epoch,
            view: signed.view,
            oracle: OracleId(signed.oracle_id),
            digest: hash(&signed.digest, "digest")?,
            signature: bls(&signed.signature, "report_signature.signature")?,
        })
    }
}

impl From<&ReportSignature> for wire::ReportSignature {
    fn from(signed: &ReportSignature) -> Self {
        Self {
            epoch: signed.epoch,
            view: signed.view,
            oracle_id: signed.oracle.0,
            digest: wire_bytes(&signed.digest.0),
            signature: bls_bytes(&signed.signature),
        }
    }
}

impl TryFrom<wire::Wish> for Wish {
    type Error = ConvertError;

    fn try_from(wish: wire::Wish) -> Result<Self, ConvertError> {
        let signature = bls(&wish.signature, "wish.signature")?;
        Ok(Self { epoch: wish.epoch, view: wish.view, oracle: OracleId(wish.oracle_id), signature })
    }
}

impl From<&Wish> for wire::Wish {
    fn from(wish: &Wish) -> Self {
        Self { epoch: wish.epoch, view: wish.view, oracle_id: wish.oracle.0, signature: bls_bytes(&wish.signature) }
    }
}

impl TryFrom<wire::Report> for Report {
    type Error = ConvertError;

    fn try_from(report: wire::Report) -> Result<Self, ConvertError> {
        Ok(Self {
            chain_id: report.chain_id,
            settlement: address(&report.settlement, "settlement")?,
            set_epoch: report.set_epoch,
            epoch: report.epoch,
            view: report.view,
            parent_digest: hash(&report.parent_digest, "parent_digest")?,
            ref_block: report.ref_block,
            valid_until: report.valid_until,
            drand_round: report.drand_round,
            seed_secure: report.seed_secure,
            params_hash: hash(&report.params_hash, "params_hash")?,
            bit_votes_root: hash(&report.bit_votes_root, "bit_votes_root")?,
            obs_root: hash(&report.obs_root, "obs_root")?,
            result_root: hash(&report.result_root, "result_root")?,
            reward_root: hash(&report.reward_root, "reward_root")?,
            slash_root: hash(&report.slash_root, "slash_root")?,
            reward_total: amount(&report.reward_total, "reward_total")?,
            slash_total: amount(&report.slash_total, "slash_total")?,
            log_heads_root: hash(&report.log_heads_root, "log_heads_root")?,
            data_digest: hash(&report.data_digest, "data_digest")?,
        })
    }
}

impl From<&Report> for wire::Report {
    fn from(report: &Report) -> Self {
        Self {
            chain_id: report.chain_id,
            settlement: wire_bytes(&report.settlement.0),
            set_epoch: report.set_epoch,
            epoch: report.epoch,
            view: report.view,
            parent_digest: wire_bytes(&report.parent_digest.0),
            ref_block: report.ref_block,
            valid_until: report.valid_until,
            drand_round: report.drand_round,
            seed_secure: report.seed_secure,
            params_hash: wire_bytes(&report.params_hash.0),
            bit_votes_root: wire_bytes(&report.bit_votes_root.0),
            obs_root: wire_bytes(&report.obs_root.0),
            result_root: wire_bytes(&report.result_root.0),
            reward_root: wire_bytes(&report.reward_root.0),
            slash_root: wire_bytes(&report.slash_root.0),
            reward_total: amount_bytes(report.reward_total),
            slash_total: amount_bytes(report.slash_total),
            log_heads_root: wire_bytes(&report.log_heads_root.0),
            data_digest: wire_bytes(&report.data_digest.0),
        }
    }
}

impl TryFrom<wire::Certificate> for Certificate {
    type Error = ConvertError;

    fn try_from(certificate: wire::Certificate) -> Result<Self, ConvertError> {
        Ok(Self {
            report: certificate.report.ok_or(absent("report"))?.try_into()?,
            signers: hash(&certificate.signers, "signers")?.0,
            signature: bls(&certificate.signature, "certificate.signature")?,
        })
    }
}

impl From<&Certificate> for wire::Certificate {
    fn from(certificate: &Certificate) -> Self {
        Self {
            report: Some((&certificate.report).into()),
            signers: wire_bytes(&certificate.signers),
            signature: bls_bytes(&certificate.signature),
        }
    }
}

#[cfg(test)]
mod tests {
    use assay_core::bls::{Domain, SecretKey};
    use assay_core::challenge::{Challenge, Kind};
    use assay_core::claim::Claim;
    use assay_core::ids::{Address, Instance};

    use super::*;

    /// Values as a property test draws them, from a fixed seed.
    struct Draw(u64);

    impl Draw {
        fn word(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        }

        /// Small, large and extreme numbers.
        fn number(&mut self) -> u64 {
            match self.word() % 4 {
                0 => 0,
                1 => self.word() % 200,
                2 => self.word(),
                _ => u64::MAX,
            }
        }

        fn below(&mut self, bound: usize) -> usize {
            (self.word() % bound as u64) as usize
        }

        fn coin(&mut self) -> bool {
            self.word().is_multiple_of(2)
        }

        fn bytes(&mut self, length: usize) -> Vec<u8> {
            (0..length).map(|_| self.word() as u8).collect()
        }

        fn hash(&mut self) -> Hash32 {
            match self.word() % 8 {
                0 => Hash32::ZERO,
                _ => Hash32::from_slice(&self.bytes(32)).unwrap(),
            }
        }

        fn address(&mut self) -> Address {
            Address::from_slice(&self.bytes(20)).unwrap()
        }

        fn signature(&mut self) -> Signature {
            let key = SecretKey::key_gen(&[self.word() as u8; 32]).unwrap();
            key.sign(Domain::Commit, &Hash32([self.word() as u8; 32]))
        }

        fn commit(&mut self) -> Commit {
            Commit {
                epoch: self.number(),
                oracle: OracleId(self.number()),
                seeds: self.hash(),
                secure: self.coin(),
                root: self.hash(),
                leaf_count: self.word() as u32,
                log_head: self.hash(),
            }
        }

        fn signed_commit(&mut self) -> SignedCommit {
            SignedCommit { commit: self.commit(), signature: self.signature() }
        }

        fn observation(&mut self) -> SaltedObservation {
            let mut observation = Observation::empty(self.number(), ProviderId(self.number()), OracleId(self.number()));
            observation.availability_scheduled = self.number();
            observation.availability = Tally { counted: self.number(), bad: self.number() };
            observation.latency_scheduled = self.number();
            observation.latency_counted = self.number();
            (observation.over_t50, observation.over_t95, observation.over_t99) = (self.number(), self.number(), self.number());
            (observation.p50_us, observation.p95_us) = (self.number(), self.number());
            observation.storage_scheduled = self.number();
            (observation.storage_valid, observation.storage_invalid) = (self.number(), self.number());
            (observation.storage_missing, observation.storage_silent) = (self.number(), self.number());
            observation.storage_oracle_error = self.number();
            (observation.evidence_root, observation.facts_root) = (self.hash(), self.hash());
            SaltedObservation { observation, salt: self.hash() }
        }

        fn fact(&mut self) -> Fact {
            let slice = self.coin().then(|| {
                let siblings = (0..self.below(54)).map(|_| self.hash().0).collect();
                Slice { chunk: self.bytes(1024), siblings }
            });
            let steps = (0..self.below(20))
                .map(|_| ProofStep { sibling_is_left: self.coin(), sibling: ClaimRoot { hash: self.hash(), blocks: self.number() } })
                .collect();
            Fact {
                challenge: Challenge {
                    instance: Instance { chain_id: self.number(), settlement: self.address() },
                    epoch: self.number(),
                    slot: self.word() as u32,
                    oracle: OracleId(self.number()),
                    provider: ProviderId(self.number()),
                    kind: Kind::Storage,
                    index: self.word() as u32,
                    class_id: self.word() as u16,
                    claim_root: self.hash(),
                    claim_blocks: self.number(),
                    child: self.hash().0,
                },
                position: self.word() as u32,
                words: (0..30).map(|_| self.hash()).collect(),
                slice,
                claim: Claim {
                    object_id: self.hash(),
                    replica_index: self.number(),
                    root: self.hash(),
                    object_length: self.number(),
                    blocks: self.number(),
                    tag_key_id: self.hash(),
                    owner: self.address(),
                },
                proof: ClaimProof { steps },
                signature: Signature65::from_slice(&self.bytes(65)).unwrap(),
            }
        }

        fn reveal(&mut self) -> Reveal {
            let slots = self.below(6);
            Reveal {
                epoch: self.number(),
                oracle: OracleId(self.number()),
                seeds: Seeds { epoch: self.hash(), slots: (0..slots).map(|_| self.hash()).collect(), secure: self.coin() },
                observations: (0..self.below(9)).map(|_| self.observation()).collect(),
                vrfs: (0..slots).map(|_| self.signature()).collect(),
                facts: (0..self.below(3)).map(|_| self.fact()).collect(),
            }
        }

        fn bit_vote(&mut self) -> SignedBitVote {
            let held = (0..self.below(9)).map(|_| (OracleId(self.number()), self.hash())).collect();
            let vote = BitVote { epoch: self.number(), oracle: OracleId(self.number()), held };
            SignedBitVote { vote, signature: self.signature() }
        }

        fn report(&mut self) -> Report {
            Report {
                chain_id: self.number(),
                settlement: self.address(),
                set_epoch: self.number(),
                epoch: self.number(),
                view: self.number(),
                parent_digest: self.hash(),
                ref_block: self.number(),
                valid_until: self.number(),
                drand_round: self.number(),
                seed_secure: self.coin(),
                params_hash: self.hash(),
                bit_votes_root: self.hash(),
                obs_root: self.hash(),
                result_root: self.hash(),
                reward_root: self.hash(),
                slash_root: self.hash(),
                reward_total: u128::from(self.number()) << 64 | u128::from(self.number()),
                slash_total: u128::from(self.number()),
                log_heads_root: self.hash(),
                data_digest: self.hash(),
            }
        }

        fn message(&mut self, kind: usize) -> Message {
            match kind % 7 {
                0 => Message::Commit(self.signed_commit()),
                1 => Message::Reveal(Box::new(self.reveal())),
                2 => Message::BitVote(self.bit_vote()),
                3 => Message::Proposal(Box::new(Proposal {
                    epoch: self.number(),
                    view: self.number(),
                    leader: OracleId(self.number()),
                    basis: Basis {
                        commits: (0..self.below(5)).map(|_| self.signed_commit()).collect(),
                        bit_votes: (0..self.below(5)).map(|_| self.bit_vote()).collect(),
                    },
                    report_digest: self.hash(),
                    signature: self.signature(),
                })),
                4 => Message::Signature(ReportSignature {
                    epoch: self.number(),
                    view: self.number(),
                    oracle: OracleId(self.number()),
                    digest: self.hash(),
                    signature: self.signature(),
                }),
                5 => Message::Wish(Wish {
                    epoch: self.number(),
                    view: self.number(),
                    oracle: OracleId(self.number()),
                    signature: self.signature(),
                }),
                _ => Message::Certificate(Box::new(Certificate {
                    report: self.report(),
                    signers: self.hash().0,
                    signature: self.signature(),
                })),
            }
        }
    }

    #[test]
    fn every_message_comes_back_the_same() {
        let mut draw = Draw(1);
        for round in 0..350 {
            let message = draw.message(round);
            let bytes = message.encode();
            assert_eq!(Message::decode(&bytes).as_ref(), Ok(&message));
            let entry = LogEntry::Received(message);
            assert_eq!(LogEntry::decode(&entry.encode()), Ok(entry));
            let own = LogEntry::Own(Box::new(draw.reveal()), draw.commit());
            assert_eq!(LogEntry::decode(&own.encode()), Ok(own));
        }
    }

    #[test]
    fn reveals_and_certificates_come_back_alone() {
        let mut draw = Draw(2);
        let reveal = draw.reveal();
        assert_eq!(decode_reveal(&encode_reveal(&reveal)), Ok(reveal));
        let Message::Certificate(certificate) = draw.message(6) else { panic!() };
        assert_eq!(decode_certificate(&encode_certificate(&certificate)), Ok(*certificate));
    }

    #[test]
    fn garbage_never_panics_and_what_decodes_encodes_the_same() {
        let mut draw = Draw(3);
        let mut decoded = 0;
        for round in 0..4_000 {
            let mut bytes = match round % 4 {
                0 => {
                    let length = draw.below(400);
                    draw.bytes(length)
                }
                _ => draw.message(round / 4).encode().to_vec(),
            };
            for _ in 0..draw.below(4) {
                let at = draw.below(bytes.len().max(1));
                match (draw.below(3), bytes.get_mut(at)) {
                    (0, _) => bytes.truncate(at),
                    (1, Some(byte)) => *byte ^= 1 << draw.below(8),
                    (_, Some(byte)) => *byte = draw.word() as u8,
                    (_, None) => {}
                }
            }
            if let Ok(message) = Message::decode(&bytes) {
                decoded += 1;
                let canonical = message.encode();
                let again = Message::decode(&canonical).unwrap();
                assert_eq!((again.encode(), again), (canonical, message));
            }
            let _ = LogEntry::decode(&bytes);
            let _ = decode_reveal(&bytes);
            let _ = decode_certificate(&bytes);
        }
        assert!(decoded > 500, "only {decoded} decoded: the mutations are too strong to test anything");
    }

    fn refused(envelope: wire::envelope::Body) -> ConvertError {
        Message::decode(&wire::Envelope { body: Some(envelope) }.encode_to_vec()).unwrap_err()
    }

    #[test]
    fn an_error_names_the_field() {
        use wire::envelope::Body;
        let mut draw = Draw(4);
        let mut commit = wire::SignedCommit::from(&draw.signed_commit());
        commit.commit.as_mut().unwrap().log_head = Bytes::new();
        assert_eq!(refused(Body::Commit(commit.clone())), malformed("log_head"));
        commit.commit = None;
        assert_eq!(refused(Body::Commit(commit.clone())), absent("commit"));

        let mut commit = wire::SignedCommit::from(&draw.signed_commit());
        commit.signature = wire_bytes(&[0; 48]);
        assert_eq!(refused(Body::Commit(commit)), malformed("commit.signature"));

        let Message::Certificate(certificate) = draw.message(6) else { panic!() };
        let mut certificate = wire::Certificate::from(certificate.as_ref());
        certificate.report.as_mut().unwrap().slash_total = wire_bytes(&[0; 17]);
        assert_eq!(refused(Body::Certificate(certificate)), malformed("slash_total"));
        assert_eq!(Message::decode(&[]), Err(absent("body")));
    }

    #[test]
    fn lists_have_limits() {
        use wire::envelope::Body;
        let mut draw = Draw(5);
        let mut vote = draw.bit_vote();
        vote.vote.held = (0..=MAX_COMMITS as u64).map(|id| (OracleId(id), Hash32([1; 32]))).collect();
        assert_eq!(refused(Body::BitVote((&vote).into())).field, "held");
        vote.vote.held.pop();
        assert!(Message::decode(&Message::BitVote(vote).encode()).is_ok());

        let mut reveal = draw.reveal();
        reveal.seeds.slots = vec![Hash32::ZERO; MAX_SLOTS + 1];
        assert_eq!(refused(Body::Reveal((&reveal).into())).field, "seeds.slots");

        let mut reveal = draw.reveal();
        let smallest = Fact { words: Vec::new(), slice: None, proof: ClaimProof { steps: Vec::new() }, ..draw.fact() };
        reveal.facts = vec![smallest; MAX_FACTS + 1];
        assert_eq!(refused(Body::Reveal((&reveal).into())), ConvertError { field: "facts", problem: "too long" });
        reveal.facts.pop();
        assert!(Message::decode(&Message::Reveal(Box::new(reveal)).encode()).is_ok());

        let mut fact = draw.fact();
        fact.words = vec![Hash32::ZERO; MAX_WORDS + 1];
        let mut reveal = draw.reveal();
        reveal.facts = vec![fact];
        assert_eq!(refused(Body::Reveal((&reveal).into())).field, "words");
    }

    #[test]
    fn empty_messages_by_the_million_are_refused_before_they_are_decoded() {
        let observations = vec![wire::Observation::default(); 100_000];
        let reveal = wire::Reveal { observations, ..Default::default() };
        let error = refused(wire::envelope::Body::Reveal(reveal));
        assert_eq!(error.problem, "too many messages for its length");
        assert_eq!(Message::decode(&vec![0; MAX_MESSAGE_BYTES + 1]).unwrap_err().problem, "too long");
    }

    fn facts_refused(fact: wire::Fact, count: usize) -> bool {
        let reveal = wire::Reveal { facts: vec![fact; count], ..Default::default() };
        refused(wire::envelope::Body::Reveal(reveal)) == ConvertError { field: "facts", problem: "one of them too short or too long" }
    }

    // Defence: a fact's length is checked before it is decoded; without a lower limit, 32 bytes on the wire make a fact of hundreds
    // in memory, without an upper one, a reveal is one fact. Either removed turns this red.
    #[test]
    fn a_fact_has_a_length_that_facts_have() {
        let mut draw = Draw(7);
        let padded = |length: usize| wire::Fact { signature: vec![0; length].into(), ..Default::default() };
        assert!(facts_refused(padded(30), 10_000));
        assert!(facts_refused(padded(MIN_FACT_BYTES - 4), 1));
        assert!(!facts_refused(padded(MIN_FACT_BYTES), 1));
        assert!(!facts_refused(padded(MAX_FACT_BYTES - 4), 1));
        assert!(facts_refused(padded(MAX_FACT_BYTES), 1));

        let mut smallest = draw.fact();
        smallest.challenge = Challenge {
            instance: Instance { chain_id: 0, settlement: Address([0; 20]) },
            epoch: 0,
            slot: 0,
            oracle: OracleId(0),
            provider: ProviderId(0),
            kind: Kind::Storage,
            index: 0,
            class_id: 0,
            claim_root: Hash32::ZERO,
            claim_blocks: 0,
            child: Hash32::ZERO.0,
        };
        (smallest.position, smallest.words, smallest.slice, smallest.proof.steps) = (0, Vec::new(), None, Vec::new());
        (smallest.claim.replica_index, smallest.claim.object_length, smallest.claim.blocks) = (0, 0, 0);
        let length = wire::Fact::from(&smallest).encoded_len();
        assert!(length >= MIN_FACT_BYTES, "a fact may have {length} bytes");
        let reveal = Reveal { facts: vec![smallest], ..draw.reveal() };
        assert_eq!(decode_reveal(&encode_reveal(&reveal)), Ok(reveal));
    }

    // Defence: facts are limited one by one. Limited in sum to 256 KiB, some 40 faulty providers silence every honest oracle, and this
    // turns red.
    #[test]
    fn many_faulty_providers_do_not_silence_an_honest_reveal() {
        let mut draw = Draw(8);
        let mut reveal = draw.reveal();
        reveal.facts.clear();
        for provider in 1..=200 {
            for _ in 0..4 {
                let mut fact = draw.fact();
                fact.challenge.provider = ProviderId(provider);
                let siblings = (0..24).map(|_| draw.hash().0).collect();
                fact.slice = Some(Slice { chunk: draw.bytes(1024), siblings });
                reveal.facts.push(fact);
            }
        }
        let bytes = encode_reveal(&reveal);
        assert!(bytes.len() > 800 * 3_000 && bytes.len() < MAX_MESSAGE_BYTES, "{}", bytes.len());
        assert_eq!(decode_reveal(&bytes), Ok(reveal.clone()));
        let message = Message::Reveal(Box::new(reveal));
        assert_eq!(Message::decode(&message.encode()), Ok(message));
    }

    #[test]
    fn the_largest_honest_messages_pass() {
        let mut draw = Draw(6);
        let mut reveal = draw.reveal();
        let observation = SaltedObservation { observation: Observation::empty(1, ProviderId(1), OracleId(1)), salt: Hash32([1; 32]) };
        reveal.observations = vec![observation; 100_000];
        assert!(Message::decode(&Message::Reveal(Box::new(reveal)).encode()).is_ok());

        let held = (0..MAX_MEMBERS as u64).map(|id| (OracleId(id), Hash32([1; 32]))).collect();
        let vote = BitVote { epoch: 1, oracle: OracleId(1), held };
        let signature = draw.signature();
        let basis =
            Basis { commits: vec![draw.signed_commit(); MAX_COMMITS], bit_votes: vec![SignedBitVote { vote, signature }; MAX_MEMBERS] };
        let proposal = Proposal { epoch: 1, view: 0, leader: OracleId(1), basis, report_digest: Hash32::ZERO, signature };
        let bytes = Message::Proposal(Box::new(proposal)).encode();
        assert!(bytes.len() < MAX_MESSAGE_BYTES, "{}", bytes.len());
        assert!(Message::decode(&bytes).is_ok());
    }
}
