//! What a person's command does to the chain: shown first, or done step by step.
//!
//! Before anything is sent, all steps are run one after the other on the node's copy of the newest block. So an approval does not go out
//! for a booking that would be refused, and a dry run knows what the second step costs although the first was never sent.

mod preview;

use std::fmt;

use assay_core::ids::Address;
use assay_core::secp::SecretKey;
use serde_json::{Value, json};

use crate::tokens::Tokens;
use crate::transaction::{self, Mined, SendConfig, TransactionError};
use crate::{ChainError, Rpc};

pub use preview::{Preview, PreviewedStep};
pub(crate) use preview::{refusal, simulate};

/// One transaction.
#[derive(Clone, Debug)]
pub struct Step {
    /// What it does, in words.
    pub what: String,
    /// The contract.
    pub to: Address,
    /// What it is called with.
    pub calldata: Vec<u8>,
}

/// Transactions in order, and what is different once they are mined.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// In order.
    pub steps: Vec<Step>,
    /// Sentences.
    pub changes: Vec<String>,
}

impl Plan {
    /// Adds a transaction.
    #[must_use]
    pub fn step(mut self, what: impl Into<String>, to: &Address, calldata: Vec<u8>) -> Self {
        self.steps.push(Step { what: what.into(), to: *to, calldata });
        self
    }

    /// Adds what changes.
    #[must_use]
    pub fn change(mut self, sentence: impl Into<String>) -> Self {
        self.changes.push(sentence.into());
        self
    }
}

/// Why a command did not do what it was to do.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The chain.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// A step would revert. Nothing was sent.
    #[error("{what}: refused: {reason}. Nothing was sent")]
    Refused {
        /// The step.
        what: String,
        /// The contract's error.
        reason: String,
    },
    /// Not enough ether for gas. Nothing was sent.
    #[error("{sender} has {} ether, and gas may cost up to {}. Nothing was sent: send it ether first", Tokens(*balance_wei), Tokens(*needed_wei))]
    Poor {
        /// Who pays.
        sender: Address,
        /// What it has.
        balance_wei: u128,
        /// What may be needed.
        needed_wei: u128,
    },
    /// Fees are above the cap. Nothing was sent.
    #[error(transparent)]
    Fees(TransactionError),
    /// A step failed. Those before it are done.
    #[error("{what}: {source} ({done} of {all} transactions are done: {hashes})")]
    Broken {
        /// The step.
        what: String,
        /// Why.
        source: Box<TransactionError>,
        /// Steps before it.
        done: usize,
        /// All steps.
        all: usize,
        /// Their transactions.
        hashes: String,
    },
    /// The token counts otherwise.
    #[error("the token at {token} has {found} decimals: amounts here are written with {}", crate::tokens::DECIMALS)]
    Decimals {
        /// The token.
        token: Address,
        /// Its decimals.
        found: u8,
    },
}

/// A step that is done.
#[derive(Clone, Debug)]
pub struct Done {
    /// What it did.
    pub what: String,
    /// Its transaction.
    pub mined: Mined,
}

/// What became of a plan.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Nothing was sent.
    Previewed(Preview),
    /// Everything was, and is in blocks.
    Sent(Vec<Done>),
}

/// Who sends and pays, and how.
pub struct Wallet<'a> {
    /// To which node.
    pub rpc: &'a Rpc,
    /// Signs and pays.
    pub key: &'a SecretKey,
    /// Fees and patience.
    pub config: SendConfig,
    /// Sends nothing.
    pub dry_run: bool,
}

impl Wallet<'_> {
    /// Looks what the plan would do, and unless this is a dry run does it.
    pub async fn execute(&self, plan: &Plan) -> Result<Outcome, CommandError> {
        let preview = Preview::of(plan, self.rpc, &self.key.address(), &self.config).await?;
        match self.dry_run {
            true => Ok(Outcome::Previewed(preview)),
            false => self.send(plan).await.map(Outcome::Sent),
        }
    }

    async fn send(&self, plan: &Plan) -> Result<Vec<Done>, CommandError> {
        let mut done: Vec<Done> = Vec::new();
        for step in &plan.steps {
            match transaction::send(self.rpc, self.key, &step.to, &step.calldata, &self.config).await {
                Ok(mined) => done.push(Done { what: step.what.clone(), mined }),
                Err(TransactionError::WouldRevert(reason)) if done.is_empty() => {
                    return Err(CommandError::Refused { what: step.what.clone(), reason });
                }
                Err(source) => {
                    let hashes: Vec<String> = done.iter().map(|done| done.mined.tx_hash.to_string()).collect();
                    let (what, all, hashes) = (step.what.clone(), plan.steps.len(), hashes.join(", "));
                    return Err(CommandError::Broken { what, source: Box::new(source), done: done.len(), all, hashes });
                }
            }
        }
        Ok(done)
    }
}

impl Outcome {
    /// The last step's transaction; `None` after a dry run.
    pub fn last(&self) -> Option<&Mined> {
        match self {
            Self::Previewed(_) => None,
            Self::Sent(done) => done.last().map(|done| &done.mined),
        }
    }

    /// For `--json`.
    pub fn json(&self) -> Value {
        match self {
            Self::Previewed(preview) => preview.json(),
            Self::Sent(done) => json!({ "dryRun": false, "transactions": done.iter().map(Done::json).collect::<Vec<_>>() }),
        }
    }
}

impl Done {
    fn json(&self) -> Value {
        let Mined { tx_hash, block_number, gas_used, .. } = &self.mined;
        json!({ "what": self.what, "tx": tx_hash, "block": block_number, "gasUsed": gas_used })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Previewed(preview) => preview.fmt(f),
            Self::Sent(done) => done.iter().try_for_each(|Done { what, mined }| {
                writeln!(f, "{what}: block {}, {} gas, transaction {}", mined.block_number, mined.gas_used, mined.tx_hash)
            }),
        }
    }
}

/// Refuses a token that is not counted with 18 decimals: every amount shown would be wrong.
pub async fn check_token(rpc: &Rpc, token: &Address) -> Result<(), CommandError> {
    let call = assay_contracts_bindings::TestToken::decimalsCall {};
    match rpc.call(token, call, alloy_eips::BlockId::latest()).await? {
        crate::tokens::DECIMALS => Ok(()),
        found => Err(CommandError::Decimals { token: *token, found }),
    }
}
