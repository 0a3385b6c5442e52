//! `/v1/providers`: who is registered, and how it did last.

use assay_core::hash::Hash32;
use assay_core::ids::{Address, ProviderId};
use assay_core::verdict::Verdict;
use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::ApiState;
use super::error::ApiError;
use super::load::{Epoch, Samples, StorageHistory};
use super::page::{self, Asked, Page, Segments};
use super::view::ProviderInfo;

/// A provider: its terms, and what was measured.
#[derive(Serialize)]
pub(super) struct Provider {
    id: ProviderId,
    endpoint: String,
    class_id: u16,
    receipt_key: Address,
    recipient: Address,
    #[serde(with = "assay_core::amount")]
    stake: u128,
    claims: Claims,
    /// None before the first certified epoch that judged it.
    last_verdict: Option<Verdict>,
    /// Median of the panel's median round trips in that epoch, µs; none when nothing was answered.
    p50_us: Option<u64>,
    storage: Storage,
    /// Rewards of all epochs up to the newest certified report.
    #[serde(with = "assay_core::amount")]
    cumulative_reward: u128,
}

#[derive(Serialize)]
struct Claims {
    root: Hash32,
    blocks: u64,
}

/// Samples over the newest certified epochs that this node holds.
#[derive(Serialize)]
struct Storage {
    epochs: usize,
    valid: u64,
    faulty: u64,
    silent: u64,
    /// The share of stored data that can be lost, with 95 % confidence: 3/n over n valid uniform samples. None without samples, and none
    /// when a sample was faulty: then data is lost, and the rule of three does not hold.
    loss_upper_bound_95_ppm: Option<u64>,
}

impl From<(usize, Samples)> for Storage {
    fn from((epochs, samples): (usize, Samples)) -> Self {
        let Samples { valid, faulty, silent } = samples;
        let bound = (faulty == 0 && valid > 0).then(|| 3_000_000_u64.div_ceil(valid.max(1)).min(1_000_000));
        Self { epochs, valid, faulty, silent, loss_upper_bound_95_ppm: bound }
    }
}

/// What is known about all providers.
struct Measured {
    newest: Option<std::sync::Arc<Epoch>>,
    history: StorageHistory,
}

impl Measured {
    async fn load(state: &ApiState) -> Result<Self, ApiError> {
        Ok(Self { newest: state.loader.newest().await?, history: state.loader.storage_history().await? })
    }

    fn describe(&self, info: ProviderInfo) -> Provider {
        let ProviderInfo { terms, endpoint } = info;
        let id = terms.provider;
        let verdict = self.newest.as_ref().and_then(|epoch| epoch.verdict(id));
        let standing = self.newest.as_ref().and_then(|epoch| epoch.outcome().ledger.providers.get(&id));
        Provider {
            id,
            endpoint,
            class_id: terms.class_id,
            receipt_key: terms.keys.receipt_key,
            recipient: terms.recipient,
            stake: terms.stake,
            claims: Claims { root: terms.keys.claims.hash, blocks: terms.keys.claims.blocks },
            last_verdict: verdict.cloned(),
            p50_us: verdict.map(|verdict| verdict.p50_us).filter(|us| *us > 0),
            storage: Storage::from((self.history.epochs(), self.history.of(id))),
            cumulative_reward: standing.map_or(0, |standing| standing.cumulative),
        }
    }
}

/// `/v1/providers`
pub(super) async fn list(State(state): State<ApiState>, asked: Asked) -> Result<Json<Page<Provider>>, ApiError> {
    let asked = asked.only(&["after", "limit"])?;
    let mut infos = state.view.latest_providers();
    infos.sort_unstable_by_key(|info| info.terms.provider);
    let page = Page::cut(infos.into_iter(), |info| info.terms.provider, asked.after()?, asked.limit()?);
    let measured = Measured::load(&state).await?;
    let items = page.items.into_iter().map(|info| measured.describe(info)).collect();
    Ok(Json(Page { items, next: page.next }))
}

/// `/v1/providers/{id}`
pub(super) async fn one(State(state): State<ApiState>, Segments(id): Segments<String>, asked: Asked) -> Result<Json<Provider>, ApiError> {
    asked.only(&[])?;
    let id = ProviderId(page::id("a provider", &id)?);
    let info = state.view.latest_providers().into_iter().find(|info| info.terms.provider == id);
    let info = info.ok_or_else(|| ApiError::not_found(format!("provider {id} is not registered")))?;
    Ok(Json(Measured::load(&state).await?.describe(info)))
}
