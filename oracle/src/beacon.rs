//! drand's HTTP API, read from several relays and believed by none: a round counts when its signature verifies.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use assay_core::beacon::{ChainInfo, Round};
use assay_core::bls::{BlsError, PublicKey};
use assay_core::hash::Hash32;
use assay_proto::rest::BeaconChain;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use reqwest::{StatusCode, Url};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::time::sleep;
use tracing::warn;

/// The only scheme that is read: unchained rounds, signatures in G1 (drand's quicknet).
pub const SCHEME: &str = "bls-unchained-g1-rfc9380";

const MAX_RESPONSE_BYTES: usize = 16 * 1024;
const TIMEOUT: Duration = Duration::from_secs(2);
/// Those that were asked have so long before one more is.
const HEDGE: Duration = Duration::from_millis(250);
/// A day of devnet slots, or several of quicknet epochs.
const MAX_CACHED_ROUNDS: usize = 4096;
const MAX_PERIOD_S: u64 = 3600;

/// The `[beacon]` table of the oracle's config.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BeaconConfig {
    /// Relays, tried in order, as `https://api.drand.sh`.
    pub urls: Vec<String>,
    /// Hash of the chain: the first segment of every path.
    pub chain_hash: Hash32,
    /// The group's public key in G2, 96 bytes in hex.
    pub public_key: String,
}

/// Why no beacon value was had.
#[derive(Debug, thiserror::Error)]
pub enum BeaconError {
    /// The config does not hold together.
    #[error("[beacon] {key}: {problem}")]
    Config {
        /// The config's key.
        key: &'static str,
        /// What is wrong and what to do.
        problem: String,
    },
    /// The round is not out yet, as far as the relays know.
    #[error("beacon round {0} is not out yet")]
    TooEarly(u64),
    /// Every relay failed.
    #[error(
        "no beacon relay gave a valid answer: {}; check the network, and correct [beacon] urls, chain_hash and public_key",
        .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    )]
    AllRelays(Vec<RelayError>),
}

/// What one relay did.
#[derive(Debug, thiserror::Error)]
#[error("{relay}: {fault}")]
pub struct RelayError {
    /// Scheme, host and port of the relay.
    pub relay: String,
    /// What it did.
    pub fault: RelayFault,
}

/// The ways in which a relay fails.
#[derive(Debug, thiserror::Error)]
pub enum RelayFault {
    /// No answer in time.
    #[error("does not answer ({0})")]
    Unreachable(String),
    /// An HTTP status that is neither success nor "not yet".
    #[error("answers with status {0}")]
    Status(u16),
    /// The round is not out.
    #[error("has not got the round yet")]
    NotYet,
    /// The chain is not served there.
    #[error("does not serve the chain {pinned} that [beacon] chain_hash pins")]
    UnknownChain {
        /// The config's chain hash.
        pinned: Hash32,
    },
    /// More than an answer can be.
    #[error("answers with more than {MAX_RESPONSE_BYTES} bytes")]
    TooBig,
    /// Not drand's JSON.
    #[error("answers with something that is not drand's JSON ({0})")]
    Malformed(String),
    /// A chain other than the pinned one.
    #[error("serves another chain: {what} is {found}, [beacon] pins {pinned}")]
    OtherChain {
        /// Which property differs.
        what: &'static str,
        /// The relay's.
        found: String,
        /// The config's.
        pinned: String,
    },
    /// A round with a signature that does not verify.
    #[error("gives round {round} a signature that does not verify ({error}): take it out of [beacon] urls")]
    BadSignature {
        /// The round.
        round: u64,
        /// What is wrong with it.
        error: BlsError,
    },
    /// Another round than the one asked for.
    #[error("answers with round {found} when asked for round {asked}")]
    OtherRound {
        /// Asked for.
        asked: u64,
        /// Given.
        found: u64,
    },
}

#[derive(Deserialize)]
struct InfoJson {
    public_key: String,
    period: u64,
    genesis_time: u64,
    hash: String,
    #[serde(rename = "groupHash")]
    group_hash: String,
    #[serde(rename = "schemeID")]
    scheme: String,
    #[serde(default)]
    metadata: MetadataJson,
}

