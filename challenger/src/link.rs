//! One provider's connection: bounded in bytes and time, reconnecting by itself.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use assay_core::claim::{Claim, ClaimError, ClaimRoot, ClaimSet, MAX_CLAIMS, MAX_TAG_KEYS, SignedClaimSet};
use assay_core::compact::TAG_KEY_BYTES;
use assay_core::secp::Signature65;
use assay_proto::convert::{self, ConvertError};
use assay_proto::provider::v1 as wire;
use assay_proto::provider::v1::provider_client::ProviderClient;
use futures::Stream;
use serde::Deserialize;
use tonic::transport::{Channel, Endpoint};

use crate::endpoint::{EndpointError, ProviderEndpoint};

/// Exchanges before anything is timed: connection setup, caches and code paths are warm after them.
pub const WARM_UP_EXCHANGES: usize = 5;
/// The largest reply that is read. A storage answer for an exabyte has 40 · (1,024 + 50 · 32) bytes, a page of claims 1,000 · 300 and as
/// many tag keys of 192.
pub const MAX_REPLY_BYTES: usize = 1024 * 1024;
/// The largest reply of a bandwidth stream that is read: a group and its siblings have at most 18,112 bytes.
const MAX_BULK_REPLY_BYTES: usize = 64 * 1024;
/// Claims of one page.
const PAGE: u32 = 1_000;
/// Releases of one page: a shorter one is the last.
pub const RELEASES_PAGE: usize = 1_000;
/// The largest header list that is read.
const MAX_HEADER_BYTES: u32 = 16 * 1024;
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// How providers are connected to.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LinkConfig {
    /// Connect to loopback, private and link-local addresses too. For development networks only.
    pub allow_private: bool,
    /// Resolving and connecting take at most this long.
    pub connect_timeout_ms: u64,
    /// A call that is not timed (description, one page of claims, a seal) takes at most this long.
    pub call_timeout_ms: u64,
}

impl Default for LinkConfig {
    fn default() -> Self {
        Self { allow_private: false, connect_timeout_ms: 2_000, call_timeout_ms: 5_000 }
    }
}

