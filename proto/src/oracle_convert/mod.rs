//! The committee's wire messages to core types and back.
//!
//! What a peer sends is counted before it is decoded: an empty message costs two bytes on the wire and hundreds in memory, so that a
//! small request could otherwise take gigabytes. Decoded values are parsed, not verified: signatures are points, but nobody's yet.

mod commit;
mod counts;
mod fields;
mod misbehaviour;
mod observation;
mod report;
mod reveal;
mod shape;
mod vote;

use assay_core::epoch::{Misbehaviour, Proposal, ReportSignature, SignedBitVote, Wish};
use assay_core::ids::OracleId;
use assay_core::observation::{Commit, Reveal, SignedCommit};
use assay_core::report::Certificate;
use bytes::Bytes;
use prost::Message as _;

use crate::convert::{ConvertError, absent, malformed};
use crate::oracle::v1 as wire;

pub use reveal::encoded_fact_bytes;

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
const MIN_FACT_BYTES: usize = 160;
/// The most challenges of one reveal that struck out: one of each provider.
pub const MAX_STRUCK: usize = 4_096;
/// The most slots of an epoch.
pub const MAX_SLOTS: usize = 4_096;

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
    /// A proof that a member broke the protocol.
    Misbehaviour(Box<Misbehaviour>),
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
            Self::Misbehaviour(proof) => proof.epoch(),
        }
    }

    /// Who states it; none for a certificate, which is the committee's, and for a proof, which is anybody's.
    pub fn oracle(&self) -> Option<OracleId> {
        match self {
            Self::Commit(signed) => Some(signed.commit.oracle),
            Self::Reveal(reveal) => Some(reveal.oracle),
            Self::BitVote(signed) => Some(signed.vote.oracle),
            Self::Proposal(proposal) => Some(proposal.leader),
            Self::Signature(signed) => Some(signed.oracle),
            Self::Wish(wish) => Some(wish.oracle),
            Self::Certificate(_) | Self::Misbehaviour(_) => None,
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
            Self::Misbehaviour(_) => "proof of misbehaviour",
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
            Body::Misbehaviour(proof) => Self::Misbehaviour(Box::new(proof.try_into()?)),
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
            Message::Misbehaviour(proof) => Body::Misbehaviour(proof.as_ref().into()),
        };
        Self { body: Some(body) }
    }
}

#[cfg(test)]
mod tests;
