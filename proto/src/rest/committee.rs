//! The certified report, and the proposal that decided whose reveal counts.

use assay_core::bls::Signature;
use assay_core::epoch::{Basis, BitVote, Proposal, SignedBitVote};
use assay_core::hash::Hash32;
use assay_core::ids::OracleId;
use assay_core::observation::{Commit, SignedCommit};
use assay_core::report::{Certificate, Report};
use serde::{Deserialize, Serialize};

use super::{HexBytes, bls};
use crate::convert::{ConvertError, malformed};

/// `/v1/epochs/{e}/report`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertifiedReport {
    /// Epoch.
    pub epoch: u64,
    /// Digest of `report`.
    pub digest: Hash32,
    /// The report.
    pub report: Report,
    /// The bitmap as the contract's `uint256`, big-endian.
    pub signers: HexBytes,
    /// The sum of the signatures.
    pub signature: AggregateSignature,
    /// None until the chain finally accepted it.
    pub accepted: Option<Acceptance>,
}

/// One point in two forms.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AggregateSignature {
    /// 48 bytes, ZCash form.
    pub compressed: HexBytes,
    /// 128 bytes, as `submitReport` takes it.
    pub eip2537: HexBytes,
}

/// What the chain says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acceptance {
    /// Digest of the accepted report.
    pub digest: Hash32,
    /// Transaction.
    pub tx_hash: Hash32,
    /// Its block.
    pub block_number: u64,
    /// Gas of the transaction.
    pub gas_used: u64,
}

impl From<&Signature> for AggregateSignature {
    fn from(signature: &Signature) -> Self {
        Self { compressed: signature.to_compressed().into(), eip2537: signature.to_eip2537().into() }
    }
}

impl CertifiedReport {
    /// A certificate with what the chain says of it.
    pub fn new(certificate: &Certificate, accepted: Option<Acceptance>) -> Self {
        Self {
            epoch: certificate.report.epoch,
            digest: certificate.report.digest(),
            report: certificate.report.clone(),
            signers: certificate.signers_word().into(),
            signature: (&certificate.signature).into(),
            accepted,
        }
    }

    /// The certificate, unchecked but for the form: both forms of the signature are the same point.
    pub fn certificate(&self) -> Result<Certificate, ConvertError> {
        let signature = bls(&self.signature.compressed, "signature.compressed")?;
        if self.signature != AggregateSignature::from(&signature) {
            return Err(malformed("signature.eip2537"));
        }
        let mut signers: [u8; 32] = self.signers.array("signers")?;
        signers.reverse();
        Ok(Certificate { report: self.report.clone(), signers, signature })
    }
}

/// `/v1/epochs/{e}/proposal`: of the certified view.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProposalDocument {
    /// Epoch.
    pub epoch: u64,
    /// View.
    pub view: u64,
    /// Who proposed.
    pub leader: OracleId,
    /// Commits, ascending by (oracle, digest).
    pub commits: Vec<SignedCommitDocument>,
    /// Bit-votes, ascending by oracle.
    pub bit_votes: Vec<BitVoteDocument>,
    /// Digest of the proposed report.
    pub report_digest: Hash32,
    /// The leader's signature under it.
    pub signature: HexBytes,
}

/// A commit and its signature.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedCommitDocument {
    /// The statement.
    pub commit: Commit,
    /// By the verdict key.
    pub signature: HexBytes,
}

/// A bit-vote and its signature.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BitVoteDocument {
    /// Who votes.
    pub oracle: OracleId,
    /// What it held, ascending.
    pub held: Vec<Held>,
    /// By the verdict key.
    pub signature: HexBytes,
}

/// A commit that an oracle held in time, with its reveal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Held {
    /// Whose.
    pub oracle: OracleId,
    /// Its digest.
    pub commit_digest: Hash32,
}

impl From<&SignedCommit> for SignedCommitDocument {
    fn from(signed: &SignedCommit) -> Self {
        Self { commit: signed.commit, signature: signed.signature.to_compressed().into() }
    }
}

impl TryFrom<&SignedCommitDocument> for SignedCommit {
    type Error = ConvertError;

    fn try_from(document: &SignedCommitDocument) -> Result<Self, ConvertError> {
        Ok(Self { commit: document.commit, signature: bls(&document.signature, "commits.signature")? })
    }
}

impl From<&SignedBitVote> for BitVoteDocument {
    fn from(signed: &SignedBitVote) -> Self {
        let held = signed.vote.held.iter().map(|(oracle, commit_digest)| Held { oracle: *oracle, commit_digest: *commit_digest });
        Self { oracle: signed.vote.oracle, held: held.collect(), signature: signed.signature.to_compressed().into() }
    }
}

impl From<&Proposal> for ProposalDocument {
    fn from(proposal: &Proposal) -> Self {
        Self {
            epoch: proposal.epoch,
            view: proposal.view,
            leader: proposal.leader,
            commits: proposal.basis.commits.iter().map(Into::into).collect(),
            bit_votes: proposal.basis.bit_votes.iter().map(Into::into).collect(),
            report_digest: proposal.report_digest,
            signature: proposal.signature.to_compressed().into(),
        }
    }
}

impl TryFrom<&ProposalDocument> for Proposal {
    type Error = ConvertError;

    fn try_from(document: &ProposalDocument) -> Result<Self, ConvertError> {
        let vote = |document_vote: &BitVoteDocument| {
            let held = document_vote.held.iter().map(|held| (held.oracle, held.commit_digest)).collect();
            let vote = BitVote { epoch: document.epoch, oracle: document_vote.oracle, held };
            Ok(SignedBitVote { vote, signature: bls(&document_vote.signature, "bit_votes.signature")? })
        };
        Ok(Self {
            epoch: document.epoch,
            view: document.view,
            leader: document.leader,
            basis: Basis {
                commits: document.commits.iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
                bit_votes: document.bit_votes.iter().map(vote).collect::<Result<_, ConvertError>>()?,
            },
            report_digest: document.report_digest,
            signature: bls(&document.signature, "signature")?,
        })
    }
}
