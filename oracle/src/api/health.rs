//! `/healthz`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::ApiState;
use super::view::Health;

/// 200 when every component works, 503 with the reason when one does not.
pub(super) async fn healthz(State(state): State<ApiState>) -> (StatusCode, Json<Value>) {
    let mut health = state.view.health();
    if let Err(error) = state.store.certified_epochs(1).await {
        tracing::error!(%error, "the store does not answer");
        health.problems.insert("store".to_owned(), "the database does not answer; the node's log says why".to_owned());
    }
    answer(&health)
}

fn answer(health: &Health) -> (StatusCode, Json<Value>) {
    let mut body = json!(health);
    if health.problems.is_empty() {
        body["status"] = json!("ok");
        return (StatusCode::OK, Json(body));
    }
    let reasons: Vec<String> = health.problems.iter().map(|(component, what)| format!("{component}: {what}")).collect();
    body["status"] = json!("unwell");
    body["error"] = json!({ "code": "unwell", "message": reasons.join("; ") });
    (StatusCode::SERVICE_UNAVAILABLE, Json(body))
}
