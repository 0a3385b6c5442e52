//! Events that nodes look back for.

use std::ops::RangeInclusive;

use alloy_consensus::Transaction;
use alloy_primitives::{B256, U256};
use alloy_provider::Provider;
use alloy_rpc_types_eth::{BlockNumberOrTag, Filter, Log};
use alloy_sol_types::{SolCall, SolEvent, SolValue};
use assay_contracts_bindings::{Keeper, SlaSettlement};
use assay_core::hash::Hash32;
use assay_core::report::Report;

use crate::{ChainError, Client, convert};

/// Where and at which price an epoch's report was accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReportAccepted {
    /// Digest of the report.
    pub digest: Hash32,
    /// Transaction.
    pub tx_hash: Hash32,
    /// Its block.
    pub block_number: u64,
    /// Gas that the whole transaction used.
    pub gas_used: u64,
}

/// Many RPCs search no more blocks at once.
const SPAN: usize = 5_000;

/// When a report was accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Acceptance {
    /// Epoch.
    pub epoch: u64,
    /// Digest of the report.
    pub digest: Hash32,
    /// Transaction.
    pub tx_hash: Hash32,
    /// Its block.
    pub block_number: u64,
}

/// A report as it was posted, whether or not it still stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SubmittedReport {
    /// The report.
    pub report: Report,
    /// Who signed it: the bitmap as a big-endian word.
    pub signers: [u8; 32],
    /// The aggregate, as it was posted.
    pub signature: Vec<u8>,
}

impl SubmittedReport {
    /// Places of the signers in the committee set `report.set_epoch`.
    pub fn signer_bits(&self) -> impl Iterator<Item = usize> + '_ {
        (0..256).filter(|bit| self.signers.iter().rev().nth(bit / 8).is_some_and(|byte| byte & (1 << (bit % 8)) != 0))
    }

    /// What a posting transaction says: the settlement's own call, or the keeper's.
    fn read(input: &[u8]) -> Option<Self> {
        let (report, signers, signature) = if let Ok(call) = SlaSettlement::submitReportCall::abi_decode(input) {
            (call.report, call.signers, call.signature)
        } else {
            let call = Keeper::submitReportCall::abi_decode(input).ok()?;
            (SlaSettlement::Report::abi_decode(&call.report.abi_encode()).ok()?, call.signers, call.signature)
        };
        Some(Self { report: report_from(&report)?, signers: signers.to_be_bytes(), signature: signature.to_vec() })
    }
}

/// `None` when a number is larger than any honest report has.
fn report_from(r: &SlaSettlement::Report) -> Option<Report> {
    let hash = convert::hash;
    Some(Report {
        chain_id: u64::try_from(r.chainId).ok()?,
        settlement: convert::address(r.settlement),
        set_epoch: r.setEpoch,
        epoch: r.epoch,
        view: r.view_,
        parent_digest: hash(r.parentDigest),
        ref_block: r.refBlock,
        valid_until: r.validUntil,
        drand_round: r.drandRound,
        seed_secure: r.seedSecure,
        params_hash: hash(r.paramsHash),
        bit_votes_root: hash(r.bitVotesRoot),
        obs_root: hash(r.obsRoot),
        result_root: hash(r.resultRoot),
        reward_root: hash(r.rewardRoot),
        slash_root: hash(r.slashRoot),
        reward_total: u128::try_from(r.rewardTotal).ok()?,
        slash_total: u128::try_from(r.slashTotal).ok()?,
        log_heads_root: hash(r.logHeadsRoot),
        data_digest: hash(r.dataDigest),
    })
}

