//! Who takes part: the committee and the providers, as they stood in one block.

use std::ops::RangeInclusive;

use alloy_eips::{BlockId, RpcBlockHash};
use alloy_primitives::U256;
use assay_core::bls;
use assay_core::challenge::Kinds;
use assay_core::claim::ClaimRoot;
use assay_core::hash::Hash32;
use assay_core::ids::{Address, Instance, OracleId, ProviderId};
use assay_core::observation::ProviderKeys;
use assay_core::params::Params;
use assay_core::report::{self, ProviderTerms, Setting};
use futures::stream::{self, StreamExt, TryStreamExt};

use crate::convert;
use crate::{BlockRef, BlockTag, ChainError, Client, Rpc, SettlementConfig};
use assay_contracts_bindings::Committee::Member as Entry;
use assay_contracts_bindings::IProviderRegistry::Provider;
use assay_contracts_bindings::{OracleRegistry, ProviderRegistry};

/// A certificate's bitmap has 256 bits.
const MAX_MEMBERS: u64 = 256;
/// As many as the registry takes.
const MAX_PROVIDERS: u64 = 4096;
/// As long as the registries take.
const MAX_ENDPOINT_BYTES: usize = 255;
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
    /// Where its gRPC listens; empty when it is unusable.
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
    /// Stake in the token's smallest unit; what does not fit counts as the most that does.
    pub stake: u128,
    /// Declared region.
    pub region: u64,
    /// Whether it takes part: never without a receipt key or a recipient.
    pub active: bool,
    /// Where its gRPC listens; empty when it is unusable, so that nobody reaches it.
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
    /// The first 4,096 providers, in ascending id. The registry takes no more.
    pub providers: Vec<ProviderRecord>,
}

impl RegistryView {
    /// The epoch that is frozen at this block, as every oracle and every auditor reads it. Inactive providers, and those of a class that
    /// the parameters do not have, are left out.
    pub fn setting(
        &self,
        epoch: u64,
        instance: Instance,
        settlement: &SettlementConfig,
        params: &Params,
        kinds: Kinds,
        drand_round: u64,
    ) -> Setting {
        let active = self.providers.iter().filter(|p| p.active && params.class(p.class_id).is_some());
        Setting {
            instance,
            epoch,
            genesis_s: settlement.genesis_s,
            params: params.clone(),
            kinds,
            token: settlement.token,
            epoch_budget: settlement.epoch_budget,
            set_epoch: self.set_epoch,
            members: self.members.iter().map(Member::frozen).collect(),
            providers: active.map(ProviderRecord::terms).collect(),
            ref_block: self.block.number,
            ref_block_hash: self.block.hash,
            drand_round,
        }
    }
}

impl Member {
    fn frozen(&self) -> report::Member {
        report::Member {
            oracle: self.oracle,
            weight: self.weight,
            key: self.key,
            operator: self.operator,
            recipient: self.recipient,
            network_group: self.network_group,
        }
    }
}

impl ProviderRecord {
    fn terms(&self) -> ProviderTerms {
        let claims = ClaimRoot { hash: self.claim_root, blocks: self.claim_blocks };
        ProviderTerms {
            provider: self.id,
            class_id: self.class_id,
            keys: ProviderKeys { receipt_key: self.receipt_key, class_id: self.class_id, claims },
            stake: self.stake,
            recipient: self.recipient,
        }
    }
}

impl Client {
    /// Reads both registries as of one block. Every read names the block's hash, so that a reorg in between is an error
    /// and never a mixture.
    ///
    /// Nothing that a participant wrote into a registry makes this fail: what cannot be used is replaced by what is stated
    /// at each field, by its value alone, so that all nodes read the same. An answer that is none of the contract's is an
    /// error: it is the RPC's fault, and others may be served better.
    pub async fn registry_at(&self, block_number: u64) -> Result<RegistryView, ChainError> {
        let block = self.block(BlockTag::Number(block_number)).await?;
        let at = BlockId::Hash(RpcBlockHash::from_hash(block.hash.0.into(), Some(true)));
        let set_epoch = self.call(self.config().oracle_registry, OracleRegistry::currentSetCall {}, at).await?;
        let members = if set_epoch == 0 { Vec::new() } else { self.members(set_epoch, at).await? };
        let providers = self.providers(at).await?;
        Ok(RegistryView { block, set_epoch, members, providers })
    }

