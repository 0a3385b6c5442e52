//! Calldata of accusations and disputes.

use alloy_primitives::{B256, U256};
use alloy_sol_types::SolCall;
use assay_contracts_bindings::{AggregationCourt, EquivocationCourt, IAggregationCourt, SignersCourt, Statements};
use assay_core::bls::{BlsError, Signature};
use assay_core::epoch::{Misbehaviour, SignedBitVote};
use assay_core::ids::Address;
use assay_core::observation::SignedCommit;
use assay_core::report::{Report, VerdictCase};
use assay_core::verdict::Verdict;

use super::{report_of, verdict_of, words};
use crate::SubmittedReport;
use crate::convert::to_alloy;

/// Proves to `EquivocationCourt` that a member signed two statements where one is allowed; `None` for what it does not take. Anyone may
/// send it, and is paid. `member` is the author's place in the committee set.
pub fn punish(set_epoch: u64, member: usize, proof: &Misbehaviour) -> Result<Option<Vec<u8>>, BlsError> {
    let member = U256::from(member);
    Ok(Some(match proof {
        Misbehaviour::Reports([first, second]) => EquivocationCourt::punishReportsCall {
            setEpoch: set_epoch,
            member,
            epoch: first.epoch,
            view_: first.view,
            firstDigest: first.digest.0.into(),
            secondDigest: second.digest.0.into(),
            signature: sum(first.signature, second.signature)?,
        }
        .abi_encode(),
        Misbehaviour::Commits(pair) => {
            let [first, second] = pair.as_ref();
            EquivocationCourt::punishCommitsCall {
                setEpoch: set_epoch,
                member,
                first: commit(first),
                second: commit(second),
                signature: sum(first.signature, second.signature)?,
            }
            .abi_encode()
        }
        Misbehaviour::BitVotes(pair) => {
            let [first, second] = pair.as_ref();
            EquivocationCourt::punishBitVotesCall {
                setEpoch: set_epoch,
                member,
                epoch: first.vote.epoch,
                firstHeld: held(first),
                secondHeld: held(second),
                signature: sum(first.signature, second.signature)?,
            }
            .abi_encode()
        }
        Misbehaviour::FalseObservation(..) => return Ok(None),
    }))
}

/// Who knows the sum of both signatures knows both, and it takes half the words.
fn sum(first: Signature, second: Signature) -> Result<alloy_primitives::Bytes, BlsError> {
    Ok(Signature::aggregate(&[first, second])?.to_eip2537().into())
}

fn commit(signed: &SignedCommit) -> Statements::Commit {
    let commit = &signed.commit;
    Statements::Commit {
        epoch: commit.epoch,
        oracleId: commit.oracle.0,
        seeds: commit.seeds.0.into(),
        secure: commit.secure,
        root: commit.root.0.into(),
        leafCount: commit.leaf_count,
        logHead: commit.log_head.0.into(),
    }
}

fn held(signed: &SignedBitVote) -> Vec<B256> {
    signed.vote.held.iter().flat_map(|(oracle, digest)| [U256::from(oracle.0).into(), digest.0.into()]).collect()
}

/// Proves to `AggregationCourt` that a verdict does not follow from its panel: the report is void. Anyone may send it. `parent_epoch` is
/// that of the report's parent, of no account for the first report.
pub fn dispute_verdict(report: &Report, parent_epoch: u64, case: &VerdictCase) -> Vec<u8> {
    let (report, case) = (report_of!(AggregationCourt, report), case_struct(case));
    AggregationCourt::disputeVerdictCall { report, parentEpoch: parent_epoch, case_: case }.abi_encode()
}

/// The same question as a view.
pub(crate) fn mismatch_of(report: &Report, case: &VerdictCase) -> AggregationCourt::mismatchOfCall {
    AggregationCourt::mismatchOfCall { report: report_of!(AggregationCourt, report), case_: case_struct(case) }
}

/// `SignersCourt.openReview`: anyone may, once the report is convicted by `court`.
pub fn open_review(report: &Report, court: &Address) -> Vec<u8> {
    SignersCourt::openReviewCall { report: report_of!(SignersCourt, report), court: to_alloy(court) }.abi_encode()
}

/// `SignersCourt.slashSigners`: anyone may, once the review is over. At most `most` signers, about 50,000 gas each.
pub fn slash_signers(submitted: &SubmittedReport, most: u64) -> Vec<u8> {
    SignersCourt::slashSignersCall {
        report: report_of!(SignersCourt, &submitted.report),
        signers: U256::from_be_bytes(submitted.signers),
        signature: submitted.signature.clone().into(),
        most: U256::from(most),
    }
    .abi_encode()
}

/// `ICourt.withdraw`: pays the sender what the court keeps for it.
pub fn withdraw_reward() -> Vec<u8> {
    SignersCourt::withdrawCall {}.abi_encode()
}

fn case_struct(case: &VerdictCase) -> IAggregationCourt::Case {
    let (parent, previous, previous_proof) = match &case.previous {
        Some((parent, previous)) => (parent, &previous.verdict, words(&previous.proof)),
        // Not looked at: anything well-formed will do.
        None => (&Report::default(), &case.judged.verdict, Vec::new()),
    };
    IAggregationCourt::Case {
        verdict: verdict_of!(AggregationCourt, &case.judged.verdict),
        verdictProof: words(&case.judged.proof),
        seats: U256::from(case.panel.seats.len()),
        present: U256::from_be_bytes(case.panel.present()),
        observations: case.panel.packed().into(),
        panelProof: words(&case.panel_proof),
        params: case.params.words().as_bytes().to_vec().into(),
        dimensions: case.judged.verdict.dimensions_bytes().into(),
        hasPrevious: case.previous.is_some(),
        parent: report_of!(AggregationCourt, parent),
        previous: verdict_of!(AggregationCourt, previous),
        previousProof: previous_proof,
    }
}
