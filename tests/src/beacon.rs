//! A beacon of one's own: drand's HTTP API in the quicknet scheme, with one key instead of a network.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use assay_core::beacon::{self, ChainInfo};
use assay_core::bls::{BlsError, SecretKey};
use assay_core::hash::Hash32;
use assay_oracle::beacon::{BeaconConfig, SCHEME, chain_hash};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// The beacon id that the devnet's chain hash covers.
pub const BEACON_ID: &str = "assay-devnet";

/// A beacon's signing key. No `Debug`.
#[derive(Clone)]
pub struct BeaconKey(SecretKey);

/// What a beacon serves.
#[derive(Clone)]
pub struct Beacon {
    key: BeaconKey,
    info: ChainInfo,
    group_hash: Hash32,
}

impl BeaconKey {
    /// Derives the key from 32 bytes; a devnet's may be public.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, BlsError> {
        SecretKey::key_gen(seed).map(Self)
    }
}

impl Beacon {
    /// A chain whose round 1 is at `genesis_s` (unix seconds), one round every `period_s` seconds, at least 1.
    pub fn new(key: BeaconKey, genesis_s: u64, period_s: u64) -> Self {
        let info = ChainInfo { public_key: key.0.public_key(), genesis_s, period_s: period_s.max(1) };
        let group_hash = assay_core::hash::keccak([&info.public_key.to_compressed()]);
        Self { key, info, group_hash }
    }

    /// The chain's key and timing.
    pub fn info(&self) -> &ChainInfo {
        &self.info
    }

    /// The chain's hash.
    pub fn chain_hash(&self) -> Hash32 {
        chain_hash(&self.info, self.group_hash.as_bytes(), BEACON_ID)
    }

    /// The config of an oracle that follows this chain through these relays.
    pub fn config(&self, urls: Vec<String>) -> BeaconConfig {
        BeaconConfig { urls, chain_hash: self.chain_hash(), public_key: hex::encode(self.info.public_key.to_compressed()) }
    }

    fn current_round(&self) -> u64 {
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs());
        match now_s.checked_sub(self.info.genesis_s) {
            Some(elapsed) => elapsed / self.info.period_s + 1,
            None => 0,
        }
    }

    pub(crate) fn round_json(&self, round: u64) -> Value {
        let signature = beacon::sign(&self.key.0, round);
        json!({
            "round": round,
            "randomness": hex::encode(beacon::randomness(&signature).0),
            "signature": hex::encode(signature.to_compressed()),
        })
    }

    pub(crate) fn info_json(&self) -> Value {
        json!({
            "public_key": hex::encode(self.info.public_key.to_compressed()),
            "period": self.info.period_s,
            "genesis_time": self.info.genesis_s,
            "genesis_seed": hex::encode(self.group_hash.0),
            "hash": hex::encode(self.chain_hash().0),
            "groupHash": hex::encode(self.group_hash.0),
            "schemeID": SCHEME,
            "metadata": { "beaconID": BEACON_ID },
        })
    }
}

/// Serves a beacon until the token is cancelled. Rounds that are not due are answered with 425, as drand does.
pub async fn serve(listener: TcpListener, key: BeaconKey, genesis_s: u64, period_s: u64, token: CancellationToken) -> std::io::Result<()> {
    serve_beacon(listener, Beacon::new(key, genesis_s, period_s), token).await
}

/// As [`serve`].
pub async fn serve_beacon(listener: TcpListener, beacon: Beacon, token: CancellationToken) -> std::io::Result<()> {
    let router = Router::new()
        .route("/chains", get(chains))
        .route("/{chain}/info", get(info))
        .route("/{chain}/public/latest", get(latest))
        .route("/{chain}/public/{round}", get(round))
        .with_state(Arc::new(beacon));
    axum::serve(listener, router).with_graceful_shutdown(token.cancelled_owned()).await
}

async fn chains(State(beacon): State<Arc<Beacon>>) -> Json<Vec<String>> {
    Json(vec![hex::encode(beacon.chain_hash().0)])
}

async fn info(State(beacon): State<Arc<Beacon>>, Path(chain): Path<String>) -> Response {
    if !serves(&beacon, &chain) {
        return StatusCode::NOT_FOUND.into_response();
    }
    Json(beacon.info_json()).into_response()
}

async fn latest(State(beacon): State<Arc<Beacon>>, Path(chain): Path<String>) -> Response {
    answer(&beacon, &chain, beacon.current_round())
}

async fn round(State(beacon): State<Arc<Beacon>>, Path((chain, round)): Path<(String, u64)>) -> Response {
    // drand's round 0 is "the latest".
    answer(&beacon, &chain, if round == 0 { beacon.current_round() } else { round })
}

fn answer(beacon: &Beacon, chain: &str, round: u64) -> Response {
    if !serves(beacon, chain) {
        return StatusCode::NOT_FOUND.into_response();
    }
    if round == 0 || round > beacon.current_round() {
        return StatusCode::TOO_EARLY.into_response();
    }
    Json(beacon.round_json(round)).into_response()
}

fn serves(beacon: &Beacon, chain: &str) -> bool {
    Hash32::from_hex(chain) == Some(beacon.chain_hash())
}
