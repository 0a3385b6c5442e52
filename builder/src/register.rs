//! Puts a signed claim set on the chain.

use std::time::Duration;

use alloy_network::EthereumWallet;
use alloy_primitives::{Address as EvmAddress, B256};
use alloy_provider::{DynProvider, Provider, ProviderBuilder};
use alloy_rpc_types_eth::TransactionRequest;
use alloy_signer_local::PrivateKeySigner;
use alloy_sol_types::{SolCall, sol};
use assay_core::claim::SignedClaimSet;
use assay_core::ids::Address;
use assay_core::secp::SecretKey;
use tokio::time::{Instant, sleep};

use crate::client::Client;
use crate::error::BuilderError;

const RECEIPT_TIMEOUT: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(250);

sol! {
    /// `docs/protocol.md`, Contracts.
    interface IProviderRegistry {
        struct Provider { address operator; address recipient; address receiptKey; uint16 classId; uint64 claimSequence; uint64 claimBlocks; uint64 claimCount; bytes32 claimRoot; uint256 stake; uint64 region; bool active; string endpoint; }
        function provider(uint64 providerId) external view returns (Provider memory);
        function publishClaims(uint64 providerId, uint64 sequence, bytes32 root, uint64 blocks, uint64 count, bytes calldata signature) external;
    }
}

/// The registry's contract on one chain, with an account that pays.
pub struct Registry {
    rpc: DynProvider,
    contract: EvmAddress,
    sender: EvmAddress,
    chain_id: u64,
}

/// What the chain holds for a provider.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OnChain {
    /// Sequence of the published claim set; 0 when there is none.
    pub sequence: u64,
    /// Blocks of the published claim set.
    pub blocks: u64,
    /// The key that signs for the provider.
    pub receipt_key: Address,
}

fn chain(error: impl std::fmt::Display) -> BuilderError {
    BuilderError::Chain(error.to_string())
}

impl Registry {
    /// Connects over HTTP.
    pub async fn connect(rpc_url: &str, contract: &Address, sender: &SecretKey) -> Result<Self, BuilderError> {
        let signer = PrivateKeySigner::from_slice(&*sender.to_bytes()).map_err(chain)?;
        let address = signer.address();
        let url = rpc_url.parse().map_err(|_| BuilderError::Chain(format!("{rpc_url} is not a URL")))?;
        let rpc = ProviderBuilder::new().wallet(EthereumWallet::from(signer)).connect_http(url).erased();
        let chain_id = rpc.get_chain_id().await.map_err(chain)?;
        Ok(Self { rpc, contract: EvmAddress::from(contract.0), sender: address, chain_id })
    }

    /// Reads the provider's record.
    pub async fn on_chain(&self, client: &Client) -> Result<OnChain, BuilderError> {
        let domain = &client.domain;
        if self.chain_id != domain.chain_id || self.contract != EvmAddress::from(domain.provider_registry.0) {
            return Err(BuilderError::Chain("the provider belongs to another chain or registry".to_owned()));
        }
        let call = IProviderRegistry::providerCall { providerId: domain.provider.0 };
        let request = TransactionRequest::default().to(self.contract).input(call.abi_encode().into());
        let bytes = self.rpc.call(request).await.map_err(chain)?;
        let record = IProviderRegistry::providerCall::abi_decode_returns(&bytes).map_err(chain)?;
        Ok(OnChain { sequence: record.claimSequence, blocks: record.claimBlocks, receipt_key: Address(record.receiptKey.into_array()) })
    }

    /// Publishes every set up to `set` that the chain does not have yet, in order. Gives the last transaction's hash; `None` when somebody
    /// else published meanwhile, which is as good.
    pub async fn publish(&self, client: &mut Client, set: &SignedClaimSet) -> Result<Option<B256>, BuilderError> {
        let mut last = None;
        loop {
            let on_chain = self.on_chain(client).await?;
            if on_chain.receipt_key != client.receipt_key {
                return Err(BuilderError::Untrusted("the endpoint's receipt key is not the registered one"));
            }
            if on_chain.sequence >= set.sequence {
                return Ok(last);
            }
            let next = on_chain.sequence + 1;
            let signed = match next == set.sequence {
                true => Some(set.clone()),
                false => client.signed_set(next).await?,
            };
            let signed = signed.ok_or(BuilderError::Untrusted("an earlier set is absent"))?;
            match self.send(client, &signed).await {
                Ok(hash) => last = Some(hash),
                // Somebody else may have been faster; then the chain has moved on.
                Err(error) => {
                    if self.on_chain(client).await?.sequence < next {
                        return Err(error);
                    }
                }
            }
        }
    }

    async fn send(&self, client: &Client, set: &SignedClaimSet) -> Result<B256, BuilderError> {
        let call = IProviderRegistry::publishClaimsCall {
            providerId: client.domain.provider.0,
            sequence: set.sequence,
            root: set.root.hash.0.into(),
            blocks: set.root.blocks,
            count: set.count,
            signature: set.signature.0.to_vec().into(),
        };
        let request = TransactionRequest::default().from(self.sender).to(self.contract).input(call.abi_encode().into());
        let pending = self.rpc.send_transaction(request).await.map_err(chain)?;
        let hash = *pending.tx_hash();
        let deadline = Instant::now() + RECEIPT_TIMEOUT;
        while Instant::now() < deadline {
            if let Some(receipt) = self.rpc.get_transaction_receipt(hash).await.map_err(chain)? {
                return match receipt.status() {
                    true => Ok(hash),
                    false => Err(BuilderError::Chain(format!("transaction {hash} was reverted"))),
                };
            }
            sleep(POLL).await;
        }
        Err(BuilderError::Chain(format!("transaction {hash} has no receipt after {} s", RECEIPT_TIMEOUT.as_secs())))
    }
}
