//! What is offered for gas: the one place where fees are computed and raised.

use alloy_eips::BlockNumberOrTag;
use alloy_provider::Provider;

use super::TransactionError;
use crate::{ChainError, Rpc};

/// An EIP-1559 offer, wei per unit of gas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fees {
    pub max_fee_wei: u128,
    pub priority_fee_wei: u128,
}

impl Fees {
    /// What replaces an offer with the same nonce: the market's, and at least an eighth more in both fields, which every node takes for a
    /// replacement. An error when that is above the cap.
    pub fn raised(self, market: Self, cap_wei: u128) -> Result<Self, TransactionError> {
        let eighth_more = |wei: u128| wei.saturating_add(wei.div_ceil(8)).saturating_add(1);
        let max_fee_wei = eighth_more(self.max_fee_wei).max(market.max_fee_wei);
        let priority_fee_wei = eighth_more(self.priority_fee_wei).max(market.priority_fee_wei).min(max_fee_wei);
        match max_fee_wei <= cap_wei {
            true => Ok(Self { max_fee_wei, priority_fee_wei }),
            false => Err(TransactionError::TooDear { needed_wei: max_fee_wei, cap_wei }),
        }
    }
}

/// Twice the base fee, which holds for six full blocks in a row, and the node's suggested tip; never above the cap. An
/// error when even the base fee itself does not fit under the cap.
pub(crate) async fn current(rpc: &Rpc, cap_wei: u128) -> Result<Fees, TransactionError> {
    let block = rpc
        .provider()
        .get_block_by_number(BlockNumberOrTag::Latest)
        .await
        .map_err(|error| rpc.error("eth_getBlockByNumber", error))?
        .ok_or_else(|| ChainError::bad_answer("eth_getBlockByNumber", "no latest block"))?;
    let tip = rpc.provider().get_max_priority_fee_per_gas().await.map_err(|error| rpc.error("eth_maxPriorityFeePerGas", error))?;
    let base = u128::from(block.header.base_fee_per_gas.unwrap_or_default());
    offer(base, tip, cap_wei)
}

fn offer(base_wei: u128, tip_wei: u128, cap_wei: u128) -> Result<Fees, TransactionError> {
    let needed_wei = base_wei.saturating_add(tip_wei.min(1));
    if needed_wei > cap_wei {
        return Err(TransactionError::TooDear { needed_wei, cap_wei });
    }
    let max_fee_wei = base_wei.saturating_mul(2).saturating_add(tip_wei).min(cap_wei);
    Ok(Fees { max_fee_wei, priority_fee_wei: tip_wei.min(max_fee_wei) })
}

#[cfg(test)]
mod tests {
    use super::*;

    // Defence: an eighth more in both fields; with one of them raised alone nodes refuse the replacement as underpriced.
    #[test]
    fn a_replacement_offers_an_eighth_more_in_both_fields() {
        let fees = |max_fee_wei, priority_fee_wei| Fees { max_fee_wei, priority_fee_wei };
        assert_eq!(fees(800, 80).raised(fees(10, 1), 10_000).unwrap(), fees(901, 91), "however cheap the market is");
        assert_eq!(fees(800, 80).raised(fees(2_000, 1), 10_000).unwrap(), fees(2_000, 91), "and never less than the market");
        assert_eq!(fees(0, 0).raised(fees(0, 0), 10).unwrap(), fees(1, 1));
        assert!(matches!(fees(800, 80).raised(fees(1, 1), 900), Err(TransactionError::TooDear { needed_wei: 901, cap_wei: 900 })));
    }

    #[test]
    fn an_offer_stays_under_the_cap() {
        assert_eq!(offer(10, 3, 100).unwrap(), Fees { max_fee_wei: 23, priority_fee_wei: 3 });
        assert_eq!(offer(10, 3, 20).unwrap(), Fees { max_fee_wei: 20, priority_fee_wei: 3 });
        assert_eq!(offer(10, 30, 20).unwrap(), Fees { max_fee_wei: 20, priority_fee_wei: 20 });
        assert!(matches!(offer(21, 1, 20), Err(TransactionError::TooDear { needed_wei: 22, cap_wei: 20 })));
    }
}
