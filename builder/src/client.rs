//! A provider's gRPC endpoint, and what it says, checked.

use std::time::Duration;

use assay_core::claim::{Claim, ClaimDomain, ClaimSet, SignedClaimSet};
use assay_core::ids::{Address, ProviderId};
use assay_proto::convert;
use assay_proto::provider::v1 as wire;
use assay_proto::provider::v1::ingest_client::IngestClient;
use assay_proto::provider::v1::provider_client::ProviderClient;
use tokio::time::timeout;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::error::BuilderError;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
const PAGE: u32 = 1000;
const WINDOW_BYTES: u32 = 4 << 20;

/// A connected provider whose id, chain and registry are the expected ones.
#[derive(Clone, Debug)]
pub struct Client {
    /// For claims.
    pub provider: ProviderClient<Channel>,
    /// For bytes.
    pub ingest: IngestClient<Channel>,
    /// What claims are bound to.
    pub domain: ClaimDomain,
    /// As the provider itself says; the chain has the last word.
    pub receipt_key: Address,
}

/// Waits for a reply, but not for ever.
pub async fn within<T>(limit: Duration, name: &'static str, call: impl Future<Output = Result<T, Status>>) -> Result<T, BuilderError> {
    Ok(timeout(limit, call).await.map_err(|_| BuilderError::Timeout(name))??)
}

impl Client {
    /// Connects to `http://host:port`.
    pub async fn connect(endpoint: &str, expected: ProviderId) -> Result<Self, BuilderError> {
        let failed = |source| BuilderError::Connect { endpoint: endpoint.to_owned(), source };
        let channel = Endpoint::from_shared(endpoint.to_owned())
            .map_err(failed)?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .connect()
            .await
            .map_err(failed)?;
        let mut provider = ProviderClient::new(channel.clone());
        let described = within(CALL_TIMEOUT, "Describe", provider.describe(wire::DescribeRequest {})).await?.into_inner();
        let found = ProviderId(described.provider_id);
        if found != expected {
            return Err(BuilderError::OtherProvider { expected, found });
        }
        let domain = ClaimDomain {
            chain_id: described.chain_id,
            provider_registry: convert::address(&described.provider_registry, "provider_registry")?,
            provider: found,
        };
        let receipt_key = convert::address(&described.receipt_key, "receipt_key")?;
        Ok(Self { provider, ingest: IngestClient::new(channel), domain, receipt_key })
    }

    /// One signed set without its claims; `None` when nothing is claimed. Its signature is checked.
    pub async fn signed_set(&mut self, sequence: u64) -> Result<Option<SignedClaimSet>, BuilderError> {
        let request = wire::ClaimsRequest { sequence, offset: 0, limit: 0 };
        let reply = within(CALL_TIMEOUT, "Claims", self.provider.claims(request)).await?.into_inner();
        reply.set.map(|set| self.trusted(set.try_into()?)).transpose()
    }

    fn trusted(&self, set: SignedClaimSet) -> Result<SignedClaimSet, BuilderError> {
        match set.is_by(&self.receipt_key, &self.domain) {
            true => Ok(set),
            false => Err(BuilderError::Untrusted("its signature is not by the receipt key")),
        }
    }

    /// A set with all its claims; root, count and signature are checked.
    pub async fn claim_set(&mut self, sequence: u64) -> Result<Option<(SignedClaimSet, ClaimSet)>, BuilderError> {
        let Some(signed) = self.signed_set(sequence).await? else { return Ok(None) };
        let mut claims: Vec<Claim> = Vec::new();
        while (claims.len() as u64) < signed.count {
            let request = wire::ClaimsRequest { sequence: signed.sequence, offset: claims.len() as u64, limit: PAGE };
            let reply = within(CALL_TIMEOUT, "Claims", self.provider.claims(request)).await?.into_inner();
            if reply.claims.is_empty() {
                return Err(BuilderError::Untrusted("it lists fewer claims than it signed"));
            }
            for claim in reply.claims {
                claims.push(claim.parse()?.0);
            }
        }
        let set = ClaimSet::new(claims)?;
        if set.root() != signed.root || set.len() as u64 != signed.count {
            return Err(BuilderError::Untrusted("its claims do not give its root"));
        }
        Ok(Some((signed, set)))
    }
}
