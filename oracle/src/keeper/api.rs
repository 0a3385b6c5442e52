//! Ledgers from APIs that are not trusted: one counts when the finalized chain accepted its report, and everything in it stands under that.

use std::time::Duration;

use assay_chain::AcceptedReport;
use assay_core::ids::Address;
use assay_core::report::Outcome;
use assay_proto::rest::LedgerDocument;
use reqwest::{StatusCode, Url};

use super::KeeperError;

const TIMEOUT: Duration = Duration::from_secs(30);
/// A ledger of a full network.
const MAX_LEDGER_BYTES: usize = 64 * 1024 * 1024;

/// REST APIs of oracles, asked one after the other.
pub(super) struct Apis {
    http: reqwest::Client,
    urls: Vec<String>,
}

/// What came of asking for a ledger.
pub(super) enum Asked {
    /// It is true; with what is wrong about the APIs that were asked before.
    Told(Box<Outcome>, Vec<String>),
    /// No API has it.
    Unknown,
}

/// Why one API gave nothing.
enum Failure {
    Unknown,
    Away(String),
    Lie(&'static str),
}

impl Apis {
    /// Asks nothing yet.
    pub(super) fn new(urls: &[String]) -> Result<Self, KeeperError> {
        let fit = |url: &String| Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
        if let Some(unfit) = urls.iter().find(|url| !fit(url)) {
            return Err(KeeperError::ApiUrl(unfit.clone()));
        }
        let http = reqwest::Client::builder().timeout(TIMEOUT).redirect(reqwest::redirect::Policy::none()).build();
        let http = http.map_err(|error| KeeperError::Api { url: urls.join(", "), reason: error.to_string() })?;
        Ok(Self { http, urls: urls.iter().map(|url| url.trim_end_matches('/').to_owned()).collect() })
    }

    /// The ledger behind an accepted report, from the first API that tells the truth. An error when none does and one of them lies or fails:
    /// an epoch that all of them have forgotten is none.
    pub(super) async fn ledger(&self, epoch: u64, accepted: &AcceptedReport, token: &Address) -> Result<Asked, KeeperError> {
        let mut notes = Vec::new();
        let mut failed = None;
        for url in &self.urls {
            let error = match self.ask(url, epoch, accepted, token).await {
                Ok(outcome) => return Ok(Asked::Told(Box::new(outcome), notes)),
                Err(Failure::Unknown) => continue,
                Err(Failure::Away(reason)) => KeeperError::Api { url: url.clone(), reason },
                Err(Failure::Lie(what)) => KeeperError::Lie { url: url.clone(), epoch, what },
            };
            notes.push(error.to_string());
            failed = failed.or(Some(error));
        }
        failed.map_or(Ok(Asked::Unknown), Err)
    }

    async fn ask(&self, url: &str, epoch: u64, accepted: &AcceptedReport, token: &Address) -> Result<Outcome, Failure> {
        let body = self.fetch(&format!("{url}/v1/epochs/{epoch}/ledger")).await?;
        let document: LedgerDocument =
            serde_json::from_slice(&body).map_err(|error| Failure::Away(format!("its answer is no ledger: {error}")))?;
        check(document, epoch, accepted, token).map_err(Failure::Lie)
    }

    /// Bounded in time and bytes.
    async fn fetch(&self, url: &str) -> Result<Vec<u8>, Failure> {
        let away = |error: reqwest::Error| Failure::Away(error.without_url().to_string());
        let mut response = self.http.get(url).send().await.map_err(away)?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Err(Failure::Unknown),
            status => return Err(Failure::Away(format!("status {status}"))),
        }
        let mut body = Vec::new();
        while let Some(part) = response.chunk().await.map_err(away)? {
            if body.len() + part.len() > MAX_LEDGER_BYTES {
                return Err(Failure::Away(format!("more than {MAX_LEDGER_BYTES} bytes")));
            }
            body.extend_from_slice(&part);
        }
        Ok(body)
    }
}

/// Believes nothing but the digest that the finalized chain keeps.
fn check(document: LedgerDocument, epoch: u64, accepted: &AcceptedReport, token: &Address) -> Result<Outcome, &'static str> {
    let outcome = document.into_outcome().map_err(|_| "contradicts itself")?;
    if outcome.report.epoch != epoch || !accepted.digest.is_of(&outcome.report.digest()) {
        return Err("comes with another report than the finalized chain accepted");
    }
    match outcome.supports(&outcome.report, token) {
        true => Ok(outcome),
        false => Err("does not stand under the report that the finalized chain accepted"),
    }
}