impl Client {
    /// The `ReportAccepted` event of an epoch in a final block at or after `from_block`; `None` when there is none.
    pub async fn report_accepted(&self, epoch: u64, from_block: u64) -> Result<Option<ReportAccepted>, ChainError> {
        let logged = self.accepted_between(Some(epoch), from_block, BlockNumberOrTag::Finalized).await?.pop();
        let Some(acceptance) = logged else { return Ok(None) };
        let Acceptance { digest, tx_hash, block_number, .. } = acceptance;
        let receipt = self.provider().get_transaction_receipt(tx_hash.0.into()).await;
        let receipt = receipt.map_err(|error| self.rpc_error("eth_getTransactionReceipt", error))?;
        Ok(receipt.map(|receipt| ReportAccepted { digest, tx_hash, block_number, gas_used: receipt.gas_used }))
    }

    /// Every acceptance in these blocks, of one epoch or of all, in their order; also of reports that were voided since.
    pub async fn acceptances(&self, epoch: Option<u64>, blocks: RangeInclusive<u64>) -> Result<Vec<Acceptance>, ChainError> {
        let mut found = Vec::new();
        for first in blocks.clone().step_by(SPAN) {
            let last = first.saturating_add(SPAN as u64 - 1).min(*blocks.end());
            found.extend(self.accepted_between(epoch, first, last.into()).await?);
        }
        Ok(found)
    }

    async fn accepted_between(&self, epoch: Option<u64>, first: u64, last: BlockNumberOrTag) -> Result<Vec<Acceptance>, ChainError> {
        let mut filter = Filter::new()
            .address(convert::to_alloy(&self.settlement()?))
            .event_signature(SlaSettlement::ReportAccepted::SIGNATURE_HASH)
            .from_block(first)
            .to_block(last);
        if let Some(epoch) = epoch {
            filter = filter.topic1(B256::from(U256::from(epoch)));
        }
        let logs = self.provider().get_logs(&filter).await.map_err(|error| self.rpc_error("eth_getLogs", error))?;
        let read = |log: &Log| {
            let decoded =
                log.log_decode::<SlaSettlement::ReportAccepted>().map_err(|error| ChainError::bad_answer("ReportAccepted", error))?;
            let (Some(tx), Some(block_number)) = (log.transaction_hash, log.block_number) else {
                return Err(ChainError::bad_answer("ReportAccepted", "a log without transaction or block"));
            };
            let event = decoded.inner.data;
            Ok(Acceptance { epoch: event.epoch, digest: convert::hash(event.digest), tx_hash: convert::hash(tx), block_number })
        };
        logs.iter().map(read).collect()
    }

    /// The report of an acceptance, from the transaction that posted it; `None` when that came through a contract that this version does
    /// not know.
    pub async fn submitted_report(&self, acceptance: &Acceptance) -> Result<Option<SubmittedReport>, ChainError> {
        let found = self.provider().get_transaction_by_hash(acceptance.tx_hash.0.into()).await;
        let found = found.map_err(|error| self.rpc_error("eth_getTransactionByHash", error))?;
        let read = found.and_then(|transaction| SubmittedReport::read(transaction.inner.input()));
        Ok(read.filter(|read| read.report.digest() == acceptance.digest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calls;

    fn report() -> Report {
        Report { chain_id: 1, epoch: 4, reward_total: 16, data_digest: Hash32([19; 32]), seed_secure: true, ..Report::default() }
    }

    #[test]
    fn a_posted_report_is_read_back_from_its_calldata() {
        let signature = assay_core::bls::SecretKey::key_gen(&[1; 32]).unwrap().sign(assay_core::bls::Domain::Report, &Hash32::ZERO);
        let mut signers = [0; 32];
        (signers[31], signers[30]) = (0b101, 1);
        let read = SubmittedReport::read(&calls::submit_report(&report(), &signers, &signature)).unwrap();
        assert_eq!((&read.report, read.report.digest()), (&report(), report().digest()));
        assert_eq!((read.signer_bits().collect::<Vec<_>>(), read.signature.as_slice()), (vec![0, 2, 8], &signature.to_eip2537()[..]));
        assert_eq!(SubmittedReport::read(&calls::withdraw_reward()), None);
    }
}
