//! Where alloy's types end.

use alloy_primitives as alloy;
use assay_core::hash::Hash32;
use assay_core::ids::Address;

use crate::ChainError;

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
