//! What a request's path and query say, parsed once.

use std::collections::BTreeMap;

use assay_core::hash::Hash32;
use assay_core::ids::{OracleId, ProviderId};
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::ApiError;

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1_000;

/// Path segments as text.
pub(super) struct Segments<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Segments<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Path(segments) = Path::from_request_parts(parts, state).await.map_err(|error| ApiError::bad_request(error.body_text()))?;
        Ok(Self(segments))
    }
}

/// The query, not parsed yet. Each route names the keys that it knows.
pub(super) struct Asked(BTreeMap<String, String>);

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Query(asked) = Query::from_request_parts(parts, state).await.map_err(|error| ApiError::bad_request(error.body_text()))?;
        Ok(Self(asked))
    }
}

impl Asked {
    /// Refuses keys that the route does not know.
    pub(super) fn only(self, known: &[&str]) -> Result<Self, ApiError> {
        match self.0.keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) => Err(ApiError::bad_request(format!("unknown query key {key:?}; this route knows: {}", known.join(", ")))),
            None => Ok(self),
        }
    }

    fn number(&self, key: &str) -> Result<Option<u64>, ApiError> {
        let read = |text: &String| text.parse().map_err(|_| ApiError::bad_request(format!("{key} must be a whole number, not {text:?}")));
        self.0.get(key).map(read).transpose()
    }

    /// `limit`: 100 unless told, from 1 to 1000.
    pub(super) fn limit(&self) -> Result<usize, ApiError> {
        let limit = self.number("limit")?.map_or(Ok(DEFAULT_LIMIT), usize::try_from).unwrap_or(usize::MAX);
        match limit {
            1..=MAX_LIMIT => Ok(limit),
            _ => Err(ApiError::bad_request(format!("limit must be from 1 to {MAX_LIMIT}"))),
        }
    }

    /// `after`: the page begins behind this provider.
    pub(super) fn after(&self) -> Result<ProviderId, ApiError> {
        Ok(ProviderId(self.number("after")?.unwrap_or(0)))
    }

    /// `after` of a list that counts its entries: the page begins behind so many.
    pub(super) fn offset(&self) -> Result<usize, ApiError> {
        Ok(usize::try_from(self.number("after")?.unwrap_or(0)).unwrap_or(usize::MAX))
    }

    /// `oracle`: whose evidence, this node's own unless told.
    pub(super) fn oracle(&self) -> Result<Option<OracleId>, ApiError> {
        Ok(self.number("oracle")?.map(OracleId))
    }

    /// A number that has to be there once another key is.
    pub(super) fn required(&self, key: &str) -> Result<u64, ApiError> {
        self.number(key)?.ok_or_else(|| ApiError::bad_request(format!("{key} is missing: oracle needs epoch and provider beside it")))
    }

    /// A key that is 1 or absent.
    pub(super) fn flag(&self, key: &str) -> Result<bool, ApiError> {
        match self.0.get(key).map(String::as_str) {
            None | Some("0") => Ok(false),
            Some("1") => Ok(true),
            Some(other) => Err(ApiError::bad_request(format!("{key} must be 0 or 1, not {other:?}"))),
        }
    }
}

/// One page of a list.
#[derive(Serialize)]
pub(super) struct Page<T> {
    /// The entries, in the list's order.
    pub(super) items: Vec<T>,
    /// `after` of the next page; none behind the last.
    pub(super) next: Option<ProviderId>,
}

impl<T> Page<T> {
    /// The first `limit` entries behind `after` of a list that ascends by provider.
    pub(super) fn cut(list: impl Iterator<Item = T>, id: impl Fn(&T) -> ProviderId, after: ProviderId, limit: usize) -> Self {
        let mut left = list.skip_while(|item| id(item) <= after);
        let items: Vec<T> = left.by_ref().take(limit).collect();
        let next = left.next().and(items.last().map(id));
        Self { items, next }
    }
}

pub(super) fn epoch(text: &str) -> Result<u64, ApiError> {
    text.parse().map_err(|_| ApiError::bad_request(format!("an epoch is a whole number, not {text:?}")))
}

/// A registration id: from 1.
pub(super) fn id(what: &str, text: &str) -> Result<u64, ApiError> {
    let number = text.parse().ok().filter(|id| *id > 0);
    number.ok_or_else(|| ApiError::bad_request(format!("{what} id is a whole number from 1, not {text:?}")))
}

pub(super) fn digest(text: &str) -> Result<Hash32, ApiError> {
    let digest = text.strip_prefix("0x").and_then(Hash32::from_hex);
    digest.ok_or_else(|| ApiError::bad_request("a digest is 0x and 64 hex digits"))
}
