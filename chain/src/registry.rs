//! Who takes part: the committee and the providers, as they stood in one block.

use alloy_eips::{BlockId, RpcBlockHash};
use assay_core::bls;
use assay_core::hash::Hash32;
use assay_core::ids::{Address, OracleId, ProviderId};
use futures::stream::{self, StreamExt, TryStreamExt};

use crate::convert::{self, amount};
use crate::{BlockRef, BlockTag, ChainError, Client};
use assay_contracts_bindings::{OracleRegistry, ProviderRegistry};

/// A certificate's bitmap has 256 bits.
const MAX_MEMBERS: u64 = 256;
const MAX_PROVIDERS: u64 = 4096;
const MAX_ENDPOINT_BYTES: usize = 256;
/// Requests in flight at once.
const CONCURRENCY: usize = 16;

/// One member of the committee.
#[derive(Clone, Debug)]
pub struct Member {
    /// Registration id.
    pub oracle: OracleId,
    /// Voting weight in this set, 1 to 65535.
    pub weight: u16,
    /// Verdict key, checked.
    pub key: bls::PublicKey,
    /// Who registered it.
    pub operator: Address,
    /// Who sends its transactions.
    pub transmitter: Address,
    /// Who is paid.
    pub recipient: Address,
    /// Declared network group; panels take at most two oracles of one group.
    pub network_group: u64,
    /// Where its gRPC listens.
    pub endpoint: String,
}

/// One registered provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderRecord {
    /// Registration id.
    pub id: ProviderId,
    /// Who registered it.
    pub operator: Address,
    /// Who is paid.
    pub recipient: Address,
    /// Signs answers and claim sets.
    pub receipt_key: Address,
    /// SLA class.
    pub class_id: u16,
    /// Root of the claim set, zero when empty.
    pub claim_root: Hash32,
    /// Blocks of all claims together.
    pub claim_blocks: u64,
    /// Number of claims.
    pub claim_count: u64,
    /// Sequence of the claim set, 0 before the first.
    pub claim_sequence: u64,
    /// Stake in the token's smallest unit.
    pub stake: u128,
    /// Declared region.
    pub region: u64,
    /// Whether it takes part.
    pub active: bool,
    /// Where its gRPC listens.
    pub endpoint: String,
}

/// Both registries in one block.
#[derive(Clone, Debug)]
pub struct RegistryView {
    /// The block that every value was read at.
    pub block: BlockRef,
    /// Number of the committee set, from 1; 0 when no snapshot was built yet.
    pub set_epoch: u64,
    /// The set, in ascending oracle id: bit `i` of a certificate is `members[i]`.
    pub members: Vec<Member>,
    /// All providers, in ascending id.
    pub providers: Vec<ProviderRecord>,
}

impl Client {
    /// Reads both registries as of one block. Every read names the block's hash, so that a reorg in between is an error
    /// and never a mixture.
    pub async fn registry_at(&self, block_number: u64) -> Result<RegistryView, ChainError> {
        let block = self.block(BlockTag::Number(block_number)).await?;
        let at = BlockId::Hash(RpcBlockHash::from_hash(block.hash.0.into(), Some(true)));
        let set_epoch = self.call(self.config().oracle_registry, OracleRegistry::currentSetCall {}, at).await?;
        let members = if set_epoch == 0 { Vec::new() } else { self.members(set_epoch, at).await? };
        let providers = self.providers(at).await?;
        Ok(RegistryView { block, set_epoch, members, providers })
    }

    async fn members(&self, set_epoch: u64, at: BlockId) -> Result<Vec<Member>, ChainError> {
        let call = OracleRegistry::committeeCall { setEpoch: set_epoch };
        let set = self.call(self.config().oracle_registry, call, at).await?;
        within("committee members", set.len() as u64, MAX_MEMBERS)?;
        if !set.windows(2).all(|pair| pair[0].oracleId < pair[1].oracleId) {
            return Err(ChainError::bad_answer("committee", "ids are not ascending"));
        }
        stream::iter(set).map(|entry| self.member(entry, at)).buffered(CONCURRENCY).try_collect().await
    }

    async fn member(&self, entry: assay_contracts_bindings::Committee::Member, at: BlockId) -> Result<Member, ChainError> {
        let what = || format!("oracle {} of the committee", entry.oracleId);
        let key: &[u8; 256] = entry.blsKey[..].try_into().map_err(|_| ChainError::bad_answer(what(), "a key of other than 256 bytes"))?;
        let key = bls::PublicKey::from_eip2537(key).map_err(|error| ChainError::bad_answer(what(), error))?;
        let call = OracleRegistry::oracleCall { oracleId: entry.oracleId };
        let oracle = self.call(self.config().oracle_registry, call, at).await?;
        Ok(Member {
            oracle: OracleId(entry.oracleId),
            weight: entry.weight,
            key,
            operator: convert::address(oracle.operator),
            transmitter: convert::address(oracle.transmitter),
            recipient: convert::address(oracle.recipient),
            network_group: oracle.networkGroup,
            endpoint: endpoint(what, oracle.endpoint)?,
        })
    }

    async fn providers(&self, at: BlockId) -> Result<Vec<ProviderRecord>, ChainError> {
        let count = self.call(self.config().provider_registry, ProviderRegistry::providerCountCall {}, at).await?;
        within("providers", count, MAX_PROVIDERS)?;
        stream::iter(1..=count).map(|id| self.provider_record(id, at)).buffered(CONCURRENCY).try_collect().await
    }

    async fn provider_record(&self, id: u64, at: BlockId) -> Result<ProviderRecord, ChainError> {
        let call = ProviderRegistry::providerCall { providerId: id };
        let provider = self.call(self.config().provider_registry, call, at).await?;
        Ok(ProviderRecord {
            id: ProviderId(id),
            operator: convert::address(provider.operator),
            recipient: convert::address(provider.recipient),
            receipt_key: convert::address(provider.receiptKey),
            class_id: provider.classId,
            claim_root: convert::hash(provider.claimRoot),
            claim_blocks: provider.claimBlocks,
            claim_count: provider.claimCount,
            claim_sequence: provider.claimSequence,
            stake: amount("stake", provider.stake)?,
            region: provider.region,
            active: provider.active,
            endpoint: endpoint(|| format!("provider {id}"), provider.endpoint)?,
        })
    }
}

fn within(what: &'static str, count: u64, limit: u64) -> Result<(), ChainError> {
    if count > limit { Err(ChainError::TooMany { what, count, limit }) } else { Ok(()) }
}

fn endpoint(what: impl Fn() -> String, text: String) -> Result<String, ChainError> {
    if text.len() > MAX_ENDPOINT_BYTES {
        return Err(ChainError::bad_answer(what(), "an endpoint longer than 256 bytes"));
    }
    Ok(text)
}
