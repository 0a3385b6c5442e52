//! The connection: one chain, checked at start, and its blocks.

use std::sync::Arc;

use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_provider::RootProvider;
use alloy_provider::transport::TransportError;
use alloy_sol_types::SolCall;
use assay_contracts_bindings::SlaSettlement;
use assay_core::hash::Hash32;
use assay_core::ids::Address;
use serde::{Deserialize, Serialize};

use crate::{ChainError, Rpc, RpcUrls, agreement, convert};

/// The `[chain]` table of a config file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainConfig {
    /// HTTP(S) JSON-RPC endpoint, or several.
    pub rpc_url: RpcUrls,
    /// EIP-155 chain id that every endpoint must serve.
    pub chain_id: u64,
    /// Address of `OracleRegistry`.
    pub oracle_registry: Address,
    /// Address of `ProviderRegistry`.
    pub provider_registry: Address,
    /// Address of `SlaSettlement`; may be absent before it is deployed.
    #[serde(default)]
    pub settlement: Option<Address>,
}

/// Which block a question is put to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BlockTag {
    /// This height.
    Number(u64),
    /// The newest block, which a reorg may take away.
    Latest,
    /// The newest block that no reorg takes away.
    Finalized,
}

impl From<u64> for BlockTag {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<BlockTag> for BlockNumberOrTag {
    fn from(tag: BlockTag) -> Self {
        match tag {
            BlockTag::Number(number) => Self::Number(number),
            BlockTag::Latest => Self::Latest,
            BlockTag::Finalized => Self::Finalized,
        }
    }
}

/// A block's identity and time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockRef {
    /// Height.
    pub number: u64,
    /// Hash of the header.
    pub hash: Hash32,
    /// Its timestamp, unix seconds.
    pub timestamp_s: u64,
}

/// A checked connection. Cloning shares it.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    rpc: Rpc,
    config: ChainConfig,
}

impl Client {
    /// Connects and checks: an endpoint answers, serves the configured chain, and has a contract at each address.
    pub async fn connect(config: ChainConfig) -> Result<Self, ChainError> {
        let rpc = Rpc::connect(config.rpc_url.clone()).await?;
        rpc.check_chain(config.chain_id)?;
        rpc.check_code("oracle_registry", &config.oracle_registry).await?;
        rpc.check_code("provider_registry", &config.provider_registry).await?;
        if let Some(settlement) = &config.settlement {
            rpc.check_code("settlement", settlement).await?;
        }
        Ok(Self(Arc::new(Inner { rpc, config })))
    }

    /// Connects to a settlement and what it stands on: for who knows no more than its address.
    pub async fn of_settlement(rpc_url: RpcUrls, settlement: &Address) -> Result<Self, ChainError> {
        let rpc = Rpc::connect(rpc_url.clone()).await?;
        rpc.check_code("settlement", settlement).await?;
        let stands_on = rpc.call(settlement, SlaSettlement::configCall {}, BlockId::latest()).await?;
        let config = ChainConfig {
            rpc_url,
            chain_id: rpc.chain_id(),
            oracle_registry: convert::address(stands_on.oracleRegistry),
            provider_registry: convert::address(stands_on.providerRegistry),
            settlement: Some(*settlement),
        };
        Ok(Self(Arc::new(Inner { rpc, config })))
    }

    /// The node behind it, for what needs no addresses of contracts.
    pub fn rpc(&self) -> &Rpc {
        &self.0.rpc
    }

    /// The config that was connected with.
    pub fn config(&self) -> &ChainConfig {
        &self.0.config
    }

    /// A block by height or tag. Of several endpoints, more than half must call a block final.
    pub async fn block(&self, tag: impl Into<BlockTag>) -> Result<BlockRef, ChainError> {
        let tag = match tag.into() {
            BlockTag::Finalized => return self.rpc().final_block().await,
            tag => BlockNumberOrTag::from(tag),
        };
        let found = agreement::block(self.provider().clone(), tag).await.map_err(|error| self.rpc_error("eth_getBlockByNumber", error))?;
        found.ok_or_else(|| ChainError::NoBlock { url: self.rpc().url().to_owned(), block: tag.to_string() })
    }

    /// The newest block.
    pub async fn latest(&self) -> Result<BlockRef, ChainError> {
        self.block(BlockTag::Latest).await
    }

    /// The newest final block.
    pub async fn finalized(&self) -> Result<BlockRef, ChainError> {
        self.block(BlockTag::Finalized).await
    }

    /// The last block whose timestamp is at or before `timestamp_s`; `None` when even block 0 is later.
    ///
    /// It is the answer for the chain as it stands: while the *newest* block is at or before that time, a later one may
    /// still qualify, so ask once a newer block exists. Steps back from the newest block in doubling strides and then
    /// halves the interval: about 2·log2(distance) requests.
    pub async fn last_block_at_or_before(&self, timestamp_s: u64) -> Result<Option<BlockRef>, ChainError> {
        let mut later = self.latest().await?;
        if later.timestamp_s <= timestamp_s {
            return Ok(Some(later));
        }
        let mut stride = 1_u64;
        let mut found = loop {
            if later.number == 0 {
                return Ok(None);
            }
            let candidate = self.block(later.number.saturating_sub(stride)).await?;
            if candidate.timestamp_s <= timestamp_s {
                break candidate;
            }
            later = candidate;
            stride = stride.saturating_mul(2);
        };
        while later.number - found.number > 1 {
            let middle = self.block(found.number + (later.number - found.number) / 2).await?;
            if middle.timestamp_s <= timestamp_s {
                found = middle;
            } else {
                later = middle;
            }
        }
        Ok(Some(found))
    }

    pub(crate) fn provider(&self) -> &RootProvider {
        self.rpc().provider()
    }

    pub(crate) fn rpc_error(&self, what: impl ToString, error: TransportError) -> ChainError {
        self.rpc().error(what, error)
    }

    /// One view call, decoded.
    pub(crate) async fn call<C: SolCall>(&self, to: Address, call: C, at: BlockId) -> Result<C::Return, ChainError> {
        self.rpc().call(&to, call, at).await
    }
}
