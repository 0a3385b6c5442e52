//! JSON-RPC over HTTP with bounds: alloy's own transport reads an answer of any size.

use std::task::{Context, Poll};
use std::time::Duration;

use alloy_json_rpc::{RequestPacket, ResponsePacket};
use alloy_provider::transport::{BoxFuture, TransportError, TransportErrorKind};
use reqwest::{StatusCode, Url};
use tower_service::Service;
use tracing::debug;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Waits before the second and third attempt. Every request that the client makes may be repeated: reads, and raw
/// transactions whose hash is fixed.
const BACKOFF: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(400)];

/// An answer was cut off.
#[derive(Debug, thiserror::Error)]
#[error("the answer is larger than {} bytes", Self::LIMIT_BYTES)]
pub(crate) struct TooLarge;

impl TooLarge {
    /// Ample for a committee of 256 or a block of a thousand hashes. What takes most is one block full of rebuttals: a byte of
    /// one costs at least 13 gas and comes as two digits, so this holds a block of 100 million gas.
    pub const LIMIT_BYTES: usize = 16 * 1024 * 1024;
}

#[derive(Clone)]
pub(crate) struct BoundedHttp {
    http: reqwest::Client,
    url: Url,
}

enum Failure {
    /// The request may not have arrived, or the server is overloaded.
    Passing(TransportError),
    Lasting(TransportError),
}

impl BoundedHttp {
    pub fn new(url: Url) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self { http, url })
    }

    async fn request(self, packet: RequestPacket) -> Result<ResponsePacket, TransportError> {
        for wait in BACKOFF {
            match self.attempt(&packet).await {
                Ok(response) => return Ok(response),
                Err(Failure::Lasting(error)) => return Err(error),
                Err(Failure::Passing(error)) => debug!(%error, ?wait, "RPC request failed, trying again"),
            }
            tokio::time::sleep(wait).await;
        }
        self.attempt(&packet).await.map_err(|failure| match failure {
            Failure::Passing(error) | Failure::Lasting(error) => error,
        })
    }

    async fn attempt(&self, packet: &RequestPacket) -> Result<ResponsePacket, Failure> {
        let mut response = self.http.post(self.url.clone()).json(packet).send().await.map_err(passing)?;
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

impl Service<RequestPacket> for BoundedHttp {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = BoxFuture<'static, Result<ResponsePacket, TransportError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, packet: RequestPacket) -> Self::Future {
        Box::pin(self.clone().request(packet))
    }
}
