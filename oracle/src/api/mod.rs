//! The REST interface for readers (`docs/api.md`): GET only, JSON, every list paged, nothing before its epoch's reveals.
//!
//! [`router`] is the whole interface over a [`Store`] and a [`NodeView`]; [`serve`] puts it on a socket with limits on
//! connections, request bytes, time and concurrency.

mod claims;
mod epochs;
mod error;
mod evidence;
mod guard;
mod health;
mod listener;
mod load;
mod misbehaviour;
mod network;
mod observations;
mod page;
mod providers;
mod rewards;
mod storage;
mod verdicts;
mod view;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub(crate) use load::reveals_due_ms;
pub use view::{Bundles, Health, NodeView, ProviderInfo};

use crate::store::Store;
use error::ApiError;
use guard::Guard;
use listener::{LimitedListener, Limits};
use load::Loader;

/// How long open requests may take after shutdown began.
const DRAIN: Duration = Duration::from_secs(10);

/// What the routes read from. Cloning shares it.
#[derive(Clone)]
pub struct ApiState {
    store: Arc<dyn Store>,
    view: Arc<dyn NodeView>,
    loader: Arc<Loader>,
}

impl ApiState {
    /// Over the node's store and its live view. The only clock is [`NodeView::now_ms`].
    pub fn new(store: Arc<dyn Store>, view: Arc<dyn NodeView>) -> Self {
        let loader = Arc::new(Loader::new(store.clone(), view.clone()));
        Self { store, view, loader }
    }
}

/// All routes with their limits.
pub fn router(state: ApiState) -> Router {
    Router::new()
        .route("/healthz", get(health::healthz))
        .route("/v1/network", get(network::network))
        .route("/v1/providers", get(providers::list))
        .route("/v1/providers/{provider}", get(providers::one))
        .route("/v1/providers/{provider}/storage", get(storage::storage))
        .route("/v1/epochs", get(epochs::list))
        .route("/v1/epochs/{epoch}", get(epochs::summary))
        .route("/v1/epochs/{epoch}/verdicts", get(epochs::verdicts))
        .route("/v1/epochs/{epoch}/report", get(epochs::report))
        .route("/v1/epochs/{epoch}/ledger", get(epochs::ledger))
        .route("/v1/epochs/{epoch}/beacon", get(network::beacon))
        .route("/v1/epochs/{epoch}/proposal", get(observations::proposal))
        .route("/v1/epochs/{epoch}/observations", get(observations::list))
        .route("/v1/epochs/{epoch}/evidence/{provider}", get(evidence::list))
        .route("/v1/epochs/{epoch}/misbehaviour", get(misbehaviour::list))
        .route("/v1/epochs/{epoch}/misbehaviour/{oracle}/{offence}", get(misbehaviour::proof))
        .route("/v1/evidence/{digest}", get(evidence::bundle))
        .route("/v1/claims/{root}", get(claims::claims))
        .route("/v1/verdicts/{provider}/{epoch}", get(verdicts::verdict))
        .route("/v1/slashes/{provider}/{epoch}", get(verdicts::slash))
        .route("/v1/rewards/{kind}/{id}", get(rewards::reward))
        .fallback(|| async { ApiError::not_found("there is no such route; docs/api.md lists them") })
        .with_state(state)
        .layer(axum::middleware::from_fn_with_state(Guard::default(), guard::guard))
}

/// Serves until the token is cancelled, then lets open requests finish for at most ten seconds.
pub async fn serve(listener: TcpListener, state: ApiState, token: CancellationToken) -> io::Result<()> {
    serve_within(Limits::default(), listener, state, token).await
}

async fn serve_within(limits: Limits, listener: TcpListener, state: ApiState, token: CancellationToken) -> io::Result<()> {
    let stopped = token.clone();
    let server = axum::serve(LimitedListener::new(listener, limits), router(state)).with_graceful_shutdown(stopped.cancelled_owned());
    let drained = async {
        token.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        served = server => served,
        () = drained => Ok(()),
    }
}

#[cfg(test)]
mod tests;
