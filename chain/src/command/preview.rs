//! What a plan would do, without doing it.

use std::fmt;

use alloy_primitives::Bytes;
use alloy_provider::Provider;
use alloy_rpc_types_eth::TransactionRequest;
use alloy_rpc_types_eth::simulate::{SimBlock, SimCallResult, SimulatePayload};
use assay_core::ids::Address;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{CommandError, Plan, Step};
use crate::tokens::Tokens;
use crate::transaction::{self, SendConfig};
use crate::{Rpc, convert};

/// A plan with what each step takes.
#[derive(Clone, Debug)]
pub struct Preview {
    /// Who would send and pay.
    pub from: Address,
    /// What it has, wei.
    pub balance_wei: u128,
    /// In order.
    pub steps: Vec<PreviewedStep>,
    /// What would be different.
    pub changes: Vec<String>,
}

/// One transaction that would be sent.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PreviewedStep {
    /// What it does.
    pub what: String,
    /// To which contract.
    pub to: Address,
    /// With which bytes, hex.
    pub calldata: String,
    /// Gas that it took on a copy of the newest block.
    pub gas: u64,
    /// The most that it may cost, wei: all the gas that it is given, at the highest fee that is offered.
    #[serde(with = "assay_core::amount")]
    pub max_cost_wei: u128,
}

#[derive(Debug, Deserialize)]
struct SimulatedBlock {
    calls: Vec<SimCallResult>,
}

impl Preview {
    /// Runs the plan on the node's copy of the newest block. An error when a step would revert, or the sender cannot pay the gas.
    pub async fn of(plan: &Plan, rpc: &Rpc, from: &Address, config: &SendConfig) -> Result<Self, CommandError> {
        let request = |step: &Step| {
            TransactionRequest::default()
                .from(convert::to_alloy(from))
                .to(convert::to_alloy(&step.to))
                .input(Bytes::copy_from_slice(&step.calldata).into())
        };
        let ran = simulate(rpc, plan.steps.iter().map(request).collect()).await?;
        let fees = transaction::current_fees(rpc, config.max_fee_per_gas_wei).await.map_err(CommandError::Fees)?;
        let mut steps = Vec::with_capacity(plan.steps.len());
        for (step, result) in plan.steps.iter().zip(ran) {
            let gas = gas_of(step, result)?;
            let limit = u128::from(gas).saturating_mul(u128::from(config.gas_margin_percent.saturating_add(100))) / 100;
            steps.push(PreviewedStep {
                what: step.what.clone(),
                to: step.to,
                calldata: format!("0x{}", hex::encode(&step.calldata)),
                gas,
                max_cost_wei: limit.saturating_mul(fees.max_fee_wei),
            });
        }
        let balance_wei = transaction::balance(rpc, from).await?;
        let preview = Self { from: *from, balance_wei, steps, changes: plan.changes.clone() };
        let needed_wei = preview.max_cost_wei();
        match needed_wei > balance_wei {
            true => Err(CommandError::Poor { sender: *from, balance_wei, needed_wei }),
            false => Ok(preview),
        }
    }

    /// The most that all steps together may cost, wei.
    pub fn max_cost_wei(&self) -> u128 {
        self.steps.iter().fold(0, |sum, step| sum.saturating_add(step.max_cost_wei))
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "dryRun": true, "from": self.from, "balanceWei": self.balance_wei.to_string(), "transactions": self.steps,
            "maxCostWei": self.max_cost_wei().to_string(), "changes": self.changes,
        })
    }
}

impl fmt::Display for Preview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Dry run: nothing was sent. {} would send, in this order:", self.from)?;
        for (i, step) in (1..).zip(&self.steps) {
            writeln!(f, "{i}. {}", step.what)?;
            writeln!(f, "   to {}, {} gas, at most {} ether", step.to, step.gas, Tokens(step.max_cost_wei))?;
            writeln!(f, "   calldata {}", step.calldata)?;
        }
        self.changes.iter().try_for_each(|change| writeln!(f, "Then: {change}"))
    }
}

/// Runs calls one after the other on the node's copy of the newest block.
pub(crate) async fn simulate(rpc: &Rpc, requests: Vec<TransactionRequest>) -> Result<Vec<SimCallResult>, CommandError> {
    let count = requests.len();
    let payload = SimulatePayload::default().extend(SimBlock::default().extend_calls(requests));
    let answer: Result<Vec<SimulatedBlock>, _> = rpc.provider().client().request("eth_simulateV1", (payload, "latest")).await;
    let blocks = answer.map_err(|error| rpc.error("eth_simulateV1", error))?;
    let calls: Vec<SimCallResult> = blocks.into_iter().flat_map(|block| block.calls).collect();
    match calls.len() == count {
        true => Ok(calls),
        false => Err(crate::ChainError::bad_answer("eth_simulateV1", "another number of calls than asked").into()),
    }
}

fn gas_of(step: &Step, result: SimCallResult) -> Result<u64, CommandError> {
    match result.status {
        true => Ok(result.gas_used),
        false => Err(CommandError::Refused { what: step.what.clone(), reason: refusal(result) }),
    }
}

/// Why a simulated call reverted.
pub(crate) fn refusal(result: SimCallResult) -> String {
    let decoded = convert::decode_revert(&result.return_data);
    decoded.or_else(|| result.error.map(|error| error.message)).unwrap_or_else(|| "it reverts without a reason".to_owned())
}
