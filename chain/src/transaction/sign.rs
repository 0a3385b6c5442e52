//! From a call to signed bytes.

use alloy_consensus::{SignableTransaction, TxEip1559};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Signature, TxKind, U256};
use assay_core::hash::{Hash32, keccak};
use assay_core::ids::Address;
use assay_core::secp::{SecpError, SecretKey};

use super::fees::Fees;
use crate::convert;

pub(crate) struct SignedTx {
    pub raw: Vec<u8>,
    pub hash: Hash32,
    pub gas_limit: u64,
    pub fees: Fees,
}

/// Everything but the nonce.
pub(crate) struct Draft<'a> {
    pub chain_id: u64,
    pub to: &'a Address,
    pub calldata: &'a [u8],
    pub gas_limit: u64,
    pub fees: Fees,
}

impl Draft<'_> {
    /// Deterministic: the same draft, nonce and key give the same bytes.
    pub fn sign(&self, nonce: u64, key: &SecretKey) -> Result<SignedTx, SecpError> {
        let tx = TxEip1559 {
            chain_id: self.chain_id,
            nonce,
            gas_limit: self.gas_limit,
            max_fee_per_gas: self.fees.max_fee_wei,
            max_priority_fee_per_gas: self.fees.priority_fee_wei,
            to: TxKind::Call(convert::to_alloy(self.to)),
            value: U256::ZERO,
            access_list: Default::default(),
            input: self.calldata.to_vec().into(),
        };
        let signature = key.sign(&convert::hash(tx.signature_hash()))?.0;
        let (rs, v) = signature.split_at(64);
        let raw = tx.into_signed(Signature::from_bytes_and_parity(rs, v == [28])).encoded_2718();
        let hash = keccak([&raw]);
        Ok(SignedTx { raw, hash, gas_limit: self.gas_limit, fees: self.fees })
    }
}
