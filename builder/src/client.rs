//! A provider's gRPC endpoint, and what it says, checked.

use std::time::Duration;

use assay_core::claim::{Claim, ClaimDomain, ClaimSet, SignedClaimSet};
use assay_core::hash::Hash32;
use assay_core::ids::{Address, ProviderId};
use assay_core::secp::{self, Signature65};
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
        let request = wire::ClaimsRequest { sequence, offset: 0, limit: 0, ..Default::default() };
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
        Ok(self.claims(sequence).await?.map(|claims| (claims.signed, claims.set)))
    }

    /// As [`Client::claim_set`], with what the owners signed, unchecked.
    pub async fn claims(&mut self, sequence: u64) -> Result<Option<Claims>, BuilderError> {
        let Some(signed) = self.signed_set(sequence).await? else { return Ok(None) };
        let mut owned = Vec::new();
        while (owned.len() as u64) < signed.count {
            let request = wire::ClaimsRequest { sequence: signed.sequence, offset: owned.len() as u64, limit: PAGE, ..Default::default() };
            let reply = within(CALL_TIMEOUT, "Claims", self.provider.claims(request)).await?.into_inner();
            if reply.claims.is_empty() {
                return Err(BuilderError::Untrusted("it lists fewer claims than it signed"));
            }
            for claim in reply.claims {
                owned.push(claim.parse()?);
            }
        }
        let set = ClaimSet::new(owned.iter().map(|(claim, _)| claim.clone()).collect())?;
        if set.root() != signed.root || set.len() as u64 != signed.count {
            return Err(BuilderError::Untrusted("its claims do not give its root"));
        }
        Ok(Some(Claims { signed, set, owned }))
    }

    /// Whether a set that the provider just gave is its set of that number, well signed, and holds a claim.
    pub async fn holds(&mut self, given: &SignedClaimSet, claim_hash: &Hash32) -> Result<bool, BuilderError> {
        let Some((signed, set)) = self.claim_set(given.sequence).await? else {
            return Err(BuilderError::Untrusted("it is absent"));
        };
        if signed != *given {
            return Err(BuilderError::Untrusted("two different sets carry one sequence number"));
        }
        Ok(set.index_of(claim_hash).is_some())
    }

    /// The newest claim on a replica.
    ///
    /// Of a named owner only a claim that this owner signed for this provider is found, so that its root is to be trusted.
    pub async fn find(&mut self, wanted: &Wanted) -> Result<Claim, BuilderError> {
        let claims = self.claims(0).await?;
        let domain = self.domain;
        let found = claims.iter().flat_map(|claims| &claims.owned).find(|(claim, signature)| wanted.is(&domain, claim, signature));
        found.map(|(claim, _)| claim.clone()).ok_or(BuilderError::NotClaimed { object: wanted.object, replica: wanted.replica })
    }

    /// The last claim on a replica that its owner gave up here; `None` when there is none.
    pub async fn find_released(&mut self, wanted: &Wanted) -> Result<Option<Claim>, BuilderError> {
        let (mut found, mut after) = (None, 0);
        loop {
            let request = wire::ReleasesRequest { after_sequence: after, limit: PAGE };
            let releases = within(CALL_TIMEOUT, "Releases", self.provider.releases(request)).await?.into_inner().releases;
            let Some(last) = releases.last().map(|release| release.sequence) else { return Ok(found) };
            if last <= after {
                return Err(BuilderError::Untrusted("its releases are not in order"));
            }
            after = last;
            for release in releases {
                let (claim, signature) = release.claim.ok_or(convert::absent("claim"))?.parse()?;
                if wanted.is(&self.domain, &claim, &signature) {
                    found = Some(claim);
                }
            }
        }
    }

    /// What the provider says about itself now.
    pub async fn describe(&mut self) -> Result<wire::DescribeReply, BuilderError> {
        Ok(within(CALL_TIMEOUT, "Describe", self.provider.describe(wire::DescribeRequest {})).await?.into_inner())
    }
}

/// A signed set, its claims, and their owners' signatures.
#[derive(Clone, Debug)]
pub struct Claims {
    /// What the provider signed.
    pub signed: SignedClaimSet,
    /// The claims.
    pub set: ClaimSet,
    /// The claims as they came, each with a signature that is not checked.
    pub owned: Vec<(Claim, Signature65)>,
}

/// A replica to look for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// The object.
    pub object: Hash32,
    /// Which replica.
    pub replica: u64,
    /// Whose; anybody's when absent.
    pub owner: Option<Address>,
}

impl Wanted {
    fn is(&self, domain: &ClaimDomain, claim: &Claim, signature: &Signature65) -> bool {
        let by_owner = |owner| claim.owner == owner && secp::recover(&domain.claim_digest(&claim.hash()), signature) == Ok(owner);
        claim.object_id == self.object && claim.replica_index == self.replica && self.owner.is_none_or(by_owner)
    }
}
