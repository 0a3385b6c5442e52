//! Calldata of the transactions that nodes send, from core types.

use alloy_primitives::U256;
use alloy_sol_types::SolCall;
use assay_contracts_bindings::{ProviderRegistry, SlaSettlement};
use assay_core::bls;
use assay_core::hash::Hash32;
use assay_core::ids::{Address, ProviderId};
use assay_core::report::Report;
use assay_core::secp::Signature65;

use crate::ClaimKind;
use crate::convert::to_alloy;

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
pub fn claim(
    report: &Report,
    kind: ClaimKind,
    id: u64,
    recipient: &Address,
    cumulative: u128,
    proof: &[Hash32],
) -> Vec<u8> {
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
pub fn execute_slash(
    report: &Report,
    provider: ProviderId,
    reason: u8,
    facts_root: &Hash32,
    amount: u128,
    proof: &[Hash32],
) -> Vec<u8> {
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

/// `ProviderRegistry.publishClaims`: anyone may send it, the receipt key signed it.
pub fn publish_claims(
    provider: ProviderId,
    sequence: u64,
    root: &Hash32,
    blocks: u64,
    count: u64,
    signature: &Signature65,
) -> Vec<u8> {
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