    /// The number of the newest committee set in the newest final block; 0 while there is none.
    pub async fn current_set(&self) -> Result<u64, ChainError> {
        self.call(self.config().oracle_registry, OracleRegistry::currentSetCall {}, BlockId::finalized()).await
    }

    /// The oracles of a committee set, ascending: bit `i` of a certificate is the `i`-th. A complete set never changes.
    pub async fn set_oracles(&self, set_epoch: u64) -> Result<Vec<OracleId>, ChainError> {
        let set = self.committee(set_epoch, BlockId::latest()).await?;
        Ok(set.iter().map(|entry| OracleId(entry.oracleId)).collect())
    }

    /// The same with the verdict keys that they had in it: also of members that left since.
    pub async fn set_keys(&self, set_epoch: u64) -> Result<Vec<(OracleId, bls::PublicKey)>, ChainError> {
        let set = self.committee(set_epoch, BlockId::latest()).await?;
        set.iter().map(|entry| Ok((OracleId(entry.oracleId), key(entry)?))).collect()
    }

    async fn committee(&self, set_epoch: u64, at: BlockId) -> Result<Vec<Entry>, ChainError> {
        let call = OracleRegistry::committeeCall { setEpoch: set_epoch };
        let set = self.call(self.config().oracle_registry, call, at).await?;
        within("committee members", set.len() as u64, MAX_MEMBERS)?;
        match set.windows(2).all(|pair| pair[0].oracleId < pair[1].oracleId) {
            true => Ok(set),
            false => Err(ChainError::bad_answer("committee", "ids are not ascending")),
        }
    }

    async fn members(&self, set_epoch: u64, at: BlockId) -> Result<Vec<Member>, ChainError> {
        let set = self.committee(set_epoch, at).await?;
        stream::iter(set).map(|entry| self.member(entry, at)).buffered(CONCURRENCY).try_collect().await
    }

    async fn member(&self, entry: Entry, at: BlockId) -> Result<Member, ChainError> {
        let key = key(&entry)?;
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
            endpoint: endpoint(oracle.endpoint),
        })
    }

    async fn providers(&self, at: BlockId) -> Result<Vec<ProviderRecord>, ChainError> {
        let count = self.call(self.config().provider_registry, ProviderRegistry::providerCountCall {}, at).await?;
        stream::iter(provider_ids(count)).map(|id| self.provider_record(id, at)).buffered(CONCURRENCY).try_collect().await
    }

    async fn provider_record(&self, id: u64, at: BlockId) -> Result<ProviderRecord, ChainError> {
        self.rpc().provider_record_at(&self.config().provider_registry, id, at).await
    }
}

impl Rpc {
    /// One provider in the newest block; [`ChainError::Refused`] when the registry does not know it.
    pub async fn provider_record(&self, registry: &Address, id: ProviderId) -> Result<ProviderRecord, ChainError> {
        self.provider_record_at(registry, id.0, BlockId::latest()).await
    }

    /// One provider in a block; [`ChainError::Refused`] when the registry does not know it there.
    pub async fn provider_record_as_of(&self, registry: &Address, id: ProviderId, at: BlockTag) -> Result<ProviderRecord, ChainError> {
        self.provider_record_at(registry, id.0, BlockId::Number(at.into())).await
    }

    async fn provider_record_at(&self, registry: &Address, id: u64, at: BlockId) -> Result<ProviderRecord, ChainError> {
        let provider = self.call(registry, ProviderRegistry::providerCall { providerId: id }, at).await?;
        Ok(record(id, provider))
    }
}

fn key(entry: &Entry) -> Result<bls::PublicKey, ChainError> {
    let what = || format!("oracle {} of the committee", entry.oracleId);
    let key: &[u8; 256] = entry.blsKey[..].try_into().map_err(|_| ChainError::bad_answer(what(), "a key of other than 256 bytes"))?;
    bls::PublicKey::from_eip2537(key).map_err(|error| ChainError::bad_answer(what(), error))
}

/// Cannot fail: see [`Client::registry_at`].
fn record(id: u64, provider: Provider) -> ProviderRecord {
    let signs_and_is_paid = !provider.receiptKey.is_zero() && !provider.recipient.is_zero();
    ProviderRecord {
        id: ProviderId(id),
        operator: convert::address(provider.operator),
        recipient: convert::address(provider.recipient),
        receipt_key: convert::address(provider.receiptKey),
        class_id: provider.classId,
        claim_root: convert::hash(provider.claimRoot),
        claim_blocks: provider.claimBlocks,
        claim_count: provider.claimCount,
        claim_sequence: provider.claimSequence,
        stake: stake(provider.stake),
        region: provider.region,
        active: provider.active && signs_and_is_paid,
        endpoint: endpoint(provider.endpoint),
    }
}

