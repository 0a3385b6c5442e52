//! Documents from oracles' REST APIs, bounded in time and bytes. Whoever asks for one says what of it is believed.

use std::time::Duration;

use reqwest::{StatusCode, Url};
use serde::de::DeserializeOwned;

const TIMEOUT: Duration = Duration::from_secs(30);
/// A ledger of a full network.
pub(crate) const MAX_LEDGER_BYTES: usize = 64 * 1024 * 1024;

/// Why no API was of use.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// A URL.
    #[error("--api {0:?} is not an http(s) URL; write it like http://127.0.0.1:9000")]
    Url(String),
    /// No answer, or one that cannot be used.
    #[error("the API at {url} does not give {what}: {reason}; set --api to the base URL of an oracle that runs")]
    Away {
        /// Asked.
        url: String,
        /// For what.
        what: String,
        /// Why not.
        reason: String,
    },
    /// An answer that is not true.
    #[error("the API at {url} lies: {lie}. Nothing of this was sent: set --api to another oracle's, and do not trust this one")]
    Lie {
        /// Asked.
        url: String,
        /// How it shows.
        lie: String,
    },
}

/// Why one API gave nothing.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It has no such document.
    Unknown,
    /// No answer, or one that cannot be used.
    Away(String),
    /// It is not true.
    Lie(String),
}

/// REST APIs of oracles, asked one after the other.
pub(crate) struct Apis {
    http: reqwest::Client,
    bases: Vec<String>,
}

/// One of them.
pub(crate) struct Api<'a> {
    http: &'a reqwest::Client,
    base: &'a str,
}

/// What came of asking.
pub(crate) enum Asked<T> {
    /// The truth, with what is wrong about the APIs that were asked before.
    Told(T, Vec<String>),
    /// No API has it.
    Unknown,
}

impl Apis {
    /// Asks nothing yet.
    pub(crate) fn new(bases: &[String]) -> Result<Self, ApiError> {
        let fit = |url: &String| Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
        if let Some(unfit) = bases.iter().find(|base| !fit(base)) {
            return Err(ApiError::Url(unfit.clone()));
        }
        let http = reqwest::Client::builder().timeout(TIMEOUT).redirect(reqwest::redirect::Policy::none()).build();
        let away = |error: reqwest::Error| ApiError::Away { url: bases.join(", "), what: "anything".to_owned(), reason: error.to_string() };
        Ok(Self { http: http.map_err(away)?, bases: bases.iter().map(|url| url.trim_end_matches('/').to_owned()).collect() })
    }

    /// The answer of the first API that tells the truth. An error when none does and one of them lies or fails: what all of them have
    /// forgotten is [`Asked::Unknown`]. `what` says in words what is asked for.
    pub(crate) async fn first<'a, T>(&'a self, what: &str, ask: impl AsyncFn(Api<'a>) -> Result<T, Failure>) -> Result<Asked<T>, ApiError> {
        let mut notes = Vec::new();
        let mut failed = None;
        for base in &self.bases {
            let url = base.clone();
            let error = match ask(Api { http: &self.http, base }).await {
                Ok(told) => return Ok(Asked::Told(told, notes)),
                Err(Failure::Unknown) => continue,
                Err(Failure::Away(reason)) => ApiError::Away { url, what: what.to_owned(), reason },
                Err(Failure::Lie(lie)) => ApiError::Lie { url, lie },
            };
            notes.push(error.to_string());
            failed = failed.or(Some(error));
        }
        failed.map_or(Ok(Asked::Unknown), Err)
    }
}

impl Api<'_> {
    /// The document at a path, which begins with a slash; an answer of more bytes is none.
    pub(crate) async fn document<T: DeserializeOwned>(&self, path: &str, max_bytes: usize) -> Result<T, Failure> {
        let away = |error: reqwest::Error| Failure::Away(error.without_url().to_string());
        let mut response = self.http.get(format!("{}{path}", self.base)).send().await.map_err(away)?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Err(Failure::Unknown),
            status => return Err(Failure::Away(format!("status {status}"))),
        }
        let mut body = Vec::new();
        while let Some(part) = response.chunk().await.map_err(away)? {
            if body.len() + part.len() > max_bytes {
                return Err(Failure::Away(format!("more than {max_bytes} bytes")));
            }
            body.extend_from_slice(&part);
        }
        serde_json::from_slice(&body).map_err(|error| Failure::Away(format!("its answer is not the document: {error}")))
    }
}
