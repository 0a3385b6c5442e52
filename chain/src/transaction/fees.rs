//! What is offered for gas: the one place where fees are computed, and where raising them will belong.

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

    #[test]
    fn an_offer_stays_under_the_cap() {
        assert_eq!(offer(10, 3, 100).unwrap(), Fees { max_fee_wei: 23, priority_fee_wei: 3 });
        assert_eq!(offer(10, 3, 20).unwrap(), Fees { max_fee_wei: 20, priority_fee_wei: 3 });
        assert_eq!(offer(10, 30, 20).unwrap(), Fees { max_fee_wei: 20, priority_fee_wei: 20 });
        assert!(matches!(offer(21, 1, 20), Err(TransactionError::TooDear { needed_wei: 22, cap_wei: 20 })));
    }
}
