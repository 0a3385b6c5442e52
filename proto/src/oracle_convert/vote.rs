//! Bit-votes, proposals, signatures under reports, wishes.

use assay_core::epoch::{Basis, BitVote, Proposal, ReportSignature, SignedBitVote, Wish};
use assay_core::ids::OracleId;

use super::fields::{all, at_most, bls, bls_bytes};
use super::{MAX_COMMITS, MAX_MEMBERS};
use crate::convert::{ConvertError, absent, hash, wire_bytes};
use crate::oracle::v1 as wire;

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
