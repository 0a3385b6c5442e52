//! The keeper contract: what it pays for what is due, and what a transaction would do before it is sent.

use alloy_eips::BlockId;
use alloy_primitives::{Bytes, Log};
use alloy_rpc_types_eth::TransactionRequest;
use alloy_sol_types::SolCall;
use assay_contracts_bindings::{Keeper as Contract, TestToken};
use assay_core::ids::Address;
use assay_core::secp::SecretKey;

use crate::command::{CommandError, refusal, simulate};
use crate::convert::{self, amount};
use crate::transaction::{self, Mined, SendConfig, TransactionError};
use crate::{ChainError, Rpc};

/// What the keeper pays for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// A reward that is paid.
    Claim,
    /// A slash that is executed.
    Slash,
    /// A booking that is settled.
    Booking,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Claim, Self::Slash, Self::Booking];

    /// The contract's number.
    fn as_u8(self) -> u8 {
        match self {
            Self::Claim => 1,
            Self::Slash => 2,
            Self::Booking => 3,
        }
    }
}

/// What an action earns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tariff {
    /// For each that is done, smallest unit.
    pub tip: u128,
    /// Most tips in one day (UTC).
    pub per_day: u32,
    /// Of them, today's so far.
    pub used: u32,
}

/// A keeper and the contracts that it stands on.
#[derive(Clone)]
pub struct Keeper {
    rpc: Rpc,
    /// Its address.
    pub address: Address,
    /// `SlaSettlement`.
    pub settlement: Address,
    /// `CapacityMarket`, if it has one.
    pub market: Option<Address>,
    /// The token that tips are paid in.
    pub token: Address,
}

/// What a transaction would do on the newest block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trial {
    /// Items that it would do.
    pub done: u64,
    /// What it would earn, smallest unit.
    pub tip: u128,
    /// Gas that it takes.
    pub gas: u64,
    /// Items that it would not do, by their place, and why.
    pub skipped: Vec<(usize, String)>,
}

/// What a transaction did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kept {
    /// Its block.
    pub mined: Mined,
    /// What it earned, smallest unit.
    pub tip: u128,
    /// Items that it did not do: somebody else was faster.
    pub skipped: u64,
}

impl Keeper {
    /// Looks whether there is a keeper, and asks it what it stands on.
    pub async fn connect(rpc: &Rpc, address: &Address) -> Result<Self, ChainError> {
        rpc.check_code("keeper", address).await?;
        let latest = BlockId::latest();
        let settlement = convert::address(rpc.call(address, Contract::settlementCall {}, latest).await?);
        let market = convert::address(rpc.call(address, Contract::marketCall {}, latest).await?);
        let token = convert::address(rpc.call(address, Contract::tokenCall {}, latest).await?);
        rpc.check_code("the keeper's settlement", &settlement).await?;
        Ok(Self { rpc: rpc.clone(), address: *address, settlement, market: (market != Address::default()).then_some(market), token })
    }

    /// What an action earns, and how much of that was used today.
    pub async fn tariff(&self, action: Action) -> Result<Tariff, ChainError> {
        let tariff = self.rpc.call(&self.address, Contract::tariffCall { action: action.as_u8() }, BlockId::latest()).await?;
        Ok(Tariff { tip: tariff.tip, per_day: tariff.perDay, used: tariff.used })
    }

    /// What it holds to pay tips from.
    pub async fn balance(&self) -> Result<u128, ChainError> {
        let call = TestToken::balanceOfCall { account: convert::to_alloy(&self.address) };
        amount("balanceOf", self.rpc.call(&self.token, call, BlockId::latest()).await?)
    }

    /// Runs a call on the node's copy of the newest block, with all gas or with so much. [`CommandError::Refused`] when it reverts.
    ///
    /// A batch swallows what its items revert with, want of gas too: only a trial with the gas of the transaction shows that it is enough.
    pub async fn try_out(&self, from: &Address, to: &Address, calldata: &[u8], gas: Option<u64>) -> Result<Trial, CommandError> {
        let mut request = TransactionRequest::default()
            .from(convert::to_alloy(from))
            .to(convert::to_alloy(to))
            .input(Bytes::copy_from_slice(calldata).into());
        request.gas = gas;
        let ran = simulate(&self.rpc, vec![request]).await?;
        let result = ran.into_iter().next().ok_or_else(|| ChainError::bad_answer("eth_simulateV1", "no result"))?;
        if !result.status {
            return Err(CommandError::Refused { what: "simulated".to_owned(), reason: refusal(result) });
        }
        // What is sent to the market itself earns nothing.
        let (done, tip) = match *to == self.address {
            true => returned(&result.return_data)?,
            false => (1, 0),
        };
        let skipped = self.skipped(result.logs.iter().map(|log| &log.inner))?;
        Ok(Trial { done, tip, gas: result.gas_used, skipped })
    }

    /// Sends a call with so much gas, and waits until it is in a block.
    pub async fn send(
        &self,
        key: &SecretKey,
        to: &Address,
        calldata: &[u8],
        gas: u64,
        config: &SendConfig,
    ) -> Result<Mined, TransactionError> {
        transaction::send_with_gas(&self.rpc, key, to, calldata, gas, config).await
    }

    /// What a transaction did, by its events.
    pub fn kept(&self, mined: Mined) -> Result<Kept, ChainError> {
        let mut tip = 0_u128;
        for event in mined.events::<Contract::Tipped>(&self.address)? {
            tip = tip.saturating_add(amount("Tipped", event.amount)?);
        }
        let skipped = self.skipped(&mined.logs)?.len() as u64;
        Ok(Kept { mined, tip, skipped })
    }

    /// The most that a transaction with so much gas may cost now, wei. An error when fees are above the cap, or the sender has less.
    pub async fn price(&self, sender: &Address, gas: u64, config: &SendConfig) -> Result<u128, CommandError> {
        let fees = transaction::current_fees(&self.rpc, config.max_fee_per_gas_wei).await.map_err(CommandError::Fees)?;
        let needed_wei = u128::from(gas).saturating_mul(fees.max_fee_wei);
        let balance_wei = transaction::balance(&self.rpc, sender).await?;
        match needed_wei > balance_wei {
            true => Err(CommandError::Poor { sender: *sender, balance_wei, needed_wei }),
            false => Ok(needed_wei),
        }
    }

    fn skipped<'a>(&self, logs: impl IntoIterator<Item = &'a Log>) -> Result<Vec<(usize, String)>, ChainError> {
        let reason = |data: &[u8]| convert::decode_revert(data).unwrap_or_else(|| "it reverts without a reason".to_owned());
        let place =
            |event: &Contract::Skipped| usize::try_from(event.index).map_err(|_| ChainError::bad_answer("Skipped", "an index above 2^64"));
        let events = transaction::events::<Contract::Skipped>(logs, &self.address)?;
        events.iter().map(|event| Ok((place(event)?, reason(&event.reason)))).collect()
    }
}

/// All batches return (done, tip).
fn returned(data: &Bytes) -> Result<(u64, u128), ChainError> {
    let answer = Contract::claimManyCall::abi_decode_returns(data).map_err(|error| ChainError::bad_answer("eth_simulateV1", error))?;
    Ok((u64::try_from(answer.done).unwrap_or(u64::MAX), amount("tip", answer.tip)?))
}