/// Ids count from 1; the first come first.
fn provider_ids(count: u64) -> RangeInclusive<u64> {
    1..=count.min(MAX_PROVIDERS)
}

/// Only a token of more than 2^128 units reaches the limit. A slash stays exact on the chain, which knows the whole stake.
fn stake(value: U256) -> u128 {
    u128::try_from(value).unwrap_or(u128::MAX)
}

fn within(what: &'static str, count: u64, limit: u64) -> Result<(), ChainError> {
    if count > limit { Err(ChainError::TooMany { what, count, limit }) } else { Ok(()) }
}

/// The endpoint, or nothing when it is too long or anything but printable ASCII without spaces. Bytes that are no UTF-8 have
/// become replacement characters by now, three bytes for one.
fn endpoint(text: String) -> String {
    let usable = text.len() <= MAX_ENDPOINT_BYTES && text.bytes().all(|byte| byte.is_ascii_graphic());
    if usable { text } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provider() -> Provider {
        let address = |byte| alloy_primitives::Address::repeat_byte(byte);
        Provider {
            operator: address(1),
            recipient: address(2),
            receiptKey: address(3),
            classId: 100,
            claimSequence: 1,
            claimBlocks: 4,
            claimCount: 2,
            claimRoot: [5; 32].into(),
            stake: U256::from(5_000),
            region: 7,
            active: true,
            endpoint: "http://127.0.0.1:8001".into(),
        }
    }

    // Defence: an unusable endpoint becomes the empty string. Made an error again, a stranger stops every node for one
    // stake; passed on as it is, what nodes log and dial is a stranger's. Either turns this red.
    #[test]
    fn an_unusable_endpoint_is_empty() {
        let longest = format!("http://{}", "x".repeat(MAX_ENDPOINT_BYTES - 7));
        for usable in ["http://127.0.0.1:8001", "x", longest.as_str()] {
            assert_eq!(record(1, Provider { endpoint: usable.into(), ..provider() }).endpoint, usable);
        }
        let too_long = format!("{longest}x");
        let no_utf8 = String::from_utf8_lossy(&[0xff; MAX_ENDPOINT_BYTES]).into_owned();
        for unusable in ["", "http://a b", "http://a\n", "http://\u{e9}", "\0", &too_long, &no_utf8] {
            assert_eq!(record(1, Provider { endpoint: unusable.into(), ..provider() }).endpoint, "", "{unusable:?}");
        }
    }

    // Defence: the ids that are read are cut at the limit. Removed, or made an error, a registry with more providers stops
    // every node, and this turns red.
    #[test]
    fn of_too_many_providers_the_first_are_read() {
        assert_eq!(provider_ids(0).count(), 0);
        assert_eq!(provider_ids(4096), 1..=4096);
        assert_eq!(provider_ids(4097), 1..=4096);
        assert_eq!(provider_ids(u64::MAX), 1..=4096);
    }

    // Defence: the stake saturates. Made an error, one rich registration stops every node; truncated, it counts as poor.
    // Either turns this red.
    #[test]
    fn a_stake_beyond_128_bits_counts_as_the_largest() {
        let beyond = U256::from(u128::MAX) + U256::from(1);
        for (on_chain, read) in [(U256::from(5), 5), (U256::from(u128::MAX), u128::MAX), (beyond, u128::MAX), (U256::MAX, u128::MAX)] {
            assert_eq!(record(1, Provider { stake: on_chain, ..provider() }).stake, read);
        }
    }

    // Defence: who cannot sign or be paid is not active. Removed, this turns red.
    #[test]
    fn without_a_receipt_key_or_recipient_a_provider_takes_no_part() {
        let zero = alloy_primitives::Address::ZERO;
        assert!(record(1, provider()).active);
        assert!(!record(1, Provider { receiptKey: zero, ..provider() }).active);
        assert!(!record(1, Provider { recipient: zero, ..provider() }).active);
        assert!(!record(1, Provider { active: false, ..provider() }).active);
    }
}
