//! The nodes' JSON-RPC, and the chain that they serve.

use std::sync::Arc;
use std::time::Duration;

use alloy_eips::BlockId;
use alloy_primitives::Bytes;
use alloy_provider::transport::TransportError;
use alloy_provider::{Provider, RootProvider};
use alloy_rpc_client::RpcClient;
use alloy_rpc_types_eth::TransactionRequest;
use alloy_sol_types::SolCall;
use assay_core::ids::Address;
use futures::future::join_all;
use tokio::time::timeout;
use tracing::warn;

use crate::endpoint::Endpoint;
use crate::transport::Failover;
use crate::{ChainError, RpcUrls, convert};

/// While another endpoint answers, one has so long to say at start which chain it serves.
const START_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection to one node or several. Enough to send a transaction; [`crate::Client`] knows the contracts besides. Cloning shares it.
#[derive(Clone)]
pub struct Rpc(Arc<Inner>);

struct Inner {
    /// The first that answers.
    provider: RootProvider,
    /// Each by itself.
    each: Vec<Each>,
    chain_id: u64,
    /// Schemes and hosts, for errors.
    url: String,
}

/// One endpoint.
pub(crate) struct Each {
    pub endpoint: Arc<Endpoint>,
    pub provider: RootProvider,
}

impl Rpc {
    /// Connects to http(s) endpoints and asks which chain they serve. One that does not answer is asked again when it is needed;
    /// two that serve different chains are refused.
    pub async fn connect(urls: impl Into<RpcUrls>) -> Result<Self, ChainError> {
        let endpoints = urls.into().all().map(|url| Endpoint::new(url).map(Arc::new)).collect::<Result<Vec<_>, _>>()?;
        let chain_id = common_chain(&endpoints).await?;
        let each = endpoints
            .iter()
            .map(|endpoint| Each { endpoint: endpoint.clone(), provider: provider(Failover::new([endpoint.clone()], Some(chain_id))) });
        let each = each.collect();
        let url = endpoints.iter().map(|endpoint| endpoint.shown()).collect::<Vec<_>>().join(", ");
        let provider = provider(Failover::new(endpoints, Some(chain_id)));
        Ok(Self(Arc::new(Inner { provider, each, chain_id, url })))
    }

    /// EIP-155 id of the chain that it serves.
    pub fn chain_id(&self) -> u64 {
        self.0.chain_id
    }

    /// [`ChainError::WrongChain`] when it serves another chain.
    pub fn check_chain(&self, expected: u64) -> Result<(), ChainError> {
        let found = self.chain_id();
        if found == expected { Ok(()) } else { Err(ChainError::WrongChain { url: self.0.url.clone(), expected, found }) }
    }

    /// [`ChainError::NoCode`] when there is no contract at the address; `what` is the config's key.
    pub async fn check_code(&self, what: &'static str, address: &Address) -> Result<(), ChainError> {
        let code = self.provider().get_code_at(convert::to_alloy(address)).await.map_err(|error| self.error("eth_getCode", error))?;
        if code.is_empty() { Err(ChainError::NoCode { what, address: *address, url: self.0.url.clone() }) } else { Ok(()) }
    }

    pub(crate) fn provider(&self) -> &RootProvider {
        &self.0.provider
    }

    pub(crate) fn each(&self) -> &[Each] {
        &self.0.each
    }

    pub(crate) fn url(&self) -> &str {
        &self.0.url
    }

    pub(crate) fn error(&self, what: impl ToString, error: TransportError) -> ChainError {
        ChainError::rpc(&self.0.url, what, error)
    }

    /// One view call, decoded.
    pub(crate) async fn call<C: SolCall>(&self, to: &Address, call: C, at: BlockId) -> Result<C::Return, ChainError> {
        let answer = self.provider().call(request(to, &call)).block(at).await.map_err(|error| self.error(C::SIGNATURE, error))?;
        decode::<C>(&answer)
    }
}

pub(crate) fn request<C: SolCall>(to: &Address, call: &C) -> TransactionRequest {
    TransactionRequest::default().to(convert::to_alloy(to)).input(call.abi_encode().into())
}

pub(crate) fn decode<C: SolCall>(answer: &Bytes) -> Result<C::Return, ChainError> {
    C::abi_decode_returns(answer).map_err(|error| ChainError::bad_answer(C::SIGNATURE, error))
}

fn provider(transport: Failover) -> RootProvider {
    RootProvider::new(RpcClient::new(transport, false))
}

/// The chain that all endpoints serve which answer.
async fn common_chain(endpoints: &[Arc<Endpoint>]) -> Result<u64, ChainError> {
    let ask = |endpoint: &Arc<Endpoint>| {
        let (endpoint, alone) = (endpoint.clone(), endpoints.len() == 1);
        async move {
            let provider = provider(Failover::new([endpoint.clone()], None));
            let asked = provider.get_chain_id();
            let answer = if alone { Ok(asked.await) } else { timeout(START_TIMEOUT, asked).await };
            match answer {
                Ok(answer) => answer.map_err(|error| ChainError::rpc(endpoint.shown(), "eth_chainId", error)),
                Err(_) => Err(ChainError::Unreachable { url: endpoint.shown().to_owned(), reason: "no answer in time".to_owned() }),
            }
        }
    };
    let mut chain = None;
    let mut failed = None;
    for (endpoint, answer) in endpoints.iter().zip(join_all(endpoints.iter().map(ask)).await) {
        match (answer, chain) {
            (Ok(found), Some(expected)) if found != expected => {
                return Err(ChainError::WrongChain { url: endpoint.shown().to_owned(), expected, found });
            }
            (Ok(found), _) => chain = Some(found),
            (Err(error), _) => {
                if endpoints.len() > 1 {
                    warn!(%error, "an RPC is away at the start");
                    endpoint.rest();
                }
                failed = Some(error);
            }
        }
    }
    // There is at least one endpoint: without an answer there is an error.
    chain.ok_or_else(|| failed.unwrap_or_else(|| ChainError::Url("there is none".to_owned())))
}
