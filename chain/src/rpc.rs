//! One node's JSON-RPC, and the chain that it serves.

use std::sync::Arc;

use alloy_eips::BlockId;
use alloy_provider::transport::TransportError;
use alloy_provider::{Provider, RootProvider};
use alloy_rpc_client::RpcClient;
use alloy_rpc_types_eth::TransactionRequest;
use alloy_sol_types::SolCall;
use assay_core::ids::Address;
use reqwest::Url;

use crate::transport::BoundedHttp;
use crate::{ChainError, convert};

/// A connection to one node. Enough to send a transaction; [`crate::Client`] knows the contracts besides. Cloning shares it.
#[derive(Clone)]
pub struct Rpc(Arc<Inner>);

struct Inner {
    provider: RootProvider,
    chain_id: u64,
    /// Scheme and host, for errors.
    url: String,
}

impl Rpc {
    /// Connects to an http(s) endpoint and asks which chain it serves.
    pub async fn connect(rpc_url: &str) -> Result<Self, ChainError> {
        let url = Url::parse(rpc_url).map_err(|error| ChainError::Url(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(ChainError::Url(format!("scheme `{}`", url.scheme())));
        }
        let shown = match url.port() {
            Some(port) => format!("{}://{}:{port}", url.scheme(), url.host_str().unwrap_or_default()),
            None => format!("{}://{}", url.scheme(), url.host_str().unwrap_or_default()),
        };
        let transport = BoundedHttp::new(url).map_err(|error| ChainError::Url(error.to_string()))?;
        let provider = RootProvider::new(RpcClient::new(transport, false));
        let chain_id = provider.get_chain_id().await.map_err(|error| ChainError::rpc(&shown, "eth_chainId", error))?;
        Ok(Self(Arc::new(Inner { provider, chain_id, url: shown })))
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

    pub(crate) fn url(&self) -> &str {
        &self.0.url
    }

    pub(crate) fn error(&self, what: impl ToString, error: TransportError) -> ChainError {
        ChainError::rpc(&self.0.url, what, error)
    }

    /// One view call, decoded.
    pub(crate) async fn call<C: SolCall>(&self, to: &Address, call: C, at: BlockId) -> Result<C::Return, ChainError> {
        let request = TransactionRequest::default().to(convert::to_alloy(to)).input(call.abi_encode().into());
        let answer = self.provider().call(request).block(at).await.map_err(|error| self.error(C::SIGNATURE, error))?;
        C::abi_decode_returns(&answer).map_err(|error| ChainError::bad_answer(C::SIGNATURE, error))
    }
}
