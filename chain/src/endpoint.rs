//! One RPC endpoint: JSON-RPC over HTTP with bounds, for alloy's own transport reads an answer of any size.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use alloy_json_rpc::{Id, Request, RequestPacket, ResponsePacket};
use alloy_primitives::U64;
use alloy_provider::transport::{TransportError, TransportErrorKind};
use reqwest::{StatusCode, Url};

use crate::ChainError;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Whoever failed is asked last for so long.
const REST: Duration = Duration::from_secs(30);

/// An answer was cut off.
#[derive(Debug, thiserror::Error)]
#[error("the answer is larger than {} bytes", Self::LIMIT_BYTES)]
pub(crate) struct TooLarge;

impl TooLarge {
    /// Ample for a committee of 256 or a block of a thousand hashes. What takes most is one block full of rebuttals: a byte of
    /// one costs at least 13 gas and comes as two digits, so this holds a block of 100 million gas.
    pub const LIMIT_BYTES: usize = 16 * 1024 * 1024;
}

pub(crate) enum Failure {
    /// The request may not have arrived, or the server is overloaded.
    Passing(TransportError),
    Lasting(TransportError),
}

/// One endpoint, and how it did lately.
pub(crate) struct Endpoint {
    http: reqwest::Client,
    url: Url,
    /// Scheme and host, for errors: the path may hold an access key.
    shown: String,
    /// What it serves, once it said so.
    chain_id: OnceLock<u64>,
    rests_until: Mutex<Option<Instant>>,
}

impl Endpoint {
    pub fn new(rpc_url: &str) -> Result<Self, ChainError> {
        let url = Url::parse(rpc_url).map_err(|error| ChainError::Url(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(ChainError::Url(format!("scheme `{}`", url.scheme())));
        }
        let shown = match url.port() {
            Some(port) => format!("{}://{}:{port}", url.scheme(), url.host_str().unwrap_or_default()),
            None => format!("{}://{}", url.scheme(), url.host_str().unwrap_or_default()),
        };
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| ChainError::Url(error.to_string()))?;
        Ok(Self { http, url, shown, chain_id: OnceLock::new(), rests_until: Mutex::new(None) })
    }

    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Whether it failed a moment ago.
    pub fn rests(&self) -> bool {
        self.rests_until.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|until| Instant::now() < until)
    }

    pub fn rest(&self) {
        *self.rests_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + REST);
    }

    pub fn wake(&self) {
        *self.rests_until.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Fails unless it serves this chain. Asks it once: one that was away at the start is asked before its first answer counts.
    pub async fn check_chain(&self, expected: u64, timeout: Duration) -> Result<(), Failure> {
        let found = match self.chain_id.get() {
            Some(found) => *found,
            None => {
                let found = self.ask_chain(timeout).await?;
                *self.chain_id.get_or_init(|| found)
            }
        };
        let foreign = || TransportErrorKind::custom_str(&format!("{} serves chain {found}, not {expected}", self.shown));
        if found == expected { Ok(()) } else { Err(Failure::Lasting(foreign())) }
    }

    async fn ask_chain(&self, timeout: Duration) -> Result<u64, Failure> {
        let question = Request::new("eth_chainId", Id::Number(0), ()).serialize();
        let question = question.map_err(|error| Failure::Lasting(TransportErrorKind::custom(error)))?;
        let answer = self.attempt(&RequestPacket::Single(question), timeout).await?;
        let said = answer.as_single().and_then(|answer| answer.payload.as_success());
        let chain_id: Option<U64> = said.and_then(|said| serde_json::from_str(said.get()).ok());
        chain_id.map(|id| id.to()).ok_or_else(|| Failure::Passing(TransportErrorKind::custom_str("no answer to eth_chainId")))
    }

    /// Asks once.
    pub async fn attempt(&self, packet: &RequestPacket, timeout: Duration) -> Result<ResponsePacket, Failure> {
        let mut response = self.http.post(self.url.clone()).timeout(timeout).json(packet).send().await.map_err(passing)?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(passing)? {
            if body.len() + chunk.len() > TooLarge::LIMIT_BYTES {
                return Err(Failure::Lasting(TransportErrorKind::custom(TooLarge)));
            }
            body.extend_from_slice(&chunk);
        }
        match serde_json::from_slice(&body) {
            Ok(packet) => Ok(packet),
            Err(_) if !status.is_success() => {
                let error = TransportErrorKind::custom_str(&format!("HTTP status {status}"));
                let overloaded = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
                Err(if overloaded { Failure::Passing(error) } else { Failure::Lasting(error) })
            }
            Err(error) => Err(Failure::Lasting(TransportErrorKind::custom_str(&format!("the answer is not JSON-RPC: {error}")))),
        }
    }
}

/// The innermost cause says most ("connection refused"); the URL, which may hold a key, is dropped.
fn passing(error: reqwest::Error) -> Failure {
    let error = error.without_url();
    let text = if error.is_timeout() {
        "no answer in time".to_owned()
    } else {
        let mut cause: &dyn std::error::Error = &error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        cause.to_string()
    };
    Failure::Passing(TransportErrorKind::custom_str(&text))
}
