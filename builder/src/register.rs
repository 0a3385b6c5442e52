//! Puts a signed claim set on the chain.

use assay_chain::transaction::{self, SendConfig, TransactionError};
use assay_chain::{ProviderRecord, Rpc, calls};
use assay_core::claim::SignedClaimSet;
use assay_core::hash::Hash32;
use assay_core::ids::Address;
use assay_core::secp::SecretKey;

use crate::client::Client;
use crate::error::BuilderError;

/// The registry's contract on one chain, with an account that pays.
pub struct Registry {
    rpc: Rpc,
    contract: Address,
    sender: SecretKey,
}

impl Registry {
    /// Connects over HTTP and looks whether there is a contract.
    pub async fn connect(rpc_url: &str, contract: &Address, sender: &SecretKey) -> Result<Self, BuilderError> {
        let rpc = Rpc::connect(rpc_url).await?;
        rpc.check_code("--provider-registry", contract).await?;
        Ok(Self { rpc, contract: *contract, sender: sender.clone() })
    }

    /// Reads the provider's record.
    pub async fn on_chain(&self, client: &Client) -> Result<ProviderRecord, BuilderError> {
        record(&self.rpc, &self.contract, client).await
    }

    /// Publishes every set up to `set` that the chain does not have yet, in order. Gives the last transaction's hash; `None` when somebody
    /// else published meanwhile, which is as good.
    pub async fn publish(&self, client: &mut Client, set: &SignedClaimSet) -> Result<Option<Hash32>, BuilderError> {
        let mut last = None;
        loop {
            let on_chain = self.on_chain(client).await?;
            if on_chain.receipt_key != client.receipt_key {
                return Err(BuilderError::Untrusted("the endpoint's receipt key is not the registered one"));
            }
            if on_chain.claim_sequence >= set.sequence {
                return Ok(last);
            }
            let next = on_chain.claim_sequence + 1;
            let signed = match next == set.sequence {
                true => Some(set.clone()),
                false => client.signed_set(next).await?,
            };
            let signed = signed.ok_or(BuilderError::Untrusted("an earlier set is absent"))?;
            match self.send(client, &signed).await {
                Ok(hash) => last = Some(hash),
                // Somebody else may have been faster; then the chain has moved on.
                Err(error) => {
                    if self.on_chain(client).await?.claim_sequence < next {
                        return Err(error.into());
                    }
                }
            }
        }
    }

    async fn send(&self, client: &Client, set: &SignedClaimSet) -> Result<Hash32, TransactionError> {
        let provider = client.domain.provider;
        let call = calls::publish_claims(provider, set.sequence, &set.root.hash, set.root.blocks, set.count, &set.signature);
        let mined = transaction::send(&self.rpc, &self.sender, &self.contract, &call, &SendConfig::default()).await?;
        Ok(mined.tx_hash)
    }
}

/// A provider's record, for somebody who publishes nothing.
pub async fn look_up(rpc_url: &str, contract: &Address, client: &Client) -> Result<ProviderRecord, BuilderError> {
    let rpc = Rpc::connect(rpc_url).await?;
    rpc.check_code("--provider-registry", contract).await?;
    record(&rpc, contract, client).await
}

async fn record(rpc: &Rpc, contract: &Address, client: &Client) -> Result<ProviderRecord, BuilderError> {
    let domain = &client.domain;
    if rpc.chain_id() != domain.chain_id || *contract != domain.provider_registry {
        return Err(BuilderError::OtherRegistry { chain_id: domain.chain_id, registry: domain.provider_registry });
    }
    Ok(rpc.provider_record(contract, domain.provider).await?)
}