#[derive(Default, Deserialize)]
struct MetadataJson {
    #[serde(rename = "beaconID", default)]
    beacon_id: String,
}

#[derive(Deserialize)]
struct RoundJson {
    round: u64,
    signature: String,
}

struct Relay {
    base: Url,
    shown: String,
}

/// A verified view of one beacon chain. Clones share its memory.
#[derive(Clone)]
pub struct BeaconClient {
    http: reqwest::Client,
    relays: Arc<[Relay]>,
    info: ChainInfo,
    chain_hash: Hash32,
    group: Group,
    rounds: Arc<Mutex<BTreeMap<u64, Round>>>,
}

/// What the chain hash covers besides [`ChainInfo`].
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Group {
    /// Of the drand group.
    pub hash: Vec<u8>,
    /// The chain's name among the group's chains.
    pub beacon_id: String,
}

impl BeaconClient {
    /// Learns the chain's genesis and period from the first relay whose `/info` matches the pinned scheme, hash and key.
    /// The chain hash covers genesis and period ([`chain_hash`]), so no relay can shift the rounds.
    pub async fn connect(config: &BeaconConfig) -> Result<Self, BeaconError> {
        let public_key = parse_key(&config.public_key)?;
        let mut client = Self::with_info(config, ChainInfo { public_key, genesis_s: 0, period_s: 1 })?;
        let mut failures = Vec::new();
        for relay in client.relays.clone().iter() {
            match client.fetch_info(relay, config).await {
                Ok((info, group)) => {
                    (client.info, client.group) = (info, group);
                    return Ok(client);
                }
                Err(fault) => failures.push(relay.failed(fault)),
            }
        }
        Err(BeaconError::AllRelays(failures))
    }

