//! Where alloy's types end.

use alloy_json_rpc::ErrorPayload;
use alloy_primitives as alloy;
use alloy_sol_types::{Panic, Revert, SolError, SolInterface};
use assay_contracts_bindings::{
    AggregationCourt, CapacityMarket, Keeper, OracleRegistry, ProviderRegistry, ProviderStanding, SignersCourt, SlaOracle, SlaSettlement,
    TestToken,
};
use assay_core::hash::Hash32;
use assay_core::ids::Address;

use crate::{ChainError, advice};

pub(crate) fn to_alloy(address: &Address) -> alloy::Address {
    alloy::Address::from(address.0)
}

pub(crate) fn address(address: alloy::Address) -> Address {
    Address(address.into_array())
}

pub(crate) fn hash(hash: alloy::B256) -> Hash32 {
    Hash32(hash.0)
}

/// Token amounts above 2^128 exist in no honest deployment.
pub(crate) fn amount(what: &str, value: alloy::U256) -> Result<u128, ChainError> {
    u128::try_from(value).map_err(|_| ChainError::bad_answer(what, "an amount above 2^128"))
}

/// Why a node refused: the contract's own error when the bindings know it, else the node's message.
pub(crate) fn refusal(payload: &ErrorPayload) -> String {
    let decoded = payload.as_revert_data().and_then(|data| decode_revert(&data));
    decoded.unwrap_or_else(|| payload.message.to_string())
}

/// The name and arguments of a contract's error, and what to do about it; `None` when no contract of ours has it.
pub(crate) fn decode_revert(data: &[u8]) -> Option<String> {
    if let Ok(revert) = Revert::abi_decode(data) {
        return Some(revert.reason);
    }
    if let Ok(panic) = Panic::abi_decode(data) {
        return Some(panic.to_string());
    }
    // Debug of a single-variant wrapper: `WindowOpen(WindowOpen { until: 7 })`; the inner part is what people read.
    let inner = |text: String| {
        let inner = text.split_once('(').and_then(|(_, inner)| inner.strip_suffix(')')).map(str::to_owned);
        inner.unwrap_or(text)
    };
    macro_rules! known {
        ($($errors:ty),* $(,)?) => {
            [$(<$errors>::abi_decode(data).map(|error| format!("{error:?}")).ok()),*]
        };
    }
    let decoded = known![
        SlaSettlement::SlaSettlementErrors,
        OracleRegistry::OracleRegistryErrors,
        ProviderRegistry::ProviderRegistryErrors,
        CapacityMarket::CapacityMarketErrors,
        SlaOracle::SlaOracleErrors,
        ProviderStanding::ProviderStandingErrors,
        Keeper::KeeperErrors,
        AggregationCourt::AggregationCourtErrors,
        SignersCourt::SignersCourtErrors,
        TestToken::TestTokenErrors,
    ];
    let named = decoded.into_iter().flatten().next().map(inner)?;
    Some(match advice::advice(data) {
        Some(advice) => format!("{named}: {advice}"),
        None => named,
    })
}
