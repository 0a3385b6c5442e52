//! One signature over all the answers of a slot that are not signed by themselves.

use assay_core::hash::Hash32;
use assay_core::transcript::{SlotSeal, answers_root};
use assay_proto::convert::{ConvertError, hash, signature, wire_bytes};
use assay_proto::provider::v1::{AnswerDigest, SealReply, SealRequest};

use crate::link::{Link, LinkError};
use crate::measure::Assignment;

/// Why there is no seal. It costs the provider nothing; it only means that its unsigned answers stay unsigned.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// There is nothing to seal.
    #[error("the slot has no unsigned answer")]
    Nothing,
    /// The provider refused or did not reply.
    #[error(transparent)]
    Refused(#[from] LinkError),
    /// A reply that cannot be parsed.
    #[error(transparent)]
    Malformed(#[from] ConvertError),
    /// The seal is over other answers.
    #[error("the seal covers other answers than asked for")]
    OtherAnswers,
    /// The seal is by another key.
    #[error("the seal is not by the provider's receipt key")]
    Stranger,
}

/// Asks the provider to seal the slot's unsigned answers (challenge digest, answer digest) and checks what comes back.
pub async fn seal(link: &Link, assignment: &Assignment, answers: &[(Hash32, Hash32)]) -> Result<SlotSeal, SealError> {
    let mut answers = answers.to_vec();
    answers.sort_unstable();
    answers.dedup();
    if answers.is_empty() {
        return Err(SealError::Nothing);
    }
    let reply = link.seal(request(assignment, &answers)).await?;
    check(assignment, &answers, &reply)
}

fn request(assignment: &Assignment, answers: &[(Hash32, Hash32)]) -> SealRequest {
    let digests = answers
        .iter()
        .map(|(challenge, answer)| AnswerDigest { challenge_digest: wire_bytes(&challenge.0), answer_digest: wire_bytes(&answer.0) });
    SealRequest {
        chain_id: assignment.instance.chain_id,
        settlement: wire_bytes(&assignment.instance.settlement.0),
        epoch: assignment.epoch,
        slot: assignment.slot,
        oracle_id: assignment.oracle.0,
        provider_id: assignment.provider.id.0,
        answers: digests.collect(),
    }
}

fn check(assignment: &Assignment, answers: &[(Hash32, Hash32)], reply: &SealReply) -> Result<SlotSeal, SealError> {
    let seal = SlotSeal {
        instance: assignment.instance,
        provider: assignment.provider.id,
        oracle: assignment.oracle,
        epoch: assignment.epoch,
        slot: assignment.slot,
        count: answers.len() as u64,
        answers_root: answers_root(answers),
        signature: signature(&reply.signature)?,
    };
    if reply.count != seal.count || hash(&reply.answers_root, "answers_root")? != seal.answers_root {
        return Err(SealError::OtherAnswers);
    }
    match seal.is_by(&assignment.provider.receipt_key) {
        true => Ok(seal),
        false => Err(SealError::Stranger),
    }
}