    /// A client of a chain whose genesis and period are known; asks no relay.
    pub fn with_info(config: &BeaconConfig, info: ChainInfo) -> Result<Self, BeaconError> {
        if config.urls.is_empty() {
            return Err(BeaconError::Config { key: "urls", problem: "is empty; name at least one relay".into() });
        }
        let relays = config.urls.iter().map(|url| Relay::new(url, &config.chain_hash)).collect::<Result<Vec<_>, _>>()?.into();
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| BeaconError::Config { key: "urls", problem: error.to_string() })?;
        Ok(Self { http, relays, info, chain_hash: config.chain_hash, group: Group::default(), rounds: Arc::default() })
    }

    /// The chain's key and timing.
    pub fn info(&self) -> &ChainInfo {
        &self.info
    }

    /// The chain as auditors are told of it.
    pub fn published(&self) -> BeaconChain {
        BeaconChain {
            public_key: self.info.public_key.to_compressed().into(),
            genesis_time: self.info.genesis_s,
            period: self.info.period_s,
            chain_hash: self.chain_hash,
            group_hash: (&self.group.hash).into(),
            beacon_id: self.group.beacon_id.clone(),
        }
    }

    /// A round, verified; from memory when it was verified before.
    pub async fn round(&self, number: u64) -> Result<Round, BeaconError> {
        if let Some(round) = self.lock().get(&number) {
            return Ok(*round);
        }
        self.first_valid(Some(number)).await
    }

    /// The newest round that a relay has, verified. A relay may lag or hide one: compare with the round that is due.
    pub async fn latest(&self) -> Result<Round, BeaconError> {
        self.first_valid(None).await
    }

    /// The first answer that verifies. One relay more is asked whenever one fails, and when those that were asked take long: a relay that
    /// accepts connections and never answers costs a moment, not the round.
    async fn first_valid(&self, asked: Option<u64>) -> Result<Round, BeaconError> {
        let (mut failures, mut relays, mut asking) = (Vec::new(), self.relays.iter(), FuturesUnordered::new());
        loop {
            if let Some(relay) = relays.next() {
                asking.push(async move { (relay, self.fetch_round(relay, asked).await) });
            }
            let answered = tokio::select! {
                answered = asking.next() => answered,
                () = sleep(HEDGE), if relays.len() > 0 => continue,
            };
            match answered {
                Some((_, Ok(round))) => {
                    self.remember(round);
                    return Ok(round);
                }
                Some((relay, Err(fault))) => {
                    if !matches!(fault, RelayFault::NotYet) {
                        warn!(relay = relay.shown, %fault, "beacon relay failed, trying the next");
                    }
                    failures.push(relay.failed(fault));
                }
                None => break,
            }
        }
        match asked {
            Some(round) if failures.iter().all(|failure| matches!(failure.fault, RelayFault::NotYet)) => Err(BeaconError::TooEarly(round)),
            _ => Err(BeaconError::AllRelays(failures)),
        }
    }

    async fn fetch_info(&self, relay: &Relay, config: &BeaconConfig) -> Result<(ChainInfo, Group), RelayFault> {
        let bytes = self.fetch(relay, "info").await.map_err(|fault| match fault {
            RelayFault::NotYet => RelayFault::UnknownChain { pinned: config.chain_hash },
            fault => fault,
        })?;
        decode_info(&bytes, config, &self.info.public_key)
    }

    async fn fetch_round(&self, relay: &Relay, asked: Option<u64>) -> Result<Round, RelayFault> {
        let path = asked.map_or_else(|| "public/latest".to_owned(), |number| format!("public/{number}"));
        decode_round(&self.fetch(relay, &path).await?, asked, &self.info)
    }

    async fn fetch(&self, relay: &Relay, path: &str) -> Result<Vec<u8>, RelayFault> {
        let unreachable = |error: reqwest::Error| RelayFault::Unreachable(innermost(&error.without_url()));
        let url = relay.base.join(path).map_err(|error| RelayFault::Malformed(error.to_string()))?;
        let mut response = self.http.get(url).send().await.map_err(unreachable)?;
        match response.status() {
            status if status.is_success() => {}
            StatusCode::NOT_FOUND | StatusCode::TOO_EARLY => return Err(RelayFault::NotYet),
            status => return Err(RelayFault::Status(status.as_u16())),
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > MAX_RESPONSE_BYTES {
                return Err(RelayFault::TooBig);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn remember(&self, round: Round) {
        let mut rounds = self.lock();
        rounds.insert(round.number, round);
        if rounds.len() > MAX_CACHED_ROUNDS {
            rounds.pop_first();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Round>> {
        self.rounds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Relay {
    fn new(url: &str, chain_hash: &Hash32) -> Result<Self, BeaconError> {
        let refuse = |problem: String| BeaconError::Config { key: "urls", problem };
        let not_a_url = |error| refuse(format!("`{url}` is not a URL ({error})"));
        // Alone first: glued to a URL without a host, the chain hash would become one.
        Url::parse(url).map_err(not_a_url)?;
        let base = Url::parse(&format!("{}/{}/", url.trim_end_matches('/'), hex::encode(chain_hash.0))).map_err(not_a_url)?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(refuse(format!("`{url}` is not an http(s) URL")));
        }
        let port = base.port().map(|port| format!(":{port}")).unwrap_or_default();
        let shown = format!("{}://{}{port}", base.scheme(), base.host_str().unwrap_or_default());
        Ok(Self { base, shown })
    }

    fn failed(&self, fault: RelayFault) -> RelayError {
        RelayError { relay: self.shown.clone(), fault }
    }
}

/// Reads a relay's `/info` and holds it against the config: scheme, hash, key, and the hash over genesis and period.
pub fn decode_info(bytes: &[u8], config: &BeaconConfig, public_key: &PublicKey) -> Result<(ChainInfo, Group), RelayFault> {
    let info: InfoJson = serde_json::from_slice(bytes).map_err(|error| RelayFault::Malformed(error.to_string()))?;
    let same = |what, found: &str, pinned: &str| {
        let (found, pinned) = (found.to_ascii_lowercase(), pinned.trim_start_matches("0x").to_ascii_lowercase());
        if found == pinned { Ok(()) } else { Err(RelayFault::OtherChain { what, found, pinned }) }
    };
    same("the scheme", &info.scheme, SCHEME)?;
    same("the chain hash", &info.hash, &config.chain_hash.to_string())?;
    same("the public key", &info.public_key, &config.public_key)?;
    if info.period == 0 || info.period > MAX_PERIOD_S {
        return Err(RelayFault::Malformed(format!("a period of {} s", info.period)));
    }
    let chain = ChainInfo { public_key: *public_key, genesis_s: info.genesis_time, period_s: info.period };
    let group_hash = hex::decode(&info.group_hash).map_err(|_| RelayFault::Malformed("a group hash that is not hex".into()))?;
    let computed = chain_hash(&chain, &group_hash, &info.metadata.beacon_id);
    same("the hash of its genesis, period and key", &hex::encode(computed.0), &config.chain_hash.to_string())?;
    Ok((chain, Group { hash: group_hash, beacon_id: info.metadata.beacon_id }))
}

/// Reads a relay's round and verifies its signature under the chain's key. `None` asks for the latest.
pub fn decode_round(bytes: &[u8], asked: Option<u64>, chain: &ChainInfo) -> Result<Round, RelayFault> {
    let json: RoundJson = serde_json::from_slice(bytes).map_err(|error| RelayFault::Malformed(error.to_string()))?;
    if let Some(asked) = asked.filter(|asked| *asked != json.round) {
        return Err(RelayFault::OtherRound { asked, found: json.round });
    }
    let signature = hex::decode(&json.signature).map_err(|_| RelayFault::Malformed("a signature that is not hex".into()))?;
    chain.verify(json.round, &signature).map_err(|error| RelayFault::BadSignature { round: json.round, error })
}

/// drand's chain hash: SHA-256 of period, genesis time, key, group hash and, unless it is the default one, beacon id
/// (`Info.Hash` in drand's `common/chain`; the test below holds it against quicknet).
pub fn chain_hash(info: &ChainInfo, group_hash: &[u8], beacon_id: &str) -> Hash32 {
    let mut hasher = Sha256::new()
        .chain_update(u32::try_from(info.period_s).unwrap_or(u32::MAX).to_be_bytes())
        .chain_update(info.genesis_s.to_be_bytes())
        .chain_update(info.public_key.to_compressed())
        .chain_update(group_hash);
    if !matches!(beacon_id, "" | "default") {
        hasher.update(beacon_id);
    }
    Hash32(hasher.finalize().into())
}

fn parse_key(text: &str) -> Result<PublicKey, BeaconError> {
    let refuse = |problem: String| BeaconError::Config { key: "public_key", problem };
    let bytes = assay_core::hash::decode_hex(text)
        .and_then(|bytes| <[u8; 96]>::try_from(bytes).ok())
        .ok_or_else(|| refuse("is not 96 bytes in hex; copy it from the relay's /info".into()))?;
    PublicKey::from_compressed(&bytes).map_err(|error| refuse(error.to_string()))
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(cause) = error.source() {
        error = cause;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quicknets_chain_hash() {
        let public_key = parse_key(QUICKNET_KEY).unwrap();
        let info = ChainInfo { public_key, genesis_s: 1_692_803_367, period_s: 3 };
        let group_hash = hex::decode("f477d5c89f21a17c863a7f937c6a6d15859414d2be09cd448d4279af331c5d3e").unwrap();
        assert_eq!(
            chain_hash(&info, &group_hash, "quicknet").to_string(),
            "0x52db9ba70e0cc0f6eaf7803dd07447a1f5477735fd3f661792ba94600c84e971"
        );
    }

    #[test]
    fn a_config_that_cannot_work_is_refused() {
        let config = |url: &str, key: &str| BeaconConfig { urls: vec![url.into()], chain_hash: Hash32::ZERO, public_key: key.into() };
        let info = ChainInfo { public_key: parse_key(QUICKNET_KEY).unwrap(), genesis_s: 0, period_s: 1 };
        for url in ["api.drand.sh", "ftp://api.drand.sh", "http://"] {
            assert!(BeaconClient::with_info(&config(url, ""), info.clone()).is_err(), "{url}");
        }
        assert!(parse_key("00").is_err());
        assert!(BeaconClient::with_info(&config("https://api.drand.sh", ""), info).is_ok());
    }

    const QUICKNET_KEY: &str = "83cf0f2896adee7eb8b5f01fcad3912212c437e0073e911fb90022d3e760183c8c4b450b6a0a6c3ac6a5776a2d1064510d1fec758c921cc22b0e17e63aaf4bcb5ed66304de9cf809bd274ca73bab4af5a6e9c76a4bc09e76eae8991ef5ece45a";
}
