//! Calldata of the transactions that nodes send, from core types.

mod court;
mod economy;
mod keeper;

use alloy_primitives::U256;
use alloy_sol_types::SolCall;
use assay_contracts_bindings::{ProviderRegistry, SlaSettlement};
use assay_core::bls;
use assay_core::hash::Hash32;
use assay_core::ids::{Address, ProviderId};
use assay_core::report::Report;
use assay_core::secp::Signature65;

use crate::convert::to_alloy;
use crate::{ClaimKind, LateAnswer};

pub(crate) use court::mismatch_of;
pub use court::{dispute_verdict, open_review, punish, slash_signers, withdraw_reward};
pub use economy::*;
pub use keeper::*;

/// The bindings give each contract a report type of its own.
macro_rules! report_of {
    ($contract:ident, $report:expr) => {{
        let r = $crate::calls::report_struct($report);
        $contract::Report {
            chainId: r.chainId,
            settlement: r.settlement,
            setEpoch: r.setEpoch,
            epoch: r.epoch,
            view_: r.view_,
            parentDigest: r.parentDigest,
            refBlock: r.refBlock,
            validUntil: r.validUntil,
            drandRound: r.drandRound,
            seedSecure: r.seedSecure,
            paramsHash: r.paramsHash,
            bitVotesRoot: r.bitVotesRoot,
            obsRoot: r.obsRoot,
            resultRoot: r.resultRoot,
            rewardRoot: r.rewardRoot,
            slashRoot: r.slashRoot,
            rewardTotal: r.rewardTotal,
            slashTotal: r.slashTotal,
            logHeadsRoot: r.logHeadsRoot,
            dataDigest: r.dataDigest,
        }
    }};
}

/// And a verdict type.
macro_rules! verdict_of {
    ($contract:ident, $verdict:expr) => {{
        let verdict: &Verdict = $verdict;
        $contract::Verdict {
            providerId: verdict.provider.0,
            epoch: verdict.epoch,
            outcome: verdict.outcome as u8,
            multiplierPpm: u32::try_from(verdict.multiplier_ppm).unwrap_or(u32::MAX),
            reward: U256::from(verdict.reward),
            slash: U256::from(verdict.slash),
            dimensions: verdict.dimensions_word().0.into(),
        }
    }};
}

use {report_of, verdict_of};

/// `SlaSettlement.submitReport`: `signers` is the bitmap as a big-endian word.
pub fn submit_report(report: &Report, signers: &[u8; 32], signature: &bls::Signature) -> Vec<u8> {
    SlaSettlement::submitReportCall {
        report: report_struct(report),
        signers: U256::from_be_bytes(*signers),
        signature: signature.to_eip2537().into(),
    }
    .abi_encode()
}

/// `SlaSettlement.claim`: anyone may send it, the leaf's recipient is paid.
pub fn claim(report: &Report, kind: ClaimKind, id: u64, recipient: &Address, cumulative: u128, proof: &[Hash32]) -> Vec<u8> {
    SlaSettlement::claimCall {
        report: report_struct(report),
        kind: kind.as_u8(),
        id,
        recipient: to_alloy(recipient),
        cumulative: U256::from(cumulative),
        proof: words(proof),
    }
    .abi_encode()
}

/// `SlaSettlement.executeSlash`: anyone may send it.
pub fn execute_slash(report: &Report, provider: ProviderId, reason: u8, facts_root: &Hash32, amount: u128, proof: &[Hash32]) -> Vec<u8> {
    SlaSettlement::executeSlashCall {
        report: report_struct(report),
        providerId: provider.0,
        reason,
        factsRoot: facts_root.0.into(),
        amount: U256::from(amount),
        proof: words(proof),
    }
    .abi_encode()
}

/// `SlaSettlement.rebut`: anyone may send it. `amount` and `proof` are those of the slash leaf of reason 3, in `report`.
pub fn rebut(report: &Report, provider: ProviderId, amount: u128, proof: &[Hash32], answer: &LateAnswer) -> Vec<u8> {
    SlaSettlement::rebutCall {
        report: report_struct(report),
        providerId: provider.0,
        challengeDigest: answer.challenge_digest.0.into(),
        amount: U256::from(amount),
        proof: words(proof),
        chunks: answer.chunks.clone().into(),
        siblings: answer.siblings.iter().map(|path| path.clone().into()).collect(),
        signature: answer.signature.0.into(),
    }
    .abi_encode()
}

/// `ProviderRegistry.publishClaims`: anyone may send it, the receipt key signed it.
pub fn publish_claims(provider: ProviderId, sequence: u64, root: &Hash32, blocks: u64, count: u64, signature: &Signature65) -> Vec<u8> {
    ProviderRegistry::publishClaimsCall {
        providerId: provider.0,
        sequence,
        root: root.0.into(),
        blocks,
        count,
        signature: signature.0.into(),
    }
    .abi_encode()
}

fn words(hashes: &[Hash32]) -> Vec<alloy_primitives::B256> {
    hashes.iter().map(|hash| hash.0.into()).collect()
}

pub(crate) fn report_struct(report: &Report) -> SlaSettlement::Report {
    SlaSettlement::Report {
        chainId: U256::from(report.chain_id),
        settlement: to_alloy(&report.settlement),
        setEpoch: report.set_epoch,
        epoch: report.epoch,
        view_: report.view,
        parentDigest: report.parent_digest.0.into(),
        refBlock: report.ref_block,
        validUntil: report.valid_until,
        drandRound: report.drand_round,
        seedSecure: report.seed_secure,
        paramsHash: report.params_hash.0.into(),
        bitVotesRoot: report.bit_votes_root.0.into(),
        obsRoot: report.obs_root.0.into(),
        resultRoot: report.result_root.0.into(),
        rewardRoot: report.reward_root.0.into(),
        slashRoot: report.slash_root.0.into(),
        rewardTotal: U256::from(report.reward_total),
        slashTotal: U256::from(report.slash_total),
        logHeadsRoot: report.log_heads_root.0.into(),
        dataDigest: report.data_digest.0.into(),
    }
}

#[cfg(test)]
mod tests {
    use alloy_sol_types::SolValue;

    use super::*;

    // Two encoders of one digest: core's words and alloy's ABI. A swapped or forgotten field breaks it.
    #[test]
    fn the_contracts_report_has_cores_digest() {
        let hash = |byte| Hash32([byte; 32]);
        let report = Report {
            chain_id: 1,
            settlement: Address([2; 20]),
            set_epoch: 3,
            epoch: 4,
            view: 5,
            parent_digest: hash(6),
            ref_block: 7,
            valid_until: 8,
            drand_round: 9,
            seed_secure: true,
            params_hash: hash(10),
            bit_votes_root: hash(11),
            obs_root: hash(12),
            result_root: hash(13),
            reward_root: hash(14),
            slash_root: hash(15),
            reward_total: 16,
            slash_total: 17,
            log_heads_root: hash(18),
            data_digest: hash(19),
        };
        let encoded = report_struct(&report).abi_encode();
        assert_eq!(encoded.len(), 20 * 32);
        assert_eq!(assay_core::hash::keccak([&encoded]), report.digest());
    }
}
