//! Reading an API that is not trusted: every answer is bounded in bytes and time, and has exactly one form.

use std::time::Duration;

use assay_core::hash::Hash32;
use reqwest::{StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A document; the largest are a ledger and a proposal of a full network.
const MAX_DOCUMENT_BYTES: usize = 64 * 1024 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(30);
/// A node that is busy, or that waits for a peer, is asked again.
const BUSY_ATTEMPTS: usize = 5;
const BUSY_PAUSE: Duration = Duration::from_secs(1);
/// What an API says of its refusal is shown up to here.
const SHOWN: usize = 160;

/// A node's REST interface.
#[derive(Clone, Debug)]
pub struct Api {
    http: reqwest::Client,
    base: Url,
}

impl Api {
    /// Asks nothing yet.
    pub fn new(url: &str) -> Result<Self, String> {
        let base = Url::parse(url).map_err(|error| format!("--api {url:?} is not a URL: {error}; write it like http://127.0.0.1:9000"))?;
        if !matches!(base.scheme(), "http" | "https") || base.cannot_be_a_base() {
            return Err(format!("--api {url:?} is not an http(s) URL"));
        }
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self { http, base })
    }

    /// A document. Its bytes must be those that its content is written with: so no byte of an answer goes unread.
    pub async fn document<T: DeserializeOwned + Serialize>(&self, path: &str) -> Result<T, String> {
        let body = self.bytes(path, MAX_DOCUMENT_BYTES).await?;
        read(&body).map_err(|problem| format!("GET {path}: {problem}"))
    }

    /// A bundle of evidence, which must have this digest.
    pub async fn bundle(&self, path: &str, digest: &Hash32, bytes: u64) -> Result<Vec<u8>, String> {
        let limit = assay_proto::bundle::MAX_BUNDLE_BYTES;
        let body = self.bytes(path, limit.min(usize::try_from(bytes).unwrap_or(limit))).await?;
        match Hash32::from(blake3::hash(&body)) == *digest && body.len() as u64 == bytes {
            true => Ok(body),
            false => Err(format!("GET {path}: the bytes are not those of the digest")),
        }
    }

    /// A document of exactly so many bytes that proves itself.
    pub async fn proof(&self, path: &str, bytes: u64) -> Result<Vec<u8>, String> {
        let limit = assay_proto::oracle_convert::MAX_MESSAGE_BYTES;
        let body = self.bytes(path, limit.min(usize::try_from(bytes).unwrap_or(limit))).await?;
        match body.len() as u64 == bytes {
            true => Ok(body),
            false => Err(format!("GET {path}: {} bytes instead of {bytes}", body.len())),
        }
    }

    async fn bytes(&self, path: &str, limit: usize) -> Result<Vec<u8>, String> {
        let mut refusal = String::new();
        for attempt in 0..BUSY_ATTEMPTS {
            if attempt > 0 {
                tokio::time::sleep(BUSY_PAUSE).await;
            }
            let (status, body) = self.get(path, limit).await.map_err(|problem| format!("GET {path}: {problem}"))?;
            if status.is_success() {
                return Ok(body);
            }
            refusal = format!("GET {path}: status {}: {}", status.as_u16(), shown(&body));
            if !matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT) {
                break;
            }
        }
        Err(refusal)
    }

    async fn get(&self, path: &str, limit: usize) -> Result<(StatusCode, Vec<u8>), String> {
        let url = self.base.join(path).map_err(|error| error.to_string())?;
        let mut response = self.http.get(url).send().await.map_err(|error| innermost(&error.without_url()))?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| innermost(&error.without_url()))? {
            if body.len() + chunk.len() > limit {
                return Err(format!("more than {limit} bytes"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok((response.status(), body))
    }
}

/// The document that these bytes are the one form of.
pub fn read<T: DeserializeOwned + Serialize>(body: &[u8]) -> Result<T, String> {
    let document: T = serde_json::from_slice(body).map_err(|error| format!("not the document: {}", shown(error.to_string().as_bytes())))?;
    match serde_json::to_vec(&document) {
        Ok(written) if written == body => Ok(document),
        _ => Err("not in the form that its content is written in".into()),
    }
}

/// A stranger's words without control characters.
fn shown(body: &[u8]) -> String {
    String::from_utf8_lossy(body).chars().filter(|c| !c.is_control()).take(SHOWN).collect()
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
    use assay_proto::rest::BundleRef;

    use super::*;

    // Defence: the second comparison in `read`. Without it a changed byte that the parser overlooks goes unnoticed.
    #[test]
    fn a_document_has_one_form() {
        let document = BundleRef { digest: Hash32([0xab; 32]), bytes: 7 };
        let body = serde_json::to_vec(&document).unwrap();
        assert_eq!(read(&body), Ok(document));
        let text = String::from_utf8(body).unwrap();
        for other in [
            text.replace(':', ": "),
            text.replacen('a', "A", 2),
            format!("{text} "),
            text.replace('7', "07"),
            text.replace("bytes", "bites"),
        ] {
            assert!(read::<BundleRef>(other.as_bytes()).is_err(), "{other}");
        }
    }

    #[test]
    fn a_strangers_words_cannot_move_the_cursor() {
        assert_eq!(shown(b"no\x1b[2J such\r\n epoch"), "no[2J such epoch");
        assert_eq!(shown(&[b'x'; 10_000]).len(), SHOWN);
    }
}