/// Why a provider's claims or description were not had.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The endpoint is not connected to.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The address cannot be connected to as it is.
    #[error("the connection cannot be set up")]
    Transport(#[from] tonic::transport::Error),
    /// The call failed; the code is the provider's or the transport's.
    #[error("the provider refused or failed: {0:?}")]
    Call(tonic::Code),
    /// No reply in time.
    #[error("the provider did not reply in time")]
    Timeout,
    /// A reply that cannot be parsed.
    #[error(transparent)]
    Malformed(#[from] ConvertError),
    /// A claim or the set is inconsistent.
    #[error(transparent)]
    Claims(#[from] ClaimError),
    /// More claims in total than can be.
    #[error("{count} claims of {blocks} blocks cannot be")]
    Count {
        /// Claims registered.
        count: u64,
        /// Blocks registered.
        blocks: u64,
    },
    /// A page that is empty, or longer than asked for.
    #[error("a page of claims is empty or longer than asked for")]
    Page,
    /// A page of releases that is longer than asked for, or not in the order of versions behind the one asked for.
    #[error("a page of releases is too long, or not in the order of versions")]
    Releases,
    /// The claims are not the registered ones.
    #[error("the served claims do not lead to the registered root")]
    WrongRoot,
}

/// A claim that left a provider's set, unchecked: whether the signature is its owner's is for the caller to say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Released {
    /// The claim.
    pub claim: Claim,
    /// Under the claim's release digest.
    pub signature: Signature65,
    /// The first version of the claim set without it.
    pub sequence: u64,
}

impl TryFrom<wire::Release> for Released {
    type Error = ConvertError;

    fn try_from(release: wire::Release) -> Result<Self, ConvertError> {
        let claim = release.claim.and_then(|signed| signed.claim).ok_or(convert::absent("claim"))?.try_into()?;
        Ok(Self { claim, signature: convert::signature(&release.signature)?, sequence: release.sequence })
    }
}

/// A connection to one provider. Cheap to clone; clones share the connection.
#[derive(Clone, Debug)]
pub struct Link {
    client: ProviderClient<Channel>,
    address: SocketAddr,
    connect_timeout: Duration,
    call_timeout: Duration,
}

impl Link {
    /// Vets the endpoint and prepares a connection to the address found; it is made at the first call and made anew when it breaks.
    /// Must be called on the runtime that probes.
    pub async fn open(endpoint: &str, config: &LinkConfig) -> Result<Self, LinkError> {
        let connect_timeout = Duration::from_millis(config.connect_timeout_ms);
        let address = ProviderEndpoint::parse(endpoint)?.resolve(config.allow_private, connect_timeout).await?;
        let client = ProviderClient::new(connection(address, connect_timeout)?.connect_lazy()).max_decoding_message_size(MAX_REPLY_BYTES);
        Ok(Self { client, address, connect_timeout, call_timeout: Duration::from_millis(config.call_timeout_ms) })
    }

    /// Prepares a second connection to the same vetted address, for bytes that must not stand in the way of probes. `window_bytes` is the most
    /// that the provider may have under way in one stream.
    pub(crate) fn bulk(&self, window_bytes: u32) -> Result<Self, LinkError> {
        let channel = connection(self.address, self.connect_timeout)?
            .initial_stream_window_size(window_bytes)
            .initial_connection_window_size(window_bytes.saturating_mul(2))
            .connect_lazy();
        let client = ProviderClient::new(channel).max_decoding_message_size(MAX_BULK_REPLY_BYTES);
        Ok(Self { client, ..self.clone() })
    }

    /// The address that was vetted and is connected to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes [`WARM_UP_EXCHANGES`] exchanges whose times nobody looks at; returns how many were answered. Stops at the first failure.
    pub async fn warm_up(&self) -> usize {
        for answered in 0..WARM_UP_EXCHANGES {
            if self.describe().await.is_err() {
                return answered;
            }
        }
        WARM_UP_EXCHANGES
    }

    /// What the provider says of itself, unchecked.
    pub async fn describe(&self) -> Result<wire::DescribeReply, LinkError> {
        let mut client = self.client.clone();
        self.bounded(client.describe(wire::DescribeRequest {})).await
    }

    /// The claim set number `sequence`, which the chain registers with this root and count. Every claim is consistent, and
    /// together they lead to the root, and every tag key that they name is there.
    pub async fn claims(&self, sequence: u64, root: ClaimRoot, count: u64) -> Result<ClaimSet, LinkError> {
        let possible = count <= MAX_CLAIMS as u64 && count <= root.blocks;
        let total = usize::try_from(count).ok().filter(|_| possible).ok_or(LinkError::Count { count, blocks: root.blocks })?;
        let (mut claims, mut keys) = (Vec::new(), BTreeSet::new());
        while claims.len() < total {
            let mut client = self.client.clone();
            let request = wire::ClaimsRequest { sequence, offset: claims.len() as u64, limit: PAGE, ..Default::default() };
            let page = self.bounded(client.claims(request)).await?;
            if page.claims.is_empty() || page.claims.len() > (total - claims.len()).min(PAGE as usize) {
                return Err(LinkError::Page);
            }
            for key in page.tag_keys {
                keys.insert(<[u8; TAG_KEY_BYTES]>::try_from(&key[..]).map_err(|_| convert::malformed("tag_keys"))?);
            }
            if keys.len() > MAX_TAG_KEYS {
                return Err(ClaimError::TooManyTagKeys { found: keys.len() }.into());
            }
            for claim in page.claims {
                claims.push(claim.parse()?.0);
            }
        }
        // A million claims take seconds to hash: not on a thread that probes.
        tokio::task::spawn_blocking(move || registered(claims, &keys, root)).await.map_err(|_| LinkError::WrongRoot)?
    }

    /// The first [`RELEASES_PAGE`] releases behind a version of the claim set, in the order of their versions.
    pub async fn releases(&self, after_sequence: u64) -> Result<Vec<Released>, LinkError> {
        let mut client = self.client.clone();
        let limit = u32::try_from(RELEASES_PAGE).unwrap_or(u32::MAX);
        let reply = self.bounded(client.releases(wire::ReleasesRequest { after_sequence, limit })).await?;
        if reply.releases.len() > RELEASES_PAGE {
            return Err(LinkError::Releases);
        }
        let page: Vec<Released> = reply.releases.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?;
        match page.iter().all(|release| release.sequence > after_sequence) && page.is_sorted_by_key(|release| release.sequence) {
            true => Ok(page),
            false => Err(LinkError::Releases),
        }
    }

    /// The claim set with this root that the provider registered some time ago. It signed every version, and can serve every one that a
    /// challenge may still be about.
    pub async fn earlier_claims(&self, root: ClaimRoot) -> Result<ClaimSet, LinkError> {
        let mut client = self.client.clone();
        let request = wire::ClaimsRequest { root: convert::wire_bytes(&root.hash.0), blocks: root.blocks, ..Default::default() };
        let reply = self.bounded(client.claims(request)).await?;
        let signed = SignedClaimSet::try_from(reply.set.ok_or(convert::absent("set"))?)?;
        match signed.root == root {
            true => self.claims(signed.sequence, root, signed.count).await,
            false => Err(LinkError::WrongRoot),
        }
    }

    /// One challenge. The caller bounds the time.
    pub(crate) async fn challenge(&self, request: wire::ChallengeRequest) -> Result<wire::ChallengeReply, tonic::Status> {
        self.client.clone().challenge(request).await.map(tonic::Response::into_inner)
    }

    /// A bandwidth stream to the provider; it ends when dropped. The caller bounds the time.
    pub(crate) async fn ingress(
        &self,
        frames: impl Stream<Item = wire::IngressFrame> + Send + 'static,
    ) -> Result<tonic::Streaming<wire::IngressReply>, tonic::Status> {
        self.client.clone().ingress(frames).await.map(tonic::Response::into_inner)
    }

    /// A bandwidth stream from the provider, likewise.
    pub(crate) async fn egress(
        &self,
        requests: impl Stream<Item = wire::EgressRequest> + Send + 'static,
    ) -> Result<tonic::Streaming<wire::EgressReply>, tonic::Status> {
        self.client.clone().egress(requests).await.map(tonic::Response::into_inner)
    }

    pub(crate) async fn seal(&self, request: wire::SealRequest) -> Result<wire::SealReply, LinkError> {
        let mut client = self.client.clone();
        self.bounded(client.seal(request)).await
    }

    async fn bounded<T>(&self, call: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>) -> Result<T, LinkError> {
        let reply = tokio::time::timeout(self.call_timeout, call).await.map_err(|_| LinkError::Timeout)?;
        // The message is the provider's text: only the code goes on.
        reply.map(tonic::Response::into_inner).map_err(|status| LinkError::Call(status.code()))
    }
}

/// The set of these claims, when it is the registered one.
fn registered(claims: Vec<Claim>, keys: &BTreeSet<[u8; TAG_KEY_BYTES]>, root: ClaimRoot) -> Result<ClaimSet, LinkError> {
    let set = ClaimSet::new(claims)?;
    if set.root() != root {
        return Err(LinkError::WrongRoot);
    }
    let keys: Result<Vec<_>, _> = keys.iter().map(|key| convert::tag_key(key)).collect();
    Ok(set.with_tag_keys(keys?)?)
}

fn connection(address: SocketAddr, connect_timeout: Duration) -> Result<Endpoint, tonic::transport::Error> {
    Ok(Endpoint::from_shared(format!("http://{address}"))?
        .connect_timeout(connect_timeout)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .http2_max_header_list_size(MAX_HEADER_BYTES))
}

/// A provider's [`Link`] from the moment on there is one. Until then, which may be for ever, every probe is silent: what cannot be
/// resolved or may not be connected to is as absent as what does not answer. Clones share the link.
#[derive(Clone, Default, Debug)]
pub struct Line {
    link: Arc<OnceLock<Link>>,
}

impl Line {
    /// The link, once it is open.
    pub fn link(&self) -> Option<&Link> {
        self.link.get()
    }

    /// Opens the link unless it is open.
    pub async fn open(&self, endpoint: &str, config: &LinkConfig) -> Result<&Link, LinkError> {
        if let Some(link) = self.link.get() {
            return Ok(link);
        }
        let link = Link::open(endpoint, config).await?;
        Ok(self.link.get_or_init(|| link))
    }
}

impl From<Link> for Line {
    fn from(link: Link) -> Self {
        Self { link: Arc::new(OnceLock::from(link)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_config_refuses_unknown_keys_and_private_addresses_by_default() {
        let config: LinkConfig = toml::from_str("connect_timeout_ms = 7").unwrap();
        assert!(!config.allow_private && config.connect_timeout_ms == 7);
        assert!(toml::from_str::<LinkConfig>("allow_privat = true").is_err());
    }
}
