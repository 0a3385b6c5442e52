//! What can go wrong with the chain, and what the operator can do.

use alloy_json_rpc::RpcError;
use alloy_provider::transport::{TransportError, TransportErrorKind};
use assay_core::ids::Address;

use crate::convert;
use crate::endpoint::TooLarge;

/// The chain's trouble. `url` is the RPC's scheme and host only: the path often holds an access key.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// The RPC URL is not one.
    #[error("rpc_url is not an http(s) URL: {0}; write it like http://127.0.0.1:8545")]
    Url(String),
    /// No answer, or none in time.
    #[error("the RPC at {url} does not answer: {reason}; check that it runs and that rpc_url is right")]
    Unreachable {
        /// Where.
        url: String,
        /// The transport's word.
        reason: String,
    },
    /// The node answered with an error.
    #[error("the RPC at {url} refused {what}: {reason}; check its limits and its access, or name another in rpc_url")]
    Refused {
        /// Where.
        url: String,
        /// The question.
        what: String,
        /// The node's word.
        reason: String,
    },
    /// More bytes than are read.
    #[error("the answer of the RPC at {url} to {what} is larger than {limit_bytes} bytes; ask for fewer blocks, or use another RPC")]
    TooLarge {
        /// Where.
        url: String,
        /// The question.
        what: String,
        /// How many are read.
        limit_bytes: usize,
    },
    /// Another chain.
    #[error("the RPC at {url} serves chain {found}, the config says {expected}; correct rpc_url or chain_id")]
    WrongChain {
        /// Where.
        url: String,
        /// Chain id of the config.
        expected: u64,
        /// Chain id of the node.
        found: u64,
    },
    /// An address without a contract.
    #[error("there is no contract at {address} ({what}) on the chain of {url}; correct the address or wait for its deployment")]
    NoCode {
        /// The config's key.
        what: &'static str,
        /// The address.
        address: Address,
        /// Where.
        url: String,
    },
    /// An answer that does not decode, or breaks a rule that the contracts keep.
    #[error("the answer to {what} makes no sense: {reason}; is the address of the right contract and version?")]
    BadAnswer {
        /// The question.
        what: String,
        /// What is wrong.
        reason: String,
    },
    /// More registrations than this version reads.
    #[error("the chain holds {count} {what}, this version reads at most {limit}; update the software")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        count: u64,
        /// The limit.
        limit: u64,
    },
    /// The node does not know the block.
    #[error("the RPC at {url} has no block {block}; it may lag behind or have been reset: wait, or name another in rpc_url")]
    NoBlock {
        /// Where.
        url: String,
        /// Number or tag.
        block: String,
    },
    /// Endpoints contradict each other, and none has more than half of them on its side.
    #[error("the RPCs {urls} differ on {what}: not known yet; if it stays so, one of them lags or lies, and a third one would tell which")]
    Differ {
        /// The question.
        what: String,
        /// Who answered.
        urls: String,
    },
    /// No settlement address is configured.
    #[error("no settlement contract is configured; set `settlement`")]
    NoSettlement,
}

impl ChainError {
    pub(crate) fn rpc(url: &str, what: impl ToString, error: TransportError) -> Self {
        let url = url.to_owned();
        match error {
            RpcError::ErrorResp(payload) => Self::Refused { url, what: what.to_string(), reason: convert::refusal(&payload) },
            RpcError::Transport(TransportErrorKind::Custom(cause)) if cause.is::<TooLarge>() => {
                Self::TooLarge { url, what: what.to_string(), limit_bytes: TooLarge::LIMIT_BYTES }
            }
            RpcError::Transport(kind) => Self::Unreachable { url, reason: kind.to_string() },
            RpcError::NullResp => Self::bad_answer(what, "null"),
            other => Self::bad_answer(what, other),
        }
    }

    pub(crate) fn bad_answer(what: impl ToString, reason: impl ToString) -> Self {
        Self::BadAnswer { what: what.to_string(), reason: reason.to_string() }
    }
}
