//! The one place where a refusal becomes an HTTP status.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::store::StoreError;

/// A refusal: `{"error": {"code", "message"}}`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    retry_after_s: Option<u64>,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), retry_after_s: None }
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// The epoch's reveals are not due yet.
    pub(super) fn too_early(epoch: u64, opens_ms: u64, now_ms: u64) -> Self {
        let message = format!("epoch {epoch} is not revealed yet: nothing of it leaves this node before {opens_ms} (unix ms)");
        let wait_s = opens_ms.saturating_sub(now_ms).div_ceil(1_000);
        Self::new(StatusCode::TOO_EARLY, "too_early", message).retry_after(wait_s)
    }

    pub(super) fn unavailable(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message)
    }

    /// Our own fault: the details go to the log, not to the reader.
    pub(super) fn internal(what: impl std::fmt::Display) -> Self {
        tracing::error!(%what, "a reader could not be answered");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the node could not answer; its log says why")
    }

    pub(super) fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::internal(error)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = Json(json!({ "error": { "code": self.code, "message": self.message } }));
        let mut response = (self.status, body).into_response();
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
