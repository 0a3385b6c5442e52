//! Calldata of accusations.

use alloy_primitives::{B256, U256};
use alloy_sol_types::SolCall;
use assay_contracts_bindings::{EquivocationCourt, Statements};
use assay_core::bls::{BlsError, Signature};
use assay_core::epoch::{Misbehaviour, SignedBitVote};
use assay_core::observation::SignedCommit;

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
